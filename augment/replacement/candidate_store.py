"""The candidate store: rankings of masked positions kept on disk, shared by tasks and runs.

One SQLite file for each masked LM and way of ranking; an entry is addressed by the digest of the
model's input, so another N, p, seed, smaller K or task needs no forward for it. Every entry carries
a sum over its address, its depth and its content, keyed with what the file was made for: one that
does not agree is computed again. Several processes may read and write.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augment.contract.foreign import Displayed, sized
from augment.errors import StoreInvalid
from augment.masked_lm.inputs import MaskedInput
from augment.masked_lm.model import TIE_GAP, Ranking
from augment.replacement.store_file import NoFile, NotOurs, check, create, is_damage, opened, remove

FORMAT = 1
_KEYS_A_QUERY = 500
_SUM_BYTES = 16
_LARGEST = 2**14
"""Bytes of an entry: more than K = 1000 takes."""
_SELECT = "select key, k, case when length(value) <= ? then value end from rankings"


@dataclass(frozen=True, slots=True)
class StoreFile:
    """One file of a store, with its number of rankings and its size, journal included."""

    path: Path
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True, repr=False)
class StoreView(Displayed):
    """The files of a store, and how many entries were dropped just now."""

    files: tuple[StoreFile, ...]
    dropped: int


def key_of(query: MaskedInput) -> bytes:
    """The address of a position: a digest of everything the model reads."""
    head = struct.pack("<qqq", query.first_segment, query.mask_at, int(not query.spaced))
    return hashlib.blake2b(head + np.array(query.ids, "<i4").tobytes(), digest_size=16).digest()


class CandidateStore:
    """Rankings of one masked LM under one way of ranking.

    A store that cannot be written (a full disk, a read-only folder) stops storing and says so in
    ``error``; the run goes on and computes what it needs. Nothing is made on disk before the first
    ranking is stored, nor read before the first is asked for.

    Attributes:
        error: Why nothing is stored any more, or an empty string.
        notice: What was found damaged and is computed again, or an empty string.
    """

    def __init__(
        self,
        folder: Path,
        model_digest: str,
        *,
        words_only: bool,
        precision: str = "float32",
        vocabulary: int = 2**31,
    ) -> None:
        """Name the file for a model's digest and what else its rankings depend on.

        ``vocabulary`` is the number of the model's tokens; no other token is believed.
        """
        kind = f"{FORMAT}\0{model_digest}\0{words_only}\0{precision}"
        self._identity = hashlib.sha256(kind.encode()).hexdigest()
        self._vocabulary = vocabulary
        self.path = folder / f"{self._identity[:32]}.sqlite"
        self.error = self.notice = ""
        with self._or_give_up():
            if folder.exists() and not folder.is_dir():
                raise NoFile(f"{folder} is not a folder")

    def get(self, keys: Sequence[bytes], k: int) -> dict[bytes, Ranking]:
        """The rankings that are stored, undamaged and deep enough for the K best.

        A ranking is cut to K only where the cut is clear: see ``TIE_GAP``.
        """
        rankings: dict[bytes, Ranking] = {}
        with self._or_give_up():
            if self.error or not keys or not self._is_there():
                return rankings
            with self._checked() as database:
                for at in range(0, len(keys), _KEYS_A_QUERY):
                    part = keys[at : at + _KEYS_A_QUERY]
                    marks = ",".join("?" * len(part))
                    asked = f"{_SELECT} where key in ({marks})"
                    rows = database.execute(asked, (_LARGEST, *part)).fetchall()
                    entries = {key: self._unpack(key, depth, value) for key, depth, value in rows}
                    self._drop(database, [key for key, ranked in entries.items() if not ranked])
                    for key, depth, _ in rows:
                        if (ranked := entries[key]) and depth >= k and _may_cut(ranked, k):
                            tokens, scores = ranked.token_ids[:k], ranked.scores[:k]
                            rankings[key] = Ranking(tokens, scores, ranked.settled)
        return rankings

    def put(self, rankings: Mapping[bytes, Ranking], k: int) -> None:
        """Store rankings of the K best, all or none of them."""
        if self.error or not rankings:
            return
        now = int(time.time())
        rows = [(key, now, k, self._pack(key, k, ranked)) for key, ranked in rankings.items()]
        with self._or_give_up():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._checked(write=True) as database, database:
                database.executemany(
                    "insert into rankings values (?, ?, ?, ?) on conflict (key) do update set "
                    "used = excluded.used, k = excluded.k, value = excluded.value "
                    "where excluded.k >= k",
                    rows,
                )

    def _is_there(self) -> bool:
        return self.path.exists() or self.path.is_symlink()

    @contextmanager
    def _checked(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """The file's database, found to be this store's: what is read and when does not matter."""
        with opened(self.path, write=write) as database:
            if write:
                create(database, self._identity)
            if check(database) != self._identity:
                raise NotOurs("it was made for another model or way of ranking")
            yield database

    def _drop(self, database: sqlite3.Connection, keys: Sequence[bytes]) -> None:
        """Take damaged entries away, or a deeper one would never be replaced."""
        if keys:
            self.notice = self.notice or f"damaged entries of {self.path} are computed again"
            with database:
                database.executemany("delete from rankings where key = ?", [(key,) for key in keys])

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """A damaged file is begun anew, once; what else goes wrong ends the use of the store."""
        try:
            try:
                yield
            except (NotOurs, sqlite3.DatabaseError) as error:
                if not is_damage(error) or "begun anew" in self.notice:
                    raise
                remove(self.path)
                self.notice = f"the candidate store {self.path} was begun anew: {error}"
        except (OSError, sqlite3.Error, NotOurs, NoFile) as error:
            self.error = f"the candidate store {self.path} cannot be used: {error}"

    def _pack(self, key: bytes, k: int, ranked: Ranking) -> bytes:
        token_ids, scores = np.array(ranked.token_ids, "<i4"), np.array(ranked.scores, "<f4")
        body = bytes([ranked.settled]) + token_ids.tobytes() + scores.tobytes()
        return self._sum(key, k, body) + body

    def _unpack(self, key: bytes, k: Any, value: Any) -> Ranking | None:
        """An entry as it was stored, or None where it is damaged."""
        if not isinstance(k, int) or not isinstance(value, bytes):
            return None
        body, numbers = value[_SUM_BYTES:], value[_SUM_BYTES + 1 :]
        half = len(numbers) // 2
        if len(numbers) % 8 or not body or value[:_SUM_BYTES] != self._sum(key, k, body):
            return None
        ids = np.frombuffer(numbers[:half], "<i4").tolist()
        scores = np.frombuffer(numbers[half:], "<f4").tolist()
        known = not ids or (min(ids) >= 0 and max(ids) < self._vocabulary)
        if not known or len(set(ids)) < len(ids) or len(ids) > k or not math.isfinite(sum(scores)):
            return None
        return Ranking(tuple(ids), tuple(scores), bool(body[0]))

    def _sum(self, key: bytes, k: int, body: bytes) -> bytes:
        secret = bytes.fromhex(self._identity)
        depth = k.to_bytes(8, "little", signed=True)
        return hashlib.blake2b(key + depth + body, digest_size=_SUM_BYTES, key=secret).digest()


def _may_cut(ranked: Ranking, k: int) -> bool:
    """Whether the K best are clear: all are stored, or their order is, or the cut is wide."""
    scores = ranked.scores
    return len(scores) <= k or ranked.settled or scores[k - 1] - scores[k] >= TIE_GAP


def describe_store(folder: Path) -> list[StoreFile]:
    """The files of a store with their sizes.

    Raises:
        StoreInvalid: A file is damaged or busy.
    """
    files = []
    for path in sorted(folder.glob("*.sqlite")):
        with _told(path), opened(path) as database:
            _check_name(path, database)
            entries = int(database.execute("select count(*) from rankings").fetchone()[0])
        size = sum(part.stat().st_size for part in folder.glob(f"{path.name}*"))
        files.append(StoreFile(path, entries, size))
    return files


def candidate_store(folder: str | Path, *, prune_gb: float | None = None) -> StoreView:
    """Look at a candidate store, dropping its oldest entries first where it is to be smaller.

    Args:
        folder: The store, such as ``data/versions/.candidates``.
        prune_gb: The largest size that stays.

    Raises:
        StoreInvalid: A file is damaged or busy.

    Examples:
        >>> from augment import candidate_store
        >>> candidate_store("data/versions/.candidates", prune_gb=2).dropped
        0
    """
    place = Path(folder)
    dropped = 0 if prune_gb is None else prune(place, int(prune_gb * 2**30))
    return StoreView(tuple(describe_store(place)), dropped)


def prune(folder: Path, limit: int) -> int:
    """Drop entries, the oldest of each file first, until the store is within ``limit`` bytes.

    Every file gives up the same share of its entries.

    Returns:
        How many entries were dropped.

    Raises:
        StoreInvalid: A file is damaged or busy.
    """
    files = describe_store(folder)
    total = sum(file.bytes for file in files)
    if total <= limit:
        return 0
    dropped = 0
    for file in files:
        surplus = math.ceil(file.entries * (total - limit) / total)
        with _told(file.path), opened(file.path, write=True) as database:
            _check_name(file.path, database)
            with database:
                database.execute(
                    "delete from rankings where key in "
                    "(select key from rankings order by used, key limit ?)",
                    (surplus,),
                )
            database.execute("vacuum")
            database.execute("pragma wal_checkpoint(truncate)")
        dropped += surplus
    return dropped


def prune_after_run(store: CandidateStore, limit: int) -> str:
    """Keep a store's folder within ``limit`` bytes after a run; a store that fails stops nothing.

    Returns:
        A line about the store.
    """
    if store.error:
        return f"{store.error}; nothing more was stored"
    noted = f" · {store.notice}" if store.notice else ""
    folder = store.path.parent
    try:
        dropped = prune(folder, limit)
        size = sum(file.bytes for file in describe_store(folder))
    except (StoreInvalid, OSError) as error:  # the version is committed: no failure of the run
        return str(error)
    return f"{sized(size)} in {folder}" + f" · {dropped:,} dropped" * bool(dropped) + noted


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What is wrong with a store's file becomes a sentence to its keeper."""
    try:
        yield
    except (sqlite3.Error, OSError, NotOurs, NoFile) as error:
        raise StoreInvalid(
            f"the store's file {path} cannot be used: {error}.",
            "Try again later as one who may write it, or delete it: candidates are computed again.",
        ) from error


def _check_name(path: Path, database: sqlite3.Connection) -> None:
    """Check that a file's tables are a store's, and that its name is that of what it holds."""
    if check(database)[:32] != path.stem:
        raise NotOurs("it was made for another model or way of ranking")
