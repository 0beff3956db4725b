"""``distill report``: runs as one page; what cannot be read or shown is a sentence in its place."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from augment.contract import Fault, open_version
from augment.contract.foreign import counted, span
from augment.contract.page import (
    MOST_BYTES,
    Cell,
    Column,
    Section,
    code,
    facts,
    figures,
    folded,
    heading,
    note,
    number,
    page,
    table,
    version_parts,
    write_page,
)
from distill.errors import UsageError
from distill.evaluation.results import AblationResult, GeneralResult
from distill.reports.charts import Bar, Curve, bars, curves, mapping
from distill.reports.reading import ReadRun, StageLog, read_runs
from distill.reports.rows import calibration_parts, disagreement_parts
from distill.reports.scores import class_parts, overview, result_parts
from distill.reports.timing import time_students
from distill.reports.trade_offs import Times, trade_off_parts
from distill.runs.listing import Kind, State
from distill.runs.records import flatten
from distill.serving.export import ExportedForm

_STAGES = {
    "intermediate": "Stage 1",
    "prediction": "Stage 2",
    "plain": "Plain student",
    "teacher": "Teacher",
    "general": "General distillation",
}


def write_report(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], out: str | Path
) -> Path:
    """Write runs as one HTML file that needs nothing else.

    Args:
        runs: Run directories or folders of teachers, finished or not; several are compared.
        out: The new file; its name ends in ``.html``.

    Returns:
        Where it was written.

    Raises:
        UsageError: No run is named, or ``out`` is no name of a page.
        DataInvalid: At a place is no run, or nothing of it can be shown.
        OutputUnwritable: The file cannot be written.

    Examples:
        >>> from distill import report
        >>> report(["runs/reviews", "models/teacher"], "report.html").name
        'report.html'
    """
    several = [runs] if isinstance(runs, str | os.PathLike) else runs
    places = [Path(run) for run in several]
    if not places:
        raise UsageError("no run is named.", "Name a run directory: distill list shows them.")
    return write_page(out, lambda: _fitting(read_runs(places)))


def _fitting(runs: Sequence[ReadRun]) -> str:
    """The page with as many sections as it has room for."""
    several = len(runs) > 1
    times = time_students(runs)
    shared = [Section("All runs", tuple(_comparison(runs, times)))] if several else []
    shared_last = [Section("The data", tuple(_data(runs)))]
    room = MOST_BYTES - len(_page(runs, [*shared, *shared_last]).encode())
    sections, left = [], []
    for own in runs:
        for section in _of_several(own) if several else _of_one(own, times):
            size = 500 + sum(len(part.encode()) for part in section.parts)
            if size > room:
                left.append(section.title)
                continue
            room -= size
            sections.append(section)
    if left:
        says = f"Not shown, for the page would be too large: {', '.join(left)}."
        sections.append(Section("Left out", (note(says),)))
    return _page(runs, [*shared, *sections, *shared_last])


def _page(runs: Sequence[ReadRun], sections: Sequence[Section]) -> str:
    title = f"Run {runs[0].name}" if len(runs) == 1 else counted(len(runs), "run")
    return page(title, _lead(runs), sections)


def _lead(runs: Sequence[ReadRun]) -> str:
    """The one sentence for who reads no further."""
    if len(runs) > 1:
        return f"{', '.join(own.name for own in runs[:8])}{' …' if len(runs) > 8 else ''}"
    own = runs[0]
    if own.run.problem:
        return own.run.problem
    if (result := own.result) is not None:
        made, chosen = result.made, result.selection
        kept = result.retention(made) if result.baseline else None
        of = f", {kept:.1f}% of the teacher's" if kept is not None else ""
        score = f"{chosen.metric} {chosen.of(made.scores):.3f} on {chosen.split}{of}"
        return f"{result.version}: {made.model} scores {score}."
    if own.run.state is State.UNFINISHED:
        return "This run is not finished: what it has logged so far."
    return f"Made by distill {own.run.kind}."


def _comparison(runs: Sequence[ReadRun], times: Times) -> Iterable[Markup]:
    yield overview(runs)
    if len({own.run.version_id for own in runs if own.result}) > 1:
        yield note(
            "These runs were measured on different data: scores are only comparable where the "
            "data is the same.", "warning",
        )  # fmt: skip
    yield from trade_off_parts(runs, times)


def _of_one(own: ReadRun, times: Times) -> list[Section]:
    """A page about one run: each topic is a section."""
    sections = [Section(title, tuple(parts)) for title, parts in _topics(own)]
    sections.insert(1, Section("Size and speed", tuple(trade_off_parts([own], times))))
    return sections


def _of_several(own: ReadRun) -> list[Section]:
    """One section of a page about several."""
    parts: list[Markup] = []
    for title, topic in _topics(own):
        found = tuple(topic)
        parts += [folded(title, *found)] if found else []
    return [Section(own.name, tuple(parts))]


def _topics(own: ReadRun) -> Iterable[tuple[str, Iterable[Markup]]]:
    yield "Result", _result(own)
    if own.stages or own.run.kind is not Kind.TEACHER:
        yield "Learning curves", _learning(own.stages)
    if own.result is not None:
        yield "Classes", class_parts(own.result)
    if own.answers is not None:
        yield "Calibration", calibration_parts(own.answers)
        yield "Where teacher and student disagree", disagreement_parts(own.answers)
    elif own.run.kind is Kind.TASK and own.result is not None:
        yield "Where teacher and student disagree", [note(f"Not known: {own.without}")]
    yield "How it was made", _making(own)


def _result(own: ReadRun) -> Iterable[Markup]:
    if own.run.problem:
        yield note(own.run.problem, "warning")
    elif own.run.state is State.UNFINISHED:
        says = "It is not finished; the command that began it goes on from where it stopped."
        yield note(says, "warning")
    if own.result is not None:
        yield from result_parts(own.result)
    if own.forms:
        yield _forms(own.forms)
    if own.ablation is not None:
        yield from _ablation(own.ablation)
    if own.general is not None:
        yield _general(own.general)


def _forms(forms: Sequence[ExportedForm]) -> Markup:
    """What was exported, and what it costs."""
    heads = [
        Column("form"),
        Column("score lost", number=True),
        Column("other answers", number=True),
    ]
    heads += [Column(name, number=True) for name in ("file MB", "ms a raw text")]
    lines = []
    for own in forms:
        time = own.end_to_end[0].batch_1 if own.end_to_end else None
        cells = [Cell(own.form), number(own.drop, 4), number(own.answers_changed)]
        lines.append([*cells, number(own.file_bytes / 1e6, 1), number(time, 2)])
    return table("Exported forms, against the student in PyTorch", heads, lines)


def _general(result: GeneralResult) -> Markup:
    return facts(
        {
            "student": f"{result.student} · {result.size}",
            "teacher": result.teacher,
            "trained on": f"{counted(result.tokens, 'token')}, {result.epochs:.2f} epochs of "
            f"{result.corpus.name}, {counted(result.steps, 'step')}",
            **{f"held-out {name}": f"{value:.4f}" for name, value in result.held_out.items()},
        }
    )


def _ablation(result: AblationResult) -> Iterable[Markup]:
    seeds = counted(len(result.seeds), "seed")
    drawn = [Bar(own.arm, own.mean, own.deviation) for own in result.arms]
    about = f"{result.metric} on {result.split}, mean ± standard deviation of {seeds}"
    yield figures(
        [bars("What each part is worth", drawn, x=about, line=("teacher", result.teacher))]
    )
    heads = [Column("arm"), Column("leaves out"), Column("mean", number=True)]
    heads += [Column(name, number=True) for name in ("deviation", "of teacher %", "paper %")]
    lines = [
        [Cell(own.arm), Cell(own.meaning), number(own.mean), number(own.deviation)]
        + [number(value, 1) for value in (own.retention, own.paper)]
        for own in result.arms
    ]
    yield table(about, heads, lines)


def _learning(stages: Sequence[StageLog]) -> Iterable[Markup]:
    """A chart of each stage's losses, and one of what was measured on other rows meanwhile."""
    if not stages:
        yield note("There is no log of losses beside it.")
        return
    drawn = []
    for stage in stages:
        name, general = _STAGES.get(stage.name, stage.name), stage.name == "general"
        if losses := _lines(stage.losses):
            drawn.append(curves(f"{name}: losses", losses, x="step", y="loss", log=True))
        if scores := _lines(stage.scores):
            what = "held-out losses" if general else "validation"
            title = f"{name}: {what}"
            drawn.append(curves(title, scores, x="step", y=what, log=general))
    yield figures(drawn)
    yield note("Losses are means since the point before; loss is their weighted sum.")


