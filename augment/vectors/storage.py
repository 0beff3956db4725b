"""A table as array files in a folder: written while it is built, memory-mapped when it is opened.

matrix.f32      the vectors, little-endian float32, row after row
NAME.npy        each of the other arrays
table.json      what the folder holds: shape, sizes, digests; written last

A folder is believed when every byte of its arrays has the digest that ``table.json`` says, words
and vectors give the table's digest, and ``table.json`` has its own sum, which covers the source and
its state. (Hashing takes a third of a second for 400,000 rows of 300 numbers, which the first
search would read anyway.) What stays trusted: a forger who writes arrays and computes all sums
anew, and who writes to an array while a run maps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from augment.contract import sha256_file
from augment.contract.files import sync_folder
from augment.contract.reading import read_text
from augment.contract.task import StrictRecord
from augment.errors import AssetInvalid
from augment.vectors.table import Gather, Table

METADATA = "table.json"


class CacheUnusable(Exception):
    """A folder for tables cannot be used: full, read-only, without locks."""


class FileRecord(StrictRecord):
    """Size and SHA-256 of one array's file."""

    bytes: int
    sha256: str


class Metadata(StrictRecord):
    """What a folder says about its table.

    Attributes:
        name: The folder's name.
        source: The vectors file.
        digest: The table's digest.
        files: Array's name → its file.
        sum: SHA-256 over all of the above.
    """

    name: str
    source: str
    rows: int
    dimensions: int
    digest: str
    files: dict[str, FileRecord]
    sum: str = ""

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return sum(file.bytes for file in self.files.values())

    @classmethod
    def read(cls, folder: Path) -> Metadata:
        """The metadata of a folder.

        Raises:
            ValueError: There is none, it is not of this folder's table, or was changed.
        """
        text = read_text(folder / METADATA, AssetInvalid, "the metadata of a table")
        metadata = cls.model_validate_json(text)
        if metadata.name != folder.name or metadata.sum != metadata.own_sum():
            raise ValueError(f"{METADATA} was changed")
        return metadata

    def own_sum(self) -> str:
        """SHA-256, in hex, over everything but the sum."""
        text = self.model_dump_json(exclude={"sum"})
        return hashlib.sha256(text.encode()).hexdigest()


def gather_in(folder: Path) -> Gather:
    """Gathers a table's vectors in the folder's file and maps them.

    Raises:
        CacheUnusable: When gathering: the folder cannot be written.
    """

    def gather(parts: Iterator[np.ndarray]) -> np.ndarray:
        path, dimensions = _path(folder, "matrix"), 0
        for part in parts:
            dimensions = part.shape[1]
            with cache_errors(), path.open("ab") as stream:
                stream.write(part.astype("<f4", copy=False).data)
        with cache_errors():
            return np.memmap(path, "<f4", "r").reshape(-1, dimensions)

    return gather


def save(folder: Path, table: Table, *, name: str, source: Path) -> None:
    """Complete a folder that ``gather_in`` wrote to, and make it durable.

    ``name`` is the name that the folder will have, ``source`` the vectors file.
    """
    files = {}
    for array_name, array in table.arrays().items():
        path = _path(folder, array_name)
        if array_name != "matrix":
            np.save(path, array, allow_pickle=False)
        files[array_name] = FileRecord(bytes=path.stat().st_size, sha256=sha256_file(path))
    rows, dimensions = table.matrix.shape
    metadata = Metadata(
        name=name,
        source=str(source),
        rows=rows,
        dimensions=dimensions,
        digest=table.digest,
        files=files,
    )
    whole = metadata.model_copy(update={"sum": metadata.own_sum()})
    (folder / METADATA).write_text(whole.model_dump_json(indent=1), encoding="utf-8")
    sync_folder(folder)


def load(folder: Path) -> Table | None:
    """The table of a folder, mapped; None where it is not there or not as it was written."""
    try:
        metadata = Metadata.read(folder)
        arrays = {name: _map(folder, name, metadata) for name in metadata.files}
        table = Table.from_arrays(arrays, metadata.digest)
        vectors = bytes.fromhex(metadata.files["matrix"].sha256)
        return table if table.content_digest(vectors) == metadata.digest else None
    except (OSError, ValueError, KeyError):
        return None


def _path(folder: Path, name: str) -> Path:
    return folder / ("matrix.f32" if name == "matrix" else f"{name}.npy")


def _map(folder: Path, name: str, metadata: Metadata) -> np.ndarray:
    """An array's file, mapped; what is written to it stays in memory.

    Raises:
        ValueError: It is not what the metadata say.
    """
    path, expected = _path(folder, name), metadata.files[name]
    if path.stat().st_size != expected.bytes or sha256_file(path) != expected.sha256:
        raise ValueError(f"{path.name} has another size or digest")
    mapped: np.ndarray
    if name == "matrix":
        mapped = np.memmap(path, "<f4", "c", shape=(metadata.rows, metadata.dimensions))
    else:
        mapped = np.load(path, mmap_mode="c", allow_pickle=False)
    return mapped.view(np.ndarray)  # which slices faster


@contextmanager
def cache_errors() -> Iterator[None]:
    """Tell faults of the cache's folder from those of the vectors file."""
    try:
        yield
    except OSError as error:
        raise CacheUnusable(str(error)) from error
