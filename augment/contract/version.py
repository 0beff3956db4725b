"""Opening, listing and checking versions.

    <root>/<task>/v0003/manifest.json README.md data/{train,validation,test}-*.parquet
                        rejected/train-*.parquet    refused rows, where the recipe keeps them

A reference is ``<root>/<task>`` (the newest), ``<root>/<task>@v0003``,
``<root>/<task>@8c1f2a`` (the start of an id), or the path of the directory itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract.errors import (
    ContractError,
    FileDamaged,
    FileMissing,
    ManifestInvalid,
    SchemaMismatch,
    UnsafePath,
    VersionNotFound,
)
from augment.contract.manifest import CONTRACT, FileEntry, Manifest
from augment.contract.schema import arrow_schema, rejected_schema
from augment.contract.task import TaskSpec
from augment.contract.validation import faults

if TYPE_CHECKING:
    import datasets
    import pandas as pd

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20
_VERSION_NAME = re.compile(r"v\d{4,}")


@dataclass(frozen=True, slots=True)
class Version:
    """A committed, immutable version on disk: its directory and its parsed manifest."""

    path: Path
    manifest: Manifest

    @property
    def task(self) -> TaskSpec:
        """The task the rows belong to."""
        return self.manifest.task

    @property
    def reference(self) -> str:
        """The short name, such as ``sst2@v0003``."""
        return f"{self.task.name}@{self.manifest.version}"

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are stored, in the task's order."""
        stored = {entry.split for entry in self.manifest.files}
        return tuple(name for name in self.task.splits.names if name in stored)

    def rows(self, split: str) -> int:
        """Rows of a split."""
        return sum(entry.rows for entry in self._entries(split))

    def files(self, split: str) -> tuple[Path, ...]:
        """The Parquet files of a split, in order.

        Raises:
            VersionNotFound: The version has no such split.
        """
        return tuple(self.path / entry.path for entry in self._entries(split))

    def table(self, split: str) -> pa.Table:
        """A split as one Arrow table (memory-mapped)."""
        return pa.concat_tables(pq.read_table(path, memory_map=True) for path in self.files(split))

    def rejected(self) -> Iterator[pa.RecordBatch]:
        """The generated rows that were refused, each with its ``reason``, where they were kept."""
        for entry in self.manifest.rejected:
            yield from pq.ParquetFile(self.path / entry.path).iter_batches()

    def schema(self) -> pa.Schema:
        """The columns of every file of every split."""
        return arrow_schema(self.task, teacher_logits=self.manifest.teacher_logits)

    def to_pandas(self, split: str = "train") -> pd.DataFrame:
        """A split as a data frame."""
        frame: pd.DataFrame = self.table(split).to_pandas()
        return frame

    def load(self) -> datasets.DatasetDict:
        """All splits as a ``datasets.DatasetDict``, ``ClassLabel`` included."""
        import datasets

        files = {split: [str(path) for path in self.files(split)] for split in self.splits}
        read = datasets.Dataset.from_parquet
        return datasets.DatasetDict({split: read(paths) for split, paths in files.items()})

    def _entries(self, split: str) -> tuple[FileEntry, ...]:
        found = tuple(entry for entry in self.manifest.files if entry.split == split)
        if not found:
            raise VersionNotFound(
                f"{self.reference} has no split {split!r}; it has {', '.join(self.splits)}."
            )
        return found


def list_versions(root: Path, *, skip_unreadable: bool = False) -> Iterator[Version]:
    """Every committed version below ``<root>`` or ``<root>/<task>``, oldest first.

    Raises:
        ContractError: A manifest breaks the contract, unless such ones are skipped.
    """
    for path in sorted([*root.glob("v*"), *root.glob("*/v*")]):
        if _VERSION_NAME.fullmatch(path.name) and (path / MANIFEST).is_file():
            try:
                yield _read(path)
            except ContractError:
                if not skip_unreadable:
                    raise


def open_version(reference: str | Path) -> Version:
    """Open a version by its reference (its forms: above), checking all that is cheap to check.

    Sizes, places and schemas of all files are checked; digests are left to ``verify``.

    Raises:
        VersionNotFound: Nothing is there, or an id prefix fits more than one version.
        ContractError: The manifest or a file breaks the contract.
    """
    version = _read(_resolve(Path(reference)))
    _check_files(version)
    listed = {entry.path for entry in version.manifest.files}
    for path in sorted((version.path / "data").iterdir()):
        if f"data/{path.name}" not in listed:
            raise FileDamaged(
                f"{version.reference}: data/{path.name} is not listed in the manifest.",
                "Readers of the folder would take it for data: move it elsewhere.",
            )
    return version


def _resolve(reference: Path) -> Path:
    if (reference / MANIFEST).is_file() or _VERSION_NAME.fullmatch(reference.name):
        return reference
    name, _, selector = reference.name.partition("@")
    folder = reference.parent / name
    paths = [path for path in folder.glob("v*") if _VERSION_NAME.fullmatch(path.name)]
    committed = sorted(
        (path for path in paths if (path / MANIFEST).is_file()), key=lambda path: int(path.name[1:])
    )
    if not committed:
        raise VersionNotFound(
            f"{folder} holds no version.",
            f"Make one: augment run {name} … --out {reference.parent}",
        )
    if not selector:
        return committed[-1]
    chosen = [path for path in committed if path.name == selector]
    if not chosen and re.fullmatch(r"[0-9a-f]{4,64}", selector):
        chosen = [path for path in committed if _read(path).manifest.id.startswith(selector)]
    if len(chosen) != 1:
        names = ", ".join(path.name for path in committed)
        fits = "fits more than one version" if chosen else "is no version"
        raise VersionNotFound(f"{selector!r} {fits} of {folder}; there are: {names}.")
    return chosen[0]


def _read(path: Path) -> Version:
    file = path / MANIFEST
    if not file.is_file():
        raise VersionNotFound(f"{path} has no {MANIFEST}: it is not a committed version.")
    if file.stat().st_size > MAX_MANIFEST_BYTES:
        raise ManifestInvalid(f"{file} is larger than {MAX_MANIFEST_BYTES} bytes.")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"{file} is not JSON: {error}.") from error
    number = raw.get("contract") if isinstance(raw, dict) else None
    if number != CONTRACT:
        raise ManifestInvalid(
            f"{file} has contract number {number!r}; this program reads {CONTRACT}.",
            "Read it with the version of augment-distill that wrote it.",
        )
    for key, fault in faults(Manifest, raw).items():
        kind = UnsafePath if key.endswith(".path") else ManifestInvalid
        raise kind(f"{file}: {key}: {fault}.")
    return Version(path, Manifest.model_validate(raw))


def open_checked(version: Version | str | Path) -> Version:
    """Open a version if need be, and compare every file with its digest.

    Raises:
        ContractError: It breaks the contract.
    """
    opened = version if isinstance(version, Version) else open_version(version)
    verify(opened)
    return opened


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(version: Version) -> int:
    """Re-read every file, compare its digest with the manifest, and count the files.

    Raises:
        FileDamaged: A digest differs.
    """
    _check_files(version)
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


def _check_files(version: Version) -> None:
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
