"""Opening, listing and checking versions.

    <root>/<task>/v0003/manifest.json README.md croissant.json
                        data/{train,validation,test}-*.parquet
                        rejected/train-*.parquet    refused rows, where the recipe keeps them

A reference is ``<root>/<task>`` (the newest), ``<root>/<task>@v0003``,
``<root>/<task>@8c1f2a`` (the start of an id), or the path of the directory itself.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from augment.contract.errors import (
    ContractError,
    FileDamaged,
    ManifestInvalid,
    PlaceUnusable,
    SplitNotFound,
    UnsafePath,
    UsageError,
    VersionNotFound,
)
from augment.contract.foreign import markup, shown
from augment.contract.manifest import DATA, REJECTED, FileEntry, Manifest, SourceSplit, disagreement
from augment.contract.reading import guarded, read_json
from augment.contract.recipes import faults
from augment.contract.shards import (
    RESTORE,
    ROWS_AT_ONCE,
    Shard,
    content_digest,
    digest_of,
    sha256_file,
)
from augment.contract.task import CONTRACTS, TaskSpec, arrow_schema, rejected_schema, rows_html

if TYPE_CHECKING:
    import datasets
    import pandas as pd

MANIFEST = "manifest.json"
CARD, CROISSANT = "README.md", "croissant.json"
"""What other tools read; versions that were made earlier have no second one."""
_STRANGE = ".huggingface.yaml"
"""A hidden file that ``datasets`` believes more than the card."""
_WRITE_IT = 'Write rows first: augment.write_version(task, {"train": frame, "validation": frame})'
MAX_MANIFEST_BYTES = 16 * 2**20
_VERSION_NAME = re.compile(r"v[0-9]{4,}")


@dataclass(frozen=True, slots=True, repr=False)
class Version:
    """A committed, immutable version on disk: its directory and its parsed manifest.

    Examples:
        >>> from augment import list_versions, open_version, verify
        >>> version = open_version("data/versions/reviews@v0001")
        >>> version.to_pandas("validation").label_name.value_counts().to_dict()
        {'negative': 10, 'positive': 10}
        >>> verify(version)  # so many files agree with the manifest
        2
        >>> [found.reference for found in list_versions("data/versions")]
        ['reviews@v0001']
    """

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

    @property
    def trained(self) -> tuple[str, ...]:
        """The stored splits that a model may be trained on: with labels, and without."""
        splits = self.task.splits
        return tuple(name for name in (splits.train, splits.unlabeled) if name in self.splits)

    def rows(self, split: str) -> int:
        """Rows of a split."""
        return sum(shard.entry.rows for shard in self.shards(split))

    def files(self, split: str) -> tuple[Path, ...]:
        """The Parquet files of a split, in order; ``table`` and ``batches`` read and check them.

        Raises:
            SplitNotFound: The version has no such split.
        """
        return tuple(shard.path for shard in self.shards(split))

    def table(self, split: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A split, or some columns of it, as one Arrow table.

        Raises:
            ContractError: A file is not the one that the manifest describes.
        """
        return pa.concat_tables(shard.table(columns) for shard in self.shards(split))

    def batches(
        self, split: str, columns: Sequence[str] | None = None, rows: int = ROWS_AT_ONCE
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a split in order, so many at a time.

        Raises:
            ContractError: A file is not the one that the manifest describes.
        """
        for shard in self.shards(split):
            yield from shard.batches(columns, rows)

    def rejected(self) -> Iterator[pa.RecordBatch]:
        """The generated rows that were refused, each with its ``reason``, where they were kept."""
        for shard in self._rejected():
            yield from shard.batches()

    def schema(self) -> pa.Schema:
        """The columns of every file of every split."""
        manifest = self.manifest
        return arrow_schema(
            self.task,
            contract=manifest.contract,
            soft_labels=manifest.soft_labels,
            teacher_logits=manifest.teacher_logits,
        )

    def to_pandas(self, split: str = "train") -> pd.DataFrame:
        """A split as a data frame; beside the number of a class stands its name, ``label_name``."""
        return self.task.label.with_names(self.table(split).to_pandas())

    def describe(self) -> pd.DataFrame:
        """Each split: its rows, those that were generated, and the rows of each class."""
        columns = [self.task.label.column, "variant"]
        return self.task.label.described({s: self.table(s, columns) for s in self.splits})

    def __repr__(self) -> str:
        rows = " · ".join(f"{split} {self.rows(split):,}" for split in self.splits)
        return shown(f"Version({self.reference} {self.manifest.id[:6]}: {rows}; {self.path})")

    def _repr_html_(self) -> str:
        """What it holds, with the first rows of the training split and their edits marked."""
        first = next(self.batches(self.task.splits.train, rows=10)).to_pylist()
        rows = rows_html(first, self.task.text_columns, self.task.label)
        return f"<p>{markup(repr(self))}</p>{rows}"

    def to_datasets(self) -> datasets.DatasetDict:
        """All splits as a ``datasets.DatasetDict``, ``ClassLabel`` included.

        Raises:
            PlaceUnusable: The folder's path means something else to ``datasets``.
        """
        import datasets

        if "::" in str(self.path):
            says = f"{self.path}: to datasets, what stands behind :: is a place inside another."
            raise PlaceUnusable(says, "Give the folder another name, or read it by table().")
        loaded = {}
        for split in self.splits:
            shards = self.shards(split)
            for shard in shards:
                for _ in shard.batches():  # datasets does not look whether texts are UTF-8
                    pass
            with guarded(shards[0].path, FileDamaged, f"a Parquet file of {self.reference}"):
                paths = [glob.escape(str(shard.path)) for shard in shards]
                loaded[split] = datasets.Dataset.from_parquet(
                    paths, config_name=self.manifest.config_name
                )
        return datasets.DatasetDict(loaded)

    load = to_datasets

    def shards(self, split: str) -> tuple[Shard, ...]:
        """The files of a split, in order.

        Raises:
            SplitNotFound: The version has no such split.
        """
        found = tuple(shard for shard in self._shards() if shard.entry.split == split)
        if not found:
            raise SplitNotFound(
                f"{self.reference} has no split {split!r}; it has {', '.join(self.splits)}.",
                "Name one of these, or make a version from a source that has the split.",
            )
        return found

    def all_shards(self) -> tuple[Shard, ...]:
        """Every file of the version, refused rows included."""
        return (*self._shards(), *self._rejected())

    def _shards(self) -> tuple[Shard, ...]:
        return self._as_shards(self.manifest.files, self.schema())

    def _rejected(self) -> tuple[Shard, ...]:
        return self._as_shards(
            self.manifest.rejected, rejected_schema(self.task, contract=self.manifest.contract)
        )

    def _as_shards(self, entries: tuple[FileEntry, ...], schema: pa.Schema) -> tuple[Shard, ...]:
        return tuple(Shard(self.path, self.reference, entry, schema) for entry in entries)


def list_versions(root: str | Path, *, skip_unreadable: bool = False) -> Iterator[Version]:
    """Every committed version below ``<root>`` or ``<root>/<task>``, oldest first.

    Raises:
        ContractError: A manifest breaks the contract, unless such ones are skipped.
    """
    root = Path(root)
    with guarded(root / MANIFEST, VersionNotFound, "a folder of versions"):
        places = [*root.glob("v*"), *root.glob("*/v*")]
    folders = [path for path in places if _VERSION_NAME.fullmatch(path.name)]
    for path in sorted(folders, key=lambda path: (path.parent, int(path.name[1:]))):
        try:
            yield _read(path)
        except VersionNotFound:
            continue
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
    if not isinstance(reference, str | os.PathLike):
        raise UsageError(f"{type(reference).__name__} is no version.", _WRITE_IT)
    path = Path(reference)
    with guarded(path / MANIFEST, VersionNotFound, "a version", "Name a version: augment list"):
        version = _read(_resolve(path))
        for shard in version.all_shards():
            shard.check_footer()
        _refuse_strangers(version)
    return version


def _refuse_strangers(version: Version) -> None:
    """Readers of the folder would take any file of it for data."""
    listed = {shard.entry.path for shard in version.all_shards()}
    for folder in (version.path / DATA, version.path / REJECTED):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if f"{folder.name}/{path.name}" not in listed:
                raise FileDamaged(
                    f"{version.reference}: {folder.name}/{path.name} is not listed in the "
                    "manifest.",
                    "Readers of the folder would take it for data: move it elsewhere.",
                )


def _resolve(reference: Path) -> Path:
    if (reference / MANIFEST).is_file():
        return reference
    name, _, selector = reference.name.partition("@")
    folder = reference.parent / name
    paths = [path for path in folder.glob("v*") if _VERSION_NAME.fullmatch(path.name)]
    committed = sorted(
        (path for path in paths if (path / MANIFEST).is_file()), key=lambda path: int(path.name[1:])
    )
    if not committed and _VERSION_NAME.fullmatch(reference.name):
        return reference  # a version without its manifest, not a task called so
    if not committed:
        below = sorted({str(file.parents[1]) for file in folder.glob(f"*/v*/{MANIFEST}")})
        make = f"Make one: augment run {name} … --out {reference.parent}"
        raise VersionNotFound(
            f"{folder} holds no version.",
            f"They lie one level down: {' or '.join(below[:5])}" if below else make,
        )
    if not selector:
        return committed[-1]
    chosen = [path for path in committed if path.name == selector]
    if not chosen and re.fullmatch(r"[0-9a-f]{4,64}", selector):
        readable = (v for v in list_versions(folder, skip_unreadable=True) if v.path in committed)
        chosen = [v.path for v in readable if v.manifest.id.startswith(selector)]
    if len(chosen) != 1:
        names = ", ".join(path.name for path in committed)
        fits = "fits more than one version" if chosen else "is no version"
        raise VersionNotFound(f"{selector!r} {fits} of {folder}; there are: {names}.")
    return chosen[0]


def _read(path: Path) -> Version:
    file = path / MANIFEST
    hint = "Restore it from a backup, or run the same `augment run` again."
    with guarded(file, ManifestInvalid, "a manifest", hint):
        if not file.is_file():
            raise VersionNotFound(f"{path} has no {MANIFEST}: it is not a committed version.")
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise ManifestInvalid(f"{file} is larger than {MAX_MANIFEST_BYTES} bytes.", hint)
    raw = read_json(file, ManifestInvalid, "a manifest", hint)
    number = raw.get("contract") if isinstance(raw, dict) else None
    if number not in CONTRACTS or isinstance(number, bool):
        known = " and ".join(map(str, CONTRACTS))
        raise ManifestInvalid(
            f"{file} has contract number {number!r}; this program reads {known}.",
            "Read it with the version of augment-distill that wrote it.",
        )
    for key, fault in faults(Manifest, raw).items():
        kind = UnsafePath if key.endswith(".path") else ManifestInvalid
        raise kind(f"{file}: {key}: {fault}.", hint)
    manifest = Manifest.model_validate(raw)
    if problem := disagreement(manifest, raw):
        raise ManifestInvalid(f"{file}: {problem}.", hint)
    return Version(path, manifest)


def open_checked(version: Version | str | Path) -> Version:
    """Open a version if need be, and verify what readers of its files rely on.

    Raises:
        ContractError: It breaks the contract.
    """
    opened = version if isinstance(version, Version) else open_version(version)
    verify(opened, whole=False)
    return opened


def verify(version: Version, *, whole: bool = True) -> int:
    """Re-read every file, compare it with the manifest, and count the files.

    The source rows of every split are compared with the digests that the id covers, so that no
    split's rows stand in for another's. Only the ``whole`` verification looks for those among
    millions of training rows, and at what other tools read beside the files.

    Raises:
        ContractError: A file is not the one that the manifest describes.
    """
    digest_of.cache_clear()
    shards = version.all_shards()
    for shard in shards:
        shard.check_footer()
        shard.check()
    held_out = (*version.task.splits.validation, *version.task.splits.test)
    for source in version.manifest.sources:
        checked = whole or source.split in held_out
        if checked and source_of(version, source.split) != source:
            raise FileDamaged(
                f"{version.reference}: the source rows of split {source.split!r} are not those "
                "that the version was made from.",
                "Run the same `augment run` into another root.",
            )
    if whole:
        _check_card(version)
    return len(shards)


def _check_card(version: Version) -> None:
    """Check what tells other tools which files hold which split."""
    manifest = version.manifest
    for name, expected in {CARD: manifest.card, CROISSANT: manifest.croissant}.items():
        path = version.path / name
        with guarded(path, FileDamaged, f"a file of {version.reference}", RESTORE):
            if expected is not None and sha256_file(path) != expected:
                raise FileDamaged(f"{version.reference}: {name} is not as it was written.", RESTORE)
    known = {MANIFEST, CARD, DATA, REJECTED, *[CROISSANT] * (manifest.croissant is not None)}
    with guarded(version.path / MANIFEST, FileDamaged, "a manifest", RESTORE):
        names = {place.name for place in version.path.iterdir()} - known
    strange = sorted(name for name in names if not name.startswith(".") or name == _STRANGE)
    if strange:
        raise FileDamaged(
            f"{version.reference}: {strange[0]} is no part of the version.",
            "Other tools may read it with the version: move it elsewhere.",
        )


def source_of(version: Version, split: str, *, soft_labels: bool = False) -> SourceSplit:
    """A split's source rows as they stand in its files, as the id covers them.

    With ``soft_labels``, a version without any counts as one whose rows have none.

    Raises:
        ContractError: A file is not the one that the manifest describes.
    """
    rows = 0

    def originals(column: str) -> Iterator[list[Any]]:
        nonlocal rows
        rows = 0
        there = column if column in stored else "idx"
        for batch in version.batches(split, [there, "variant"]):
            values = batch.filter(pc.equal(batch["variant"], 0))[there].to_pylist()
            rows += len(values)
            yield values if there == column else [None] * len(values)

    stored = version.schema().names
    names = version.task.source_columns(soft_labels=version.manifest.soft_labels or soft_labels)
    with guarded(version.files(split)[0], FileDamaged, f"rows of {version.reference}"):
        digest = content_digest({name: originals(name) for name in names})
    return SourceSplit(split=split, rows=rows, sha256=digest)
