"""Chunks kept one by one, then one atomic commit.

<root>/<task>/.partial-<id>/chunks/000012.parquet .json    finished chunks of a run at work
<root>/<task>/.partial-<id>/version/                        the version being put together
<root>/<task>/v0003/                                        committed, never changed again
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augment.card import card
from augment.chunk import ChunkResult
from augment.contract import FileEntry, Manifest, arrow_schema, sha256_file
from augment.errors import OutputBusy

ROWS_A_GROUP = 65_536
SHARD_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True)
class Staging:
    """The folder of a run at work; opened by one process at a time.

    Attributes:
        folder: The task's folder, which holds its versions.
        path: The run's own folder in it.
    """

    folder: Path
    path: Path

    def finished(self, chunk: int) -> dict[str, int] | None:
        """The counts of a chunk that is kept whole, or None; a damaged one does not count."""
        file, note = self._files(chunk)
        try:
            kept = json.loads(note.read_text())
            if sha256_file(file) == kept["sha256"]:
                return {str(key): int(value) for key, value in kept["counts"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return None

    def keep(self, chunk: int, result: ChunkResult) -> None:
        """Keep a finished chunk: first its rows, then the note that vouches for them."""
        file, note = self._files(chunk)
        draft = file.with_suffix(".draft")
        pq.write_table(result.rows, draft, compression="zstd")
        _sync(draft)
        draft.replace(file)
        draft.write_text(json.dumps({"sha256": sha256_file(file), "counts": result.counts}))
        _sync(draft)
        draft.replace(note)

    def rows(self, chunks: int) -> Iterator[pa.Table]:
        """The rows of all chunks in order."""
        for chunk in range(chunks):
            yield pq.read_table(self._files(chunk)[0])

    def remove(self) -> None:
        """Forget the run's folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _files(self, chunk: int) -> tuple[Path, Path]:
        file = self.path / "chunks" / f"{chunk:06d}.parquet"
        return file, file.with_suffix(".json")


def partial_of(folder: Path, identity: str) -> Staging:
    """Where a run of that id keeps its chunks; nothing is opened or made."""
    return Staging(folder, folder / f".partial-{identity[:12]}")


@contextmanager
def open_staging(root: Path, task: str, identity: str) -> Iterator[Staging]:
    """Open the folder of a run, with a lock that falls when the process ends.

    Raises:
        OutputBusy: Another process holds it.
    """
    folder = root / task
    staging = partial_of(folder, identity)
    (staging.path / "chunks").mkdir(parents=True, exist_ok=True)
    path = folder / f".lock-{identity[:12]}"
    with _locked(path, staging):
        yield staging
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, staging: Staging) -> Iterator[None]:
    """Hold the lock file; one that its last holder took away in the meantime does not count."""
    while True:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputBusy(
                    f"another run is writing the same version in {staging.path}.",
                    "Wait for it; the same command afterwards finds the finished version.",
                ) from error
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                yield
                return


def write_split(folder: Path, split: str, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write a split as shards of about ``SHARD_BYTES``.

    Row groups and shards are cut by rows and bytes of the finished stream: how it was cut into
    chunks leaves no trace.
    """
    shards: list[Path] = []
    groups = _row_groups(tables, schema)
    group = next(groups, None)
    while group is not None or not shards:
        shard = folder / f"{split}-{len(shards):05d}.draft"
        with shard.open("wb") as sink:
            with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
                while group is not None:
                    writer.write_table(group)
                    group = next(groups, None)
                    if sink.tell() >= SHARD_BYTES:
                        break
            sink.flush()
            os.fsync(sink.fileno())
        shards.append(shard)
    for number, shard in enumerate(shards):
        shard.rename(folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")


def _row_groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        while rows >= ROWS_A_GROUP:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, ROWS_A_GROUP).combine_chunks().cast(schema)
            waiting = [whole.slice(ROWS_A_GROUP)]
            rows -= ROWS_A_GROUP
    if rows:
        yield pa.concat_tables(waiting).combine_chunks().cast(schema)


def describe_files(folder: Path, splits: Iterable[str]) -> tuple[FileEntry, ...]:
    """Rows, sizes and digests of the files below ``folder/data``."""
    return tuple(
        FileEntry(
            path=f"data/{path.name}",
            split=split,
            rows=pq.ParquetFile(path).metadata.num_rows,
            bytes=path.stat().st_size,
            sha256=sha256_file(path),
        )
        for split in splits
        for path in sorted((folder / "data").glob(f"{split}-?????-of-?????.parquet"))
    )


def commit(staging: Staging, draft: Manifest, chunks: int, others: dict[str, pa.Table]) -> Path:
    """Put the version together and give it its name by one rename.

    Args:
        staging: The run's folder with all chunks finished.
        draft: The manifest without files; its version name is the first one to try.
        chunks: Number of chunks of the training split.
        others: The splits that are stored untouched.

    Returns:
        The committed version's directory.
    """
    schema = arrow_schema(draft.task)
    building = staging.path / "version"
    shutil.rmtree(building, ignore_errors=True)
    (building / "data").mkdir(parents=True)
    write_split(building / "data", draft.task.splits.train, staging.rows(chunks), schema)
    for split, table in others.items():
        write_split(building / "data", split, [table], schema)
    splits = [split for split in draft.task.splits.names if split == "train" or split in others]
    files = describe_files(building, splits)
    number = int(draft.version[1:])
    while True:
        target = staging.folder / f"v{number:04d}"
        manifest = draft.model_copy(update={"files": files, "version": target.name})
        (building / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        (building / "README.md").write_text(card(manifest), encoding="utf-8")
        for path in (building / "manifest.json", building / "README.md"):
            _sync(path)
        _sync(building / "data")
        _sync(building)
        try:
            building.rename(target)
        except OSError:
            if not target.exists():
                raise
            number += 1
        else:
            _sync(staging.folder)
            return target


def next_name(folder: Path) -> str:
    """The version name after the newest one."""
    taken = [int(p.name[1:]) for p in folder.glob("v[0-9]*") if p.name[1:].isdecimal()]
    return f"v{max(taken, default=0) + 1:04d}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
