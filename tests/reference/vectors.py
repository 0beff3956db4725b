"""Nearest words the slow way: one product in float64 and a full sort."""

from __future__ import annotations

import numpy as np


def nearest(words: list[str], matrix: np.ndarray, word: str, k: int) -> list[str]:
    """The K nearest words by cosine, the word itself excluded, ties by row."""
    if word not in words:
        return []
    table = matrix.astype(np.float64)
    me = words.index(word)
    cosines = table @ table[me] / np.linalg.norm(table, axis=1) / np.linalg.norm(table[me])
    order = sorted(range(len(words)), key=lambda row: (-cosines[row], row))
    return [words[row] for row in order if row != me][:k]
