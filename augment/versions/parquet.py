"""A split of a version as Parquet shards, and what the manifest says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract import FileEntry, sha256_file, sync

ROWS_A_GROUP = 65_536
SHARD_BYTES = 128 * 2**20


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
        with (
            shard.open("wb") as sink,
            pq.ParquetWriter(sink, schema, compression="zstd") as writer,
        ):
            while group is not None:
                writer.write_table(group)
                group = next(groups, None)
                if sink.tell() >= SHARD_BYTES:
                    break
        sync(shard)
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
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, ROWS_A_GROUP).combine_chunks().cast(schema)
            waiting = [joined.slice(ROWS_A_GROUP)]
            rows -= ROWS_A_GROUP
    if rows:
        yield pa.concat_tables(waiting).combine_chunks().cast(schema)


def describe_files(folder: Path, splits: Iterable[str]) -> tuple[FileEntry, ...]:
    """Rows, sizes and digests of the files of a version's folder, by split."""
    return tuple(
        FileEntry(
            path=f"{folder.name}/{path.name}",
            split=split,
            rows=pq.ParquetFile(path).metadata.num_rows,
            bytes=path.stat().st_size,
            sha256=sha256_file(path),
        )
        for split in splits
        for path in sorted(folder.glob(f"{split}-?????-of-?????.parquet"))
    )
