"""The candidate store: rankings of masked positions kept on disk, shared by tasks and runs.

One SQLite file for each masked LM and way of ranking; an entry is addressed by the digest of the
model's input, so another N, p, seed, smaller K or task needs no forward for it. Every entry carries
a checksum: one that does not agree is computed again. Several processes may read and write.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment.errors import StoreInvalid
from augment.masked_lm.inputs import MaskedInput
from augment.masked_lm.model import TIE_GAP, Ranking

FORMAT = 1
WAIT_SECONDS = 60.0
_KEYS_A_QUERY = 500
_SUM_BYTES = 8
_CREATE = """
create table if not exists rankings (
    key blob primary key, used integer not null, k integer not null, value blob not null
) without rowid
"""


@dataclass(frozen=True, slots=True)
class StoreFile:
    """One file of a store, with its number of rankings and its size, journal included."""

    path: Path
    entries: int
    bytes: int


def key_of(query: MaskedInput) -> bytes:
    """The address of a position: a digest of everything the model reads."""
    head = struct.pack("<qqq", query.first_segment, query.mask_at, int(not query.spaced))
    return hashlib.blake2b(head + np.array(query.ids, "<i4").tobytes(), digest_size=16).digest()


class CandidateStore:
    """Rankings of one masked LM under one way of ranking.

    A store that cannot be written (a full disk, a read-only folder) stops storing and says so in
    ``error``; the run goes on and computes what it needs.

    Attributes:
        error: Why nothing is stored any more, or an empty string.
    """

    def __init__(
        self, folder: Path, model_digest: str, *, words_only: bool, precision: str = "float32"
    ) -> None:
        """Open or create the file for a model's digest and what else its rankings depend on."""
        kind = f"{FORMAT}\0{model_digest}\0{words_only}\0{precision}".encode()
        self.path = folder / f"{hashlib.sha256(kind).hexdigest()[:32]}.sqlite"
        self.error = ""
        with self._or_give_up():
            folder.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute("pragma journal_mode=wal")
                database.execute(_CREATE)

    def get(self, keys: Sequence[bytes], k: int) -> dict[bytes, Ranking]:
        """The rankings that are stored, undamaged and deep enough for the K best.

        A ranking is cut to K only where the cut is clear: see ``TIE_GAP``.
        """
        rankings: dict[bytes, Ranking] = {}
        if self.error or not keys:
            return rankings
        with self._or_give_up(), self._open() as database:
            for at in range(0, len(keys), _KEYS_A_QUERY):
                part = keys[at : at + _KEYS_A_QUERY]
                marks = ",".join("?" * len(part))
                rows = database.execute(
                    f"select key, value from rankings where k >= ? and key in ({marks})",  # noqa: S608
                    (k, *part),
                )
                for key, value in rows:
                    if (ranked := _unpack(key, value, k)) is not None:
                        rankings[key] = ranked
        return rankings

    def put(self, rankings: Mapping[bytes, Ranking], k: int) -> None:
        """Store rankings of the K best, all or none of them."""
        if self.error or not rankings:
            return
        now = int(time.time())
        rows = [(key, now, k, _pack(key, ranked)) for key, ranked in rankings.items()]
        with self._or_give_up(), self._open() as database, database:
            database.executemany(
                "insert into rankings values (?, ?, ?, ?) on conflict (key) do update set "
                "used = excluded.used, k = excluded.k, value = excluded.value "
                "where excluded.k >= k",
                rows,
            )

    def _open(self) -> closing[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=WAIT_SECONDS)
        database.execute("pragma synchronous=normal")
        return closing(database)

    @contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """What goes wrong in the block ends the use of the store, and ``error`` says why."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            self.error = f"the candidate store {self.path} cannot be used: {error}"


def describe_store(folder: Path) -> list[StoreFile]:
    """The files of a store with their sizes.

    Raises:
        StoreInvalid: A file is damaged or busy.
    """
    files = []
    for path in sorted(folder.glob("*.sqlite")):
        with _opened(path) as database:
            entries = int(database.execute("select count(*) from rankings").fetchone()[0])
        size = sum(part.stat().st_size for part in folder.glob(f"{path.name}*"))
        files.append(StoreFile(path, entries, size))
    return files


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
        with _opened(file.path) as database:
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
    folder = store.path.parent
    try:
        dropped = prune(folder, limit)
        size = sum(file.bytes for file in describe_store(folder)) / 2**20
    except StoreInvalid as error:
        return error.problem
    return f"{size:.1f} MB in {folder}" + (f" · {dropped:,} dropped" if dropped else "")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A store's file for its keeper; what SQLite raises becomes a sentence."""
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as database:
            yield database
    except sqlite3.Error as error:
        raise StoreInvalid(
            f"the store's file {path} is damaged or busy: {error}.",
            "Try again later, or delete it: candidates are computed again.",
        ) from error


def _pack(key: bytes, ranked: Ranking) -> bytes:
    body = np.array(ranked.token_ids, "<i4").tobytes() + np.array(ranked.scores, "<f4").tobytes()
    body = bytes([ranked.settled]) + body
    return hashlib.blake2b(key + body, digest_size=_SUM_BYTES).digest() + body


def _unpack(key: bytes, value: bytes, k: int) -> Ranking | None:
    """The K best of an entry, or None where it is damaged or the cut at K is not clear."""
    checksum, body = value[:_SUM_BYTES], value[_SUM_BYTES:]
    if hashlib.blake2b(key + body, digest_size=_SUM_BYTES).digest() != checksum:
        return None
    settled, numbers = bool(body[0]), body[1:]
    half = len(numbers) // 2
    token_ids, scores = np.frombuffer(numbers[:half], "<i4"), np.frombuffer(numbers[half:], "<f4")
    if len(scores) > k and not settled and scores[k - 1] - scores[k] < TIE_GAP:
        return None
    return Ranking(tuple(token_ids[:k].tolist()), tuple(scores[:k].tolist()), settled)
