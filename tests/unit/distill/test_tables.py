"""Tables of a terminal have room in it, whatever its width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from distill.tables.cells import fitting, fold, print_table, spared

HEAD = ["model", "accuracy", "95%", "retention", "parameters", "batch 1", "batch 32", "file"]
ROW = ["student, labels only", "0.849", "0.801–0.884", "91.6%", "14.4 M", "4.6 ms", "66/s", "57 MB"]


def printed(width: int, head: list[str], *rows: list[str], spare: tuple[int, ...] = ()) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    print_table(head, rows, console, spare=spare)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [40, 50, 80, 120, 200])
def test_columns_are_split_into_blocks_that_fit(width: int) -> None:
    lines = printed(width, HEAD, ROW, ROW).splitlines()

    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for cell in " ".join([*HEAD, *ROW]).split():
        assert cell in words, cell


def test_every_block_begins_with_the_names() -> None:
    assert fitting([HEAD, ROW], 60) == [[0, 1, 2, 3], [0, 4, 5, 6, 7]]
    assert fitting([HEAD, ROW], 10) == [[0, 1, 2], *([0, n] for n in range(3, 8))]
    assert [own for block in fitting([HEAD, ROW], 45) for own in block[1:]] == [*range(1, 8)]
    assert fitting([["only"]], 3) == [[0]]


def test_what_can_be_spared_is_left_out_and_named() -> None:
    assert spared([HEAD, ROW], 200, (4, 6)) == set()
    assert spared([HEAD, ROW], 81, (4, 6)) == {4}
    assert spared([HEAD, ROW], 72, (4, 6)) == {4, 6}

    text = printed(72, HEAD, ROW, spare=(4, 6))
    assert "too narrow for parameters, batch 32: --json" in text.replace("\n", " ")
    assert "14.4 M" not in text
    assert "57 MB" in text
    assert "too narrow" not in printed(120, HEAD, ROW, spare=(4, 6))


def test_a_long_name_is_folded_between_words() -> None:
    name = "token embeddings + logistic regression"
    lines = printed(60, ["model", *HEAD[1:4]], [name, *ROW[1:4]]).splitlines()

    assert lines[1].split()[:3] == ["token", "embeddings", "+"]
    assert lines[2].strip() == "logistic regression"


@pytest.mark.parametrize(
    ("cell", "lines"),
    [
        ("", [""]),
        ("a/long/path/of/a/run", ["a/long/", "path/of/a/", "run"]),
        ("abcdefghijklmnop", ["abcdefghij", "klmnop"]),
        ("two words", ["two words"]),
        ("語語語語語語語", ["語語語語語", "語語"]),  # two cells each
    ],
)
def test_cells_are_cut_where_a_reader_would(cell: str, lines: list[str]) -> None:
    assert fold(cell, 10) == lines


def test_wide_characters_keep_columns_straight() -> None:
    lines = printed(80, ["class", "rows"], ["語語", "1"], ["ab", "100"]).splitlines()

    assert lines[1].endswith("語語      1")
    assert lines[2].endswith("ab      100")


def test_a_pipe_gets_whole_lines() -> None:
    console = Console(file=io.StringIO(), width=40, soft_wrap=True)

    print_table(HEAD, [ROW], console, spare=(4,))

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(text.splitlines()) == 2
    assert "14.4 M" in text
