"""Nearest words: what float32 and float64 find against a full float64 sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.vectors import Vectors, index, search
from tests.reference.vectors import nearest

Words = tuple[list[str], np.ndarray]


def letters(number: int) -> str:
    """A plain word for a number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


@pytest.fixture(scope="module")
def table() -> Words:
    """Clusters, so that neighbors are near; not a whole number of groups."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(60, 16))
    matrix = centres[generator.integers(0, 60, 3011)] + 0.6 * generator.normal(size=(3011, 16))
    matrix = matrix.astype(np.float32)
    matrix[100] = matrix[200] = matrix[300]  # equal cosines
    matrix[400] = 2 * matrix[500]  # parallel
    matrix[600] = 0
    return [letters(i) for i in range(3011)], matrix


@pytest.fixture
def asked(table: Words) -> list[str]:
    rows = [*range(0, 3011, 7), 100, 300, 500, 3010]
    return [table[0][row] for row in rows if row != 600]


def test_agrees_with_a_full_sort(table: Words, asked: list[str]) -> None:
    words, matrix = table
    matrix = np.where(np.arange(3011)[:, None] == 600, 1e-3, matrix)
    found = Vectors.of(words, matrix).neighbors(asked, 15)

    for word, near in zip(asked, found, strict=True):
        assert list(near.words) == nearest(words, matrix, word, 15)
    assert len(found) == 435


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_agrees_with_a_full_sort_on_any_table(data: st.DataObject) -> None:
    """Few values make ties; lengths from 1e-12 to 1e12."""
    rows = data.draw(st.integers(2, 150))
    dimensions = data.draw(st.integers(1, 5))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    matrix = generator.integers(-2, 3, size=(rows, dimensions)).astype(np.float32)
    matrix[~matrix.any(axis=1)] = 1
    matrix *= np.float32(10.0) ** generator.integers(-12, 13, size=(rows, 1)).astype(np.float32)
    words, k = [letters(i) for i in range(rows)], data.draw(st.integers(1, 20))
    found = Vectors.of(words, matrix).neighbors(words, k)

    wide = matrix.astype(np.float64)
    unit = wide / np.sqrt((wide * wide).sum(axis=1))[:, None]
    for row, near in enumerate(found):
        cosines = unit @ unit[row]
        others = np.delete(cosines, row)
        assert len(near.rows) == min(k, rows - 1)
        assert row not in near.rows
        assert np.allclose(near.scores, np.sort(others)[::-1][:k], atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 3, 50, 301, 1100])
def test_float32_cosines_are_off_by_less_than_the_slack(dimensions: int) -> None:
    """Lengths from 1e-15 to 1e15; all terms of one sign, which rounds worst."""
    generator = np.random.default_rng(2)
    matrix = generator.uniform(0.5, 1, size=(300, dimensions))
    matrix = (matrix * 10.0 ** generator.integers(-15, 16, size=(300, 1))).astype(np.float32)
    wide = matrix.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(axis=1))
    exact = wide @ wide.T / np.outer(norms, norms)
    units = search.unit_vectors(matrix, norms)
    seen = search.float32_cosines(matrix, norms, np.ones(300, bool), units)

    assert np.abs(seen.numpy() - exact).max() < search.error_bound(dimensions)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (index, "QUERIES_PER_SEARCH", 1),
        (index, "MAX_REMEMBERED", 3),
        (search, "_PRODUCTS_PER_BLOCK", 2**14),
        (search, "_GROUP", 8),
        (search, "_MAX_PAIRS", 0),
    ],
)
def test_how_the_work_is_cut_does_not_matter(
    table: Words,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    value: object,
) -> None:
    whole = Vectors.of(*table).neighbors(asked, 15)
    monkeypatch.setattr(module, name, value)

    assert Vectors.of(*table).neighbors(asked, 15) == whole


def test_threads_do_not_matter(table: Words, asked: list[str]) -> None:
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(Vectors.of(*table).neighbors(asked, 15))
    torch.set_num_threads(before)

    assert found[0] == found[1]


@pytest.mark.parametrize("most", [0, 2**21])
def test_near_ties_are_settled_exactly(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Vectors closer together than float32 can tell."""
    monkeypatch.setattr(search, "_MAX_PAIRS", most)
    generator = np.random.default_rng(1)
    base = generator.normal(size=8)
    matrix = (base + 1e-6 * generator.normal(size=(200, 8))).astype(np.float32)
    words = [letters(i) for i in range(200)]

    found = Vectors.of(words, matrix).neighbors([words[0], words[7]], 5)
    assert [list(near.words) for near in found] == [
        nearest(words, matrix, word, 5) for word in (words[0], words[7])
    ]


@pytest.mark.parametrize("most", [0, 2**21])
def test_equal_rows_come_in_their_order(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(search, "_MAX_PAIRS", most)
    words = [letters(i) for i in range(300)]
    found = Vectors.of(words, np.ones((300, 4))).neighbors([words[2]], 4)[0]

    assert found.rows == (0, 1, 3, 4)


def test_rows_that_are_never_neighbors() -> None:
    words = ["a", "zero", "b", "<unk>", "##c", "b", "caf\ufffd", ". . .", "d"]
    matrix = np.array([[1, 0]] * 9, np.float32)
    matrix[1] = 0
    found = Vectors.of(words, matrix).neighbors(["a", "nope", "zero", "b"], 9)

    assert [near.words for near in found] == [("b", "d"), (), (), ("a", "d")]


def test_neighbours_are_searched_for_once(table: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Vectors.of(*table)
    asked = [table[0][1], table[0][2], table[0][1]]
    first = known.neighbors(asked, 5)
    monkeypatch.setattr(index, "search", lambda *_: pytest.fail("searched again"))

    assert known.neighbors(asked, 5) == first
    assert first[0] == first[2]


def test_a_vocabulary_knows_rows_and_words(table: Words) -> None:
    words = ["b", "", "a", "é", "b", "a b", "😀"]
    vocabulary = Vectors.of(words, np.ones((7, 1))).words

    assert list(vocabulary) == words
    assert vocabulary[-1] == "😀"
    assert vocabulary[1:3] == ["", "a"]
    assert [vocabulary.row_of(word) for word in (*words, "c", "\ud800")] == [
        0, 1, 2, 3, 0, 5, 6, None, None,
    ]  # fmt: skip
    with pytest.raises(IndexError):
        vocabulary[7]