def _lines(values: dict[str, list[tuple[int, float]]]) -> list[Curve]:
    """Curves by name; a sum of one term is no curve of its own."""
    terms = [name for name in values if name != "loss"]
    shown = terms if len(terms) == 1 else list(values)
    return [Curve(n, [step for step, _ in values[n]], [y for _, y in values[n]]) for n in shown]


def _making(own: ReadRun) -> Iterable[Markup]:
    """Commands, machine, time by part, layers, recipe."""
    run = own.run
    for call in run.calls[-20:]:
        yield note(f"{call.at}, recipe {call.recipe or 'default'}")
        yield code(shlex.join(call.command) if call.command else "called from Python")
    if run.calls:
        yield facts(dict(run.calls[-1].environment))
    if run.seconds:
        most = max([1e-9, *run.seconds.values()])
        yield table(
            "Time by part, all calls together",
            [Column("part"), Column("time", number=True)],
            [[Cell(name), Cell(span(s), s, s / most)] for name, s in run.seconds.items()],
        )
    if (layers := run.layers) is not None:
        yield figures([mapping(layers.mapping, layers.teacher)])
    if run.identity:
        yield from _recipe(own)


def _recipe(own: ReadRun) -> Iterable[Markup]:
    changes = [
        [Cell(each.key), Cell(_value(each.before)), Cell(_value(each.after))]
        for each in own.run.changes
    ]
    heads = [Column("key"), Column("default"), Column("this run")]
    yield table("Recipe: what differs from the default", heads, changes)
    whole = {key: str(value) for key, value in flatten(dict(own.run.recipe)).items()}
    yield folded("The whole recipe", facts(whole))
    made = {k: str(v) for k, v in own.run.identity.items() if k != "recipe"}
    yield folded("What the run is made of: names and digests", facts(made))


def _value(value: object) -> str:
    return "–" if value is None else str(value)


def _data(runs: Sequence[ReadRun]) -> Iterable[Markup]:
    """Facts of each version that a run was made from, once."""
    seen: set[str] = set()
    for own in runs:
        name, place = own.run.version_id, own.run.version_path
        if not name or name in seen:
            continue
        seen.add(name)
        if len(seen) > 1:
            yield heading(f"Data {name[:12]}")
        if place is None:
            yield note(f"Version {name[:12]}: this run does not tell where it lay.")
            continue
        try:
            version = open_version(place)
            if version.manifest.id != name:
                yield note(f"{place} now holds another version than the run began with.", "warning")
                continue
            yield from version_parts(version)
        except Fault as fault:
            yield note(f"The version of the run cannot be shown: {fault.problem}")
