"""What a person reads of single classes: found, called so, confused."""

from __future__ import annotations

from rich.console import Console

from augment.contract.foreign import counted, shown
from augment.contract.terminal import labeled
from distill.evaluation.classes import ClassReport
from distill.evaluation.results import EvaluationResult
from distill.tables.cells import print_table

MOST_CLASSES = 12
"""More are not shown one by one, nor as a matrix."""
SHOWN = 10
MOST_CONFUSED = 5
NAME_WIDTH = 32


def print_classes(result: EvaluationResult, console: Console) -> None:
    """Print precision, recall and F1 of each class, and what the model that was made confuses."""
    split = result.selection.split
    reports = {own.model: own.classes[split] for own in result.models if split in own.classes}
    made = reports.get(result.made.model)
    if made is None:
        return
    console.print(labeled("classes", f"{split} · precision, recall, F1 of each model"))
    _print_scores(reports, made, console)
    if len(made.scores) <= MOST_CLASSES:
        title = f"{result.made.model}: labels down, answers across"
        console.print(labeled("confusion", title))
        _print_matrix(made, console)
    elif confused := _most_confused(made):
        console.print(labeled("confusion", f"{result.made.model}: {' · '.join(confused)}"))


def _print_scores(reports: dict[str, ClassReport], made: ClassReport, console: Console) -> None:
    """A line for each class; of many those that are found least."""
    ranked = made.by_recall
    some = ranked[:SHOWN] if len(made.scores) > MOST_CLASSES else list(made.scores)
    by_name = [{own.name: own for own in report.scores} for report in reports.values()]
    lines = []
    for one in some:
        own = [each[one.name] for each in by_name]
        cells = [f"{each.precision:.2f} {each.recall:.2f} {each.f1:.2f}" for each in own]
        lines.append([shown(one.name, limit=NAME_WIDTH), f"{one.support:,}", *cells])
    print_table(["class", "rows", *reports], lines, console)
    if rest := ranked[len(some) :]:
        span = f"recall {rest[0].recall:.2f} to {rest[-1].recall:.2f}"
        console.print(f"  and {counted(len(rest), 'more class')}, {span}")


def _print_matrix(report: ClassReport, console: Console) -> None:
    names = [own.name for own in report.scores]
    short = [shown(name, limit=NAME_WIDTH // 2) for name in names]
    lines = [
        [row, *(f"{report.answered(label, answer):,}" for answer in names)]
        for row, label in zip(short, names, strict=True)
    ]
    print_table(["", *short], lines, console)


def _most_confused(report: ClassReport) -> list[str]:
    """The pairs of classes that are taken for each other most often."""
    wrong = [
        (count, label, answer)
        for label, answers in report.confusion.items()
        for answer, count in answers.items()
        if answer != label
    ]
    return [
        f"{_quoted(label)} taken for {_quoted(answer)} {count:,}"
        for count, label, answer in sorted(wrong, key=lambda own: -own[0])[:MOST_CONFUSED]
    ]


def _quoted(name: str) -> str:
    return f"'{shown(name, limit=NAME_WIDTH)}'"
