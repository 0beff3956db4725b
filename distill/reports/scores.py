"""The parts of a report that say how good models are: tables of results, classes, confusions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from augment.contract.foreign import counted
from augment.contract.page import Cell, Column, code, figures, folded, heading, note, number, table
from distill.evaluation.classes import ClassReport
from distill.evaluation.results import Baseline, EvaluationResult, Measurement, metric_columns
from distill.reports.reading import ReadRun
from distill.runs.progress import short
from distill.tables.intervals import interval_notes

MOST_CLASSES = 300
MOST_IN_MATRIX = 20
MOST_CONFUSED = 60
NAME = 60


def result_parts(result: EvaluationResult) -> Iterable[Markup]:
    """The table of models and baselines, what it means, and its verdicts."""
    yield _table(result)
    rows = " · ".join(f"{split}, {counted(count, 'row')}" for split, count in result.rows.items())
    yield note(f"{result.version} · {rows}. {'. '.join(interval_notes(result))}.")
    latency = result.models[0].latency
    yield note(
        "batch 1: median milliseconds of the model alone for one sentence; batch 32: sentences a "
        f"second; {latency.device}, {counted(latency.threads, 'thread')}. "
        f"retention: % of the teacher's "
        f"{result.selection.metric} on {result.selection.split}."
    )
    for verdict in result.verdicts:
        yield note(verdict.sentence, "warning")
        if verdict.hint:
            yield folded("What to do about it", code(verdict.hint))


def _table(result: EvaluationResult) -> Markup:
    metrics = [name for name, _ in metric_columns(result.models[0].scores)]
    heads = [Column("model"), *(Column(name, number=True) for name in metrics)]
    heads += [Column("95%", f"of {result.selection.metric}, rows drawn anew (bootstrap)", True)]
    more = ("retention", "parameters", "FLOPs", "batch 1 ms", "batch 32 /s", "file MB")
    heads += [Column(name, number=True) for name in more]
    lines = [_model(result, own) for own in result.models]
    lines += [_baseline(result, own) for own in result.baselines]
    return table("Models and what is simpler, on the same rows", heads, lines)


def _scores(result: EvaluationResult, own: Measurement | Baseline) -> list[Cell]:
    values = [number(value) for _, value in metric_columns(own.scores)]
    found = own.intervals.get(result.selection.split)
    text = f"{found.low:.3f}–{found.high:.3f}" if found else "–"
    kept = result.retention(own) if result.baseline else None
    return [*values, Cell(text, found.low if found else None), number(kept, 1)]


def _model(result: EvaluationResult, own: Measurement) -> list[Cell]:
    return [
        Cell(own.model),
        *_scores(result, own),
        Cell(short(own.parameters), own.parameters),
        Cell(short(own.flops), own.flops),
        number(own.latency.batch_1, 1),
        number(own.latency.throughput_32, 0),
        number(own.file_bytes / 1e6, 1),
    ]


def _baseline(result: EvaluationResult, own: Baseline) -> list[Cell]:
    size = own.file_bytes / 1e6 if own.file_bytes is not None else None
    dashes = [number(None)] * 4
    return [Cell(own.name), *_scores(result, own), *dashes, number(size, 1)]


def class_parts(result: EvaluationResult) -> Iterable[Markup]:
    """Precision, recall and F1 of every class by every model, and what is taken for what."""
    split = result.selection.split
    reports = {own.model: own.classes[split] for own in result.models if split in own.classes}
    if not reports:
        return
    made = reports.get(result.made.model) or next(iter(reports.values()))
    names = made.by_recall[:MOST_CLASSES] if len(made.scores) > MOST_CLASSES else made.scores
    heads = [Column("class"), Column("rows", number=True)]
    heads += [
        Column(f"{model.removeprefix('student, ')} {what}", number=True)
        for model in reports
        for what in ("P", "R", "F1")
    ]
    by_name = [{own.name: own for own in report.scores} for report in reports.values()]
    lines = []
    for each in names:
        cells = [label_cell(each.name), number(each.support)]
        for own in (known.get(each.name) for known in by_name):
            shares = (own.precision, own.recall, own.f1) if own else (None, None, None)
            cells += [number(value, 2) for value in shares]
        lines.append(cells)
    left = len(made.scores) - len(lines)
    more = f"; {left:,} more, found better, are left out" if left else ""
    about = f"Classes on {split}: precision, recall and F1 of each model{more}"
    yield table(about, heads, lines, filters=len(lines) > 12)
    yield heading("What is taken for what")
    yield figures(_confusion(model, report) for model, report in reports.items())


def _confusion(model: str, report: ClassReport) -> Markup:
    if len(report.scores) > MOST_IN_MATRIX:
        return _most_confused(model, report)
    names = [own.name for own in report.scores]
    rows = []
    for label in names:
        total = max(1, sum(report.confusion.get(label, {}).values()))
        counts = [report.answered(label, answer) for answer in names]
        rows.append([label_cell(label), *(Cell(f"{n:,}", n, heat=n / total) for n in counts)])
    heads = [Column("label"), *(Column(str(label_cell(name).text), number=True) for name in names)]
    return table(f"{model}: labels down, answers across", heads, rows, sorts=False)


def _most_confused(model: str, report: ClassReport) -> Markup:
    wrong = [
        (count, label, answer)
        for label, answers in report.confusion.items()
        for answer, count in answers.items()
        if answer != label
    ]
    rows = [
        [label_cell(label), label_cell(answer), number(count)]
        for count, label, answer in sorted(wrong, key=lambda own: -own[0])[:MOST_CONFUSED]
    ]
    heads = [Column("label"), Column("taken for"), Column("rows", number=True)]
    return table(
        f"{model}: the most frequent mistakes of {counted(len(wrong), 'kind')}", heads, rows
    )


def label_cell(name: str) -> Cell:
    """The name of a class, cut where it is long: it stands in many rows."""
    return Cell(name if len(name) <= NAME else f"{name[:NAME]}…", foreign=True)


def overview(runs: Sequence[ReadRun]) -> Markup:
    """All runs, one a line."""
    names = ("score", "95%", "retention", "parameters", "file MB")
    heads = [Column("run"), *(Column(name, number=True) for name in names), Column("model")]
    heads += [Column("metric"), Column("task", choice=True), Column("data"), Column("made by")]
    return table("All runs of this page", heads, map(_line, runs), filters=len(runs) > 5)


def _line(own: ReadRun) -> list[Cell]:
    made_by = f"distill {own.run.kind}"
    about = [Cell(own.run.task or "–"), Cell(own.run.version_id[:12] or "–"), Cell(made_by)]
    if (result := own.result) is None:
        says = "ablation" if own.ablation else str(own.run.state)
        return [Cell(own.name), *[number(None)] * 5, Cell(says), Cell("–"), *about]
    made = result.made
    found = made.intervals.get(result.selection.split)
    return [
        Cell(own.name),
        number(result.selection.of(made.scores)),
        Cell(f"{found.low:.3f}–{found.high:.3f}" if found else "–", found.low if found else None),
        number(result.retention(made) if result.baseline else None, 1),
        Cell(short(made.parameters), made.parameters),
        number(made.file_bytes / 1e6, 1),
        Cell(made.model),
        Cell(f"{result.selection.metric} on {result.selection.split}"),
        *about,
    ]
