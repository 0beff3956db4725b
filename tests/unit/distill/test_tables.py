"""Tables of a terminal have room in it, whatever its width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from distill.tables.cells import fitting, print_table

HEAD = ["model", "accuracy", "95%", "retention", "parameters", "batch 1", "batch 32", "file"]
ROW = ["student, labels only", "0.849", "0.801–0.884", "91.6%", "14.4 M", "4.6 ms", "66/s", "57 MB"]


@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_columns_are_split_into_blocks_that_fit(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)

    print_table(HEAD, [ROW, ROW], console)

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in lines) <= width
    for cell in [*HEAD, *ROW]:
        assert any(cell in line for line in lines), cell


def test_every_block_begins_with_the_names() -> None:
    assert fitting([HEAD, ROW], 60) == [[0, 1, 2, 3], [0, 4, 5, 6, 7]]
    assert fitting([HEAD, ROW], 10) == [[0, 1, 2], *([0, n] for n in range(3, 8))]
    assert [own for block in fitting([HEAD, ROW], 45) for own in block[1:]] == [*range(1, 8)]
    assert fitting([["only"]], 3) == [[0]]


def test_a_pipe_gets_whole_lines() -> None:
    console = Console(file=io.StringIO(), width=40, soft_wrap=True)

    print_table(HEAD, [ROW], console)

    assert len(console.file.getvalue().splitlines()) == 2  # type: ignore[attr-defined]
