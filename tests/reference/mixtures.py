"""Mixtures and masked labels as their definitions say, row by row and slowly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np


def counts(total: int, shares: Sequence[float]) -> list[int]:
    """Give ``total`` draws out one by one, each to the share that is furthest behind."""
    whole = sum(map(Fraction, shares))
    owed = [total * Fraction(share) / whole for share in shares]
    given = [math.floor(each) for each in owed]
    while sum(given) < total:
        behind = max(range(len(shares)), key=lambda at: (owed[at] - given[at], -at))
        given[behind] += 1
    return given


def endless(places: Sequence[int], number: int, seed: int, at_once: int) -> Iterator[int]:
    """The rows of a part for ever, one permutation after the other."""
    group = 0
    while True:
        group += 1
        draw = np.random.default_rng((seed, number + 1, group))
        cycles = max(1, at_once // len(places))
        yield from draw.permuted(np.array([places] * cycles, np.int32), axis=1).ravel().tolist()


def epochs(
    parts: Mapping[int, Sequence[int]], shares: Mapping[int, float], seed: int, at_once: int
) -> Iterator[list[int]]:
    """What each epoch draws, unordered: every part from where the epoch before it stopped."""
    total = sum(map(len, parts.values()))
    given = counts(total, [shares[number] for number in parts])
    streams = [endless(places, number, seed, at_once) for number, places in parts.items()]
    while True:
        yield [next(s) for s, count in zip(streams, given, strict=True) for _ in range(count)]


def label_loss(logits: Sequence[Sequence[float]], labels: Sequence[float]) -> float:
    """Mean over labeled rows of -log softmax at the label, or of the squared error of a score."""
    losses = []
    for row, label in zip(logits, labels, strict=True):
        if len(row) == 1:
            if not math.isnan(label):
                losses.append((row[0] - label) ** 2)
        elif label != -1:
            top = max(row)
            total = top + math.log(sum(math.exp(each - top) for each in row))
            losses.append(total - row[int(label)])
    return sum(losses) / len(losses) if losses else 0.0
