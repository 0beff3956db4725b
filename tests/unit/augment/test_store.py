"""The candidate store: what is found again, what is not trusted, and its bounds."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from augment.errors import StoreInvalid
from augment.masked_lm.inputs import MaskedInput
from augment.masked_lm.model import TIE_GAP, Ranking
from augment.replacement.candidate_store import CandidateStore, describe_store, key_of, prune

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


def test_a_damaged_file_is_named_and_does_not_stop_a_run(tmp_path: Path) -> None:
    store, keys = filled(tmp_path)
    store.path.write_bytes(b"not a data base at all" * 100)
    again = CandidateStore(tmp_path, DIGEST, words_only=False)

    assert "cannot be used" in again.error
    assert again.get(keys, 3) == {}
    again.put({keys[0]: ranking(1.0)}, 1)
    with pytest.raises(StoreInvalid, match="damaged"):
        describe_store(tmp_path)


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
