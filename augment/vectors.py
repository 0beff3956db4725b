"""Word vectors: the K nearest words by cosine, exactly and deterministically.

GloVe and word2vec text, word2vec binary, gensim's native files and its downloader's names.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augment.errors import AssetInvalid, AssetMissing
from augment.pieces import is_plain
from augment.topk import top_columns

_SLACK = 16
_FLOAT32_NOISE = 1e-5
_WORDS_A_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest words of one word, nearest first.

    Attributes:
        rows: Their rows in the table.
        words: The words.
        scores: Cosines.
    """

    rows: tuple[int, ...]
    words: tuple[str, ...]
    scores: tuple[float, ...]


class Vectors:
    """A table of word vectors with a cache of the neighbours already found.

    Attributes:
        words: The words, in the file's order.
        digest: SHA-256 over the words and their vectors.
    """

    def __init__(self, words: Sequence[str], matrix: np.ndarray) -> None:
        """Take the table.

        Args:
            words: One word for each row.
            matrix: Shape ``(rows, dimensions)``.
        """
        self.words = list(words)
        self._row_of = {word: row for row, word in reversed(list(enumerate(self.words)))}
        self._raw = np.ascontiguousarray(matrix, dtype=np.float32)
        self.digest = _digest(self.words, self._raw)
        norms = np.linalg.norm(self._raw, axis=1, keepdims=True)
        self._usable = np.array([is_plain(word) for word in self.words]) & (norms[:, 0] > 0)
        self._unit = self._raw / np.where(norms > 0, norms, 1)
        self._cache: dict[tuple[str, int], Neighbours] = {}

    def __contains__(self, word: str) -> bool:
        return word in self._row_of

    def neighbours(self, words: Sequence[str], k: int) -> list[Neighbours]:
        """The K nearest words of each word, itself excluded; empty for unknown words.

        Rows without a direction and rows that are no plain words (``<unk>``) are passed over.
        Equal cosines are ordered by row.
        """
        wanted = [
            word
            for word in dict.fromkeys(words)
            if (word, k) not in self._cache and word in self._row_of
        ]
        for at in range(0, len(wanted), _WORDS_A_BLOCK):
            block = wanted[at : at + _WORDS_A_BLOCK]
            for word, found in zip(block, self._search(block, k), strict=True):
                self._cache[word, k] = found
        nothing = Neighbours((), (), ())
        return [self._cache.get((word, k), nothing) for word in words]

    def _search(self, words: Sequence[str], k: int) -> Iterator[Neighbours]:
        """Float32 product for a short list, then float64 on that list."""
        rows = np.array([self._row_of[word] for word in words])
        scores = torch.from_numpy(self._unit[rows]) @ torch.from_numpy(self._unit).T
        scores[:, torch.from_numpy(~self._usable)] = -torch.inf
        scores[torch.arange(len(rows)), torch.from_numpy(rows)] = -torch.inf
        length = min(k + _SLACK, scores.shape[1])
        short = top_columns(scores, length).numpy()
        for i, row in enumerate(rows):
            yield self._settle(int(row), short[i], scores[i].numpy(), k)

    def _settle(self, row: int, short: np.ndarray, scores: np.ndarray, k: int) -> Neighbours:
        """The K best of a short list in float64; the list grows where float32 cannot tell."""
        exact = self._cosines(row, short)
        kth = np.sort(exact)[::-1][min(k, len(short)) - 1]
        if len(short) < len(scores) and kth - scores[short].min() < _FLOAT32_NOISE:
            short = np.flatnonzero(scores >= kth - _FLOAT32_NOISE)
            exact = self._cosines(row, short)
        known = np.isfinite(scores[short])
        short, exact = short[known], exact[known]
        order = np.lexsort((short, -exact))[:k]
        chosen = short[order]
        return Neighbours(
            tuple(chosen.tolist()),
            tuple(self.words[j] for j in chosen),
            tuple(exact[order].tolist()),
        )

    def _cosines(self, row: int, candidates: np.ndarray) -> np.ndarray:
        """Cosines in float64, summed in one fixed order whatever the number of threads."""
        one = self._raw[row].astype(np.float64)
        others = self._raw[candidates].astype(np.float64)
        norms = np.sqrt((others * others).sum(axis=1)) * np.sqrt((one * one).sum())
        dots: np.ndarray = (others * one).sum(axis=1)
        return dots / np.where(norms > 0, norms, 1)


