"""Algorithm 1 (docs/method.md, section 5): candidates and draws keyed by the row → variants.

For each copy and each word a uniform candidate is drawn and a coin is thrown; the word is replaced
when the coin is below p.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice

import numpy as np

from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder, CandidateSet, WordInContext
from augment.replacement.edits import Edit, Variant, apply_edits, make_edit
from augment.tokenization.base import ModelTokenizer
from augment.tokenization.words import Route, Word

_SPECIALS = 2
"""Special tokens around a sentence that the masked LM reads."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a text.

    Attributes:
        variant: What was drawn.
        reason: Why it is left out, ``identity`` or ``duplicate``; empty where it is not.
    """

    variant: Variant
    reason: str = ""


def row_draws(
    seed: int, task: str, idx: int, column: str, *, variants: int, words: int
) -> np.ndarray:
    """The draws of one row and column, from a counter-based generator keyed by them alone.

    Sample ``v`` reads the same numbers whatever N is, and nothing depends on any other row.

    Returns:
        Uniform numbers in [0, 1), shape ``(variants, words, 2)``: for each word the candidate's
        draw, then the coin.
    """
    key = "\x1f".join((str(seed), task, str(idx), column)).encode()
    digest = hashlib.blake2b(key, digest_size=16).digest()
    generator = np.random.Philox(key=int.from_bytes(digest, "little"))
    raw = generator.random_raw(variants * words * 2)
    return ((raw >> np.uint64(11)) * 2.0**-53).reshape(variants, words, 2)


def sample(
    text: str,
    words: Sequence[Word],
    candidates: Mapping[int, Sequence[str]],
    draws: np.ndarray,
    probability: float,
    *,
    distinct: bool,
) -> list[Sample]:
    """Draw every sample of one text from fixed candidate sets.

    Args:
        text: The original text.
        words: Its words.
        candidates: Word position → its candidates; positions that are missing keep themselves.
        draws: Shape ``(variants, len(candidates), 2)``, positions in ascending order.
        probability: p; a word is replaced when its coin is below it.
        distinct: Leave out samples that equal the text or an earlier sample.

    Returns:
        The samples by their number, those that are left out with a reason.
    """
    order = sorted(position for position in candidates if candidates[position])
    sizes = np.array([len(candidates[position]) for position in order])
    chosen = (draws[:, : len(order), 0] * sizes).astype(np.int64).tolist()
    replaced = (draws[:, : len(order), 1] < probability).tolist()

    @cache
    def edit_of(position: int, choice: int) -> Edit | None:
        return make_edit(text, words[position], candidates[position][choice])

    proposals = []
    for number, (coins, picks) in enumerate(zip(replaced, chosen, strict=True), start=1):
        drawn = zip(order, picks, coins, strict=True)
        edits = [edit_of(position, choice) for position, choice, coin in drawn if coin]
        kept = tuple([edit for edit in edits if edit])
        proposals.append(Variant(number, apply_edits(text, kept), kept))
    return _samples(text, proposals, distinct=distinct)


def _samples(text: str, variants: Sequence[Variant], *, distinct: bool) -> list[Sample]:
    """Where they are to be distinct: left out is what equals the original or an earlier one."""
    if not distinct:
        return [Sample(variant) for variant in variants]
    samples: list[Sample] = []
    seen: set[str] = set()
    for variant in variants:
        again = "duplicate" if variant.text in seen else ""
        samples.append(Sample(variant, "identity" if variant.text == text else again))
        seen.add(variant.text)
    return samples


@dataclass(frozen=True, slots=True)
class TextOfRow:
    """The original text in one column of one row, to be sampled."""

    idx: int
    column: str
    text: str
    words: tuple[Word, ...]
    variants: int | None = None

    def count(self, recipe: AugmentRecipe) -> int:
        """How many samples are drawn: its own number, or the recipe's N."""
        return recipe.variants if self.variants is None else self.variants


def sample_texts(
    texts: Sequence[TextOfRow], finder: CandidateFinder, task: str
) -> list[list[Sample]]:
    """The samples of every text, in order."""
    how = sample_copies if finder.recipe.conditioning == "copy" else sample_originals
    return how(texts, finder, task)


