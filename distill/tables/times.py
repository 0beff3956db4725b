"""What a person reads of the time from a text to its label."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from augment.contract.terminal import labeled
from distill.evaluation.answer_times import EndToEnd, TimeShares
from distill.tables.cells import print_table


def print_times(named: Iterable[tuple[str, tuple[EndToEnd, ...]]], console: Console) -> None:
    """Print how long raw texts take, one at a time and many at once, and where the time goes."""
    lines = [
        [
            name,
            f"{own.threads}",
            f"{own.batch_1:.2f} ms",
            _shares(own.shares_1),
            f"{own.throughput_32:,.0f}/s",
            _shares(own.shares_32),
        ]
        for name, times in named
        for own in times
    ]
    if not lines:
        return
    console.print(labeled("end to end", "from raw texts to labels, as distill.Classifier answers"))
    head = ["model", "threads", "one text", "tokens/model/rest", "many", "tokens/model/rest"]
    print_table(head, lines, console)
    console.print("  many = texts a second in batches of like length, at most 32; shares in %")


def _shares(shares: TimeShares) -> str:
    parts = (shares.tokenize, shares.model, shares.rest)
    return " / ".join(f"{100 * part:.0f}" for part in parts)
