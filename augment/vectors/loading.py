"""From a file's name to its table: mapped from the cache, or read and kept there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from augment.contract.foreign import counted
from augment.contract.terminal import Gauge
from augment.errors import AssetInvalid
from augment.progress import Narrator
from augment.vectors.cache import Entry
from augment.vectors.formats import companions, locate, read_blocks
from augment.vectors.index import Vectors
from augment.vectors.storage import CacheUnusable, load
from augment.vectors.table import Block, Table, build, gather_in_memory

KEPT_FROM_BYTES = 16 * 2**20
"""Smaller files are read again each time: that takes less than opening a table."""


def load_vectors(
    name: str, rows: int, *, cache: Path | None = None, narrator: Narrator | None = None
) -> Vectors:
    """Load the first rows of a vectors file, or a table of gensim's downloader by name.

    A large file is parsed once; later starts, and all workers, map the table from the cache.
    Without one, the file is read into this process alone.

    Raises:
        AssetMissing: No such file, and the downloader cannot deliver that name.
        AssetInvalid: The file is not a table of vectors, or changes while it is read.
    """
    tell = narrator or Narrator()
    path = locate(name)
    size = sum(file.stat().st_size for file in companions(path))
    if cache is not None and size >= KEPT_FROM_BYTES:
        try:
            return Vectors(_cached(path, rows, cache, tell))
        except CacheUnusable as error:
            tell.say("vectors", f"the table cannot be kept in {cache}: {error}; going on without")
    return Vectors(build(_with_progress(path, rows, tell), gather_in_memory, path.name))


def _cached(path: Path, rows: int, cache: Path, tell: Narrator) -> Table:
    """The table from the cache; made there first if need be."""
    entry = Entry.of(cache, companions(path), rows)
    if (table := load(entry.path)) is not None:
        return table

    def blocks() -> Iterator[Block]:
        yield from _with_progress(path, rows, tell)
        if Entry.of(cache, companions(path), rows) != entry:
            raise AssetInvalid(f"{path.name} changed while it was read.", "Run again.")

    busy = f"another process is reading {path.name}; waiting for it"
    table = entry.make(blocks, waiting=lambda: tell.say("vectors", busy))
    size = sum(array.nbytes for array in table.arrays().values()) / 2**20
    shape = f"{len(table.words):,} x {table.matrix.shape[1]}"
    tell.say("vectors", f"{path.name}: {shape}, kept for later starts in {cache} ({size:,.0f} MB)")
    return table


def _with_progress(path: Path, rows: int, tell: Narrator) -> Iterator[Block]:
    """The file's rows; on the way, how far it is read."""
    done = 0
    gauge = Gauge(tell, "vectors")
    try:
        for block in read_blocks(path, rows):
            yield block
            done += len(block.words)
            share = max(block.share, done / rows)
            gauge.show(share, f"reading {path.name}: {counted(done, 'row')}, {share:.0%}")
    finally:
        gauge.close()
