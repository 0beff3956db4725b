"""Vectors files of every kind as blocks of rows.

GloVe and word2vec text, word2vec binary, gensim's native files and its downloader's names.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augment.errors import AssetInvalid, AssetMissing
from augment.vectors.table import Block
from augment.vectors.text import read_text

_SLICE_ROWS = 16_384


def locate(name: str) -> Path:
    """The file of that name, or the one that gensim's downloader delivers for it.

    Raises:
        AssetMissing: No such file, and the downloader cannot deliver that name.
    """
    if (path := Path(name)).is_file():
        return path
    import gensim.downloader

    try:  # the file alone, not the loading code that lies beside it
        return Path(gensim.downloader.load(name, return_path=True))
    except Exception as error:
        raise AssetMissing(
            f"{name} is neither a vectors file nor to be had from gensim's downloader: {error}",
            "Give a file: GloVe or word2vec text (.txt), word2vec binary (.bin), gensim (.kv).",
        ) from error


def companions(path: Path) -> list[Path]:
    """The file and those that gensim keeps beside it for large arrays."""
    return [path, *sorted(path.parent.glob(f"{path.name}.*.npy"))]


def read_blocks(path: Path, rows: int) -> Iterator[Block]:
    """The first rows of a vectors file of any kind.

    Raises:
        AssetInvalid: It is no table of vectors.
    """
    binary = path.name.endswith((".bin", ".bin.gz")) or "word2vec-google-news" in path.name
    if binary or path.suffix == ".kv":
        return _slices(path, rows)
    return read_text(path, rows)


def _slices(path: Path, rows: int) -> Iterator[Block]:
    table = _table(path, rows)
    words, vectors = table.index_to_key[:rows], table.vectors[:rows]
    whole = getattr(vectors, "ndim", 0) == 2 and vectors.dtype.kind == "f"
    if not whole or len(words) != len(vectors) or not all(isinstance(w, str) for w in words):
        raise AssetInvalid(f"{path.name} is not a table of words and vectors.")
    for end in range(_SLICE_ROWS, len(words) + _SLICE_ROWS, _SLICE_ROWS):
        part = slice(end - _SLICE_ROWS, end)
        yield Block(words[part], vectors[part].astype("f4", order="C"), end / len(words))


def _table(path: Path, rows: int) -> Any:
    """A table as gensim reads it, from its own format or from word2vec binary."""
    from gensim.models import KeyedVectors

    try:
        if path.suffix != ".kv":
            return KeyedVectors.load_word2vec_format(
                str(path), binary=True, limit=rows, unicode_errors="replace"
            )
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
