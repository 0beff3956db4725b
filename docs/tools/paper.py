"""The sections of RESULTS.md on a teacher of BERT-base's size, and on the released scripts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from augment.contract.foreign import markdown_table
from docs.tools.charts import Bars, Curve, Kind, Mark, Panel, bars, curves, marks, picture
from docs.tools.sections import NAMES

Row = Mapping[str, Any]
SIMILAR = (
    "The encoder is a general-purpose one that was tuned for sentence similarity afterwards, "
    "which every figure here shares. "
)
KINDS = {
    "whole": Kind("with augmented rows", 1),
    "repeated": Kind("original rows, as many steps", 2, "s", "--"),
    "other-texts": Kind("with other texts", 3, "^", "-."),
    "narrowed": Kind("narrowed layers, augmented rows", 1, "P", ":"),
    "narrowed-repeated": Kind("narrowed layers, original rows", 2, "X", ":"),
    "labels only: general": Kind("labels only, same start", 6, "v", ":"),
    "labels only: narrowed": Kind("labels only, narrowed layers", 6, "<", "--"),
    "random": Kind("from random weights", 4, "D", ":"),
}
"""What the pictures show, where it is there."""


def tasks_of(found: Row) -> list[str]:
    """In the order of the other tables."""
    there = {line["task"] for line in found["lines"]}
    return [task for task in NAMES if task in there]


def is_whole(found: Row) -> bool:
    """Whether students of every task are trained."""
    return tasks_of(found) == [*NAMES]


def short(shape: str) -> str:
    """Layers and width."""
    return shape.partition("-")[0].replace("x", " x ")


def percent(row: Row | None, way: str) -> str:
    """Mean ± deviation over seeds."""
    if row is None or row[f"{way}_percent"] is None:
        return "–"
    spread = row[f"{way}_sd"]
    return f"{row[f'{way}_percent']:.1f}" + ("" if spread is None else f" ± {spread:.1f}")


def by_arm(found: Row) -> dict[tuple[str, str], dict[str, Row]]:
    """Shape and arm to task to its line of the table."""
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in found["table"]:
        groups.setdefault((row["shape"], row["arm"]), {})[row["task"]] = row
    return groups


def kept(found: Row, way: str) -> str:
    """In percent of the teacher, a column a task, the mean where all are there."""
    tasks, rows = tasks_of(found), []
    for (shape, arm), own in by_arm(found).items():
        known = [own[task][f"{way}_percent"] for task in tasks if task in own]
        whole = is_whole(found) and len(known) == len(tasks) and None not in known
        seeds = "/".join(str(own[task]["seeds"]) if task in own else "–" for task in tasks)
        rows.append([
            f"{short(shape)}, {arm}", *(percent(own.get(task), way) for task in tasks),
            f"{statistics.fmean(known):.1f}" if whole else "–", seeds,
        ])  # fmt: skip
    heads = ["", *(NAMES[task] for task in tasks), "mean", "seeds"]
    return markdown_table(heads, rows)


def teachers(found: Row) -> str:
    """The grid."""
    rows = [
        [
            f"{NAMES[line['task']]}{', teaches' if line['teaches'] else ''}",
            f"{line['rate']:g}", f"{line['steps']:,}", f"{line['half']:.3f}",
            f"{line['usual']:.3f}", f"{line['seconds'] / 3600:.2f}", f"`{line['digest']}`",
        ]
        for line in found["teachers"]
    ]  # fmt: skip
    heads = ["teacher", "rate", "steps", "half", "usual", "hours", "SHA-256"]
    return markdown_table(heads, rows)


def comparisons(found: Row) -> str:
    """The paired bootstrap of each arm against its control."""
    rows = []
    for own in found["comparisons"]:
        inside = own["interval"]
        span = "–" if inside is None else f"{inside['low']:+.3f} to {inside['high']:+.3f}"
        sure = "–" if own["p_value"] is None else f"{own['p_value']:.3f}"
        few = f" ({own['note']})" if own["note"] else ""
        name = f"{NAMES[own['task']]}, {short(own['shape'])}: {own['arm']} – {own['against']}"
        seeds = " and ".join(map(str, own["seeds"]))
        counts = [str(own["rows"]), seeds]
        rows.append([f"{name}{few}", f"{own['difference']:+.3f}", span, sure, *counts])
    return markdown_table(["difference", "score", "95%", "p", "rows", "seeds"], rows)


def costs(found: Row) -> str:
    """What students take beside their teachers, in the same form."""
    of = {line["task"]: line for line in found["teachers"] if line["teaches"]}
    rows, seen = [], set()
    for line in found["lines"]:
        key = (line["task"], line["shape"])
        if not line["arm"].startswith("labels only") and key not in seen:
            seen.add(key)
            own = of[line["task"]]
            rows.append([
                f"{NAMES[line['task']]}, {short(line['shape'])}",
                f"{line['parameters'] / 1e6:.1f}", f"{own['parameters'] / line['parameters']:.1f}",
                f"{line['batch_1_ms']:.2f}", f"{own['batch_1_ms'] / line['batch_1_ms']:.1f}",
            ])  # fmt: skip
    heads = ["PyTorch, float32", "M parameters", "fewer", "ms, batch 1", "faster"]
    return markdown_table(heads, rows)


def served(found: dict[str, Any]) -> str:
    """Teacher and student from raw text to label, in every form that there is."""
    rows, refused = [], ""
    for own in found["served"]:
        task = f"{NAMES[own['task']]}, {short(own['shape'])}"
        for name, model in own["models"].items():
            who, form = name.split(", ")
            slow = own["models"].get(f"teacher, {form}")
            faster = slow and f"{slow['batch_1_ms'] / model['batch_1_ms']:.1f}"
            rows.append([
                f"{task}: {name}", f"{model['score']:.3f}", f"{model['megabytes']:.1f}",
                f"{model['batch_1_ms']:.2f}", f"{model['batch_32_ms']:.2f}",
                faster if faster and who == "student" else "–",
            ])  # fmt: skip
        refused += "".join(f"\n- {task}: {name}: {why}" for name, why in own["refused"].items())
    heads = ["raw text to label, one thread", "calibrated", "MB", "ms, one", "ms, of 32", "faster"]
    missing = f"\nForms that there are not:\n{refused}\n" if refused else ""
    return markdown_table(heads, rows) + missing


def general(found: Row) -> str:
    """General students."""
    rows = [
        [
            own["name"], f"{own['tokens']:,}", f"{own['steps']:,}",
            f"{own['held_out']['loss']:.3f}", f"{own['seconds'] / 3600:.2f}",
        ]
        for own in found["general"]
    ]  # fmt: skip
    heads = ["general student", "tokens", "steps", "held-out loss", "hours"]
    return markdown_table(heads, rows) if rows else "No general student is trained yet.\n"


def every_run(found: Row) -> str:
    """A line for each student."""
    rows = [
        [
            f"{NAMES[line['task']]}, {short(line['shape'])}, {line['arm']}", str(line["seed"]),
            f"{line['half']:.4f}", f"{line['calibrated']:.4f}", f"{line['usual']:.4f}",
            " + ".join(map(str, line["steps"])), f"{line['half_step']} / {line['usual_step']}",
            str(line["seconds"]), f"`{line['digest']}`",
        ]
        for line in found["lines"]
    ]  # fmt: skip
    heads = ["run", "seed", "half", "calibrated", "usual", "steps", "kept", "seconds", "SHA-256"]
    return markdown_table(heads, rows)


def paper_size(found: dict[str, Any]) -> str:
    """All tables."""
    encoder, settings = found["encoder"], found["settings"]
    similar = SIMILAR if "mpnet" in encoder["name"].lower() else ""
    held = ", ".join(
        f"{NAMES[task]} {own['chooses']} and {own['reported']}"
        for task, own in found["rows"].items()
    )
    arms = "".join(f"- *{name}*: {meaning}\n" for name, meaning in found["arms"].items())
    hours = ", ".join(f"{part} {spent:.1f} hours" for part, spent in found["hours"].items())
    drawn = max((own["resamples"] for own in found["comparisons"]), default=0)
    cut = "" if settings["times"] == 1 else f" Steps are {settings['times']:g} of the plan's."
    return (
        f"The encoder is {encoder['name']}, SHA-256 `{encoder['digest'][:12]}`. {similar}"
        "**Half**: one half of each validation split chose teacher, step and calibration; the "
        f"score is that of the other half ({held} rows). **Usual**: the whole split chose the "
        "step and is scored. *Calibrated*: the half with the calibration of the half that chose. "
        f"Compared arms have equal steps, batches and evaluations, but where an arm says "
        f"otherwise.{cut} By the clock: {hours}."
        f"\n\n{arms}\n"
        f"Half, in percent of the teacher:\n\n{kept(found, 'half')}\n"
        f"Usual, in percent of the teacher:\n\n{kept(found, 'usual')}\n"
        f"{teachers(found)}\n{costs(found)}\n"
        f"Differences on the half that chose nothing, by the paired bootstrap (scipy, {drawn:,} "
        f"resamples of rows; the seeds' mean is compared):\n\n{comparisons(found)}\n"
        f"{general(found)}\nEvery run, seconds of its last stage:\n\n{every_run(found)}"
    )


def first_shape(found: Row) -> str:
    """The one that pictures show; nothing where no student is trained."""
    return next((str(row["shape"]) for row in found["table"]), "")


def retention_panels(found: Row) -> list[Panel]:
    """What students of the first shape keep, with error bars; none where no arm has all tasks."""
    tasks, shown = tasks_of(found), _shown(found)
    series = [
        Bars(
            KINDS[arm],
            [own[task]["half_percent"] or 0.0 for task in tasks],
            [own[task]["half_sd"] for task in tasks],
        )
        for arm, own in shown.items()
    ]
    names = [NAMES[task] for task in tasks]
    title = f"{short(first_shape(found))}, percent of its teacher's score"
    return [Panel(title, bars(names, series, "percent of the teacher", 100))] if series else []


def retention_said(found: Row) -> str:
    """The same in words."""
    said = "; ".join(
        f"{KINDS[arm].name}: "
        + ", ".join(f"{NAMES[task]} {percent(line, 'half')}" for task, line in own.items())
        for arm, own in _shown(found).items()
    )
    return f"Percent of the teacher's score on the half that chose nothing. {said}."


def _shown(found: Row) -> dict[str, dict[str, Row]]:
    groups, shape = by_arm(found), first_shape(found)
    tasks = set(tasks_of(found))
    own = {arm: groups.get((shape, arm), {}) for arm in KINDS}
    return {arm: lines for arm, lines in own.items() if lines and tasks <= lines.keys()}


def retention(found: dict[str, Any]) -> str:
    """By task, with error bars."""
    return picture("paper retention", retention_panels(found), retention_said(found))


def learning(found: dict[str, Any]) -> str:
    """Score against steps, with and without augmented rows."""
    panels, shape = [], first_shape(found)
    for task in tasks_of(found):
        drawn = []
        for arm in (name for name in KINDS if name != "random"):
            runs = [
                line["curve"] for line in found["lines"]
                if (line["task"], line["shape"], line["arm"]) == (task, shape, arm)
            ]  # fmt: skip
            if runs:
                points = [*zip(*runs, strict=True)]
                scores = [[score for _, score in own] for own in points]
                spread = [statistics.stdev(own) for own in scores] if len(runs) > 1 else ()
                steps = [own[0][0] for own in points]
                drawn.append(Curve(KINDS[arm], steps, [*map(statistics.fmean, scores)], spread))
        panels.append(Panel(NAMES[task], curves(drawn, "steps of both stages", "score")))
    return picture(
        "paper learning", panels, "Score of all validation rows against steps, by task and rows"
    )


def by_size(found: dict[str, Any]) -> str:
    """Score against parameters: the teacher and every shape."""
    panels = []
    for task in tasks_of(found):
        own = []
        for line in found["teachers"]:
            if line["task"] == task and line["teaches"]:
                own.append(_mark(Kind("teacher", 5, "P"), line["parameters"], [line["half"]]))
        groups: dict[tuple[str, str], list[Row]] = {}
        for line in found["lines"]:
            if line["task"] == task and line["arm"] in KINDS:
                groups.setdefault((line["shape"], line["arm"]), []).append(line)
        for (_, arm), lines in groups.items():
            scores = [line["half"] for line in lines]
            own.append(_mark(KINDS[arm], lines[0]["parameters"], scores))
        panels.append(Panel(NAMES[task], marks(own, "M parameters", "score")))
    return picture("paper size", panels, "Score against parameters, by task", 3.8)


FORM_MARKS = {"PyTorch": "o", "onnx": "D", "onnx-int8": "s", "onnx-small": "^"}


def latency(found: dict[str, Any]) -> str:
    """Score against milliseconds from raw text to label, teacher and student in all forms."""
    panels, said = [], []
    for own in found["served"]:
        drawn = []
        for name, model in own["models"].items():
            who, form = name.split(", ")
            kind = Kind(name, 5 if who == "teacher" else 1, FORM_MARKS[form])
            score = model["score"]
            drawn.append(Mark(kind, model["batch_1_ms"], score, score, score))
            said.append(f"{NAMES[own['task']]} {name} {score:.3f} at {model['batch_1_ms']:g} ms")
        title = f"{NAMES[own['task']]}, {short(own['shape'])}"
        panels.append(Panel(title, marks(drawn, "ms a text, raw text to label", own["metric"])))
    return picture("paper latency", panels, "; ".join(said), 3.8)


def _mark(kind: Kind, parameters: int, scores: Sequence[float]) -> Mark:
    return Mark(kind, parameters / 1e6, statistics.fmean(scores), min(scores), max(scores))


def released(found: dict[str, Any]) -> str:
    """Both sides of the same work."""
    plan, teacher, start = (found["plan"], *(found[n]["digest"] for n in ("teacher", "start")))
    splits = list(found["sides"][-1]["measured"])
    rows = [
        [
            own["name"], f"{own['score']:.4f}",
            *(_measured(own, split, found["metric"]) for split in splits),
            " + ".join(map(str, own["steps"])),
            " + ".join(f"{spent:.0f}" for spent in own["seconds"]),
        ]
        for own in found["sides"]
    ]  # fmt: skip
    heads = ["side", "by its own account", *splits, "steps", "seconds"]
    changes = "".join(f"- {change}\n" for change in found["changes"])
    return (
        f"{NAMES.get(found['task'], found['task'])}: the same teacher (`{teacher[:12]}`), start "
        f"(`{start[:12]}`), {plan['rows']:,} rows, steps and batches. By its own account: the best "
        f"step on validation; then {found['metric']} of the kept student, measured by this package "
        "for both. Seconds of the clock, of their two calls or of ours.\n\n"
        f"{markdown_table(heads, rows)}\n"
        f"What was changed in a copy of their script:\n\n{changes}"
    )


def _measured(side: Row, split: str, metric: str) -> str:
    scores = side["measured"].get(split)
    return f"{scores[metric]:.4f}" if scores else "–"
