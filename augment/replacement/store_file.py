"""A file of the candidate store: an SQLite database with the tables that we wrote, nothing else.

Whatever else lies in its place (a view, a trigger, tables of another form, the file of another
model) is never asked for rows.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

WAIT_SECONDS = 60.0
_STEPS = 100_000
_TABLES = {
    "store": "(identity text not null)",
    "rankings": "(key blob primary key, used integer not null, k integer not null, "
    "value blob not null) without rowid",
}
_SCHEMA = {
    name.encode(): f"CREATE TABLE {name} {columns}".encode() for name, columns in _TABLES.items()
}
_PARTS = ("", "-wal", "-shm", "-journal")


class NotOurs(Exception):
    """What lies there is no file of this store: it can be made again."""


class NoFile(Exception):
    """What lies there is no file at all: it is left as it is."""


@contextmanager
def opened(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """The database of a file, read-only unless it is written; ``text`` columns come as bytes.

    A statement that reads for more than a minute is ended.

    Raises:
        NoFile: There is a folder, a link or a device.
        sqlite3.Error: It cannot be opened.
        NotOurs: What is said of its tables is no text.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise NoFile("it is not a regular file")
    mode = "rwc" if write else "rw"
    if not write and not os.access(path.parent, os.W_OK):  # where WAL finds no place for its files
        mode = "ro&immutable=1"
    address = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS)) as database:
            database.text_factory = bytes
            if not write:
                end = time.monotonic() + WAIT_SECONDS
                database.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS)
            database.execute("pragma trusted_schema=off")
            database.execute("pragma synchronous=normal")
            if write:
                with suppress(sqlite3.OperationalError):  # another process is about to do the same
                    database.execute("pragma journal_mode=wal")
            yield database
    except UnicodeDecodeError as error:  # SQLite's message quotes the bytes of a damaged schema
        raise NotOurs("its tables have no names") from error


def check(database: sqlite3.Connection) -> str:
    """Check the tables of a file before anything is read from it.

    Returns:
        The identity of the store that the file was made for.

    Raises:
        NotOurs: They are others.
    """
    found = database.execute("select name, sql from sqlite_master limit ?", (len(_SCHEMA) + 1,))
    if dict(found.fetchall()) != _SCHEMA:
        raise NotOurs("it is not in the form of a candidate store")
    rows = database.execute("select identity from store limit 2").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], bytes):
        raise NotOurs("it does not say what it was made for")
    return str(rows[0][0], "utf-8", "replace")


def create(database: sqlite3.Connection, identity: str) -> None:
    """Make the tables where there are none; another process may do the same."""
    if database.execute("select 1 from sqlite_master limit 1").fetchone():
        return
    with database:
        database.execute("begin immediate")
        for name, columns in _TABLES.items():
            database.execute(f"create table if not exists {name} {columns}")
        database.execute(
            "insert into store select ? where not exists (select * from store)", (identity,)
        )


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is no database, a broken one or another one."""
    codes = (  # the first: a header that SQLite does not know, as our statements are right
        sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB,
    )  # fmt: skip
    code = error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.DatabaseError) else None
    return isinstance(error, NotOurs) or code in codes


def remove(path: Path) -> None:
    """Take a file away with all that SQLite keeps beside it."""
    for part in _PARTS:
        Path(f"{path}{part}").unlink(missing_ok=True)
