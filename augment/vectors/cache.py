"""Tables that were parsed once, kept where every process can map them.

<folder>/<file and rows>-<its state>/   one table, see ``storage.py``
<folder>/.draft-<file and rows>/        one being made; .lock-<file and rows> is held meanwhile
                                        (and stays: who waits for it has it open)

An entry belongs to one state of its source: path, size, inode, times of last change of content and
of status, and the bytes at ``_SAMPLES`` places, the first and the last among them. (A file changed
between those places with the clock set back to the same nanosecond would go unnoticed: the one
hole.) A new state of a file replaces the older one. ``storage.py`` says how an entry is believed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.contract.files import locked, sync
from augment.contract.foreign import Displayed
from augment.vectors.storage import CacheUnusable, Metadata, cache_errors, gather_in, load, save
from augment.vectors.table import Block, Table, build

FORMAT = 3
"""Grows whenever the same file would give other arrays; ``is_plain`` decides one of them."""
_SAMPLES, _SAMPLE_BYTES = 64, 4096
VARIABLE = "AUGMENT_VECTORS_CACHE"
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")


def cache_folder(place: str | Path | bool = True) -> Path | None:
    """Where tables are kept: a named folder, the user's own cache (True), or nowhere (False)."""
    if place is False:
        return None
    if place is not True:
        return Path(place)
    if named := os.environ.get(VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "augment-distill" / "vectors"


@dataclass(frozen=True, slots=True)
class Entry:
    """The place of one table in a cache.

    ``family`` is a digest of the source's path and the rows asked for, ``state`` of its state now.
    """

    folder: Path
    source: Path
    family: str
    state: str

    @classmethod
    def of(cls, folder: Path, files: Sequence[Path], rows: int) -> Entry:
        """The entry of a vectors file, and of those that belong to it, as they are now."""
        source = files[0].resolve()
        state: list[object] = [FORMAT]
        for file in files:
            s = file.stat()
            state += [file.name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_dev, s.st_ino]
            state.append(_sample(file, s.st_size))
        return cls(folder, source, _short(f"{source}\0{rows}"), _short(repr(state)))

    @property
    def path(self) -> Path:
        """The entry's own folder."""
        return self.folder / f"{self.family}-{self.state}"

    def make(self, blocks: Callable[[], Iterable[Block]], waiting: Callable[[], None]) -> Table:
        """The table, made of the file's blocks unless another process has made it meanwhile.

        ``waiting`` is called when another process is at it and this one waits.

        Raises:
            CacheUnusable: The cache's folder cannot be used.
            AssetInvalid: From the blocks.
        """
        with ExitStack() as held:
            with cache_errors():
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.folder / f".lock-{self.family}", waiting))
            table = load(self.path)
            if table is None:
                self._write(blocks())
                table = load(self.path)
        if table is None:
            raise CacheUnusable(f"what was written to {self.path} cannot be read back")
        return table

    def _write(self, blocks: Iterable[Block]) -> None:
        """Make the entry, and take away those of earlier states of the file."""
        draft = self.folder / f".draft-{self.family}"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            with cache_errors():
                draft.mkdir()
            table = build(blocks, gather_in(draft), self.source.name)
            with cache_errors():
                save(draft, table, name=self.path.name, source=self.source)
                for old in self.folder.glob(f"{self.family}-*"):  # the same one: it is damaged
                    shutil.rmtree(old, ignore_errors=True)
                draft.rename(self.path)
                sync(self.folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def entries(folder: Path) -> dict[Path, Metadata | None]:
    """The tables of a cache with their metadata; None for one whose metadata cannot be read."""
    found: dict[Path, Metadata | None] = {}
    for path in sorted(folder.glob("*-*")):
        if _NAME.fullmatch(path.name) and path.is_dir():
            try:
                found[path] = Metadata.read(path)
            except ValueError:
                found[path] = None
    return found


@dataclass(frozen=True, slots=True, repr=False)
class CacheView(Displayed):
    """What a cache holds.

    Attributes:
        folder: The cache.
        tables: Of each table ``entry``, ``bytes`` and ``state`` (``whole`` or ``damaged``); where
            that can be read, ``source``, ``rows`` and ``dimensions``.
        removed: How many of them were removed just now.
    """

    folder: Path
    tables: tuple[dict[str, Any], ...]
    removed: int


def vector_tables(
    folder: str | Path | None = None, *, verify: bool = False, clear: bool = False
) -> CacheView:
    """Look at the tables of word vectors that are kept for later starts.

    Args:
        folder: Another cache than the user's own.
        verify: Read every byte and compare it with the digests.
        clear: Remove all: files are parsed again when needed. A process that maps one keeps it.

    Examples:
        >>> from augment import vector_tables
        >>> vector_tables(verify=True).removed
        0
    """
    place = cache_folder(folder or True) or Path()
    found = entries(place)
    tables = tuple(
        {
            "entry": path.name,
            **({} if note is None else note.model_dump(include={"source", "rows", "dimensions"})),
            "bytes": 0 if note is None else note.bytes,
            "state": "damaged" if note is None or (verify and load(path) is None) else "whole",
        }
        for path, note in found.items()
    )
    for path in found if clear else ():
        shutil.rmtree(path, ignore_errors=True)
    return CacheView(place, tables, len(found) if clear else 0)


def _sample(file: Path, size: int) -> str:
    """SHA-256 over the bytes at some places of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for place in range(_SAMPLES):
            stream.seek(max(0, size - _SAMPLE_BYTES) * place // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
