"""Results as a person reads them: tables with what their columns mean."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.text import Text

from augment.contract.foreign import counted, shown, sized
from augment.contract.task import METRICS
from augment.contract.terminal import after_commit, labeled, open_console, print_json, to_copy
from distill.evaluation.results import (
    AblationLine,
    AblationResult,
    EvaluationResult,
    GeneralResult,
    Latency,
    MeasuredOn,
    Role,
    SoftLabelUse,
    metric_columns,
)
from distill.runs.distributed import is_main_process
from distill.runs.progress import short
from distill.runs.records import Record
from distill.tables.calibration import print_calibration
from distill.tables.cells import INTERVAL, Cells, print_table
from distill.tables.classes import print_classes
from distill.tables.intervals import interval_notes, score_cells, score_heads
from distill.tables.times import print_times

if TYPE_CHECKING:
    from distill.diagnosis.diagnose import Diagnosis
    from distill.serving.export import ExportResult
    from distill.serving.glue_submission import Submission
    from distill.serving.predict import PredictionTable

MOST_CLASSES = 12
"""Whose recalls are still read in a line."""
R = TypeVar("R", bound=Record)


def emit(
    result: R,
    as_json: bool,
    show: Callable[[R, Console], None],
    last: Sequence[Text] = (),
    *,
    kept: Path | None = None,
) -> None:
    """Print a result on stdout: as JSON, or by ``show`` with what comes next as the last line.

    Of several processes the first one does. Where the result is ``kept`` in a file or folder, the
    command has done its work, whether or not it can be printed.
    """
    if not is_main_process():
        return
    with after_commit(kept) if kept else nullcontext():
        if as_json:
            print_json(result.to_json())
            return
        console = open_console()
        show(result, console)
        for line in last:
            console.print(line)


def print_result(result: EvaluationResult, console: Console) -> None:
    """Print the table and what its columns mean."""
    chosen = result.selection
    trained = result.baseline or result.soft_labels
    best = f" · best step by {chosen.metric} on {chosen.split}" if trained else ""
    console.print(labeled("result", f"{result.version} · {_rows(result)}{best}"))
    head, lines = _cells(result)
    print_table(head, lines, console, spare=_spare(head, chosen.metric))
    for note in _notes(result):
        console.print(f"  {shown(note)}")
    for model in result.models:
        known = model.collapse.recalls if model.collapse and not model.classes else {}
        if 0 < len(known) <= MOST_CLASSES:
            recalls = " · ".join(f"{name} {recall:.2f}" for name, recall in known.items())
            console.print(labeled("recall", f"{model.model}: {recalls}"))
    print_classes(result, console)
    print_calibration(result, console)
    print_times(((model.model, model.end_to_end) for model in result.models), console)
    for verdict in result.verdicts:
        console.print(labeled("warning", verdict.sentence))
        for line in verdict.hint.split("\n") if verdict.hint else ():
            console.print(labeled("", line))


def print_general(result: GeneralResult, console: Console) -> None:
    """Print what a general distillation made."""
    losses = ", ".join(f"{name} {value:.4f}" for name, value in result.held_out.items())
    lines = {
        "student": f"{result.student} · {result.size}",
        "trained": f"{counted(result.steps, 'step')} · {counted(result.tokens, 'token')} · "
        f"{result.epochs:.2f} epochs of {result.corpus.name}",
        "held out": losses or "no blocks",
    }
    for label, text in lines.items():
        console.print(labeled(label, text))
    command = f"distill run VERSION --teacher … --student {shlex.quote(result.student)} --out …"
    console.print(to_copy("next", command))


def print_ablation(result: AblationResult, console: Console) -> None:
    """Print the table of an ablation."""
    about = (
        f"{result.version} · {result.metric} on {result.split} · "
        f"teacher {result.teacher:.3f} · {counted(len(result.seeds), 'seed')}"
    )
    console.print(labeled("ablation", about))
    head = ["arm", "score", "of teacher", "paper", ""]
    print_table(head, [_arm_cells(line) for line in result.arms], console, words=(0, 4))
    console.print(
        "  score = mean ± standard deviation over seeds; paper = TinyBERT4, dev set, in %"
    )


def _arm_cells(line: AblationLine) -> Cells:
    deviation = f" ± {line.deviation:.3f}" if line.deviation is not None else ""
    paper = f"{line.paper:.1f}" if line.paper is not None else "–"
    score = f"{line.mean:.3f}{deviation}"
    return [line.arm, score, f"{line.retention:.1f}%", paper, f"  {line.meaning}"]


def print_export(result: ExportResult, console: Console) -> None:
    """Print what an export was measured at, form by form, and what the columns mean."""
    place = f"{result.model} · {result.version} · {_rows(result)}"
    console.print(labeled("export", place))
    metrics = [name for name, _ in metric_columns(result.forms[0].scores)]
    head = ["form", *metrics, "drop", "logits", "changed", "batch 1", "batch 32", "file"]
    lines = []
    for form in result.forms:
        line = [form.form, *(f"{value:.3f}" for _, value in metric_columns(form.scores))]
        line += [f"{form.drop:.4f}", f"{form.logit_difference:.1e}", f"{form.answers_changed:,}"]
        lines.append([*line, *_speed(form.latency), sized(form.file_bytes)])
    print_table(head, lines, console, spare=_spare(head, result.selection.metric))
    for note in (
        f"drop = {result.selection.metric} on {result.selection.split} lost against pytorch",
        "logits = largest difference of a logit, changed = rows with another class",
        _speed_note(result.forms[0].latency),
    ):
        console.print(f"  {shown(note)}")
    print_times(((form.form, form.end_to_end) for form in result.forms), console)


def print_predictions(result: PredictionTable | Submission, console: Console) -> None:
    """Print what was written: a submission, or how many rows a table has."""
    from distill.serving.predict import PredictionTable

    if isinstance(result, PredictionTable):
        splits = ", ".join(result.splits)
        console.print(f"  {shown(result.place)}: {counted(result.rows, 'row')} of {shown(splits)}")
    else:
        print_submission(result, console)


def print_submission(result: Submission, console: Console) -> None:
    """Print the files of a GLUE submission, what is wrong with them and which are missing."""
    lines = []
    for file in result.files:
        state = "written" if file.file in (result.written or ()) else "right"
        lines.append([file.file, f"{file.rows:,}", "; ".join(file.faults) or state])
    console.print(labeled("submission", result.place))
    print_table(["file", "rows", "state"], lines, console, words=(0, 2))
    if result.missing:
        console.print(labeled("warning", f"missing: {', '.join(result.missing)}"))


def print_diagnosis(result: Diagnosis, console: Console) -> None:
    """Print the checks of ``distill doctor``, each with what to do about it."""
    about = (result.teacher, result.version, result.student, result.recipe)
    console.print(labeled("doctor", " · ".join(about)))
    for check in result.checks:
        style = {"error": "bold red", "warning": "yellow", "ok": "green"}.get(check.status, "")
        status = (f"{check.status:<8}", style)
        console.print(Text.assemble(labeled(check.name), status, " ", shown(check.finding)))
        for line in check.hint.split("\n") if check.hint else ():
            console.print(labeled("", line))
    if result.forecast:
        lines = [
            [part.title, part.part, f"{part.rows:,}", f"{part.steps:,.0f}", f"{part.epochs:,.2f}"]
            for part in result.forecast.mixture
        ]
        console.print(labeled("mixture", "what the stages draw from each part of the rows"))
        print_table(["stage", "part", "rows", "steps", "epochs"], lines, console, words=(0, 1))


def _cells(result: EvaluationResult) -> tuple[Cells, list[Cells]]:
    head = ["model", *score_heads(result), *(["retention"] if result.baseline else [])]
    head += ["parameters", "no embedding", "FLOPs", "batch 1", "batch 32", "file"]
    lines = []
    for model in result.models:
        line = [model.model, *score_cells(model, result)]
        if result.baseline:
            retained = result.retention(model)
            line.append("–" if retained is None else f"{retained:.1f}%")
        line += [short(model.parameters), short(model.encoder_parameters), short(model.flops)]
        lines.append([*line, *_speed(model.latency), sized(model.file_bytes)])
    for simple in result.baselines:
        line = [simple.name, *score_cells(simple, result)]
        size = "–" if simple.file_bytes is None else sized(simple.file_bytes)
        lines.append([*line, *["–"] * (len(head) - len(line) - 1), size])
    return head, lines


def _spare(head: Cells, metric: str) -> list[int]:
    """Columns that a narrow terminal goes without, the least telling first."""
    order = ["no embedding", "FLOPs", "logits", "metric", "batch 32", "parameters", INTERVAL]
    order += ["batch 1"]
    others = [name for name in METRICS if name != metric]
    kinds = ["metric" if name.split()[0] in others else name for name in head]
    ranked = [(order.index(kind), at) for at, kind in enumerate(kinds) if kind in order]
    if INTERVAL in head:
        ranked.remove((order.index(INTERVAL), head.index(INTERVAL)))  # the first one stays
    return [at for _, at in sorted(ranked)]


def _rows(result: MeasuredOn) -> str:
    return " · ".join(f"{split}, {counted(number, 'row')}" for split, number in result.rows.items())


def _notes(result: EvaluationResult) -> list[str]:
    notes, chosen = [], result.selection
    if result.baseline or result.soft_labels:
        names = {model.model for model in result.models}
        alone = {} if result.baseline else {Role.DISTILLED: _TAUGHT}
        notes = [alone.get(role, role.explanation) for role in Role if role in names]
    if result.soft_labels:
        notes += _soft_label_notes(result.soft_labels, chosen.metric)
    notes += interval_notes(result)
    if result.baseline:
        notes.append(f"retention = {chosen.metric} on {chosen.split}, % of the teacher's")
    if result.averaged:
        score = chosen.of(result.averaged)
        notes.append(f"the teachers' mean scores {chosen.metric} {score:.3f}")
    for simple in result.baselines:
        if simple.rows:
            times = [f"{own.batch_1:.2f} ms a text, end to end" for own in simple.end_to_end]
            learnt = f"on {counted(simple.rows, 'original row')}, {simple.seconds:.1f} s"
            notes.append(f"{simple.name} = {'; '.join([learnt, *times])}")
    lengths = sorted({model.max_length for model in result.models})
    notes.append(
        "FLOPs = for a sentence, mean over the split at its real lengths "
        f"(at most {' or '.join(map(str, lengths))} tokens), 2 for a multiply-add"
    )
    return [*notes, _speed_note(result.models[0].latency)]


_TAUGHT = f"{Role.DISTILLED} = taught by the version's soft labels; no teacher model, no retention"


def _soft_label_notes(use: SoftLabelUse, metric: str) -> list[str]:
    """How many rows soft labels taught, and how well they agree with labels."""
    notes = [f"soft labels of {counted(use.rows, 'row')}"]
    notes[0] += f", labels of {use.labels:,} without any" if use.labels else ""
    notes[0] += (
        f"; {counted(use.left_out, 'row', 'are')} left out, with neither" if use.left_out else ""
    )
    if use.compared:
        rows = f"the {counted(use.compared, 'original row')} with a label too"
        score = use.scores[metric]
        notes.append(f"the soft labels score {metric} {score:.3f} on {rows}")
    return notes


def _speed_note(latency: Latency) -> str:
    """What the columns ``batch 1`` and ``batch 32`` mean."""
    threads = latency.threads
    where = f"{latency.device}, {counted(threads, 'thread')}"
    return f"batch 1 = median time of one sentence, batch 32 = sentences a second, {where}"


def _speed(latency: Latency) -> tuple[str, str]:
    """The cells ``batch 1`` and ``batch 32``."""
    one, many = latency.batch_1, latency.throughput_32
    return f"{one:.{0 if one >= 100 else 1}f} ms", f"{many:,.{0 if many >= 10 else 1}f}/s"
