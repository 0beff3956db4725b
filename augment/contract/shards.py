"""The one door to a version's Parquet files: what is read is what the manifest describes.

Every read compares the file's size and digest with the manifest first. The digest of an unchanged
file is computed once a process.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract.errors import FileDamaged, FileMissing, SchemaMismatch, UnsafePath
from augment.contract.foreign import counted
from augment.contract.manifest import FileEntry
from augment.contract.reading import guarded, remedy

ROWS_AT_ONCE = 8192
RESTORE = "Restore the file from a backup, or run the same `augment run` into another root."


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of a version, as its manifest describes it.

    Attributes:
        version: The version's directory.
        reference: The version's short name, for messages.
        schema: The columns that the task prescribes.
    """

    version: Path
    reference: str
    entry: FileEntry
    schema: pa.Schema

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.version / self.entry.path

    def check_place(self) -> None:
        """Check that a file of the size of the manifest lies inside the version.

        Raises:
            ContractError: It does not.
        """
        path, where = self.path, f"{self.reference}: {self.entry.path}"
        with self._reading():
            if path.is_symlink() or not path.resolve().is_relative_to(self.version.resolve()):
                raise UnsafePath(f"{where} is a link that leaves the version directory.")
            if not path.is_file():
                raise FileMissing(f"{where} is listed in the manifest but is not there.", RESTORE)
            size = path.stat().st_size
        if size != self.entry.bytes:
            raise FileDamaged(
                f"{where} has {counted(size, 'byte')}, the manifest says {self.entry.bytes:,}.",
                remedy(path) or RESTORE,
            )

    def check_footer(self) -> None:
        """Check place, columns and number of rows, without reading the rows.

        Raises:
            ContractError: They are not those of the manifest.
        """
        self.check_place()
        where = f"{self.reference}: {self.entry.path}"
        with self._reading(), pq.ParquetFile(self.path) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
        if not schema.equals(self.schema, check_metadata=True):
            raise SchemaMismatch(
                f"{where} has columns {', '.join(schema.names)} that are not those of the task: "
                f"expected {', '.join(self.schema.names)} with their types."
            )
        if rows != self.entry.rows:
            raise FileDamaged(
                f"{where} has {counted(rows, 'row')}, the manifest says {self.entry.rows:,}.",
                RESTORE,
            )

    def check(self) -> None:
        """Check place and digest.

        Raises:
            ContractError: They are not those of the manifest.
        """
        self.check_place()
        with self._reading():
            state = self.path.stat()
            found = digest_of(self.path, state.st_size, state.st_mtime_ns, state.st_ino)
        if found != self.entry.sha256:
            raise FileDamaged(
                f"{self.reference}: {self.entry.path} has digest {found[:12]}, "
                f"the manifest says {self.entry.sha256[:12]}.",
                RESTORE,
            )

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, or some columns of them.

        Raises:
            ContractError: The file is not the one that the manifest describes.
        """
        self.check()
        with self._reading(), pq.ParquetFile(self.path) as file:
            table = file.read(columns)
            table.validate(full=True)  # also that texts are UTF-8
        return table

    def batches(
        self, columns: Sequence[str] | None = None, rows: int = ROWS_AT_ONCE
    ) -> Iterator[pa.RecordBatch]:
        """The rows in order, so many at a time.

        Raises:
            ContractError: The file is not the one that the manifest describes.
        """
        self.check()
        with self._reading(), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(rows, columns=columns):
                batch.validate(full=True)
                yield batch

    def _reading(self) -> AbstractContextManager[None]:
        return guarded(self.path, FileDamaged, f"a Parquet file of {self.reference}", RESTORE)


@lru_cache(maxsize=4096)
def digest_of(path: Path, *_state: int) -> str:
    """The digest of a file, computed once as long as its state (size, time, inode) stays."""
    return sha256_file(path)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_digest(columns: Mapping[str, Iterable[Sequence[Any]]]) -> str:
    """SHA-256, in hex, over the values of columns, which come in parts of any size.

    It covers rows, not files: the same rows as TSV or as Parquet agree.
    """
    digest = hashlib.sha256()
    for name, parts in columns.items():
        digest.update(f"\0{name}\0".encode())
        for part in parts:
            for value in part:
                raw = _as_bytes(value)
                digest.update(struct.pack("<q", -1 if value is None else len(raw)))
                digest.update(raw)
    return digest.hexdigest()


def _as_bytes(value: Any) -> bytes:
    """A text, a number, a list of numbers or nothing."""
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    return (
        struct.pack(f"<{len(value)}d", *value)
        if isinstance(value, list)
        else struct.pack("<d", value)
    )
