"""Which row goes into which split: by class or score, drawn by a seed, equal texts together.

The draw is a hash of the seed and the row's texts, so it does not depend on the order of the rows
or on any library's random numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from augment.contract.errors import UsageError

SPLITS = ("train", "validation", "test")
_BINS = 10
"""Stretches of equally many scores, where a number is predicted."""
_HOW = "Write the shares of train, validation and test, such as 70/15/15, or 80/20 without test."


@dataclass(frozen=True, slots=True)
class LabeledRow:
    """What decides where a row goes.

    Attributes:
        digest: That of its texts, see ``digests``: rows of one digest stay together.
        label: Its class by number, or its score.
    """

    digest: bytes
    label: int | float


@dataclass(frozen=True, slots=True)
class TooFewRows:
    """A class that cannot be in every split: its number, and its different texts."""

    label: int
    texts: int


def parse_shares(text: str) -> dict[str, float]:
    """Split → its share of the rows, of ``70/15/15`` (train, validation, test) or ``80/20``.

    Raises:
        UsageError: They are not two or three positive numbers that add up to 100.
    """
    try:
        shares = [float(part) for part in text.split("/")]
    except ValueError:
        raise UsageError(f"--split {text} is no list of shares.", _HOW) from None
    if len(shares) not in (2, 3) or not all(math.isfinite(s) and s > 0 for s in shares):
        raise UsageError(f"--split {text} is not two or three shares above 0.", _HOW)
    if abs(sum(shares) - 100) > 1e-6:
        raise UsageError(f"--split {text} adds up to {sum(shares):g}, not to 100.", _HOW)
    return {split: share / 100 for split, share in zip(SPLITS, shares, strict=False)}


def assign(
    rows: Sequence[LabeledRow], shares: Mapping[str, float], *, seed: int, classes: bool
) -> list[str]:
    """The split of each row; within a class or a stretch of scores the shares are kept.

    Args:
        rows: The labeled rows, in any order.
        shares: Split → share, 1 in all.
        seed: Decides which rows go where, not how many.
        classes: Whether labels are classes; else scores, that are cut into stretches.
    """
    groups: dict[bytes, list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(row.digest, []).append(at)
    strata: dict[int, list[bytes]] = {}
    of = _classes(groups, rows) if classes else _stretches(groups, rows, len(shares))
    for digest, stratum in of.items():
        strata.setdefault(stratum, []).append(digest)
    chosen: dict[bytes, str] = {}
    lacks = dict.fromkeys(shares, 0.0)
    for _, members in sorted(strata.items()):
        chosen |= _shared_out({d: len(groups[d]) for d in members}, shares, seed, lacks)
    return [chosen[row.digest] for row in rows]


def too_few(
    rows: Sequence[LabeledRow], splits: Sequence[str], shares: Mapping[str, float]
) -> list[TooFewRows]:
    """The classes that are missing from a split, smallest first."""
    there: dict[int, set[str]] = {}
    texts: dict[int, set[bytes]] = {}
    for row, split in zip(rows, splits, strict=True):
        there.setdefault(int(row.label), set()).add(split)
        texts.setdefault(int(row.label), set()).add(row.digest)
    few = [
        TooFewRows(label, len(texts[label])) for label in there if len(there[label]) < len(shares)
    ]
    return sorted(few, key=lambda one: (one.texts, one.label))


def _classes(groups: Mapping[bytes, list[int]], rows: Sequence[LabeledRow]) -> dict[bytes, int]:
    """Each group's class: that of most of its rows."""
    return {
        digest: int(Counter(rows[at].label for at in members).most_common(1)[0][0])
        for digest, members in groups.items()
    }


def _stretches(
    groups: Mapping[bytes, list[int]], rows: Sequence[LabeledRow], splits: int
) -> dict[bytes, int]:
    """Each group's stretch of scores, of equally many groups."""
    scores = {d: sum(rows[at].label for at in of) / len(of) for d, of in groups.items()}
    ordered = sorted(scores, key=lambda digest: (scores[digest], digest))
    bins = max(1, min(_BINS, len(ordered) // (2 * splits)))
    return {digest: at * bins // len(ordered) for at, digest in enumerate(ordered)}


def _shared_out(
    sizes: Mapping[bytes, int], shares: Mapping[str, float], seed: int, lacks: dict[str, float]
) -> dict[bytes, str]:
    """Groups to splits, the largest first: each to the split that lacks most; none stays empty.

    ``lacks`` is what rounding has left of the strata before, and is brought up to date.
    """
    total = sum(sizes.values())
    for split, share in shares.items():
        lacks[split] += share * total
    order = sorted(sizes, key=lambda digest: (-sizes[digest], _draw(seed, digest)))
    chosen: dict[bytes, str] = {}
    empty = list(shares)
    for left, digest in zip(range(len(order), 0, -1), order, strict=True):
        split = max(empty if left <= len(empty) else lacks, key=lacks.__getitem__)
        chosen[digest] = split
        empty = [other for other in empty if other != split]
        lacks[split] -= sizes[digest]
    return chosen


def _draw(seed: int, digest: bytes) -> bytes:
    return hashlib.blake2b(digest, digest_size=8, salt=seed.to_bytes(8, "little")).digest()
