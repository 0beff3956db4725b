"""The section of RESULTS.md on few labels: what augmented rows and unlabeled text are worth."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from augment.contract.foreign import markdown_table
from docs.tools.charts import Curve, Kind, Panel, curves, picture
from docs.tools.sections import NAMES, deviation

Row = Mapping[str, Any]
KINDS = {
    "distilled, + augmented": Kind("with augmented rows", 1),
    "distilled, original": Kind("original rows, as many steps", 2, "s", "--"),
    "distilled, + unlabelled": Kind("with text without labels", 3, "^", "-."),
    "labels only, original": Kind("labels only", 6, "v", ":"),
    "labels only, augmented": Kind("labels only, augmented rows", 4, "D", ":"),
}
CONTROL = "distilled, original"
_TIMES = re.compile(r"(?P<arm>.+), (?P<times>[\d.]+) x steps")


def students(found: Row) -> list[str]:
    """Shapes and starts, as they come."""
    return list(dict.fromkeys(line["student"] for line in found["table"]))


def few_labels(found: dict[str, Any]) -> str:
    """A table for each task and student."""
    first, second = found["steps"]
    parts = [
        "Rows with labels are drawn by the seed, and 15% of them select; a teacher of 6 x 384 is "
        f"tuned on them alone. Every arm has {first} + {second} steps, unless its name says more "
        "or less, and the same batches and rates. Scores are those of GLUE's validation rows, "
        "which select nothing: mean ± standard deviation over seeds, in percent of the "
        "teacher of the same rows, and the number of seeds; below, points above the student "
        "distilled on the original rows alone, seed by seed. Students *cut by random tokens* or "
        "*by rows* are of earlier releases, whose narrower students were not yet fitted layer "
        "after layer.\n"
    ]
    for task in dict.fromkeys(line["task"] for line in found["table"]):
        for student in students(found):
            own = [
                line
                for line in found["table"]
                if (line["task"], line["student"]) == (task, student)
            ]
            if own:
                parts.append(f"**{NAMES[task]}**, {student}\n\n{_table(own)}")
                parts.append(_differences(found, task, student))
    return "\n".join(parts)


def _table(lines: list[Row]) -> str:
    sizes = sorted({line["rows"] for line in lines})
    by_cell = {(line["arm"], line["rows"]): line for line in lines}
    rows = [
        [arm, *(_cell(by_cell.get((arm, size))) for size in sizes)]
        for arm in dict.fromkeys(line["arm"] for line in lines)
        if not arm.startswith("always")
    ]
    return markdown_table(["", *(f"{size:,} labels" for size in sizes)], rows)


def _differences(found: Row, task: str, student: str) -> str:
    """Points above what is distilled on the original rows alone, of the same rows and seeds."""
    scores: dict[str, dict[tuple[int, int], float]] = {}
    for line in found["lines"]:
        if (line["task"], line["student"]) == (task, student):
            scores.setdefault(line["arm"], {})[line["rows"], line["seed"]] = line["score"]
    base, rows = scores.get(CONTROL, {}), []
    sizes = sorted({size for size, _ in base})
    for arm, own in scores.items():
        pairs = {size: [own[at] - base[at] for at in base if at[0] == size and at in own]
                 for size in sizes}  # fmt: skip
        if arm.startswith(("distilled", "labels only")) and arm != CONTROL:
            rows.append([arm, *(_points(pairs[size]) for size in sizes)])
    return markdown_table(["points above", *(f"{size:,} labels" for size in sizes)], rows)


def _points(own: Sequence[float]) -> str:
    if not own:
        return "–"
    spread = f" ± {100 * statistics.stdev(own):.1f}" if len(own) > 1 else ""
    return f"{100 * statistics.fmean(own):+.1f}{spread} ({len(own)})"


def _cell(line: Row | None) -> str:
    if line is None:
        return "–"
    spread = "" if line["sd"] is None else f" ± {line['sd']:.3f}"
    kept = line["percent_of_teacher"]
    share = "–" if kept is None else f"{kept:.0f}%"
    return f"{line['mean']:.3f}{spread} ({share}, {line['seeds']})"


def _curve(kind: Kind, points: Mapping[float, Row]) -> Curve:
    x = sorted(points)
    spread = [points[at]["sd"] or 0.0 for at in x]
    return Curve(kind, x, [points[at]["mean"] for at in x], spread if any(spread) else ())


def _of_the_same_seeds(found: Row) -> list[dict[str, Any]]:
    """Lines of arms that have several numbers of steps, of the seeds that have all of them."""
    arms: dict[tuple[str, str, int, str], dict[str, dict[int, float]]] = {}
    for line in found["lines"]:
        many = _TIMES.fullmatch(line["arm"])
        arm = many["arm"] if many else line["arm"]
        key = line["task"], line["student"], line["rows"], arm
        arms.setdefault(key, {}).setdefault(line["arm"], {})[line["seed"]] = line["score"]
    lines = []
    for (task, student, rows, _), by_arm in arms.items():
        seeds = set.intersection(*(set(scores) for scores in by_arm.values()))
        for arm, scores in by_arm.items() if len(by_arm) > 1 and seeds else ():
            kept = [scores[seed] for seed in seeds]
            found_here = {"task": task, "rows": rows, "student": student, "arm": arm}
            lines.append(found_here | {"mean": statistics.fmean(kept), "sd": deviation(kept)})
    return lines


def _panels(
    found: Row, x_of: Callable[[Row], float | None], panel_of: Callable[[Row], str], x: str
) -> list[Panel]:
    """A panel for each task and student, or each of their numbers of labels."""
    groups = dict[str, dict[str, dict[float, Row]]]()
    for line in found["table"]:
        arm = _TIMES.fullmatch(line["arm"])
        name, at = arm["arm"] if arm else line["arm"], x_of(line)
        if name in KINDS and at is not None:
            groups.setdefault(panel_of(line), {}).setdefault(name, {})[at] = line
    return [
        Panel(
            title,
            curves([_curve(KINDS[name], own[name]) for name in KINDS if name in own], x, "score"),
        )
        for title, own in groups.items()
        if max(map(len, own.values())) > 1
    ]


def _broken(student: str) -> str:
    """In lines that are no wider than a panel."""
    return student.replace(", ", ",\n")


def by_steps(found: dict[str, Any]) -> str:
    """Score against steps, with and without augmented rows, where arms have several."""
    whole = sum(found["steps"])

    def steps(line: Row) -> float:
        arm = _TIMES.fullmatch(line["arm"])
        return whole * float(arm["times"]) if arm else float(whole)

    def title(line: Row) -> str:
        return f"{NAMES[line['task']]}, {line['rows']:,} labels\n{_broken(line['student'])}"

    own = {**found, "table": _of_the_same_seeds(found)}
    panels = _panels(own, steps, title, "steps of both stages")
    return picture("few labels by steps", panels, said(own, "steps"))


def by_rows(found: dict[str, Any]) -> str:
    """Score against rows with labels, at equal steps."""

    def rows(line: Row) -> float | None:
        return None if _TIMES.fullmatch(line["arm"]) else float(line["rows"])

    x = "rows with labels"
    panels = _panels(
        found, rows, lambda line: f"{NAMES[line['task']]}\n{_broken(line['student'])}", x
    )
    return picture("few labels by rows", panels, said(found, x))


def said(found: Row, x: str) -> str:
    """The pictures in words."""
    own = (
        f"{NAMES[line['task']]}, {line['student']}, {line['rows']:,} labels, {line['arm']} "
        f"{line['mean']:.3f}"
        for line in found["table"]
    )
    return f"Score against {x}. {'; '.join(own)}."
