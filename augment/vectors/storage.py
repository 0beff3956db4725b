"""A table as array files in a folder: written while it is built, memory-mapped when it is opened.

matrix.f32      the vectors, little-endian float32, row after row
NAME.npy        each of the other arrays
table.json      what the folder holds: shape, sizes, digests; written last
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from augment.contract import sha256_file
from augment.contract.files import sync_folder
from augment.contract.task import StrictRecord
from augment.vectors.table import Gather, Table

METADATA = "table.json"
_SAMPLED_ROWS = 64


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
        sample: SHA-256 over some rows of the vectors.
        files: Array's name → its file.
    """

    name: str
    source: str
    rows: int
    dimensions: int
    digest: str
    sample: str
    files: dict[str, FileRecord]

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return sum(file.bytes for file in self.files.values())

    @classmethod
    def read(cls, folder: Path) -> Metadata:
        """The metadata of a folder.

        Raises:
            OSError: There is none.
            ValueError: It is no metadata of a table.
        """
        return cls.model_validate_json((folder / METADATA).read_bytes())


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
        sample=_sample(table),
        files=files,
    )
    (folder / METADATA).write_text(metadata.model_dump_json(indent=1), encoding="utf-8")
    sync_folder(folder)


def load(folder: Path) -> Table | None:
    """The table of a folder, mapped; None where it is not there or damaged.

    Small arrays are compared with their digests, the vectors by size and some of their rows.
    """
    try:
        metadata = Metadata.read(folder)
        arrays = {name: _map(folder, name, metadata) for name in metadata.files}
        table = Table.from_arrays(arrays, metadata.digest)
        same = metadata.name == folder.name and metadata.sample == _sample(table)
    except (OSError, ValueError, KeyError):
        return None
    return table if same else None


def is_whole(folder: Path) -> bool:
    """Whether every byte of a folder agrees with its metadata."""
    try:
        files = Metadata.read(folder).files.items()
        return all(sha256_file(_path(folder, name)) == file.sha256 for name, file in files)
    except (OSError, ValueError):
        return False


def _path(folder: Path, name: str) -> Path:
    return folder / ("matrix.f32" if name == "matrix" else f"{name}.npy")


def _map(folder: Path, name: str, metadata: Metadata) -> np.ndarray:
    """An array's file, mapped; what is written to it stays in memory.

    Raises:
        ValueError: It is not what the metadata say.
    """
    path, expected = _path(folder, name), metadata.files[name]
    if path.stat().st_size != expected.bytes:
        raise ValueError(f"{path.name} has another size")
    mapped: np.ndarray
    if name == "matrix":
        mapped = np.memmap(path, "<f4", "c", shape=(metadata.rows, metadata.dimensions))
    elif sha256_file(path) != expected.sha256:
        raise ValueError(f"{path.name} has another digest")
    else:
        mapped = np.load(path, mmap_mode="c", allow_pickle=False)
    return mapped.view(np.ndarray)  # which slices faster


def _sample(table: Table) -> str:
    """SHA-256 over some rows of the vectors, the first and the last among them."""
    rows = np.unique(np.linspace(0, len(table.matrix) - 1, _SAMPLED_ROWS).astype(np.int64))
    return hashlib.sha256(table.matrix[rows].tobytes()).hexdigest()


@contextmanager
def cache_errors() -> Iterator[None]:
    """Tell faults of the cache's folder from those of the vectors file."""
    try:
        yield
    except OSError as error:
        raise CacheUnusable(str(error)) from error
