"""Nearest words against a full float64 sort; file formats and their faults."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from augment import vectors
from augment.errors import AssetInvalid, AssetMissing
from augment.vectors import Vectors, load_vectors
from tests.reference.vectors import nearest


@pytest.fixture(scope="module")
def table() -> tuple[list[str], np.ndarray]:
    generator = np.random.default_rng(0)
    words = [f"word{i}" for i in range(3000)]
    matrix = generator.normal(size=(3000, 16)).astype(np.float32)
    matrix[100] = matrix[200] = matrix[300]  # equal cosines
    matrix[400] = 2 * matrix[500]  # parallel
    return words, matrix


def test_agrees_with_a_full_sort(table: tuple[list[str], np.ndarray]) -> None:
    words, matrix = table
    asked = [words[i] for i in range(0, 3000, 7)] + ["word100", "word300", "word500"]
    found = Vectors(words, matrix).neighbours(asked, 15)

    for word, near in zip(asked, found, strict=True):
        assert list(near.words) == nearest(words, matrix, word, 15)
    assert len(found) == 432


def test_near_ties_at_the_cut_are_settled_exactly() -> None:
    """Many vectors closer together than float32 can tell: the short list must grow."""
    generator = np.random.default_rng(1)
    base = generator.normal(size=8)
    matrix = (base + 1e-6 * generator.normal(size=(200, 8))).astype(np.float32)
    words = [f"w{i}" for i in range(200)]

    found = Vectors(words, matrix).neighbours(["w0", "w7"], 5)
    assert [list(near.words) for near in found] == [
        nearest(words, matrix, word, 5) for word in ("w0", "w7")
    ]


def test_unknown_words_and_rows_without_direction() -> None:
    matrix = np.array([[1, 0], [0, 0], [1, 1], [0.9, 0.1], [1, 0.5]])
    found = Vectors(["a", "zero", "b", "<unk>", "##c"], matrix).neighbours(["a", "nope"], 5)

    assert found[0].words == ("b",)
    assert found[1].words == ()


def test_neighbours_are_searched_once(
    table: tuple[list[str], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Vectors(*table)
    first = known.neighbours(["word1", "word2", "word1"], 5)
    monkeypatch.setattr(Vectors, "_search", lambda *_: pytest.fail("searched again"))

    assert known.neighbours(["word1", "word2", "word1"], 5) == first


def test_blocks_do_not_matter(
    table: tuple[list[str], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = table[0][:40]
    whole = Vectors(*table).neighbours(asked, 15)
    monkeypatch.setattr(vectors, "_WORDS_A_BLOCK", 1)

    assert Vectors(*table).neighbours(asked, 15) == whole


def test_glove_text_with_spaces_in_words(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("the 0.5 1\n. . . 1 2\nfilm -1e-3 4\n", encoding="utf-8")

    assert load_vectors(str(path), 10).words == ["the", ". . .", "film"]
    assert load_vectors(str(path), 2).words == ["the", ". . ."]


def test_word2vec_text_binary_and_native(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    native = KeyedVectors(3)
    native.add_vectors(["red", "grey", "blue"], np.eye(3, dtype=np.float32))
    native.save(str(tmp_path / "v.kv"))
    native.save_word2vec_format(str(tmp_path / "v.txt"))
    native.save_word2vec_format(str(tmp_path / "v.bin"), binary=True)
    digests = {load_vectors(str(tmp_path / name), 9).digest for name in ("v.kv", "v.txt", "v.bin")}

    assert len(digests) == 1


@pytest.mark.parametrize("text", ["the 0.5 1\nfilm 1\n", "the 0.5 nan\n", "the a b\n", ""])
def test_faulty_text_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(AssetInvalid, match=r"bad\.txt"):
        load_vectors(str(path), 10)


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

    assert load_vectors("glove-wiki-gigaword-100", 10).words == ["red", "grey"]


def test_a_native_file_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.kv").write_bytes(pickle.dumps(Evil()))

    with pytest.raises(AssetInvalid, match="no part of a table"):
        load_vectors(str(tmp_path / "evil.kv"), 10)
    assert not (tmp_path / "ran").exists()


def test_spaces_at_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "w2v.txt"
    path.write_text("2 2\nred 0 1 \ngrey 1 0 \n")

    assert load_vectors(str(path), 10).words == ["red", "grey"]
