"""Algorithm 1 (docs/method.md, section 5): candidates and draws keyed by the row → variants.

For each copy and each word a uniform candidate is drawn and a coin is thrown; the word is replaced
when the coin is below p.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from augment.replacement.candidates import CandidateFinder, CandidateSet, Place
from augment.replacement.edits import Edit, Variant, apply_edits, make_edit
from augment.tokenization.words import Word


@dataclass(frozen=True, slots=True)
class Refused:
    """A sample that was left out, and why: ``identity`` or ``duplicate``."""

    variant: Variant
    reason: str


@dataclass(frozen=True, slots=True)
class Sampled:
    """The variants of one text, and the samples that were left out."""

    variants: tuple[Variant, ...]
    refused: tuple[Refused, ...] = ()


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


def pick(candidates: Sequence[str], draw: float) -> str:
    """A uniform candidate for a draw in [0, 1)."""
    return candidates[int(draw * len(candidates))]


def sample(
    text: str,
    words: Sequence[Word],
    candidates: Mapping[int, Sequence[str]],
    draws: np.ndarray,
    probability: float,
    *,
    distinct: bool,
) -> Sampled:
    """Draw every sample of one text from fixed candidate sets.

    Args:
        text: The original text.
        words: Its words.
        candidates: Word position → its candidates; positions that are missing keep themselves.
        draws: Shape ``(variants, len(candidates), 2)``, positions in ascending order.
        probability: p; a word is replaced when its coin is below it.
        distinct: Leave out samples that equal the text or an earlier sample.
    """
    order = sorted(position for position in candidates if candidates[position])
    sizes = np.array([len(candidates[position]) for position in order])
    chosen = (draws[:, : len(order), 0] * sizes).astype(np.int64).tolist()
    replaced = (draws[:, : len(order), 1] < probability).tolist()
    pieces = _cut(text, [words[position] for position in order])
    edits_of: list[dict[int, Edit | None]] = [{} for _ in order]
    proposals = []
    for number, (coins, picks) in enumerate(zip(replaced, chosen, strict=True), start=1):
        parts, edits = list(pieces), []
        for column, coin in enumerate(coins):
            if not coin:
                continue
            known, pick_of = edits_of[column], picks[column]
            if pick_of not in known:
                position = order[column]
                known[pick_of] = make_edit(text, words[position], candidates[position][pick_of])
            edit = known[pick_of]
            if edit is not None:
                parts[2 * column + 1] = edit.after
                edits.append(edit)
        proposals.append(Variant(number, "".join(parts), tuple(edits)))
    return keep_distinct(text, proposals) if distinct else Sampled(tuple(proposals))


def _cut(text: str, words: Sequence[Word]) -> list[str]:
    """The text in parts: what stands before the first word, the word, and what follows it."""
    parts, at = [], 0
    for word in words:
        parts += [text[at : word.start], text[word.start : word.end]]
        at = word.end
    return [*parts, text[at:]]


def keep_distinct(text: str, proposals: Sequence[Variant]) -> Sampled:
    """Leave out variants that equal the original (identity) or an earlier one (duplicate)."""
    kept: list[Variant] = []
    refused: list[Refused] = []
    seen = {text}
    for variant in proposals:
        if variant.text == text:
            refused.append(Refused(variant, "identity"))
        elif variant.text in seen:
            refused.append(Refused(variant, "duplicate"))
        else:
            seen.add(variant.text)
            kept.append(variant)
    return Sampled(tuple(kept), tuple(refused))


@dataclass(frozen=True, slots=True)
class TextOfRow:
    """One text column of one row, to be sampled.

    Attributes:
        idx: The row's number.
        column: The text column's name.
        text: The original text.
        words: Its words.
    """

    idx: int
    column: str
    text: str
    words: tuple[Word, ...]


def sample_texts(
    texts: Sequence[TextOfRow],
    finder: CandidateFinder,
    task: str,
    on_batch: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """The variants of every text, in order."""
    how = sample_copies if finder.recipe.conditioning == "copy" else sample_originals
    return how(texts, finder, task, on_batch)


def sample_originals(
    texts: Sequence[TextOfRow],
    finder: CandidateFinder,
    task: str,
    on_batch: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """Candidates once for each word of each distinct original text, then N samples."""
    distinct = list({text.text: text for text in texts}.values())
    found = finder.for_sentences([text.words for text in distinct], on_batch)
    sets = {text.text: chosen for text, chosen in zip(distinct, found, strict=True)}
    recipe = finder.recipe
    sampled = []
    for text in texts:
        candidates = {at: chosen.draw_order for at, chosen in sets[text.text].items()}
        draws = row_draws(
            recipe.seed,
            task,
            text.idx,
            text.column,
            variants=recipe.variants,
            words=len(candidates),
        )
        sampled.append(
            sample(
                text.text,
                text.words,
                candidates,
                draws,
                recipe.probability,
                distinct=recipe.distinct,
            )
        )
    return sampled


@dataclass(slots=True)
class _Copy:
    """One copy on its way through the sentence; ``token_ids`` is what the model sees next."""

    owner: int
    number: int
    token_ids: list[tuple[int, ...]]
    edits: list[Edit] = field(default_factory=list)


def sample_copies(
    texts: Sequence[TextOfRow],
    finder: CandidateFinder,
    task: str,
    on_batch: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """N copies of each text; each word's candidates see the words replaced before it."""
    recipe = finder.recipe
    draws = [_draws_of_words(text, finder, task) for text in texts]
    copies = [
        _Copy(owner, number, [word.token_ids for word in text.words])
        for owner, text in enumerate(texts)
        for number in range(recipe.variants)
    ]
    for at in range(max((len(text.words) for text in texts), default=0)):
        due = [
            copy
            for copy in copies
            if at < len(texts[copy.owner].words)
            and texts[copy.owner].words[at].route.replaceable
            and draws[copy.owner][copy.number, at, 1] < recipe.probability
        ]
        places = [Place(texts[copy.owner].words[at], copy.token_ids, at) for copy in due]
        for copy, found in zip(due, finder.find(places, on_batch), strict=True):
            draw = draws[copy.owner][copy.number, at, 0]
            _replace(copy, at, texts[copy.owner], found, float(draw), finder)
    proposals: list[list[Variant]] = [[] for _ in texts]
    for copy in copies:
        text = apply_edits(texts[copy.owner].text, copy.edits)
        proposals[copy.owner].append(Variant(copy.number + 1, text, tuple(copy.edits)))
    if recipe.distinct:
        return [keep_distinct(text.text, own) for text, own in zip(texts, proposals, strict=True)]
    return [Sampled(tuple(own)) for own in proposals]


def _draws_of_words(text: TextOfRow, finder: CandidateFinder, task: str) -> np.ndarray:
    recipe = finder.recipe
    return row_draws(
        recipe.seed,
        task,
        text.idx,
        text.column,
        variants=recipe.variants,
        words=len(text.words),
    )


def _replace(
    copy: _Copy,
    at: int,
    text: TextOfRow,
    found: CandidateSet,
    draw: float,
    finder: CandidateFinder,
) -> None:
    """Write a drawn candidate into the copy; later words see it."""
    if not found.draw_order:
        return
    candidate = pick(found.draw_order, draw)
    edit = make_edit(text.text, text.words[at], candidate)
    if edit is not None:
        copy.edits.append(edit)
        copy.token_ids[at] = finder.masked_lm.tokenizer.encode_word(edit.after, copy.token_ids[at])
