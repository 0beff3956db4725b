"""PURE: words + candidates + draws → variants with their edits.

Algorithm 1 of the paper (section 3.2): for each copy and each word, a uniform candidate and a
coin; the word is replaced when the coin is below p.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from augment.words import Word, match_case


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement: character offsets into the ORIGINAL text, and both wordings."""

    start: int
    end: int
    before: str
    after: str
    source: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One sample of a text.

    Attributes:
        number: Which of the N samples it is, from 1.
        text: The text with the edits applied; everything else is untouched.
        edits: The replacements in order; a word drawn for itself is none.
    """

    number: int
    text: str
    edits: tuple[Edit, ...]


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


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """The text with its edits applied by offset."""
    parts, at = [], 0
    for edit in edits:
        parts += [text[at : edit.start], edit.after]
        at = edit.end
    return "".join([*parts, text[at:]])


def undo_edits(text: str, edits: Sequence[Edit]) -> str:
    """The original text of a text that edits were applied to."""
    parts, at, shift = [], 0, 0
    for edit in edits:
        start = edit.start + shift
        parts += [text[at:start], edit.before]
        at = start + len(edit.after)
        shift += len(edit.after) - (edit.end - edit.start)
    return "".join([*parts, text[at:]])


def make_edit(text: str, word: Word, candidate: str) -> Edit | None:
    """The edit that writes a candidate over a word, or None where it is the word itself.

    A text without capitals gets none, whatever a cased model or table proposes.
    """
    before = text[word.start : word.end]
    after = match_case(before, candidate)
    if text.islower():
        after = after.lower()
    if after == before or candidate.lower() == word.text.lower():
        return None
    return Edit(word.start, word.end, before, after, word.route.value)


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
