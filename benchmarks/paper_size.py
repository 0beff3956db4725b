"""A student of a teacher of BERT-base's size on CoLA, SST-2, MRPC and STS-B: the whole campaign.

    bash ../shared/models/fetch_base_encoder.sh ../base/mpnet     # any encoder's folder does
    python -m benchmarks.paper_size --encoder ../base/mpnet --folder DIR --json FILE
    python -m benchmarks.paper_size --encoder ../base/mpnet --folder DIR --json FILE --tell

The first call trains what is missing and goes on where it was stopped; ``--tell`` trains nothing
and tells what there is; ``benchmarks.paper_served`` times what is trained, in all forms. Half of
each validation split chooses the teacher, steps and calibration, and the other half is reported;
the usual way, where all of it does both, stands beside it (``benchmarks.halves``). Arms of a task
have equal steps, batches and evaluations. Two processes may work on one folder, on different tasks.
Tasks that are not in the folder stay in the results as they are, of the machine that they name.
``--times 0.01 --rows 300 --general-tokens 20000`` tries it in minutes.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from augment import Version
from benchmarks.earlier import named, on_machines, read_results
from benchmarks.halves import CHOOSES, REPORTED
from benchmarks.machine import arguments, describe, keep
from benchmarks.paper_arms import ARMS, GRID, TOKENS, USUAL
from benchmarks.paper_campaign import COLUMNS, Campaign, Cell, arm_of
from benchmarks.places import SHARED
from benchmarks.seeds import deviation, mean
from distill.evaluation.intervals import paired_bootstrap
from distill.evaluation.results import Role
from distill.models.folders import folder_digest
from distill.recipes.mixtures import count_parts
from distill.runs.directory import RESULT
from distill.runs.listing import open_run

SHAPES = ("4x312-1200-12", "6x384-1536-12", "3x312-1200-12")


def compared(campaign: Campaign, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """Each arm against its control, its labels only and its teacher, on the reported half."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.task, cell.shape, cell.arm.name), []).append(cell)
    for (task, shape, name), own in groups.items():
        arm, spec = own[0].arm, campaign.spec(task)
        distilled = [campaign.course(task, campaign.place(cell), "prediction") for cell in own]
        sides = {"its teacher": [campaign.course(task, campaign.teacher(task), "teacher")]}
        if arm.plain:
            sides[arm_of(own[0], Role.PLAIN)] = [
                campaign.course(task, campaign.place(cell), "plain") for cell in own
            ]
        for side in arm.sides:
            if others := groups.get((task, shape, side)):
                sides[side] = [
                    campaign.course(task, campaign.place(cell), "prediction") for cell in others
                ]
        for other, courses in sides.items():
            found = paired_bootstrap(
                spec.selection_metric,
                [course.answers for course in distilled],
                [course.answers for course in courses],
                distilled[0].labels,
                len(spec.label.names),
            )
            seeds = [len(distilled), len(courses)]
            about = {"task": task, "shape": shape, "arm": name, "against": other}
            yield {**about, "seeds": seeds, **found.to_json()}


