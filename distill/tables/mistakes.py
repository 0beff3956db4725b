"""What a person reads of the rows that a model gets wrong."""

from __future__ import annotations

from rich.console import Console

from augment.contract.foreign import counted, shown
from augment.contract.terminal import labeled
from distill.serving.mistakes import SURE, Mistake, Mistakes
from distill.tables.cells import print_table

TEXT_WIDTH, NAME_WIDTH = 60, 24


def print_mistakes(result: Mistakes, console: Console) -> None:
    """Print how many rows are wrong, and the first of them."""
    rows = " · ".join(f"{split}, {counted(count, 'row')}" for split, count in result.rows.items())
    console.print(labeled("errors", f"{result.model} · {result.version} · {rows}"))
    total = sum(result.rows.values())
    if result.first and result.first[0].error is not None:
        console.print(labeled("rows", f"{total:,}, the largest error first"))
    else:
        sure = f", {result.sure:,} of them with a confidence of {SURE} or more: suspect labels"
        said = f"{result.wrong:,} of {counted(total, 'row')} are wrong{sure if result.sure else ''}"
        console.print(labeled("wrong", said))
    if result.first:
        ranked = "confidence" if result.first[0].error is None else "error"
        head = ["idx", "label", "prediction", ranked, "text"]
        print_table(head, [_cells(own) for own in result.first], console, words=(1, 2, 4))


def _cells(own: Mistake) -> list[str]:
    names = [
        shown(value, limit=NAME_WIDTH) if isinstance(value, str) else f"{value:.3f}"
        for value in (own.label, own.prediction)
    ]
    text = " | ".join(shown(text, limit=TEXT_WIDTH) for text in own.texts)
    return [f"{own.idx}", *names, f"{own.rank:.3f}", text]
