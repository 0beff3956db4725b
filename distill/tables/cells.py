"""Cells as aligned lines: how every table of this command line is printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from augment.contract.foreign import shown

Cells = list[str]


def print_table(
    head: Cells, lines: Sequence[Cells], console: Console, words: Sequence[int] = (0,)
) -> None:
    """Print cells: with Rich on a terminal, as aligned plain text elsewhere.

    The columns in ``words`` are aligned to the left; the others hold numbers.
    """
    lines = [[shown(cell) for cell in line] for line in lines]
    if console.is_terminal:
        table = Table(box=None, pad_edge=True, padding=(0, 1))
        for index, name in enumerate(head):
            table.add_column(name, justify="left" if index in words else "right", no_wrap=True)
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)
    else:
        for row in plain_text([head, *lines], words):
            console.print(f"    {row}")


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