def load_vectors(name: str, rows: int) -> Vectors:
    """Load the first rows of a vectors file, or a table of gensim's downloader by name.

    Raises:
        AssetMissing: No such file, and the downloader cannot deliver that name.
        AssetInvalid: The file is not a table of vectors.
    """
    path = Path(name)
    if path.is_dir() or not path.exists():
        return _download(name, rows)
    if path.suffix in (".kv", ".bin"):
        return _from_gensim(_gensim_file(path, rows), rows)
    words, matrix = _read_text(path, rows)
    return Vectors(words, matrix)


def _gensim_file(path: Path, rows: int) -> Any:
    from gensim.models import KeyedVectors

    try:
        if path.suffix == ".bin":
            return KeyedVectors.load_word2vec_format(str(path), binary=True, limit=rows)
        with path.open("rb") as stream:
            _VectorsOnly(stream).load()  # refuses anything but a table, before gensim unpickles it
        return KeyedVectors.load(str(path), mmap="r")
    except Exception as error:
        raise AssetInvalid(f"{path.name} is not a vectors file gensim can read: {error}") from error


class _VectorsOnly(pickle.Unpickler):
    """Reads gensim's native format and refuses every class that a table does not need."""

    def find_class(self, module: str, name: str) -> Any:
        """A class of a plain table of vectors.

        Raises:
            UnpicklingError: It is another one: the file could run code.
        """
        known = {("gensim.models.keyedvectors", "KeyedVectors"), ("numpy", "ndarray")}
        known |= {("numpy", "dtype"), ("numpy", "float32"), ("builtins", "object")}
        arrays = module.split(".", maxsplit=1)[0] == "numpy" and name in ("_reconstruct", "scalar")
        if (module, name) not in known and not arrays:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of a table")
        return super().find_class(module, name)


def _download(name: str, rows: int) -> Vectors:
    """A table of gensim's downloader: the file alone, not the loading code that lies beside it."""
    import gensim.downloader
    from gensim.models import KeyedVectors

    try:
        path = gensim.downloader.load(name, return_path=True)
        binary = "word2vec-google-news" in name
        return _from_gensim(
            KeyedVectors.load_word2vec_format(path, binary=binary, limit=rows), rows
        )
    except Exception as error:
        raise AssetMissing(
            f"{name} is neither a vectors file nor to be had from gensim's downloader: {error}",
            "Give a file: GloVe or word2vec text (.txt), word2vec binary (.bin), gensim (.kv).",
        ) from error


def _from_gensim(table: Any, rows: int) -> Vectors:
    return Vectors(table.index_to_key[:rows], table.vectors[:rows])


def _read_text(path: Path, rows: int) -> tuple[list[str], np.ndarray]:
    """GloVe text, or word2vec text with its header line; a word may hold spaces."""
    words: list[str] = []
    numbers: list[np.ndarray] = []
    dimensions = 0
    with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for line_number, line in enumerate(stream, start=1):
            fields = line.rstrip(" \r\n").split(" ")
            if line_number == 1 and len(fields) == 2:
                continue
            dimensions = dimensions or len(fields) - 1
            vector = _vector(fields[-dimensions:]) if len(fields) > dimensions > 0 else None
            if vector is None:
                raise AssetInvalid(
                    f"{path.name} line {line_number} is not a word and {dimensions} numbers.",
                    "Expected GloVe or word2vec text: a word, then its numbers, by single spaces.",
                )
            words.append(" ".join(fields[:-dimensions]))
            numbers.append(vector)
            if len(words) == rows:
                break
    if not words:
        raise AssetInvalid(f"{path.name} holds no vectors.")
    return words, np.stack(numbers)


def _vector(fields: Sequence[str]) -> np.ndarray | None:
    try:
        vector = np.array(fields, dtype=np.float32)
    except ValueError:
        return None
    return vector if bool(np.isfinite(vector).all()) else None


def _digest(words: Sequence[str], matrix: np.ndarray) -> str:
    digest = hashlib.sha256("\n".join(words).encode())
    digest.update(matrix.tobytes())
    return digest.hexdigest()