def sample_originals(
    texts: Sequence[TextOfRow], finder: CandidateFinder, task: str
) -> list[list[Sample]]:
    """Candidates once for each word of each distinct original text, then N samples."""
    recipe = finder.recipe
    distinct = list({text.text: text for text in texts}.values())
    coins = _coins(texts, finder, task) if recipe.coins_first else None
    wanted = None if coins is None else [coins[text.text] for text in distinct]
    found = finder.for_sentences([text.words for text in distinct], wanted)
    candidates = {
        text.text: {at: chosen.draw_order for at, chosen in sets.items()}
        for text, sets in zip(distinct, found, strict=True)
    }
    return [
        sample(
            text.text, text.words, candidates[text.text],
            _draws_of_candidates(text, candidates[text.text], finder, task),
            recipe.probability, distinct=recipe.distinct,
        )
        for text in texts
    ]  # fmt: skip


def _coins(texts: Sequence[TextOfRow], finder: CandidateFinder, task: str) -> dict[str, set[int]]:
    """Text → its words that some sample of some of its rows replaces."""
    wanted: dict[str, set[int]] = {}
    for text in texts:
        below = (
            _draws(text, finder, task, words=len(text.words))[:, :, 1] < finder.recipe.probability
        )
        wanted.setdefault(text.text, set()).update(np.flatnonzero(below.any(axis=0)).tolist())
    return wanted


def _draws_of_candidates(
    text: TextOfRow, candidates: Mapping[int, Sequence[str]], finder: CandidateFinder, task: str
) -> np.ndarray:
    """The draws of the words with candidates: of a row's numbers those are read for such words.

    With ``coins_first`` every word has its own, for which have candidates is not known by then.
    """
    if not finder.recipe.coins_first:
        return _draws(text, finder, task, words=len(candidates))
    return _draws(text, finder, task, words=len(text.words))[:, sorted(candidates)]


@dataclass(slots=True)
class _Copy:
    """One copy on its way through the sentence; ``token_ids`` is what the model sees next."""

    number: int
    text: TextOfRow
    draws: np.ndarray
    token_ids: list[tuple[int, ...]]
    edits: list[Edit] = field(default_factory=list)

    def is_due(self, at: int, probability: float) -> bool:
        """Whether the word there is replaced."""
        words = self.text.words
        return at < len(words) and words[at].route.replaceable and self.draws[at, 1] < probability

    def to_read(self, probability: float) -> int:
        """Tokens that the masked LM reads for this copy, about: the draws say at which words."""
        words = self.text.words
        due = (at for at, word in enumerate(words) if word.route is Route.MASKED_LM)
        tokens = sum(map(len, self.token_ids)) + _SPECIALS
        return tokens * sum(self.is_due(at, probability) for at in due)

    def replace(self, at: int, candidates: CandidateSet, tokenizer: ModelTokenizer) -> None:
        """Write a drawn candidate over the word there; later words see it."""
        if not candidates.draw_order:
            return
        choice = int(self.draws[at, 0] * len(candidates.draw_order))
        edit = make_edit(self.text.text, self.text.words[at], candidates.draw_order[choice])
        if edit is not None:
            self.edits.append(edit)
            self.token_ids[at] = tokenizer.encode_word(edit.after, self.token_ids[at])

    def variant(self) -> Variant:
        """The finished copy."""
        text = apply_edits(self.text.text, self.edits)
        return Variant(self.number, text, tuple(self.edits))


def sample_copies(
    texts: Sequence[TextOfRow], finder: CandidateFinder, task: str
) -> list[list[Sample]]:
    """N copies of each text; each word's candidates see the words replaced before it."""
    recipe, tokenizer = finder.recipe, finder.masked_lm.tokenizer
    copies = [
        _Copy(number, text, draws, [word.token_ids for word in text.words])
        for text in texts
        for number, draws in enumerate(_draws(text, finder, task, words=len(text.words)), start=1)
    ]
    if finder.watcher is not None:
        finder.watcher.expects(sum(copy.to_read(recipe.probability) for copy in copies))
    for at in range(max((len(text.words) for text in texts), default=0)):
        due = [copy for copy in copies if copy.is_due(at, recipe.probability)]
        asked = [WordInContext(copy.text.words[at], copy.token_ids, at) for copy in due]
        for copy, candidates in zip(due, finder.find(asked), strict=True):
            copy.replace(at, candidates, tokenizer)
    variants = iter([copy.variant() for copy in copies])
    return [
        _samples(text.text, list(islice(variants, text.count(recipe))), distinct=recipe.distinct)
        for text in texts
    ]


def _draws(text: TextOfRow, finder: CandidateFinder, task: str, *, words: int) -> np.ndarray:
    recipe = finder.recipe
    return row_draws(
        recipe.seed, task, text.idx, text.column, variants=text.count(recipe), words=words
    )
