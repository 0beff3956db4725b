"""Results as a person reads them: tables with what their columns mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from augment.contract.progress import labeled, open_console
from augment.contract.terminal import print_json
from distill.distributed import is_main_process
from distill.evaluation.results import EXPLANATIONS, Cells, metric_columns, retention, teacher_of
from distill.progress import megabytes, short


def emit(
    result: Any, as_json: bool, show: Callable[[Any, Console], None], last: Text | None = None
) -> None:
    """Print a result on stdout; of several processes the first one does.

    Args:
        result: Of a command.
        as_json: For machines; ``show`` prints it for a person.
        show: Prints it on a console.
        last: What comes next, or where it lies: a line below.
    """
    if not is_main_process():
        return
    if as_json:
        print_json(result)
        return
    console = open_console()
    show(result, console)
    if last:
        console.print(last)


def print_result(result: dict[str, Any], console: Console) -> None:
    """Print the table and what its columns mean."""
    console.print(labeled("result", _headline(result)))
    print_table(*_cells(result), console)
    for note in _notes(result):
        console.print(f"  {note}")


def print_export(result: dict[str, Any], console: Console) -> None:
    """Print what an export was measured at, form by form, and what the columns mean."""
    chosen, forms = result["selection"], result["forms"]
    place = f"{result['model']} · {result['version']} · {_rows(result)}"
    console.print(labeled("export", place))
    metrics = [name for name, _ in metric_columns(forms[0])]
    head = ["form", *metrics, "drop", "logits", "changed", "batch 1", "batch 32", "file"]
    lines = []
    for form in forms:
        line = [form["form"], *(f"{value:.3f}" for _, value in metric_columns(form))]
        line += [f"{form['drop']:.4f}", f"{form['logit_difference']:.1e}"]
        line += [f"{form['answers_changed']:,}", *speed(form["latency"])]
        lines.append([*line, megabytes(form["file_bytes"])])
    print_table(head, lines, console)
    for note in (
        f"drop = {chosen['metric']} on {chosen['split']} lost against pytorch",
        "logits = largest difference of a logit, changed = rows with another class",
        speed_note(forms[0]["latency"]),
    ):
        console.print(f"  {note}")


def print_predictions(result: dict[str, Any], console: Console) -> None:
    """Print what was written: a submission, or how many rows a table has."""
    if "files" in result:
        print_submission(result, console)
    else:
        splits = ", ".join(result["splits"])
        console.print(f"  {result['place']}: {result['rows']:,} rows of {splits}")


def print_submission(result: dict[str, Any], console: Console) -> None:
    """Print the files of a GLUE submission, what is wrong with them and which are missing."""
    written = result.get("written", ())
    lines = []
    for file in result["files"]:
        state = "; ".join(file["faults"]) or ("written" if file["file"] in written else "right")
        lines.append([file["file"], f"{file['rows']:,}", state])
    console.print(labeled("submission", result["place"]))
    print_table(["file", "rows", "state"], lines, console, words=(0, 2))
    if missing := result["missing"]:
        console.print(labeled("warning", f"missing: {', '.join(missing)}"))


def print_diagnosis(result: dict[str, Any], console: Console) -> None:
    """Print the checks of ``distill doctor``, each with what to do about it."""
    parts = (result[name] for name in ("teacher", "version", "student", "recipe"))
    console.print(labeled("doctor", " · ".join(parts)))
    for check in result["checks"]:
        style = {"error": "bold red", "warning": "yellow", "ok": "green"}.get(check["status"])
        console.print(
            Text(f"  {check['name']:<11} "),
            Text(f"{check['status']:<8} ", style=style or ""),
            Text(check["finding"]),
            sep="",
        )
        for line in check["hint"].splitlines():
            console.print(f"  {'':<20} {line}")


def print_table(
    head: Cells, lines: Sequence[Cells], console: Console, words: Sequence[int] = (0,)
) -> None:
    """Print cells: with Rich on a terminal, as aligned plain text elsewhere.

    Args:
        head: Column names.
        lines: One list of cells for each row.
        console: Where to.
        words: Columns that are aligned to the left; the others hold numbers.
    """
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


def _cells(result: dict[str, Any]) -> tuple[Cells, list[Cells]]:
    compared = teacher_of(result) is not None
    metrics = [name for name, _ in metric_columns(result["models"][0])]
    head = ["model", *metrics, *(["retention"] if compared else [])]
    head += ["parameters", "no embedding", "FLOPs", "batch 1", "batch 32", "file"]
    lines = []
    for model in result["models"]:
        share = retention(result, model)
        shown = [] if not compared else ["–" if share is None else f"{share:.1f}%"]
        line = [model["model"], *(f"{value:.3f}" for _, value in metric_columns(model)), *shown]
        line += [short(model["parameters"]), short(model["encoder_parameters"])]
        line += [short(model["flops"]), *speed(model["latency"]), megabytes(model["file_bytes"])]
        lines.append(line)
    return head, lines


def _headline(result: dict[str, Any]) -> str:
    chosen = result["selection"]
    best = f" · best step by {chosen['metric']} on {chosen['split']}" if teacher_of(result) else ""
    return f"{result['version']} · {_rows(result)}{best}"


def _rows(result: dict[str, Any]) -> str:
    return " · ".join(f"{split}, {number:,} rows" for split, number in result["rows"].items())


def _notes(result: dict[str, Any]) -> list[str]:
    names = [model["model"] for model in result["models"]]
    lengths = sorted({model["max_length"] for model in result["models"]})
    notes = []
    if teacher_of(result):
        notes = [EXPLANATIONS[name] for name in names if name in EXPLANATIONS]
        chosen = result["selection"]
        notes.append(f"retention = {chosen['metric']} on {chosen['split']}, % of the teacher's")
        if "averaged" in result:
            score = result["averaged"][chosen["split"]][chosen["metric"]]
            notes.append(f"the teachers' mean scores {chosen['metric']} {score:.3f}")
    notes.append(
        "FLOPs = for a sentence, mean over the split at its real lengths "
        f"(at most {' or '.join(map(str, lengths))} tokens), 2 for a multiply-add"
    )
    return [*notes, speed_note(result["models"][0]["latency"])]


def speed_note(latency: dict[str, Any]) -> str:
    """What the columns ``batch 1`` and ``batch 32`` mean."""
    threads = latency["threads"]
    where = f"{latency['device']}, {threads} thread{'s' if threads > 1 else ''}"
    return f"batch 1 = median time of one sentence, batch 32 = sentences a second, {where}"


def speed(latency: dict[str, Any]) -> tuple[str, str]:
    """The cells ``batch 1`` and ``batch 32``."""
    one, many = latency["batch_1"], latency["throughput_32"]
    return f"{one:.{0 if one >= 100 else 1}f} ms", f"{many:,.{0 if many >= 10 else 1}f}/s"
