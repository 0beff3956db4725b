"""How much of a text can be replaced at all, and why a run has generated next to nothing."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from augment.contract.foreign import counted
from augment.recipes.schema import AugmentRecipe
from augment.tokenization.words import Route, Word

LOW = 0.2
"""A found-rate below this is a doubt: the model or the vectors hardly know these texts."""
FEW_REPLACEABLE = 0.1
FEW_ROWS = 0.1
"""Generated rows for each source row below which a run has made next to nothing."""
_GATES = {
    "leak": "leak_guard (they equal validation or test rows)",
    "normalised_duplicate": "normalised_duplicates",
    "dissimilar": "min_similarity",
    "teacher_disagrees": "teacher_agreement",
}
_KEPT = {
    Route.STOP_WORD: "are stop words",
    Route.CONTRACTION: "are contractions",
    Route.PROTECTED: "are protected by the recipe (protect_…)",
    Route.SPARED: "are more than max_words of the recipe",
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What becomes of the words of some texts; words without a letter do not count.

    Attributes:
        routes: Words by route.
        script: The script of most letters of the words that are not replaced, such as Cyrillic.
        vectors_found: Share of the different replaceable words that the vectors know.
    """

    routes: Mapping[Route, int]
    script: str
    vectors_found: float

    @property
    def replaceable(self) -> float:
        """Share of the words that may be replaced."""
        return _share(self._masked + self.routes.get(Route.VECTORS, 0), sum(self.routes.values()))

    @property
    def one_token(self) -> float:
        """Share of the replaceable words that are one token of the masked LM."""
        return _share(self._masked, self._masked + self.routes.get(Route.VECTORS, 0))

    @property
    def _masked(self) -> int:
        return self.routes.get(Route.MASKED_LM, 0)

    def doubts(self, recipe: AugmentRecipe) -> tuple[str, ...]:
        """A sentence for each of these shares that is low."""
        if not sum(self.routes.values()):
            return ("no text has a word with a letter in it",)
        if self.replaceable < FEW_REPLACEABLE:
            return (self._why_kept(recipe),)
        found = []
        if self.one_token < LOW:
            found.append(
                f"{self.one_token:.0%} of the replaceable words are one token of the masked LM: "
                "is it a model of this language?"
            )
        if self.vectors_found < LOW:
            found.append(
                f"the vectors know {self.vectors_found:.0%} of the replaceable words: are they of "
                "this language, and one word a line?"
            )
        return tuple(found)

    def _why_kept(self, recipe: AugmentRecipe) -> str:
        kept = {route: n for route, n in self.routes.items() if not route.replaceable}
        most = max(kept, key=kept.__getitem__)
        share = _share(kept[most], sum(self.routes.values()))
        why = _KEPT.get(most, f"are not plain a-z words ({self.script} script)")
        begin = f"{self.replaceable:.0%} of the words can be replaced: {share:.0%} {why}"
        basic = most in (Route.NOT_PLAIN, Route.STOP_WORD) and recipe.words == "basic"
        return begin + '; words = "all" in the recipe takes every word' * basic


def coverage(sentences: Iterable[Sequence[Word]], known: Container[str]) -> Coverage:
    """Count the words of texts; ``known`` are those that the vectors have."""
    routes: Counter[Route] = Counter()
    letters: Counter[str] = Counter()
    distinct: set[str] = set()
    for word in (word for words in sentences for word in words):
        if not any(map(str.isalpha, word.text)):
            continue
        routes[word.route] += 1
        if word.route.replaceable:
            distinct.add(word.text.lower())
        else:
            letters.update(filter(str.isalpha, word.text))
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[_script(letter)] += count
    script = scripts.most_common(1)[0][0] if scripts else ""
    return Coverage(routes, script, _share(sum(w in known for w in distinct), len(distinct)))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "unknown").split()[0].title()
    return "Chinese" if name == "Cjk" else name


def generated_little(counts: Mapping[str, int]) -> bool:
    """Whether a run has next to no generated row."""
    return counts.get("rows.augmented", 0) < FEW_ROWS * counts.get("rows.source", 0)


def why_little(
    counts: Mapping[str, int], recipe: AugmentRecipe, texts: Coverage
) -> tuple[str, ...]:
    """Why a run has next to no generated row, given its counts and its texts."""
    dropped = {key.partition(".")[2]: n for key, n in counts.items() if key.startswith("dropped.")}
    changed = sum(dropped.values()) - dropped.get("identity", 0) + counts.get("rows.augmented", 0)
    gated = {reason: n for reason, n in dropped.items() if reason in _GATES and n}
    made = f"{counted(counts.get('rows.augmented', 0), 'row', 'were')} generated"
    if gated and 2 * sum(gated.values()) > changed:
        most = max(gated, key=gated.__getitem__)
        return (
            f"{made}: {_GATES[most]} refused {gated[most]:,} of "
            f"{counted(changed, 'changed sample')}",
        )
    doubts = texts.doubts(recipe) or (
        f"{counted(dropped.get('identity', 0), 'sample', 'equal')} their original "
        f"(probability {recipe.probability}), {dropped.get('duplicate', 0):,} an earlier one",
    )
    return tuple(f"{made}: {doubt}" for doubt in doubts)
