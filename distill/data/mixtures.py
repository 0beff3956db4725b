"""Mixtures: how many rows of each part an epoch draws, and which (method.md, section 8.8). PURE.

Everything is a function of seed and epoch: nothing has to be kept to go on after a kill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.recipes.mixtures import Data, Part, Shares, parts_of

Places = NDArray[np.int32]
ROWS_AT_ONCE = 1 << 16


def shares_of(total: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Divide a number by shares, exactly: the largest remainders get what rounding leaves.

    Args:
        total: What is divided.
        shares: At least 0, not all of them 0.
    """
    exact = [Fraction(share) for share in shares]
    whole = sum(exact)
    quotas = [total * share / whole for share in exact]
    counts = [int(quota) for quota in quotas]
    by_rest = sorted(range(len(shares)), key=lambda at: counts[at] - quotas[at])
    for at in by_rest[: total - sum(counts)]:
        counts[at] += 1
    return tuple(counts)


def draws_of(data: Data, rows: Mapping[Part, int]) -> dict[Part, int]:
    """Draws of each part in an epoch.

    Args:
        data: Of a stage.
        rows: Of each part.
    """
    named = parts_of(data)
    if not isinstance(data, Shares):
        return {part: rows[part] for part in named}
    counts = shares_of(sum(rows[part] for part in named), [getattr(data, part) for part in named])
    return dict(zip(named, counts, strict=True))


@dataclass(frozen=True, slots=True)
class MixedPart:
    """A part of a mixture: its rows go by in one permutation after the other, across epochs.

    Attributes:
        number: Tells its permutations from those of the other parts.
        share: Of an epoch, by its ratio to those of the other parts.
        places: Of its rows among all rows of the mixture, increasing.
        draws: In each epoch.
    """

    number: int
    share: float
    places: Places
    draws: int

    def drawn(self, seed: int, start: int, count: int) -> Places:
        """The places of some draws out of the endless row of them."""
        rows = len(self.places)
        cycles = max(1, ROWS_AT_ONCE // rows)  # a part of three rows needs no generator for each
        size, pieces = rows * cycles, []
        for group in range(start // size, -(-(start + count) // size)):
            # zeros at the end of a key count for nothing: one more tells it from (seed, epoch)
            draw = np.random.default_rng((seed, self.number + 1, group + 1))
            order = draw.permuted(np.tile(self.places, (cycles, 1)), axis=1).ravel()
            pieces.append(order[max(0, start - group * size) : start + count - group * size])
        return np.concatenate(pieces) if pieces else self.places[:0]


@dataclass(frozen=True, slots=True)
class Mixture:
    """The parts that a stage draws from; an epoch has as many draws as they have rows together."""

    parts: tuple[MixedPart, ...]

    def __len__(self) -> int:
        return sum(part.draws for part in self.parts)

    def epoch(self, seed: int, epoch: int) -> Places:
        """The places that an epoch draws, part after part, shape (draws,)."""
        return np.concatenate(
            [part.drawn(seed, epoch * part.draws, part.draws) for part in self.parts]
        )

    def keep(self, chosen: NDArray[np.bool_]) -> Mixture:
        """The same shares of some of the rows, which move together; shape (rows,)."""
        numbers = np.empty(len(chosen), dtype=np.int64)
        shares = [0.0] * (max(part.number for part in self.parts) + 1)
        for part in self.parts:
            numbers[part.places] = part.number
            shares[part.number] = part.share
        return mix(numbers[chosen], shares)

    def seen(self, seed: int, epochs: int) -> Places:
        """The places that so many epochs draw, each once."""
        return np.concatenate(
            [part.drawn(seed, 0, min(epochs * part.draws, len(part.places))) for part in self.parts]
        )


def mix(numbers: NDArray[np.integer[Any]], shares: Sequence[float]) -> Mixture:
    """A mixture of rows.

    Args:
        numbers: The part of each row, shape (rows,); each of these has a share.
        shares: Of the parts by number. One without rows, as when all of its rows are left out, is
            not drawn from.
    """
    held = np.bincount(numbers, minlength=len(shares))
    drawn = [number for number, share in enumerate(shares) if share > 0 and held[number]]
    draws = shares_of(len(numbers), [shares[number] for number in drawn])
    return Mixture(
        tuple(
            MixedPart(number, shares[number], _places(numbers == number), count)
            for number, count in zip(drawn, draws, strict=True)
        )
    )


def _places(chosen: NDArray[np.bool_]) -> Places:
    return np.flatnonzero(chosen).astype(np.int32)
