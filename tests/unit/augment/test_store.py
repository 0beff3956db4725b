"""The candidate store: what is found again, what is not trusted, and its bounds."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from augment.errors import StoreInvalid
from augment.masked_lm.inputs import MaskedInput
from augment.masked_lm.model import TIE_GAP, Ranking
from augment.replacement.candidate_store import CandidateStore, describe_store, key_of, prune
from augment.replacement.store_file import remove

DIGEST = "a" * 64


def ranking(*scores: float, settled: bool = False) -> Ranking:
    return Ranking(tuple(range(len(scores))), scores, settled)


def filled(folder: Path, count: int = 20) -> tuple[CandidateStore, list[bytes]]:
    store = CandidateStore(folder, DIGEST, words_only=False)
    keys = [key_of(MaskedInput((1, 2, i), 3, 1)) for i in range(count)]
    store.put({key: ranking(3.0, 2.0, 1.0) for key in keys}, 3)
    return store, keys


def test_what_was_put_is_found(tmp_path: Path) -> None:
    store, keys = filled(tmp_path)
    rankings = CandidateStore(tmp_path, DIGEST, words_only=False).get(keys, 3)

    assert rankings == {key: ranking(3.0, 2.0, 1.0) for key in keys}
    assert store.get([b"nothing"], 3) == {}


def test_models_and_ways_of_ranking_do_not_mix(tmp_path: Path) -> None:
    _, keys = filled(tmp_path)

    assert not CandidateStore(tmp_path, "b" * 64, words_only=False).get(keys, 3)
    assert not CandidateStore(tmp_path, DIGEST, words_only=True).get(keys, 3)


def test_keys_follow_everything_the_model_reads() -> None:
    keys = {
        key_of(query)
        for query in (
            MaskedInput((1, 2, 3), 3, 1),
            MaskedInput((1, 2, 4), 3, 1),
            MaskedInput((1, 2, 3), 2, 1),
            MaskedInput((1, 2, 3), 3, 2),
        )
    }

    assert len(keys) == 4


def test_a_smaller_k_is_a_cut_where_the_cut_is_clear(tmp_path: Path) -> None:
    store = CandidateStore(tmp_path, DIGEST, words_only=False)
    close = 2.0 - TIE_GAP / 2
    store.put({b"clear": ranking(3.0, 2.0, 1.0), b"close": ranking(3.0, 2.0, close)}, 3)
    store.put({b"settled": ranking(3.0, 2.0, close, settled=True)}, 3)
    cut = store.get([b"clear", b"close", b"settled"], 2)

    assert cut[b"clear"].token_ids == cut[b"settled"].token_ids == (0, 1)
    assert b"close" not in cut
    assert store.get([b"clear"], 4) == {}


def test_a_deeper_ranking_is_not_replaced_by_a_shallower_one(tmp_path: Path) -> None:
    store, keys = filled(tmp_path)
    store.put({keys[0]: ranking(9.0)}, 1)

    assert store.get(keys[:1], 3)[keys[0]] == ranking(3.0, 2.0, 1.0)


def test_a_damaged_entry_is_computed_again(tmp_path: Path) -> None:
    store, keys = filled(tmp_path)
    with sqlite3.connect(store.path) as database:
        value = database.execute("select value from rankings where key = ?", keys[:1]).fetchone()[0]
        damaged = value[:-1] + bytes([value[-1] ^ 1])
        database.execute("update rankings set value = ? where key = ?", (damaged, keys[0]))

    assert set(store.get(keys, 3)) == set(keys[1:])


def forged(key: bytes, ranked: Ranking, k: int = 3, identity: bytes = b"") -> bytes:
    """An entry as someone may write it who knows the format."""
    ids, scores = np.array(ranked.token_ids, "<i4"), np.array(ranked.scores, "<f4")
    body = bytes([ranked.settled]) + ids.tobytes() + scores.tobytes()
    parts = key + k.to_bytes(8, "little") + body
    return hashlib.blake2b(parts, digest_size=16, key=identity).digest() + body


def change(column: str, value: object) -> Callable[[sqlite3.Connection, list[bytes]], object]:
    statement = f"update rankings set {column} = ? where key = ?"
    return lambda database, keys: database.execute(statement, (value, keys[0]))


def exchange(database: sqlite3.Connection, keys: list[bytes]) -> None:
    select = "select value from rankings where key = ?"
    first, second = (database.execute(select, (key,)).fetchone()[0] for key in keys[:2])
    for key, value in ((keys[0], second), (keys[1], first)):
        database.execute("update rankings set value = ? where key = ?", (value, key))


def negative(database: sqlite3.Connection, keys: list[bytes]) -> None:
    """The right sum by the right key over ids that Python would count from the end."""
    identity = bytes.fromhex(database.execute("select identity from store").fetchone()[0])
    value = forged(keys[0], Ranking((-1, 0, 1), (3.0, 2.0, 1.0)), 3, identity)
    database.execute("update rankings set value = ? where key = ?", (value, keys[0]))


def unkeyed(database: sqlite3.Connection, keys: list[bytes]) -> None:
    value = forged(keys[0], Ranking((2, 1, 0), (3.0, 2.0, 1.0)))
    database.execute("update rankings set value = ? where key = ?", (value, keys[0]))


@pytest.mark.parametrize(
    "damage",
    [
        exchange, negative, unkeyed, change("k", 9), change("k", "many"), change("k", 3.5),
        change("value", 7), change("value", "text"), change("value", b""), change("value", 2.5),
        change("value", b"x" * 9), change("value", b"y" * 2**20),
    ],
)  # fmt: skip
def test_a_changed_entry_is_computed_again_and_replaced(
    tmp_path: Path, damage: Callable[[sqlite3.Connection, list[bytes]], object]
) -> None:
    store, keys = filled(tmp_path)
    with sqlite3.connect(store.path) as database:
        damage(database, keys)
    lost = {keys[0], keys[1]} if damage is exchange else {keys[0]}

    again = CandidateStore(tmp_path, DIGEST, words_only=False, vocabulary=100)
    assert set(again.get(keys, 3)) == set(keys) - lost
    assert ("damaged entries" in again.notice, again.error) == (True, "")
    again.put({key: ranking(3.0, 2.0, 1.0) for key in lost}, 3)
    assert set(again.get(keys, 3)) == set(keys)


def test_tokens_beyond_the_vocabulary_are_not_believed(tmp_path: Path) -> None:
    _, keys = filled(tmp_path)
    small = CandidateStore(tmp_path, DIGEST, words_only=False, vocabulary=2)

    assert not small.get(keys, 3)


def run_sql(*statements: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as database:
            for statement in statements:
                database.execute(statement)

    return change


ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select x'00' as key, "


def of_another_model(path: Path) -> None:
    other = CandidateStore(path.parent / "other", "b" * 64, words_only=False)
    other.put({key_of(MaskedInput((1, 2, 0), 3, 1)): ranking(9.0)}, 3)
    remove(path)
    shutil.copy(other.path, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a data base at all" * 100),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 9000),
        lambda path: path.write_bytes((whole := path.read_bytes())[:47] + b"\x09" + whole[48:]),
        lambda path: path.write_bytes(
            path.read_bytes()
            .replace(b"rankingsrankings", b"\xc8ankingsrankings")
            .replace(b"CREATE TABLE rankings", b"CREATE TABBE rankings")
        ),
        run_sql("drop table rankings"),
        run_sql("drop table rankings", f"create view rankings as {ENDLESS} i as k from n"),
        run_sql("drop table store", f"create view store as {ENDLESS} i as identity from n"),
        run_sql("create trigger t after insert on rankings begin delete from rankings; end"),
        run_sql("create index i on rankings (used)"),
        run_sql("drop table rankings", "create virtual table rankings using fts5(key, value)"),
        run_sql("drop table rankings", "create table rankings (key, used, k, value)"),
        run_sql("update store set identity = 'another'"),
        run_sql("insert into store select identity from store"),
        run_sql("delete from store"),
        run_sql("drop table store"),
        of_another_model,
    ],
)
def test_a_file_that_is_not_the_stores_is_begun_anew(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    store, keys = filled(tmp_path, 500)
    with sqlite3.connect(store.path) as database:
        database.execute("pragma wal_checkpoint(truncate)")
    damage(store.path)
    with suppress(StoreInvalid):
        describe_store(tmp_path)
    again = CandidateStore(tmp_path, DIGEST, words_only=False)

    assert again.get(keys, 3) == {}
    assert again.error == ""
    again.put({keys[0]: ranking(1.0)}, 1)
    assert again.get(keys, 1) == {keys[0]: ranking(1.0)}
    assert "begun anew" in again.notice or store.path.stat().st_size == 0
    assert [file.entries for file in describe_store(tmp_path)] == [1]


@pytest.mark.parametrize("place", ["folder", "pipe", "link", "link to nothing"])
def test_what_is_no_file_is_left_alone(tmp_path: Path, place: str) -> None:
    store, keys = filled(tmp_path / "store")
    other = tmp_path / "other.sqlite"
    if place == "link":
        shutil.copy(store.path, other)
    remove(store.path)
    if place == "folder":
        store.path.mkdir()
    elif place == "pipe":
        os.mkfifo(store.path)
    else:
        store.path.symlink_to(other)
    again = CandidateStore(tmp_path / "store", DIGEST, words_only=False)

    assert again.get(keys, 3) == {}
    assert "not a regular file" in again.error
    again.put({keys[0]: ranking(1.0)}, 1)
    with pytest.raises(StoreInvalid, match="not a regular file"):
        describe_store(tmp_path / "store")
    assert other.exists() == (place == "link")


def test_a_file_that_is_damaged_again_and_again(tmp_path: Path) -> None:
    """A failing disk is no reason to begin anew for ever."""
    store, keys = filled(tmp_path)
    for _ in range(2):
        remove(store.path)
        store.path.write_bytes(b"not a data base at all" * 100)
        store.put({keys[0]: ranking(1.0)}, 1)

    assert "begun anew" in store.notice
    assert "cannot be used" in store.error


def test_nothing_is_made_before_there_is_something_to_store(tmp_path: Path) -> None:
    store = CandidateStore(tmp_path / "new", DIGEST, words_only=False)

    assert store.get([b"key"], 3) == {}
    assert (store.error, (tmp_path / "new").exists()) == ("", False)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = CandidateStore(tmp_path / "file", DIGEST, words_only=False)

    assert "cannot be used" in store.error


def test_pruning_drops_the_oldest(tmp_path: Path) -> None:
    store, keys = filled(tmp_path, 5000)
    with sqlite3.connect(store.path) as database:
        database.execute("update rankings set used = 0 where key < x'80'")
    before = describe_store(tmp_path)[0]
    dropped = prune(tmp_path, before.bytes // 2)
    after = describe_store(tmp_path)[0]

    assert before.entries == 5000
    assert after.entries == 5000 - dropped
    assert after.bytes <= before.bytes * 0.7
    assert prune(tmp_path, before.bytes) == 0
    assert len(store.get(keys, 3)) == after.entries


def _fill(folder: Path, start: int) -> None:
    store = CandidateStore(folder, DIGEST, words_only=False)
    for i in range(start, start + 200):
        store.put({key_of(MaskedInput((i,), 1, 0)): ranking(2.0, 1.0)}, 2)
    assert not store.error


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_fill, args=(tmp_path, start)) for start in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert describe_store(tmp_path)[0].entries == 300
