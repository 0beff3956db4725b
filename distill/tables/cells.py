"""Cells as aligned lines: how every table of this command line is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from augment.contract.foreign import shown

Cells = list[str]
INTERVAL = "95%"
"""The head of a column of intervals, each of the score before it."""
NARROW = 20
"""A column of words is not folded to less."""
_GAP = 2


def print_table(
    head: Cells,
    lines: Sequence[Cells],
    console: Console,
    words: Sequence[int] = (0,),
    spare: Sequence[int] = (),
) -> None:
    """Print cells; on a terminal, as many columns as it has room for side by side.

    Args:
        head: Names of the columns.
        lines: Their cells.
        console: A terminal, or something else, which gets every column in one line a row.
        words: Columns that are aligned to the left; the others hold numbers.
        spare: Columns that a narrow terminal leaves out, the first one first; which, it is told.
    """
    rows = [head, *([shown(cell) for cell in line] for line in lines)]
    if not console.is_terminal:
        for row in plain_text(rows, words):
            console.print(f"    {row}")
        return
    left_out = spared(rows, console.width, spare)
    kept = [index for index in range(len(head)) if index not in left_out]
    rows = [[row[index] for index in kept] for row in rows]
    for number, part in enumerate(fitting(rows, console.width)):
        if number:
            console.print()
        of_words = [at for at, index in enumerate(part) if kept[index] in words]
        block = [[row[index] for index in part] for row in rows]
        for line, is_head in _lines(block, console.width, of_words):
            console.print(Text(f"  {line}", style="bold" if is_head else ""))
    if left_out:
        names = [
            f"{name} of {head[index - 1]}" if name == INTERVAL else name
            for index, name in enumerate(head)
            if index in left_out
        ]
        console.print(f"  too narrow for {', '.join(names)}: --json or a wider terminal has them")


def spared(rows: Sequence[Cells], width: int, spare: Sequence[int]) -> set[int]:
    """The columns that a terminal has no room for, if they can be spared at all. PURE."""
    for count in range(len(spare) + 1):
        left = {*spare[:count]}
        kept = [[cell for index, cell in enumerate(row) if index not in left] for row in rows]
        if len(fitting(kept, width)) == 1:
            return left
    return set(spare)


def fitting(rows: Sequence[Cells], width: int) -> list[list[int]]:
    """The columns of a table as blocks that a terminal has room for, the first one in each. PURE.

    Every block is filled before the next one begins; a column wider than a terminal stands alone.
    An interval stays with the score that it is of.
    """
    wide = [least + _GAP for least, _ in _widths(rows)]
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
    widths = [most for _, most in _widths(rows)]
    return [_aligned(row, widths, words) for row in rows]


def fold(cell: str, width: int) -> list[str]:
    """A cell in lines of a width: cut behind blanks and slashes, else anywhere. PURE."""
    lines = [""]
    for part in re.findall(r"[^\s/]*[\s/]?", cell):
        if cell_len((lines[-1] + part).rstrip()) <= width:
            lines[-1] += part
        else:
            lines += chop_cells(part, width)
    return [line.strip() for line in lines if line.strip()] or [""]


def _widths(rows: Sequence[Cells]) -> Iterator[tuple[int, int]]:
    """The least width of each column, its cells folded and its head on several lines; the most."""
    for head, *column in zip(*rows, strict=True):
        widest = max(map(cell_len, column), default=0)
        word = max(map(cell_len, head.split()), default=0)
        yield max(min(widest, NARROW), word), max(widest, cell_len(head))


def _lines(rows: Sequence[Cells], width: int, words: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """The lines of a block, and whether they are of its head; columns share what room there is."""
    sizes = [*_widths(rows)]
    widths = [least for least, _ in sizes]
    room = width - sum(widths) - _GAP * len(widths)
    for at in sorted(range(len(sizes)), key=lambda at: sizes[at][1] - sizes[at][0]):
        more = max(0, min(sizes[at][1] - widths[at], room))
        widths[at] += more
        room -= more
    for number, row in enumerate(rows):
        folded = [fold(cell, size) for cell, size in zip(row, widths, strict=True)]
        if not number:  # names stand right above their columns
            tall = max(map(len, folded))
            folded = [[""] * (tall - len(cell)) + cell for cell in folded]
        for line in zip_longest(*folded, fillvalue=""):
            yield _aligned(line, widths, words), not number


def _aligned(row: Sequence[str], widths: Sequence[int], words: Sequence[int]) -> str:
    cells = []
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        pad = " " * (width - cell_len(cell))
        cells.append(cell + pad if index in words else pad + cell)
    return (" " * _GAP).join(cells).rstrip()
