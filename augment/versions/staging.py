"""Chunks kept one by one, then one atomic commit.

<root>/<task>/.partial-<id>/chunks/000012.parquet .json    finished chunks of a run at work,
                                   000012.rejected          and their refused rows, if kept
<root>/<task>/.partial-<id>/version/                        the version being put together
<root>/<task>/v0003/                                        committed, never changed again
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract import FileEntry, Manifest, arrow_schema, rejected_schema, sha256_file, sync
from augment.contract.files import disk_errors, locked, write_file, write_text
from augment.versions.manifest import card
from augment.versions.parquet import describe_files, write_split
from augment.versions.rows import ChunkOutput

_ROWS, _REJECTED = ".parquet", ".rejected"


@dataclass(frozen=True, slots=True)
class Staging:
    """The folder of a run at work; opened by one process at a time.

    Attributes:
        folder: The task's folder, which holds its versions.
        path: The run's own folder in it.
        chunk_rows: Source rows of a chunk; chunks of another size are not taken for finished.
    """

    folder: Path
    path: Path
    chunk_rows: int

    def finished(self, chunk: int) -> dict[str, int] | None:
        """The counts of a chunk that is kept, or None; a damaged one does not count."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            kept = json.loads(self._file(chunk, ".json").read_text())
            files = {suffix: sha256_file(self._file(chunk, suffix)) for suffix in kept["files"]}
            same_size = kept["chunk_rows"] == self.chunk_rows
            if same_size and _ROWS in files and files == kept["files"]:
                return {str(key): int(value) for key, value in kept["counts"].items()}
        return None

    def keep(self, chunk: ChunkOutput) -> None:
        """Keep a finished chunk: first its rows, then the note that vouches for them.

        Raises:
            OutputUnwritable: There is no room.
        """
        digests = {}
        with disk_errors(self.path / "chunks"):
            for suffix, table in {_ROWS: chunk.rows, _REJECTED: chunk.rejected}.items():
                if table is not None:
                    path = self._file(chunk.number, suffix)
                    write_file(path, partial(pq.write_table, table, compression="zstd"))
                    digests[suffix] = sha256_file(path)
            note = {"files": digests, "counts": chunk.counts, "chunk_rows": self.chunk_rows}
            write_text(self._file(chunk.number, ".json"), json.dumps(note))

    def tables(self, chunks: int, suffix: str) -> Iterator[pa.Table]:
        """The rows of all chunks in order: those that pass, or those that are refused."""
        return (pq.read_table(self._file(chunk, suffix)) for chunk in range(chunks))

    def remove(self) -> None:
        """Take the run's folder away."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, chunk: int, suffix: str) -> Path:
        return self.path / "chunks" / f"{chunk:06d}{suffix}"


def remove_leftovers(folder: Path, identity: str) -> None:
    """Take away what a run left that was killed after its commit: chunks and lock file."""
    shutil.rmtree(_partial_of(folder, identity), ignore_errors=True)
    _lock_of(folder, identity).unlink(missing_ok=True)


def _partial_of(folder: Path, identity: str) -> Path:
    return folder / f".partial-{identity[:12]}"


def _lock_of(folder: Path, identity: str) -> Path:
    return folder / f".lock-{identity[:12]}"


@contextmanager
def open_staging(folder: Path, identity: str, chunk_rows: int) -> Iterator[Staging]:
    """Open the folder of a run, with a lock that falls when the process ends.

    Raises:
        OutputBusy: Another process holds it.
        OutputUnwritable: The folder cannot be made.
    """
    staging = Staging(folder, _partial_of(folder, identity), chunk_rows)
    with disk_errors(staging.path):
        (staging.path / "chunks").mkdir(parents=True, exist_ok=True)
    path = _lock_of(folder, identity)
    with locked(path):
        try:
            yield staging
        finally:
            if not any(staging.path.glob("chunks/*.json")):  # nothing to come back for
                staging.remove()
                path.unlink(missing_ok=True)


def commit(staging: Staging, draft: Manifest, chunks: int, others: dict[str, pa.Table]) -> Path:
    """Put the version together and give it its name by one rename.

    Args:
        staging: The run's folder with all chunks finished.
        draft: The manifest without files and version name.
        chunks: Number of chunks of the training split.
        others: The splits that are stored untouched.
    """
    schema = arrow_schema(draft.task, teacher_logits=draft.teacher_logits)
    building = staging.path / "version"
    shutil.rmtree(building, ignore_errors=True)
    data, train = building / "data", draft.task.splits.train
    data.mkdir(parents=True)
    write_split(data, train, staging.tables(chunks, _ROWS), schema)
    for split, table in others.items():
        write_split(data, split, [table], schema)
    splits = [split for split in draft.task.splits.names if split == train or split in others]
    files = describe_files(data, splits)
    rejected = _write_rejected(building, draft, staging, chunks)
    while True:
        target = staging.folder / next_name(staging.folder)
        facts = {"files": files, "rejected": rejected, "version": target.name}
        manifest = draft.model_copy(update=facts).sealed()
        write_text(building / "manifest.json", manifest.to_json())
        write_text(building / "README.md", card(manifest))
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


def _write_rejected(
    building: Path, draft: Manifest, staging: Staging, chunks: int
) -> tuple[FileEntry, ...]:
    """The refused rows in a folder of their own, where the recipe keeps them."""
    if not draft.recipe.get("keep_rejected"):
        return ()
    folder, train = building / "rejected", draft.task.splits.train
    folder.mkdir()
    write_split(folder, train, staging.tables(chunks, _REJECTED), rejected_schema(draft.task))
    sync(folder)
    return describe_files(folder, [train])


def next_name(folder: Path) -> str:
    """The version name after the newest one."""
    taken = [int(p.name[1:]) for p in folder.glob("v[0-9]*") if p.name[1:].isdecimal()]
    return f"v{max(taken, default=0) + 1:04d}"