def table(
    teachers: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Means over seeds, and in percent of the teacher, both ways."""
    of = {line["task"]: line for line in teachers if line["teaches"]}
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["shape"], line["arm"], line["task"]), []).append(line)
    found = []
    for (shape, arm, task), own in groups.items():
        row: dict[str, Any] = {"shape": shape, "arm": arm, "task": task, "seeds": len(own)}
        for way in ("half", "usual"):
            scores = [line[way] for line in own]
            kept = [100 * score / of[task][way] for score in scores if of[task][way] > 0]
            row[way] = mean(scores)
            row[f"{way}_percent"], row[f"{way}_sd"] = mean(kept, 1), deviation(kept, 1)
        found.append(row)
    return found


def show(rows: Sequence[dict[str, Any]], way: str = "half") -> None:
    """Percent of the teacher by shape and arm, a column a task, the mean where all are there."""
    groups: dict[str, dict[str, float | None]] = {}
    for row in rows:
        name = f"{row['shape'].partition('-')[0]} {row['arm']}"
        groups.setdefault(name, {})[row["task"]] = row[f"{way}_percent"]
    print(
        f"{'percent of the teacher, ' + way:<40}"
        + "".join(f"{task:>8}" for task in (*COLUMNS, "mean"))
    )
    for name, own in groups.items():
        known = [own.get(task) for task in COLUMNS]
        whole = [value for value in known if value is not None]
        of_all = mean(whole, 1) if len(whole) == len(COLUMNS) else None
        cells = ("–" if value is None else f"{value:.1f}" for value in (*known, of_all))
        print(f"{name:<40}" + "".join(f"{cell:>8}" for cell in cells))


def cells_of(options: Namespace) -> list[Cell]:
    """What is asked for: the first seed of all arms first."""
    return [
        Cell(task, shape, ARMS[name], seed)
        for seed in range(max(ARMS[name].seeds for name in options.arms))
        for name in options.arms
        for shape in options.shapes
        for task in options.tasks
        if seed < ARMS[name].seeds
    ]


def results(campaign: Campaign, cells: Sequence[Cell], tasks: Sequence[str]) -> dict[str, Any]:
    """Everything that is there."""
    tasks = [task for task in tasks if campaign.has_version(task)]
    teachers = [line for task in tasks for line in campaign.teacher_lines(task)]
    taught = {line["task"] for line in teachers if line["teaches"]}
    done = [cell for cell in cells if cell.task in taught and campaign.is_done(cell)]
    lines = [line for cell in done for line in campaign.lines(cell)]
    found = {
        "machine": describe(),
        **same(campaign),
        "rows": {task: _rows(campaign.version(task)) for task in tasks},
        "arms": {
            name: ARMS[name].meaning for name in dict.fromkeys(cell.arm.name for cell in done)
        },
        "teachers": teachers,
        "general": [*general_lines(campaign)],
        "table": table(teachers, lines),
        "comparisons": [*compared(campaign, done)],
        "lines": lines,
    }
    return {**found, "hours": hours(found)}


def hours(found: dict[str, Any]) -> dict[str, float]:
    """By the clock; labels only is a part of the run that it stands beside."""
    spent = {
        "teachers": [line["seconds"] for line in found["teachers"]],
        "general students": [line["seconds"] for line in found["general"]],
        "students": [line["run_seconds"] for line in found["lines"] if line["arm"] in ARMS],
    }
    return {part: round(sum(seconds) / 3600, 5) for part, seconds in spent.items()}


def same(campaign: Campaign) -> dict[str, Any]:
    """What all results of a file share."""
    return {
        "encoder": {"name": campaign.encoder.name, "digest": folder_digest(str(campaign.encoder))},
        "settings": {"times": campaign.times, "rows": campaign.rows, "tokens": campaign.tokens},
    }


def results_of(campaign: Campaign, path: Path | None) -> dict[str, Any]:
    """The file of results as it is; refused where it is of another encoder or other settings."""
    known = read_results(path)
    for key, own in same(campaign).items():
        if known and known[key] != own:
            sys.exit(f"{path}: expected results of {key} {own}, found {known[key]}; "
                     "take another file")  # fmt: skip
    return known


def with_other_tasks(found: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """What is there, each line with its machine, beside tasks that only known results tell of.

    A task whose students are not there yet stays as it is known.
    """
    done = {line["task"] for line in known.get("lines", ())}
    ours = {line["task"] for line in found["lines"]} | (found["rows"].keys() - done)
    merged = {**found, "arms": known.get("arms", {}) | found["arms"]}
    for part in ("teachers", "table", "comparisons", "lines"):
        own = [line for line in found[part] if line["task"] in ours]
        measured = part in {"teachers", "lines"}  # the others are made of these
        theirs = named(known, part) if measured else known.get(part, ())
        other = [line for line in theirs if line["task"] not in ours]
        merged[part] = [*other, *(on_machines(own, known, part) if measured else own)]
    other_rows = {task: own for task, own in known.get("rows", {}).items() if task not in ours}
    merged["rows"] = other_rows | {t: own for t, own in found["rows"].items() if t in ours}
    general = [line for line in known.get("general", ()) if line not in found["general"]]
    merged["general"] = [*general, *found["general"]]
    return {**merged, "hours": hours(merged)}


def _rows(version: Version) -> dict[str, int]:
    held = {"chooses": version.rows(CHOOSES), "reported": version.rows(REPORTED)}
    return {**count_parts(version), **held}


def general_lines(campaign: Campaign) -> Iterator[dict[str, Any]]:
    """Every general student."""
    for file in sorted((campaign.folder / "general").glob(f"*/{RESULT}")):
        run = open_run(file.parent)
        yield {
            "name": file.parent.name, "tokens": run.outcome.tokens, "steps": run.outcome.steps,
            "held_out": run.outcome.held_out, "seconds": round(sum(run.seconds.values())),
        }  # fmt: skip


def parser_of(about: str | None) -> ArgumentParser:
    """What can be asked."""
    parser = arguments(about)
    parser.add_argument("--encoder", type=Path, required=True, help="becomes the teachers")
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tasks", nargs="+", default=[*COLUMNS], choices=COLUMNS)
    parser.add_argument("--shapes", nargs="+", default=[SHAPES[0]], help=f"such as {SHAPES}")
    names = [arm.name for arm in USUAL]
    parser.add_argument("--arms", nargs="+", default=names, choices=ARMS, metavar="ARM")
    parser.add_argument("--times", type=float, default=1.0, help="of all steps")
    parser.add_argument("--rows", type=int, help="the most training rows of a task")
    parser.add_argument("--general-tokens", type=int, default=TOKENS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--teachers", action="store_true", help="train the teachers alone")
    parser.add_argument("--tell", action="store_true", help="train nothing")
    return parser


def campaign_of(options: Namespace) -> Campaign:
    """The one that is asked for."""
    if not SHARED.is_dir():
        sys.exit(f"expected GLUE, a corpus, a masked LM and vectors at {SHARED}, found nothing")
    torch.set_num_threads(options.threads)
    campaign = Campaign(
        options.folder.resolve(), options.encoder.resolve(), times=options.times,
        rows=options.rows, tokens=options.general_tokens,
    )  # fmt: skip
    claim(campaign)
    return campaign


def claim(campaign: Campaign) -> None:
    """Refuse a folder of other settings: its students would stand beside these as equals."""
    own = {
        "encoder": folder_digest(str(campaign.encoder)), "times": campaign.times,
        "rows": campaign.rows, "tokens": campaign.tokens,
        "grid": {task: [list(point) for point in points] for task, points in GRID.items()},
    }  # fmt: skip
    file = campaign.folder / "campaign.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else own
    if found != own:
        sys.exit(f"{campaign.folder}: expected a campaign of {own}, found one of {found}; "
                 "take another folder")  # fmt: skip
    campaign.folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(own), encoding="utf-8")


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing; print and keep what there is."""
    options = parser_of(__doc__).parse_args(words)
    campaign = campaign_of(options)
    cells = cells_of(options)
    results_of(campaign, options.json)  # refused now, not after hours
    if not options.tell:
        for task in options.tasks:
            campaign.tune(task)
            print(f"teachers of {task}", flush=True)
        for cell in cells if not options.teachers else ():
            campaign.train(cell)
            print(cell, [own["half"] for own in campaign.lines(cell)], flush=True)
    known = results_of(campaign, options.json)  # another process may have written since
    found = with_other_tasks(results(campaign, cells, options.tasks), known)
    for line in found["teachers"]:
        print({key: line[key] for key in ("task", "rate", "steps", "half", "usual", "teaches")})
    for way in ("half", "usual"):
        show(found["table"], way)
    print(f"{len(found['lines'])} students there; {len(cells)} runs are asked for")
    keep(found, options.json)


if __name__ == "__main__":
    main()
