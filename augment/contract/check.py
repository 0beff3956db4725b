"""A version's files against its manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract.errors import FileDamaged, FileMissing, SchemaMismatch, UnsafePath
from augment.contract.manifest import FileEntry
from augment.contract.schema import rejected_schema

if TYPE_CHECKING:
    from augment.contract.version import Version


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(version: Version) -> int:
    """Re-read every file and compare its digest with the manifest.

    Returns:
        The number of files checked.

    Raises:
        FileDamaged: A digest differs.
    """
    check_files(version)
    entries = version.manifest.files + version.manifest.rejected
    for entry in entries:
        found = sha256_file(version.path / entry.path)
        if found != entry.sha256:
            raise FileDamaged(
                f"{version.reference}: {entry.path} has digest {found[:12]}, "
                f"the manifest says {entry.sha256[:12]}.",
                "Restore the file from a backup, or run the same `augment run` into another root.",
            )
    return len(entries)


def check_files(version: Version) -> None:
    """Places, sizes, rows and schemas of all files."""
    for entry in version.manifest.files:
        _check_file(version, entry, version.schema())
    for entry in version.manifest.rejected:
        _check_file(version, entry, rejected_schema(version.task))


def _check_file(version: Version, entry: FileEntry, expected: pa.Schema) -> None:
    path = version.path / entry.path
    where = f"{version.reference}: {entry.path}"
    if path.is_symlink() or not path.resolve().is_relative_to(version.path.resolve()):
        raise UnsafePath(f"{where} is a link that leaves the version directory.")
    if not path.is_file():
        raise FileMissing(f"{where} is listed in the manifest but is not there.")
    size = path.stat().st_size
    if size != entry.bytes:
        raise FileDamaged(f"{where} has {size} bytes, the manifest says {entry.bytes}.")
    try:
        footer = pq.ParquetFile(path)
        rows, schema = footer.metadata.num_rows, footer.schema_arrow
    except (pa.ArrowInvalid, OSError) as error:
        raise FileDamaged(f"{where} is not a whole Parquet file: {error}.") from error
    if not schema.equals(expected, check_metadata=True):
        raise SchemaMismatch(
            f"{where} has columns {', '.join(schema.names)} that are not those of the task: "
            f"expected {', '.join(expected.names)} with their types."
        )
    if rows != entry.rows:
        raise FileDamaged(f"{where} has {rows} rows, the manifest says {entry.rows}.")
