"""The result of a run as a table: for a terminal, for a file, for pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

Cells = list[str]
EXPLANATIONS = {
    "teacher": "teacher = the model that the student learns from",
    "teacher 2": "teacher 2 and further ones = logits averaged with the teacher's",
    "student, labels only": (
        "student, labels only = same shape and start, trained on the labels of the original rows"
    ),
    "student, distilled": "student, distilled = taught by the teacher, as the recipe says",
}


def frame(result: dict[str, Any]) -> pd.DataFrame:
    """The table as numbers: retention in percent, latency in milliseconds."""
    import pandas as pd

    return pd.DataFrame([_numbers(result, model) for model in result["models"]])


def _numbers(result: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    retained = retention(result, model)
    return {
        "model": model["model"],
        **dict(_scores(model)),
        **({} if _teacher(result) is None else {"retention %": retained}),
        "parameters": model["parameters"],
        "without embeddings": model["encoder_parameters"],
        "batch 1 ms": model["latency"]["batch_1"],
        "batch 32 ms": model["latency"]["batch_32"],
    }


def retention(result: dict[str, Any], model: dict[str, Any]) -> float | None:
    """The selection metric on the first split, in percent of the teacher's."""
    teacher = _teacher(result)
    if teacher is None:
        return None
    split, metric = result["selection"]["split"], result["selection"]["metric"]
    best, own = teacher["scores"][split][metric], model["scores"][split][metric]
    return None if best <= 0 else 100 * own / best


def _teacher(result: dict[str, Any]) -> dict[str, Any] | None:
    return next((m for m in result["models"] if m["model"] == result.get("baseline")), None)


def _scores(model: dict[str, Any]) -> list[tuple[str, float]]:
    """Metric columns; with several splits each column names its own."""
    several = len(model["scores"]) > 1
    return [
        (f"{metric} {split.removeprefix('validation_')}" if several else metric, value)
        for split, metrics in model["scores"].items()
        for metric, value in metrics.items()
    ]


def print_result(result: dict[str, Any], console: Console) -> None:
    """Print the table: with Rich on a terminal, as aligned plain text elsewhere."""
    head, lines = _cells(result)
    console.print(f"  {_headline(result)}", markup=False)
    if console.is_terminal:
        table = Table(box=None, pad_edge=True, padding=(0, 1))
        for index, name in enumerate(head):
            table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    else:
        for row in plain_text([head, *lines]):
            console.print(f"    {row}", markup=False)
    for note in _notes(result):
        console.print(f"  {note}", markup=False)


def plain_text(rows: Sequence[Cells]) -> list[str]:
    """Rows of cells as aligned lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cells(result: dict[str, Any]) -> tuple[Cells, list[Cells]]:
    compared = _teacher(result) is not None
    metrics = [name for name, _ in _scores(result["models"][0])]
    head = ["model", *metrics, *(["retention"] if compared else [])]
    head += ["parameters", "batch 1", "batch 32"]
    lines = []
    for model in result["models"]:
        share = retention(result, model)
        shown = [] if not compared else ["–" if share is None else f"{share:.1f}%"]
        speed = model["latency"]
        line = [model["model"], *(f"{value:.3f}" for _, value in _scores(model)), *shown]
        line += [_count(model["parameters"]), *map(_ms, (speed["batch_1"], speed["batch_32"]))]
        lines.append(line)
    return head, lines


def _headline(result: dict[str, Any]) -> str:
    rows = " · ".join(f"{split}, {count:,} rows" for split, count in result["rows"].items())
    chosen = result["selection"]
    best = f" · best step by {chosen['metric']} on {chosen['split']}" if _teacher(result) else ""
    return f"result      {result['version']} · {rows}{best}"


def _notes(result: dict[str, Any]) -> list[str]:
    speed = result["models"][0]["latency"]
    names = [model["model"] for model in result["models"]]
    notes = []
    if _teacher(result):
        notes = [EXPLANATIONS[name] for name in names if name in EXPLANATIONS]
        chosen = result["selection"]
        notes.append(f"retention = {chosen['metric']} on {chosen['split']}, % of the teacher's")
        if "averaged" in result:
            score = result["averaged"][chosen["split"]][chosen["metric"]]
            notes.append(f"the teachers' mean scores {chosen['metric']} {score:.3f}")
    where = f"{speed['device']}, {speed['threads']} thread{'s' if speed['threads'] > 1 else ''}"
    return [*notes, f"batch 1, batch 32 = median time of one call, {where}, float32"]


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else f"{parameters:,}"
