"""Vectors files of every kind, and what may be wrong with them."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from augment.errors import AssetInvalid, AssetMissing
from augment.vectors import Vectors, load_vectors, text


def write(path: Path, content: str | bytes) -> str:
    """Write a file and give its name."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def load(path: Path, content: str | bytes, rows: int = 100) -> Vectors:
    """Write a file and load it."""
    return load_vectors(write(path, content), rows)


def test_glove_text(tmp_path: Path) -> None:
    """Spaces in words as in the 840B file, in the first line too; ``<unk>`` is a row like any."""
    lines = ". . . 1 2\nthe 0.5 1\nat name@domain.com -1e-3 .5\n<unk> 0 0\nfilm 1E2 4\n"
    found = load(tmp_path / "glove.txt", lines)

    assert list(found.words) == [". . .", "the", "at name@domain.com", "<unk>", "film"]
    expected = np.array([[1, 2], [0.5, 1], [-1e-3, 0.5], [0, 0], [100, 4]], np.float32)
    assert np.array_equal(found.table.matrix, expected)
    assert found.neighbors(["the"], 5)[0].words == ("film",)
    assert list(load_vectors(str(tmp_path / "glove.txt"), 2).words) == [". . .", "the"]


@pytest.mark.parametrize(
    "content",
    [
        "red 0 1\ngrey 1 0\n",
        "red 0 1\ngrey 1 0",
        "2 2\nred 0 1 \ngrey 1 0 \n",
        "2 2\r\nred 0 1\r\ngrey 1 0\r\n\r\n",
        "red 0 1\ngrey 1 0\n\n\n",
        gzip.compress(b"2 2\nred 0 1\ngrey 1 0\n", mtime=0),
    ],
)
def test_line_ends_headers_and_gzip(tmp_path: Path, content: str | bytes) -> None:
    found = load(tmp_path / "w2v.txt", content)

    assert list(found.words) == ["red", "grey"]
    assert found.table.matrix.tolist() == [[0, 1], [1, 0]]


def test_blocks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(0).normal(size=(300, 3))
    lines = [f"w{i} " + " ".join(map(repr, row)) for i, row in enumerate(numbers.tolist())]
    whole = load(tmp_path / "v.txt", "\r\n".join(lines) + "\r\n", 250)
    monkeypatch.setattr(text, "READ_BYTES", 101)

    assert load_vectors(str(tmp_path / "v.txt"), 250).digest == whole.digest
    assert np.array_equal(whole.table.matrix, numbers[:250].astype(np.float32))


def test_word2vec_text_binary_and_native(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    native = KeyedVectors(3)
    native.add_vectors(["red", "grey", "blue"], np.eye(3, dtype=np.float32))
    native.save(str(tmp_path / "v.kv"))
    native.save_word2vec_format(str(tmp_path / "v.txt"))
    native.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    digests = {load_vectors(str(tmp_path / name), 9).digest for name in ("v.kv", "v.txt", "v.bin")}

    assert len(digests) == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "holds no vectors"),
        ("\n\n", "holds no vectors"),
        ("the\nfilm\n", "line 1 is not a word and its numbers"),
        ("the 0.5 1\nfilm 1\n", "line 2 is not a word and 2 numbers: 'film 1'"),
        ("the 0.5 1\n\nfilm 1 2\n", "line 2 is not a word and 2 numbers: ''"),
        ("the 0.5 1\nfilm 0.5 nan\n", "line 2 is not a word"),
        ("the 0.5 1\nfilm 0.5 1e39\n", "line 2 is not a word"),
        ("the 0.5 1e30\n", "row 1, 'the', has numbers of length 1e\\+30"),
        ("the a b\n", "line 1 is not a word"),
        ("the 0.5 1\nfilm 0.5  1\na 1 2\n", "line 2 is not a word"),
        ("3 2\nthe 0.5 1\nfilm 1 2\n", "holds 2 rows; its first line says 3"),
        ("3 2\nthe 0.5 1\nfilm 1\n", "line 3 is not a word and 2 numbers"),
        ("3 0\nthe\n", "line 1 is not a word and its numbers"),
        ("3 2\n", "holds 0 rows; its first line says 3"),
        (b"\x80\xff\x00\n\xfe\n", "line 1 is not a word and its numbers"),
        (b"PK\x03\x04", "holds no vectors"),
        (gzip.compress(b"the 0.5 1\n" * 99, mtime=0)[:-9], "cannot be read"),
    ],
)
def test_faulty_text_is_refused(tmp_path: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(AssetInvalid, match=rf"bad\.txt.*{problem}"):
        load(tmp_path / "bad.txt", content)


def test_a_fault_far_down_has_its_line_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "READ_BYTES", 64)
    lines = ["40 2", *(f"w{i} 1 {i}" for i in range(40))]
    lines[33] = "w32 1 x"

    with pytest.raises(AssetInvalid, match="line 34 is not a word and 2 numbers: 'w32 1 x'"):
        load(tmp_path / "far.txt", "\n".join(lines))
    assert len(load_vectors(str(tmp_path / "far.txt"), 32).words) == 32  # never reached


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "READ_BYTES", 1000)
    monkeypatch.setattr(text, "LONGEST_LINE", 2000)

    with pytest.raises(AssetInvalid, match="line 2 is longer than 2,000 bytes"):
        load(tmp_path / "long.txt", "the 0.5 1\n" + "1 " * 50_000)


def test_words_that_are_no_utf8_are_never_candidates(tmp_path: Path) -> None:
    found = load(tmp_path / "latin.txt", b"the 1 1\ncaf\xe9 1 1\nfilm 1 1\n")

    assert found.words[1] == "caf\ufffd"
    assert found.neighbors(["the"], 5)[0].words == ("film",)


def test_a_name_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import gensim.downloader

    def refuse(name: str, return_path: bool) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(gensim.downloader, "load", refuse)
    with pytest.raises(AssetMissing, match="glove-wiki-gigaword-100") as caught:
        load_vectors("glove-wiki-gigaword-100", 10)
    assert "Give a file" in caught.value.hint


def test_a_downloader_name_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The downloaded table is read as a file; the code that comes with it is never imported."""
    import gensim.downloader
    from gensim.models import KeyedVectors

    table = KeyedVectors(2)
    table.add_vectors(["red", "grey"], np.eye(2, dtype=np.float32))
    path = tmp_path / "glove-wiki-gigaword-100.gz"
    table.save_word2vec_format(str(path))
    monkeypatch.setattr(gensim.downloader, "load", lambda name, return_path: str(path))

    assert list(load_vectors("glove-wiki-gigaword-100", 10).words) == ["red", "grey"]


def test_a_native_file_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.kv").write_bytes(pickle.dumps(Evil()))

    with pytest.raises(AssetInvalid, match="no part of a table"):
        load_vectors(str(tmp_path / "evil.kv"), 10)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"99999999999 5\nthe ", b"x y\n", b"2 99999999999999\na "]
)
def test_faulty_binary_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(AssetInvalid, match=r"bad\.bin"):
        load(tmp_path / "bad.bin", content)
