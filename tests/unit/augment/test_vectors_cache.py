"""Parsed tables kept for the next start: mapped, checked, rebuilt, never trusted blindly."""

from __future__ import annotations

import json
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from augment.cli import app
from augment.contract import sha256_file
from augment.errors import AssetInvalid
from augment.progress import Narrator
from augment.tokenization.base import is_plain
from augment.vectors import Vectors, cache, cache_folder, load_vectors, loading
from augment.vectors.cache import entries, vector_tables
from augment.vectors.storage import METADATA, Metadata, load
from augment.vectors.table import Block


class Listener(Narrator):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def say(self, label: str, text: str) -> None:
        self.heard.append(text)


class Place:
    """A vectors file and a cache that keeps even small ones."""

    def __init__(self, folder: Path) -> None:
        self.file, self.folder = folder / "glove.txt", folder / "cache"
        self.write(0)

    def write(self, seed: int, rows: int = 300) -> None:
        numbers = np.random.default_rng(seed).normal(size=(rows, 4)).round(3)
        words = [chr(97 + i % 26) * (1 + i // 26) for i in range(rows)]
        lines = [f"{w} " + " ".join(f"{x:.3f}" for x in row) for w, row in zip(words, numbers)]  # noqa: B905
        self.file.write_text("\n".join(lines) + "\n")

    def load(self, rows: int = 1000, narrator: Narrator | None = None) -> Vectors:
        return load_vectors(str(self.file), rows, cache=self.folder, narrator=narrator)

    @property
    def entry(self) -> Path:
        (only,) = entries(self.folder)
        return only


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(loading, "KEPT_FROM_BYTES", 0)
    return Place(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every time that a vectors file is parsed."""
    seen: list[Path] = []
    read = loading.read_blocks

    def noted(path: Path, rows: int) -> Iterator[Block]:
        seen.append(path)
        return read(path, rows)

    monkeypatch.setattr(loading, "read_blocks", noted)
    return seen


def same(one: Vectors, other: Vectors) -> bool:
    """Whether two tables agree in every array and in what is found."""
    ours, theirs = one.table.arrays(), other.table.arrays()
    arrays = all(np.array_equal(ours[name], theirs[name]) for name in ours)
    asked = list(one.words)[:20]
    found = one.neighbors(asked, 5) == other.neighbors(asked, 5)
    return arrays and found and one.digest == other.digest


def test_the_second_start_maps_what_the_first_one_read(place: Place, reads: list[Path]) -> None:
    plain = load_vectors(str(place.file), 1000)
    first, second = place.load(), place.load()

    assert len(reads) == 2  # once without a cache, once to fill it
    assert same(first, plain)
    assert same(second, plain)
    assert all(isinstance(array.base, np.memmap) for array in second.table.arrays().values())
    beside = sorted(path.name for path in place.file.parent.iterdir())
    assert beside == ["cache", "glove.txt"]


def test_a_small_file_is_not_kept(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.load()

    assert not place.folder.exists()


def test_rows_asked_for_are_entries_of_their_own(place: Place) -> None:
    assert len(place.load(100).words) == 100
    assert len(place.load(1000).words) == 300
    assert len(entries(place.folder)) == 2


def test_a_changed_file_is_read_again(place: Place, reads: list[Path]) -> None:
    """Even when size and time of change are put back as they were."""
    first, old, before = place.load(), place.entry, place.file.stat()
    place.write(1)
    os.utime(place.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = place.load()

    assert place.file.stat().st_mtime_ns == before.st_mtime_ns
    assert second.digest != first.digest
    assert place.entry != old  # which is gone
    assert len(reads) == 2


def test_a_file_that_changes_while_it_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = loading.read_blocks

    def meddling(path: Path, rows: int) -> Iterator[Block]:
        yield from read(path, rows)
        place.write(1)

    monkeypatch.setattr(loading, "read_blocks", meddling)
    with pytest.raises(AssetInvalid, match="changed while it was read"):
        place.load()
    assert not entries(place.folder)
    assert not list(place.folder.glob(".draft-*"))


FILES = [*(f"{name}.npy" for name in ("norms", "usable", "text", "ends", "order")), "matrix.f32"]


@pytest.mark.parametrize("harm", ["truncate", "remove", "flip the last byte", "empty", "pipe"])
@pytest.mark.parametrize("name", [*FILES, "table.json"])
def test_a_damaged_entry_is_made_again(
    place: Place, reads: list[Path], name: str, harm: str
) -> None:
    plain = load_vectors(str(place.file), 1000)
    place.load()
    path = place.entry / name
    content = path.read_bytes()
    path.unlink()
    if harm == "pipe":
        os.mkfifo(path)
    elif harm != "remove":
        short, last = content[:-1], content[-1] ^ 1
        kept = {"truncate": short, "empty": b"", "flip the last byte": short + bytes([last])}
        path.write_bytes(kept[harm])

    assert load(place.entry) is None
    assert same(place.load(), plain)
    assert load(place.entry) is not None
    assert len(reads) == 3


def test_every_byte_of_the_vectors_is_compared(place: Place, reads: list[Path]) -> None:
    plain = load_vectors(str(place.file), 1000)
    place.load()
    path = place.entry / "matrix.f32"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)

    assert load(place.entry) is None
    assert same(place.load(), plain)
    assert len(reads) == 3


def forge(entry: Path, **changes: object) -> None:
    """Change the metadata of an entry, and its own sum with it."""
    note = Metadata.read(entry).model_copy(update=changes)
    (entry / METADATA).write_text(note.model_copy(update={"sum": note.own_sum()}).model_dump_json())


@pytest.mark.parametrize("key", ["digest", "source", "rows", "name", "sum"])
def test_changed_metadata_are_not_believed(place: Place, reads: list[Path], key: str) -> None:
    plain = place.load()
    note = json.loads((place.entry / METADATA).read_text())
    note[key] = note["rows"] - 1 if key == "rows" else "0" * 64
    (place.entry / METADATA).write_text(json.dumps(note))

    assert same(place.load(), plain)
    assert len(reads) == 2


def test_another_digest_is_not_believed_even_with_a_right_sum(place: Place) -> None:
    plain = place.load()
    forge(place.entry, digest="0" * 64)

    assert same(place.load(), plain)


def test_words_of_other_rows_are_not_believed_even_with_right_sums(place: Place) -> None:
    plain = load_vectors(str(place.file), 1000)
    place.load()
    file = place.entry / "text.npy"
    np.save(file, np.load(file)[::-1].copy())
    files = Metadata.read(place.entry).files
    told = files["text"].model_copy(update={"sha256": sha256_file(file)})
    forge(place.entry, files={**files, "text": told})

    assert same(place.load(), plain)


def test_another_source_with_the_same_state_is_read(
    place: Place, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, times and inode of another file: as after a restored disk image."""
    first, known = place.load(), place.file.stat()
    content = place.file.read_text()
    place.file.write_text(content.replace("0.1", "0.2").replace("-0.", "-1.", 1))
    assert place.file.stat().st_size == known.st_size
    stat = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda path, **more: known if path == place.file else stat(path, **more)
    )

    assert place.load().digest != first.digest
    assert len(reads) == 2


def test_a_name_that_lies_is_not_believed(place: Place, reads: list[Path]) -> None:
    """An entry copied to where another one belongs."""
    place.load(100)
    small = place.entry
    place.load(200)
    (large,) = set(entries(place.folder)) - {small}
    shutil.rmtree(large)
    shutil.copytree(small, large)

    assert len(place.load(200).words) == 200
    assert len(reads) == 3


def test_two_at_once_read_once(
    place: Place, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    read = loading.read_blocks

    def slow(path: Path, rows: int) -> Iterator[Block]:
        begun.set()
        go_on.wait(60)
        yield from read(path, rows)

    monkeypatch.setattr(loading, "read_blocks", slow)
    tables: list[Vectors] = []
    listener = Listener()
    first = threading.Thread(target=lambda: tables.append(place.load()))
    first.start()
    assert begun.wait(60)
    second = threading.Thread(target=lambda: tables.append(place.load(narrator=listener)))
    second.start()
    while not listener.heard:
        assert second.is_alive()
    go_on.set()
    first.join(60)
    second.join(60)

    assert len(reads) == 1
    assert "waiting for it" in listener.heard[0]
    assert same(*tables)


def test_what_a_killed_process_left_is_cleared_away(place: Place) -> None:
    place.load()
    draft = place.folder / f".draft-{place.entry.name.partition('-')[0]}"
    draft.mkdir()
    (draft / "matrix.f32").write_bytes(b"half")
    place.write(1)
    place.load()

    assert not draft.exists()


def test_a_full_disk_costs_the_cache_and_nothing_else(place: Place) -> None:
    plain = load_vectors(str(place.file), 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    listener = Listener()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        found = place.load(narrator=listener)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert same(found, plain)
    assert "cannot be kept" in listener.heard[0]
    assert not entries(place.folder)
    assert not list(place.folder.glob(".draft-*"))


def test_a_place_that_is_no_folder(place: Place) -> None:
    place.folder.write_text("in the way")
    listener = Listener()

    assert same(place.load(narrator=listener), load_vectors(str(place.file), 1000))
    assert "going on without" in listener.heard[0]


def test_gensims_companion_files_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gensim.models import KeyedVectors

    monkeypatch.setattr(loading, "KEPT_FROM_BYTES", 0)
    digests = []
    for seed in (0, 1):
        table = KeyedVectors(4)
        numbers = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
        table.add_vectors(["red", "grey", "blue"], numbers)
        table.save(str(tmp_path / f"{seed}.kv"), separately=["vectors"], sep_limit=0)
    for seed in (0, 1):
        shutil.copy(tmp_path / "0.kv", tmp_path / "v.kv")
        shutil.copy(tmp_path / f"{seed}.kv.vectors.npy", tmp_path / "v.kv.vectors.npy")
        digests.append(load_vectors(str(tmp_path / "v.kv"), 9, cache=tmp_path / "cache").digest)

    assert digests[0] != digests[1]


def test_the_default_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "augment-distill" / "vectors"
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "here"))

    assert cache_folder() == tmp_path / "here"
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder(False) is None


def test_the_command_shows_checks_and_clears(place: Place) -> None:
    def vectors(*options: str) -> str:
        return CliRunner().invoke(app, ["vectors", str(place.folder), *options]).stdout

    place.load()
    assert "300 x 4" in vectors()
    assert json.loads(vectors("--json"))["tables"][0]["state"] == "whole"
    (place.entry / "matrix.f32").write_bytes(b"")
    assert "damaged" in vectors("--verify")
    assert "1 table " in vectors("--clear")
    assert "0 tables" in vectors()


def test_a_table_of_an_older_format_is_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(cache, "FORMAT", 1)
        first, old = place.load(), place.entry
    second = place.load()

    assert same(first, second)
    assert place.entry != old  # which is gone


def test_clear(place: Place) -> None:
    foreign = place.folder / "not-ours"
    foreign.mkdir(parents=True)
    place.load(100)
    kept = place.load(200)

    assert vector_tables(place.folder, clear=True).removed == 2
    assert not entries(place.folder)
    assert kept.neighbors([kept.words[0]], 3)[0].words  # still mapped
    assert foreign.is_dir()


def test_a_kept_mask_follows_the_rule_of_plain_words() -> None:
    """Entries hold what ``is_plain`` said. When these answers change, so must ``cache.FORMAT``."""
    samples = [
        "a", "The", "", "##a", "##", "[UNK]", "[a", "<unk>", "<>", "a b", " a", "a\u00a0", "don't",
        "ice-cream", "3", ",", "é", "Ġa", "▁a", "a##", "[]", "[unused1]", "\u3000", "中",
    ]  # fmt: skip
    answers = "".join("01"[is_plain(sample)] for sample in samples)

    assert (cache.FORMAT, answers) == (3, "110000101000111111111001")
