"""Cells as aligned lines: how every table of this command line is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from augment.contract.foreign import shown

Cells = list[str]
INTERVAL = "95%"
"""The head of a column of intervals, each of the score before it."""


def print_table(
    head: Cells, lines: Sequence[Cells], console: Console, words: Sequence[int] = (0,)
) -> None:
    """Print cells: with Rich on a terminal, as aligned plain text elsewhere.

    The columns in ``words`` are aligned to the left; the others hold numbers.
    """
    lines = [[shown(cell) for cell in line] for line in lines]
    if console.is_terminal:
        for number, part in enumerate(fitting([head, *lines], console.width)):
            if number:
                console.print()
            table = Table(box=None, pad_edge=True, padding=(0, 1))
            for index in part:
                side: Literal["left", "right"] = "left" if index in words else "right"
                table.add_column(head[index], justify=side, overflow="fold")
            for line in lines:
                table.add_row(*(Text(line[index]) for index in part))
            console.print(table)
    else:
        for row in plain_text([head, *lines], words):
            console.print(f"    {row}")


def fitting(rows: Sequence[Cells], width: int) -> list[list[int]]:
    """The columns of a table as blocks that a terminal has room for, the first one in each. PURE.

    Every block is filled before the next one begins; a column wider than a terminal stands alone.
    An interval stays with the score that it is of.
    """
    wide = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    blocks = [[0]]
    for index in range(1, len(wide)):
        if rows[0][index] == INTERVAL and index > 1:
            continue
        sure = rows[0][index + 1 : index + 2] == [INTERVAL]
        together = [index, index + 1] if sure else [index]
        if len(blocks[-1]) > 1 and sum(wide[own] for own in [*blocks[-1], *together]) > width:
            blocks.append([0])
        blocks[-1] += together
    return blocks


def plain_text(rows: Sequence[Cells], words: Sequence[int] = (0,)) -> list[str]:
    """Rows of cells as aligned lines: columns of words to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index in words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
