"""A table of word vectors with all that searching it needs, built block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from augment.errors import AssetInvalid
from augment.tokenization.base import is_plain
from augment.vectors.codes import GROUP, Codes, encode, norms_of
from augment.vectors.lexicon import Lexicon

_BLOCK_ROWS = 64 * GROUP
_SHORTEST, _LONGEST = 1e-18, 1e18
"""Lengths that float32 can square and divide; shorter rows have no direction."""
_UNREADABLE = "\ufffd"


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file, in order.

    Attributes:
        words: One word for each row.
        matrix: float32, shape ``(rows, dimensions)``.
        share: How much of the file is read by now, 0 to 1.
    """

    words: Sequence[str]
    matrix: np.ndarray
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Table:
    """Words and vectors; the arrays may be memory-mapped.

    Attributes:
        words: The words, in the file's order.
        matrix: float32, shape ``(rows, dimensions)``.
        norms: Lengths of the rows, float64; 0 for rows without a direction.
        usable: Which rows may be neighbours: they have a direction, and their word is plain and
            the first of its kind.
        codes: The unit vectors as whole numbers.
        digest: SHA-256 over words and vectors.
    """

    words: Lexicon
    matrix: np.ndarray
    norms: np.ndarray
    usable: np.ndarray
    codes: Codes
    digest: str

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {
            "matrix": self.matrix,
            "codes": self.codes.values,
            "scales": self.codes.scales,
            "errors": self.codes.errors,
            "norms": self.norms,
            "usable": self.usable,
            "text": self.words.text,
            "ends": self.words.ends,
            "order": self.words.order,
        }

    @classmethod
    def of_columns(cls, columns: Mapping[str, np.ndarray], digest: str) -> Table:
        """The table with these arrays."""
        return cls(
            words=Lexicon(columns["text"], columns["ends"], columns["order"]),
            matrix=columns["matrix"],
            norms=columns["norms"],
            usable=columns["usable"],
            codes=Codes(columns["codes"], columns["scales"], columns["errors"]),
            digest=digest,
        )


class Sink(Protocol):
    """Where the two large arrays of a table go while it is built."""

    def append(self, matrix: np.ndarray, codes: np.ndarray) -> None:
        """Take the next rows of both."""

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Both arrays whole; nothing is appended any more."""


class Memory:
    """Keeps both arrays in memory."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def append(self, matrix: np.ndarray, codes: np.ndarray) -> None:
        """Take the next rows of both."""
        self._parts.append((matrix, codes))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Both arrays whole."""
        matrices, codes = zip(*self._parts, strict=True)
        return np.concatenate(matrices), np.concatenate(codes)


def build(blocks: Iterable[Block], sink: Sink, name: str) -> Table:
    """Make a table of the rows of a file; its large arrays go through ``sink``.

    Args:
        blocks: The rows.
        sink: Memory, or files that are mapped afterwards.
        name: The file's name for messages.

    Raises:
        AssetInvalid: There are no rows, or numbers no computation can use.
    """
    words: list[str] = []
    norms, scales, errors = [], [], []
    vectors = hashlib.sha256()
    for block in _even(blocks):
        lengths = _lengths(block, len(words), name)
        codes = encode(block.matrix, lengths)
        sink.append(block.matrix, codes.values)
        vectors.update(block.matrix.data)
        words += block.words
        norms.append(lengths)
        scales.append(codes.scales)
        errors.append(codes.errors)
    if not words:
        raise AssetInvalid(f"{name} holds no vectors.")
    lexicon, lengths = Lexicon.of(words), np.concatenate(norms)
    plain = np.array([is_plain(word) and _UNREADABLE not in word for word in words])
    matrix, values = sink.arrays()
    return Table(
        words=lexicon,
        matrix=matrix,
        norms=lengths,
        usable=plain & (lengths > 0) & ~lexicon.repeated(),
        codes=Codes(values, np.concatenate(scales), np.concatenate(errors)),
        digest=_digest(lexicon, matrix.shape, vectors.digest()),
    )


def _even(blocks: Iterable[Block]) -> Iterator[Block]:
    """The same rows in blocks of ``_BLOCK_ROWS``: whole groups of codes."""
    words: list[str] = []
    waiting: list[np.ndarray] = []
    for block in blocks:
        words += block.words
        waiting.append(block.matrix)
        if len(words) >= _BLOCK_ROWS:
            whole = np.concatenate(waiting)
            cut = len(words) // _BLOCK_ROWS * _BLOCK_ROWS
            for at in range(0, cut, _BLOCK_ROWS):
                yield Block(words[at : at + _BLOCK_ROWS], whole[at : at + _BLOCK_ROWS])
            words, waiting = words[cut:], [whole[cut:]]
    if words:
        yield Block(words, np.concatenate(waiting))


def _lengths(block: Block, before: int, name: str) -> np.ndarray:
    """Lengths of the rows; refused where a number is none or beyond reason."""
    lengths = norms_of(block.matrix)
    faulty = np.flatnonzero(~(lengths < _LONGEST))
    if len(faulty):
        row = int(faulty[0])
        raise AssetInvalid(
            f"{name} row {before + row + 1}, {block.words[row]!r}, has numbers of length "
            f"{lengths[row]:.3g}; finite numbers below {_LONGEST:.0e} are expected."
        )
    lengths[lengths < _SHORTEST] = 0
    return lengths


def _digest(words: Lexicon, shape: tuple[int, ...], vectors: bytes) -> str:
    digest = hashlib.sha256(repr(shape).encode())
    digest.update(words.text.data)
    digest.update(words.ends.data)
    digest.update(vectors)
    return digest.hexdigest()
