"""Chunks kept one by one, then one atomic commit.

<root>/<task>/.partial-<id>/chunks/000012.parquet .json    finished chunks of a run at work,
                                   000012.rejected          and their refused rows, if kept
<root>/<task>/.partial-<id>/version/                        the version being put together
<root>/<task>/v0003/                                        committed, never changed again
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract import (
    Fault,
    FileDamaged,
    FileEntry,
    Manifest,
    Version,
    arrow_schema,
    list_versions,
    open_checked,
    rejected_schema,
    sha256_file,
    sync,
)
from augment.contract.files import disk_errors, locked, write_file, write_text
from augment.contract.manifest import checksum_of
from augment.contract.reading import read_json
from augment.contract.task import StrictRecord
from augment.contract.version import CARD, CROISSANT, MANIFEST
from augment.versions.card import card
from augment.versions.croissant import croissant
from augment.versions.parquet import describe_files, write_split
from augment.versions.rows import ChunkOutput

_ROWS, _REJECTED, _NOTE = ".parquet", ".rejected", ".json"
_PARTIAL, _LOCK = ".partial-", ".lock-"


class _Note(StrictRecord):
    """What vouches for a finished chunk: which one of which run it is, its files and counts."""

    run: str
    chunk: int
    chunk_rows: int
    files: dict[str, str]
    counts: dict[str, int]
    checksum: str


@dataclass(frozen=True, slots=True)
class Staging:
    """The folder of a run at work; opened by one process at a time.

    Attributes:
        folder: The task's folder, which holds its versions.
        path: The run's own folder in it.
        identity: The id of the version; a chunk that was made for another is not taken.
        chunk_rows: Source rows of a chunk; chunks of another size are not taken for finished.
    """

    folder: Path
    path: Path
    identity: str
    chunk_rows: int

    def finished(self, chunk: int) -> dict[str, int] | None:
        """The counts of a chunk that is kept, or None; a damaged one does not count."""
        note = self._note(chunk)
        with suppress(OSError):
            if note is not None and all(
                (path := self._file(chunk, suffix)).is_file() and sha256_file(path) == digest
                for suffix, digest in note.files.items()
            ):
                return note.counts
        return None

    def keep(self, chunk: ChunkOutput) -> None:
        """Keep a finished chunk: first its rows, then the note that vouches for them.

        Raises:
            OutputUnwritable: There is no room.
        """
        digests = {}
        with disk_errors(self.path / "chunks"):
            for suffix in (_ROWS, _REJECTED, _NOTE):
                if (path := self._file(chunk.number, suffix)).is_dir():
                    shutil.rmtree(path)
            for suffix, table in {_ROWS: chunk.rows, _REJECTED: chunk.rejected}.items():
                if table is not None:
                    path = self._file(chunk.number, suffix)
                    write_file(path, partial(pq.write_table, table, compression="zstd"))
                    digests[suffix] = sha256_file(path)
            note = {
                "run": self.identity,
                "chunk": chunk.number,
                "chunk_rows": self.chunk_rows,
                "files": digests,
                "counts": chunk.counts,
            }
            text = json.dumps({**note, "checksum": checksum_of(note)})
            write_text(self._file(chunk.number, _NOTE), text)

    def tables(self, chunks: int, suffix: str, first: int = 0) -> Iterator[pa.Table]:
        """The rows of so many chunks in order: those that pass, or those that are refused.

        Raises:
            FileDamaged: A chunk was changed since it was found to be finished.
        """
        for chunk in range(first, first + chunks):
            note, path = self._note(chunk), self._file(chunk, suffix)
            content = b""
            with suppress(OSError):
                content = path.read_bytes() if path.is_file() else b""
            if note is None or hashlib.sha256(content).hexdigest() != note.files.get(suffix):
                raise FileDamaged(
                    f"{path} was changed or removed while the version was put together.",
                    "Run the same command again: this chunk is made again, the others are kept.",
                )
            yield pq.ParquetFile(pa.BufferReader(content)).read()

    def _note(self, chunk: int) -> _Note | None:
        """What was kept of a chunk of this very run, or None."""
        note = _whole_note(self._file(chunk, _NOTE))
        if note is None or _ROWS not in note.files:
            return None
        made_for = (note.run, note.chunk, note.chunk_rows)
        return note if made_for == (self.identity, chunk, self.chunk_rows) else None

    def remove(self) -> None:
        """Take the run's folder away, or what lies in its place."""
        if self.path.is_symlink() or self.path.is_file():
            self.path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, chunk: int, suffix: str) -> Path:
        return self.path / "chunks" / f"{chunk:06d}{suffix}"


def _whole_note(path: Path) -> _Note | None:
    """The note beside a chunk as it was written, or None."""
    with suppress(Fault, ValueError):
        raw = read_json(path, FileDamaged, "a note of a chunk")
        note = _Note.model_validate(raw)
        return note if note.checksum == checksum_of(raw) else None
    return None


def find_committed(folder: Path, identity: str) -> Version | None:
    """The committed version with an id, checked; what killed runs left is taken away."""
    committed = list(list_versions(folder, skip_unreadable=True))
    remove_leftovers(folder, [version.manifest.id for version in committed])
    found = next((version for version in committed if version.manifest.id == identity), None)
    return None if found is None else open_checked(found.path)


