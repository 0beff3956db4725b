"""Files of rows that a model works out, written block after block: a kill costs one block."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augment.contract.files import disk_errors, nearest
from augment.contract.foreign import counted
from distill.runs.progress import Gauge, Narrator
from distill.runs.records import ITSELF, Origin, Seal, discard, read_seal, seal_of, write_seal

_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of float32 numbers, row after row, that is to be made.

    Attributes:
        file: Where it goes.
        origin: What it is made from.
        rows: It will have.
        size: The bytes of its first so many rows.
        title: Of the progress.
        model: Whose numbers they are, as the progress says it.
    """

    file: Path
    origin: Origin
    rows: int
    size: Callable[[int], int]
    title: str
    model: str

    def write(
        self, blocks: Callable[[int], Iterator[tuple[int, NDArray[np.float32]]]], narrator: Narrator
    ) -> None:
        """Append blocks to a partial file, sealed after each; it gets its name when whole.

        Args:
            blocks: From a number of rows that are there, how many there are after the next block,
                and its numbers.
            narrator: Where progress is shown.

        Raises:
            OutputUnwritable: The disk is full; what was written is kept.
        """
        partial = self.file.with_suffix(".partial")
        begun = self._resume(partial, narrator)
        digest, gauge = begun.digest, Gauge(narrator, self.title, begun.rows / self.rows)
        try:
            with disk_errors(nearest(self.file.parent)):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("ab") as stream:
                    stream.truncate(begun.bytes)
                    for seen, numbers in blocks(begun.rows):
                        added = np.ascontiguousarray(numbers, dtype=np.float32).data
                        digest.update(added)
                        stream.write(added)
                        stream.flush()
                        os.fsync(stream.fileno())
                        _seal(seal_of(partial), self._first(seen), digest)
                        told = f"{self.model} · {seen:,} of {counted(self.rows, 'row')}"
                        gauge.show(seen / self.rows, told)
                _seal(seal_of(self.file), self.origin, digest)
                partial.rename(self.file)
        finally:
            gauge.close()
        discard(partial)

    def _resume(self, partial: Path, narrator: Narrator) -> _Begun:
        """What a partial file holds that is as it was sealed; the rest is cut off."""
        fresh = _Begun(0, 0, hashlib.sha256())
        if not partial.exists():
            return fresh
        sealed, why = read_seal(partial), ""
        told = re.fullmatch(r"(\d+) rows of (.*)", sealed.origin.part) if sealed else None
        if sealed and told and sealed.origin == self._first(int(told[1])) and partial.is_file():
            rows = int(told[1])
            size = self.size(rows)
            digest = _digest(partial, size)
            if sealed.files == {ITSELF: digest.hexdigest()}:
                return _Begun(rows, size, digest)
            why = "was changed after it was written"
        narrator.say("notice", f"{partial} {why or 'is not of this run'}; it is made again")
        discard(partial)
        return fresh

    def _first(self, rows: int) -> Origin:
        """What the first rows are sealed with."""
        return Origin(made_from=self.origin.made_from, part=f"{rows} rows of {self.origin.part}")


@dataclass(frozen=True, slots=True)
class _Begun:
    """How far an earlier call came: rows, their bytes, and the digest of these."""

    rows: int
    bytes: int
    digest: hashlib._Hash


def _digest(file: Path, size: int) -> hashlib._Hash:
    """Of the first bytes of a file, which may be larger than memory."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while size > 0 and (read := stream.read(min(size, _AT_ONCE))):
            digest.update(read)
            size -= len(read)
    return digest


def _seal(place: Path, origin: Origin, digest: hashlib._Hash) -> None:
    write_seal(place, Seal(origin=origin, files={ITSELF: digest.hexdigest()}))
