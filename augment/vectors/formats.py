"""Vectors files of every kind as blocks of rows.

GloVe and word2vec text, word2vec binary, gensim's native files and its downloader's names.
"""

from __future__ import annotations

import gzip
import pickle
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from augment.contract.reading import guarded, remedy
from augment.errors import AssetInvalid, AssetMissing
from augment.vectors.plausible import implausible, is_decomposed
from augment.vectors.table import Block
from augment.vectors.text import read_text

_SLICE_ROWS = 16_384
_HEADER_BYTES = 100
_SUFFIXES = (".txt", ".vec", ".bin", ".kv", ".gz", ".csv", ".tsv")
"""Ends of files' names; the downloader's names have none of them, and no parts."""
_MOST_DIMENSIONS = 100_000
_GZIP, _ZIP, _FASTTEXT = b"\x1f\x8b", b"PK\x03\x04", b"\xba\x16\x4f\x2f"
_KINDS = "Give a file: GloVe or word2vec text (.txt), word2vec binary (.bin), gensim (.kv)."


def locate(name: str) -> Path:
    """The file of that name, or the one that gensim's downloader delivers for it.

    Raises:
        AssetMissing: No such file, and the downloader cannot deliver that name.
    """
    if (path := Path(name)).is_file():
        return path
    if path.exists() or len(path.parts) > 1 or path.suffix in _SUFFIXES:  # a place, no name
        raise AssetMissing(
            f"{name} is neither a vectors file nor a name of gensim's downloader.",
            f"{remedy(path)}\n{_KINDS}".lstrip(),
        )
    import gensim.downloader

    try:  # the file alone, not the loading code that lies beside it
        return Path(gensim.downloader.load(name, return_path=True))
    except Exception as error:
        raise AssetMissing(
            f"{name} is neither a vectors file nor to be had from gensim's downloader: {error}",
            _KINDS,
        ) from error


def companions(path: Path) -> list[Path]:
    """The file and those that gensim keeps beside it for large arrays."""
    return [path, *sorted(path.parent.glob(f"{path.name}.*.npy"))]


def read_blocks(path: Path, rows: int) -> Iterator[Block]:
    """The first rows of a vectors file of any kind.

    Raises:
        AssetInvalid: It is no table of vectors, or no table of words.
    """
    with guarded(path, AssetInvalid, "vectors", _KINDS):
        if (known := _foreign(path)) is not None:
            raise AssetInvalid(f"{path.name} holds no vectors.", known or _KINDS)
    composed = False
    for number, block in enumerate(_blocks(path, rows)):
        if not number:
            if problem := implausible(block.words):
                raise AssetInvalid(f"{path.name} {problem}.", _KINDS)
            composed = is_decomposed(block.words)
        if composed:
            words = [unicodedata.normalize("NFC", word) for word in block.words]
            yield Block(words, block.matrix, block.share)
        else:
            yield block


def _is_binary(path: Path) -> bool:
    return path.name.endswith((".bin", ".bin.gz")) or "word2vec-google-news" in path.name


def _blocks(path: Path, rows: int) -> Iterator[Block]:
    if _is_binary(path) or path.suffix == ".kv":
        return _slices(path, rows)
    return read_text(path, rows)


def _foreign(path: Path) -> str | None:
    """What a file is that is no vectors file of any kind, and what to do; None where it may be."""
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(_FASTTEXT):
        return "It is a fastText model; give the text file (.vec) that comes with it."
    if head.startswith(_ZIP):
        return "It is a zip archive; unpack it, and name one of its files."
    if head.startswith(_GZIP) and path.suffix != ".kv":
        return None  # unpacked on the way
    return remedy(path) or None


def _slices(path: Path, rows: int) -> Iterator[Block]:
    table = _native(path) if path.suffix == ".kv" else _binary(path, rows)
    words, vectors = table.index_to_key[:rows], table.vectors[:rows]
    whole = getattr(vectors, "ndim", 0) == 2 and vectors.dtype.kind == "f"
    if not whole or len(words) != len(vectors) or not all(isinstance(w, str) for w in words):
        raise AssetInvalid(f"{path.name} is not a table of words and vectors.", _KINDS)
    for end in range(_SLICE_ROWS, len(words) + _SLICE_ROWS, _SLICE_ROWS):
        part = slice(end - _SLICE_ROWS, end)
        yield Block(words[part], vectors[part].astype("f4", order="C"), end / len(words))


def _binary(path: Path, rows: int) -> Any:
    """A table of word2vec binary, as gensim reads it.

    Raises:
        AssetInvalid: It is none, or shorter than its first line says.
    """
    from gensim.models import KeyedVectors

    with guarded(path, AssetInvalid, "word2vec binary", _KINDS):
        packed = path.name.endswith(".gz") or path.open("rb").read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as stream:
            count, dimensions = map(int, stream.readline(_HEADER_BYTES).split())
        needed = 4 * dimensions * min(count, rows)
        if not 0 < dimensions <= _MOST_DIMENSIONS or count < 1:
            raise ValueError(f"its first line says {count:,} x {dimensions:,}")
        if not packed and needed > path.stat().st_size:
            raise ValueError(f"its first line says {count:,} x {dimensions:,}: it was cut off")
        return KeyedVectors.load_word2vec_format(
            str(path), binary=True, limit=rows, unicode_errors="replace"
        )


def _native(path: Path) -> Any:
    """A table in gensim's own format; its large arrays may lie beside it.

    Raises:
        AssetInvalid: It holds anything but a table.
    """
    with guarded(path, AssetInvalid, "a gensim table", _KINDS):
        with path.open("rb") as stream:
            table = _VectorsOnly(stream).load()  # refuses what could run code
        beside = path.with_name(f"{path.name}.vectors.npy")
        if "vectors" in getattr(table, "__numpys", ()):
            table.vectors = np.load(beside, mmap_mode="r", allow_pickle=False)
        if not isinstance(getattr(table, "index_to_key", None), list):
            raise ValueError("it has no list of words")
        if not hasattr(table, "vectors"):
            raise ValueError("it has no vectors")
        return table


class _VectorsOnly(pickle._Unpickler):
    """Reads gensim's native format and refuses every class that a table does not need.

    In Python: the one in C makes room for whatever number a damaged file holds.
    """

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
