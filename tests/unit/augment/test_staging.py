"""Chunks of a run: which are taken for finished, and what killed runs leave."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from augment.contract import FileDamaged, open_version, verify
from augment.contract.files import locked
from augment.contract.manifest import checksum_of
from augment.versions.rows import ChunkOutput
from augment.versions.staging import Staging, commit, open_staging, remove_leftovers
from tests.contract.conftest import OTHERS, draft, rows

SIZE = 2
COUNTS = {"rows.source": 2}


def staged(folder: Path, identity: str = "a" * 64, chunks: int = 2) -> Staging:
    """A killed run with so many finished chunks; each with other texts."""
    left = []
    with suppress(KeyboardInterrupt), open_staging(folder, identity, SIZE) as staging:
        for number in range(chunks):
            staging.keep(ChunkOutput(number, rows(f" {number} of {identity[0]}"), COUNTS))
        left.append(staging)
        raise KeyboardInterrupt
    return left[0]


def file(staging: Staging, chunk: int, suffix: str) -> Path:
    return staging.path / "chunks" / f"{chunk:06d}{suffix}"


def exchange(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def of_another_chunk(staging: Staging) -> None:
    for suffix in (".parquet", ".json"):
        exchange(file(staging, 0, suffix), file(staging, 1, suffix))


def of_another_run(staging: Staging) -> None:
    other = staged(staging.folder, "b" * 64)
    for suffix in (".parquet", ".json"):
        shutil.copy(file(other, 0, suffix), file(staging, 0, suffix))


def rows_of_another_run(staging: Staging) -> None:
    other = staged(staging.folder, "b" * 64)
    shutil.copy(file(other, 0, ".parquet"), file(staging, 0, ".parquet"))


def one_bit(staging: Staging) -> None:
    path = file(staging, 0, ".parquet")
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def other_counts(staging: Staging) -> None:
    path = file(staging, 0, ".json")
    path.write_text(path.read_text().replace('"rows.source": 2', '"rows.source": 3'))


def other_size(staging: Staging) -> None:
    path = file(staging, 0, ".json")
    note = json.loads(path.read_text())
    note["chunk_rows"] = SIZE + 1
    path.write_text(json.dumps({**note, "checksum": checksum_of(note)}))


def no_rows_at_all(staging: Staging) -> None:
    path = file(staging, 0, ".json")
    note = json.loads(path.read_text())
    note["files"] = {}
    path.write_text(json.dumps({**note, "checksum": checksum_of(note)}))


def a_pipe(staging: Staging) -> None:
    file(staging, 0, ".parquet").unlink()
    os.mkfifo(file(staging, 0, ".parquet"))


def folders(staging: Staging) -> None:
    for suffix in (".parquet", ".json"):
        file(staging, 0, suffix).unlink()
        file(staging, 0, suffix).mkdir()


def written(text: str) -> Callable[[Staging], object]:
    return lambda staging: file(staging, 0, ".json").write_text(text)


DAMAGES = [
    of_another_chunk, of_another_run, rows_of_another_run, one_bit, other_counts, other_size,
    no_rows_at_all, a_pipe, folders, written(""), written("[]"), written("null"),
    written("[" * 9999), written('{"files": {}}'), written("\0"),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_the_chunk_is_made_again(
    tmp_path: Path, damage: Callable[[Staging], object]
) -> None:
    staging = staged(tmp_path / "remarks")
    assert [staging.finished(chunk) for chunk in range(2)] == [COUNTS, COUNTS]
    damage(staging)

    assert staging.finished(0) is None
    staging.keep(ChunkOutput(0, rows(" again"), COUNTS))
    assert staging.finished(0) == COUNTS
    assert next(staging.tables(1, ".parquet")).equals(rows(" again"))


@pytest.mark.parametrize("damage", [one_bit, of_another_chunk, a_pipe, folders])
def test_a_chunk_that_changes_before_the_commit_is_not_committed(
    tmp_path: Path, damage: Callable[[Staging], object]
) -> None:
    made = draft()
    staging = staged(tmp_path / "remarks", made.id)
    assert staging.finished(0) is not None
    damage(staging)

    with pytest.raises(FileDamaged, match="changed or removed") as caught:
        commit(staging, made, 2, OTHERS)
    assert "same command" in caught.value.hint
    assert not list((tmp_path / "remarks").glob("v*"))
    for chunk in range(2):
        staging.keep(ChunkOutput(chunk, rows() if chunk == 0 else rows().slice(0, 0), COUNTS))
    assert verify(open_version(commit(staging, made, 2, OTHERS))) == 3


def test_leftovers_go_and_finished_chunks_stay(tmp_path: Path) -> None:
    folder = tmp_path / "remarks"
    committed, resumable = staged(folder, "a" * 64), staged(folder, "b" * 64)
    for staging in (committed, resumable):
        (staging.path / "version" / "data").mkdir(parents=True)
        (staging.path / "chunks" / ".000007.parquet.partial").write_bytes(b"half")
    empty = folder / f".partial-{'c' * 12}" / "chunks"
    empty.mkdir(parents=True)
    (folder / f".lock-{'d' * 12}").touch()
    (folder / f".partial-{'e' * 12}").mkdir()
    (folder / ".partial-").mkdir()
    (folder / f".partial-{'1' * 12}").write_bytes(b"")
    (folder / f".partial-{'2' * 12}").symlink_to(tmp_path)
    remove_leftovers(folder, ["a" * 64])

    assert tmp_path.is_dir()
    left = sorted(path.name for path in folder.iterdir())
    assert left == [f".lock-{'b' * 12}", f".partial-{'b' * 12}"]
    assert resumable.finished(0) == COUNTS
    names = sorted(path.name for path in resumable.path.rglob("*"))
    assert names == ["000000.json", "000000.parquet", "000001.json", "000001.parquet", "chunks"]


def test_a_run_at_work_is_left_alone(tmp_path: Path) -> None:
    folder, name = tmp_path / "remarks", "a" * 12
    with open_staging(folder, "a" * 64, SIZE) as staging:
        (staging.path / "version").mkdir()
        remove_leftovers(folder, ["a" * 64])
        assert sorted(path.name for path in staging.path.iterdir()) == ["chunks", "version"]
        assert (folder / f".lock-{name}").exists()
    assert list(folder.iterdir()) == []
    with locked(folder / f".lock-{name}"):  # taken, and nothing begun
        remove_leftovers(folder, [])
        assert (folder / f".lock-{name}").exists()