def remove_leftovers(folder: Path, committed: Collection[str]) -> None:
    """Take away what killed runs left: all but chunks that a run can go on from.

    A run at work is left alone: its lock is held.

    Args:
        folder: The task's folder.
        committed: Ids of the versions in it; what is left of their runs is of no use.
    """
    known = {identity[:12] for identity in committed}
    found = [*folder.glob(f"{_PARTIAL}*"), *folder.glob(f"{_LOCK}*")]
    for name in {path.name.rpartition("-")[2] for path in found}:
        left = Staging(folder, folder / f"{_PARTIAL}{name}", name, 0)
        with suppress(Fault, OSError), locked(lock := folder / f"{_LOCK}{name}"):
            notes = left.path.glob(f"chunks/*{_NOTE}")
            if name in known or not any(map(_whole_note, notes)):
                left.remove()
                lock.unlink(missing_ok=True)
            else:
                shutil.rmtree(left.path / "version", ignore_errors=True)
                for path in left.path.glob("chunks/.*.partial"):
                    path.unlink()


@contextmanager
def open_staging(folder: Path, identity: str, chunk_rows: int) -> Iterator[Staging]:
    """Open the folder of a run, with a lock that falls when the process ends.

    Raises:
        OutputBusy: Another process holds it.
        OutputUnwritable: The folder cannot be made.
    """
    path = folder / f"{_PARTIAL}{identity[:12]}"
    staging = Staging(folder, path, identity, chunk_rows)
    lock = folder / f"{_LOCK}{identity[:12]}"
    with ExitStack() as held:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(lock))
        try:
            with disk_errors(staging.path):
                (staging.path / "chunks").mkdir(parents=True, exist_ok=True)
            yield staging
        finally:
            if not any(staging.path.glob(f"chunks/*{_NOTE}")):  # nothing to come back for
                staging.remove()
                lock.unlink(missing_ok=True)


def commit(
    staging: Staging,
    draft: Manifest,
    chunks: int,
    others: Mapping[str, Iterable[pa.Table]],
    *,
    unlabeled: int = 0,
) -> Path:
    """Put the version together and give it its name by one rename.

    Args:
        staging: The run's folder with all chunks finished.
        draft: The manifest without files and version name.
        chunks: Number of chunks of the training split.
        others: The rows of the splits that are stored untouched.
        unlabeled: Number of chunks behind these that are the unlabeled split, if any are.
    """
    kept = {"soft_labels": draft.soft_labels, "teacher_logits": draft.teacher_logits}
    schema = arrow_schema(draft.task, **kept)
    building = staging.path / "version"
    shutil.rmtree(building, ignore_errors=True)
    data = building / "data"
    data.mkdir(parents=True)
    made = _made(draft, chunks, unlabeled)
    for split, (first, count) in made.items():
        write_split(data, split, staging.tables(count, _ROWS, first), schema)
    for split, tables in others.items():
        write_split(data, split, tables, schema)
    splits = [split for split in draft.task.splits.names if split in made or split in others]
    files = describe_files(data, splits)
    rejected = _write_rejected(building, draft, staging, made)
    while True:
        target = staging.folder / next_name(staging.folder)
        facts = {"files": files, "rejected": rejected, "version": target.name}
        manifest = draft.model_copy(update=facts)
        write_text(building / CARD, card(manifest))
        write_text(building / CROISSANT, croissant(manifest))
        digests = {file: sha256_file(building / file) for file in (CARD, CROISSANT)}
        beside = {"card": digests[CARD], "croissant": digests[CROISSANT]}
        described = manifest.model_copy(update=beside)
        write_text(building / MANIFEST, described.sealed().to_json())
        sync(data)
        sync(building)
        try:
            building.rename(target)
        except OSError:
            if not target.exists():  # else another run has taken the name
                raise
        else:
            sync(staging.folder)
            return target


def _made(draft: Manifest, chunks: int, unlabeled: int) -> dict[str, tuple[int, int]]:
    """Split that was made of chunks → its first chunk and how many it has."""
    made = {draft.task.splits.train: (0, chunks)}
    if unlabeled and draft.task.splits.unlabeled:
        made[draft.task.splits.unlabeled] = (chunks, unlabeled)
    return made


def _write_rejected(
    building: Path, draft: Manifest, staging: Staging, made: Mapping[str, tuple[int, int]]
) -> tuple[FileEntry, ...]:
    """The refused rows in a folder of their own, where the recipe keeps them."""
    if not draft.recipe.get("keep_rejected"):
        return ()
    folder = building / "rejected"
    folder.mkdir()
    for split, (first, count) in made.items():
        tables = staging.tables(count, _REJECTED, first)
        write_split(folder, split, tables, rejected_schema(draft.task))
    sync(folder)
    return describe_files(folder, made)


def next_name(folder: Path) -> str:
    """The version name after the newest one."""
    taken = [int(p.name[1:]) for p in folder.glob("v[0-9]*") if p.name[1:].isdecimal()]
    return f"v{max(taken, default=0) + 1:04d}"
