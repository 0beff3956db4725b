"""A table as plain .npy files in a folder: written while it is built, mapped when it is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from pydantic import BaseModel, ConfigDict

from augment.contract import sha256_file, sync
from augment.vectors.table import Table

NOTE = "table.json"
LARGE = ("matrix", "codes")
_SAMPLED_ROWS = 64


class FolderTrouble(Exception):
    """A folder for tables cannot be used: full, read-only, without locks."""


class File(BaseModel):
    """Size and SHA-256 of one array's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Note(BaseModel):
    """What a folder says about its table.

    Attributes:
        name: The folder's name.
        source: The vectors file.
        rows: Rows of the table.
        dimensions: Numbers in each.
        digest: The table's digest.
        sample: SHA-256 over some rows of the large arrays.
        files: Array's name → its file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    rows: int
    dimensions: int
    digest: str
    sample: str
    files: dict[str, File]

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return sum(file.bytes for file in self.files.values())

    @classmethod
    def read(cls, folder: Path) -> Note:
        """The note in a folder.

        Raises:
            OSError: There is none.
            ValueError: It is not a note.
        """
        return cls.model_validate_json((folder / NOTE).read_bytes())


class Files:
    """A sink for a table's two large arrays: appended to files, mapped at the end."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{name}.npy" for name in LARGE]
        self._heads: list[np.ndarray] = []
        self._rows = 0

    def append(self, matrix: np.ndarray, codes: np.ndarray) -> None:
        """Write the next rows of both behind those that are there."""
        self._heads, self._rows = [matrix[:1], codes[:1]], self._rows + len(matrix)
        with troubles():
            for path, array in zip(self._paths, (matrix, codes), strict=True):
                with path.open("ab") as stream:
                    if not stream.tell():
                        _head(stream, array, 0)
                    stream.write(array.data)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Both arrays, mapped."""
        with troubles():
            for path, array in zip(self._paths, self._heads, strict=True):
                with path.open("r+b") as stream:
                    _head(stream, array, self._rows)
            matrix, codes = (np.load(path, mmap_mode="r") for path in self._paths)
        return matrix, codes


def _head(stream: IO[bytes], array: np.ndarray, rows: int) -> None:
    """The head of a .npy file; NumPy leaves room in it for more rows."""
    shape, descr = (rows, *array.shape[1:]), npy.dtype_to_descr(array.dtype)
    head = {"shape": shape, "fortran_order": False, "descr": descr}
    npy.write_array_header_1_0(stream, head)


def save(folder: Path, table: Table, *, name: str, source: Path) -> None:
    """Complete a folder whose large arrays are written, and make it durable.

    Args:
        folder: Where ``Files`` wrote.
        table: The table.
        name: The name the folder will have.
        source: The vectors file.
    """
    files = {}
    for column, array in table.columns().items():
        path = folder / f"{column}.npy"
        if column not in LARGE:
            np.save(path, array, allow_pickle=False)
        files[column] = File(bytes=path.stat().st_size, sha256=sha256_file(path))
    rows, dimensions = table.matrix.shape
    note = Note(
        name=name,
        source=str(source),
        rows=rows,
        dimensions=dimensions,
        digest=table.digest,
        sample=_sample(table),
        files=files,
    )
    (folder / NOTE).write_text(note.model_dump_json(indent=1), encoding="utf-8")
    for path in [*folder.iterdir(), folder]:
        sync(path)


def load(folder: Path) -> Table | None:
    """The table of a folder, mapped; None where it is not there or not whole.

    Small arrays are compared with their digests, the large ones by size and some of their rows.
    """
    try:
        note = Note.read(folder)
        columns = {name: _mapped(folder, name, file) for name, file in note.files.items()}
        table = Table.of_columns(columns, note.digest)
        shape = (note.rows, note.dimensions)
        whole = table.matrix.shape == table.codes.values.shape == shape
        if whole and note.name == folder.name and note.sample == _sample(table):
            return table
    except (OSError, ValueError, KeyError):
        pass
    return None


def is_whole(folder: Path) -> bool:
    """Whether every byte of a folder agrees with its note."""
    try:
        files = Note.read(folder).files.items()
        return all(sha256_file(folder / f"{name}.npy") == file.sha256 for name, file in files)
    except (OSError, ValueError):
        return False


def _mapped(folder: Path, name: str, file: File) -> np.ndarray:
    """An array's file, mapped; what is written to it stays in memory.

    Raises:
        ValueError: It is not what the note says.
    """
    path = folder / f"{name}.npy"
    if path.stat().st_size != file.bytes:
        raise ValueError(f"{path.name} has another size")
    if name not in LARGE and sha256_file(path) != file.sha256:
        raise ValueError(f"{path.name} has another digest")
    mapped: np.memmap = np.load(path, mmap_mode="c", allow_pickle=False)
    return mapped.view(np.ndarray)  # which slices faster


def _sample(table: Table) -> str:
    """SHA-256 over some rows of the large arrays, the first and the last among them."""
    rows = np.unique(np.linspace(0, len(table.matrix) - 1, _SAMPLED_ROWS).astype(np.int64))
    digest = hashlib.sha256(table.matrix[rows].tobytes())
    digest.update(table.codes.values[rows].tobytes())
    return digest.hexdigest()


@contextmanager
def troubles() -> Iterator[None]:
    """Tell faults of the folder from those of the vectors file."""
    try:
        yield
    except OSError as error:
        raise FolderTrouble(str(error)) from error
