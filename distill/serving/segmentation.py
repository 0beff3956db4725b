"""How two tokenizers split the rows of a version, compared piece by piece without a loop over them.

One has a part of the other's vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """The tokens of some rows, one row after the other.

    Attributes:
        ids: Shape (tokens,).
        lengths: Tokens of each row, shape (rows,).
    """

    ids: Numbers
    lengths: Numbers

    @property
    def rows(self) -> Numbers:
        """The row of each token, shape (tokens,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def count(self, chosen: NDArray[np.bool_]) -> Numbers:
        """How many of the chosen tokens, shape (tokens,), each row has."""
        return np.bincount(self.rows[chosen], minlength=len(self.lengths))

    def among(self, rows: NDArray[np.bool_]) -> Numbers:
        """The tokens of some rows, shape (rows,)."""
        return self.ids[np.repeat(rows, self.lengths)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pieces before and after, row by row; all of shape (rows,).

    Attributes:
        same: Whether they are the same pieces.
        broken: Whether they are not, though each piece of before is still a token.
        kept: Pieces of before that still are tokens.
        unknown: Unknown pieces before.
        new_unknown: Unknown pieces after.
    """

    same: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    kept: Numbers
    unknown: Numbers
    new_unknown: Numbers


def split_rows(tokenizer: Tokenizer, texts: Sequence[Sequence[str]]) -> Pieces:
    """Split texts, or two lists of them for pairs, whole: nothing is cut or padded."""
    rows = texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))
    ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(rows)]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return Pieces(np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum())), lengths)


def compare(before: Pieces, after: Pieces, new: Numbers, unknown: int | None) -> Comparison:
    """Compare how the same rows are split.

    Args:
        before: By the whole vocabulary.
        after: By a part of it.
        new: Number of each old token in that part, -1 for none, shape (old tokens,).
        unknown: Number of the token for what cannot be read, before; None where there is none.
    """
    mapped = new[before.ids]
    kept = before.count(mapped >= 0)
    aligned = before.lengths == after.lengths
    same = aligned.copy()
    pairs = Pieces(before.among(aligned), before.lengths[aligned])
    differs = new[pairs.ids] != after.among(aligned)
    same[aligned] = pairs.count(differs) == 0
    whole = kept == before.lengths
    none = np.zeros_like(kept)
    unread = none if unknown is None else before.count(before.ids == unknown)
    still = none if unknown is None else after.count(after.ids == new[unknown])
    return Comparison(same, whole & ~same & (unread == 0), kept, unread, still)
