"""A table of word vectors with all that searching it needs, built block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from augment.errors import AssetInvalid
from augment.tokenization.base import is_plain
from augment.vectors.plausible import UNREADABLE
from augment.vectors.vocabulary import Vocabulary

Gather = Callable[[Iterator[np.ndarray]], np.ndarray]
"""Makes one matrix of consecutive parts, in memory or in a file that is mapped afterwards."""
_AGAIN = "The file may be damaged or of another kind: get it again."
_MIN_NORM, _MAX_NORM = 1e-18, 1e18
"""Lengths that float32 can divide by; shorter rows have no direction."""


@dataclass(frozen=True, slots=True)
class Block:
    """Words and vectors of some rows of a file, float32, ``(rows, dimensions)``, C-contiguous.

    ``share`` is how much of the file is read by now, 0 to 1.
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
        usable: Which rows may be neighbors: they have a direction, and their word is plain and
            the first of its kind.
        digest: SHA-256 over words and vectors.
    """

    words: Vocabulary
    matrix: np.ndarray
    norms: np.ndarray
    usable: np.ndarray
    digest: str

    def content_digest(self, vectors: bytes) -> str:
        """The digest of a table with these words, whose vectors have this SHA-256."""
        return _digest(self.words, self.matrix.shape, vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {
            "matrix": self.matrix,
            "norms": self.norms,
            "usable": self.usable,
            "text": self.words.text,
            "ends": self.words.ends,
            "order": self.words.order,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], digest: str) -> Table:
        """The table with these arrays.

        Raises:
            KeyError: One is missing.
        """
        words = Vocabulary(arrays["text"], arrays["ends"], arrays["order"])
        return cls(words, arrays["matrix"], arrays["norms"], arrays["usable"], digest)


def gather_in_memory(parts: Iterator[np.ndarray]) -> np.ndarray:
    """One matrix of consecutive parts."""
    return np.concatenate(list(parts))


def build(blocks: Iterable[Block], gather: Gather, name: str) -> Table:
    """Make a table of the rows of a file; ``gather`` takes the vectors as they come.

    Raises:
        AssetInvalid: There are no rows, or numbers no computation can use.
    """
    words: list[str] = []
    norms: list[np.ndarray] = []
    vectors = hashlib.sha256()

    def matrices() -> Iterator[np.ndarray]:
        for block in blocks:
            norms.append(_norms(block, len(words), name))
            words.extend(block.words)
            vectors.update(block.matrix.data)
            yield block.matrix
        if not words:
            raise AssetInvalid(f"{name} holds no vectors.", _AGAIN)

    matrix = gather(matrices())
    vocabulary, lengths = Vocabulary.of(words), np.concatenate(norms)
    plain = np.array([is_plain(word) and UNREADABLE not in word for word in words])
    return Table(
        words=vocabulary,
        matrix=matrix,
        norms=lengths,
        usable=plain & (lengths > 0) & ~vocabulary.repeated(),
        digest=_digest(vocabulary, matrix.shape, vectors.digest()),
    )


def _norms(block: Block, before: int, name: str) -> np.ndarray:
    """Lengths of the rows in float64, each summed in one fixed order; 0 for very short ones.

    Raises:
        AssetInvalid: A number is none or beyond reason.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # they are found below
        wide = block.matrix.astype(np.float64)
        wide *= wide
    norms: np.ndarray = np.sqrt(wide.sum(axis=1))
    faulty = np.flatnonzero(~(norms < _MAX_NORM))
    if len(faulty):
        row = int(faulty[0])
        raise AssetInvalid(
            f"{name} row {before + row + 1}, {block.words[row]!r}, has numbers of length "
            f"{norms[row]:.3g}; finite numbers below {_MAX_NORM:.0e} are expected.",
            _AGAIN,
        )
    norms[norms < _MIN_NORM] = 0
    return norms


def _digest(words: Vocabulary, shape: tuple[int, ...], vectors: bytes) -> str:
    digest = hashlib.sha256(repr(shape).encode())
    digest.update(words.text.data)
    digest.update(words.ends.data)
    digest.update(vectors)
    return digest.hexdigest()
