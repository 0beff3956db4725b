"""Losses of stage 1 of runs in two folders, step by step: what a start is worth before any score.

    python -m benchmarks.first_stages BEFORE AFTER --json benchmarks/results/first_stages.json

Folders of runs, such as those of students of two campaigns; runs of the same name are compared at
the steps that both have told. A ratio below 1: the loss is lower in AFTER.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from benchmarks.machine import arguments, describe, keep
from benchmarks.seeds import deviation, mean
from distill.reports.reading import read_runs
from distill.runs.journal import METRICS

STAGE = "intermediate"


def losses(run: Path) -> dict[int, float]:
    """Step to mean loss since the step told before."""
    (read,) = read_runs([run])
    own = [stage.losses.get("loss", []) for stage in read.stages if stage.name == STAGE]
    return dict(itertools.chain.from_iterable(own))


def compared(before: Path, after: Path) -> dict[str, dict[int, float]]:
    """Run to step to ratio of losses, where both folders have the run to its end."""
    found = {}
    for run in sorted(after.iterdir()):
        other = before / run.name
        if all((folder / METRICS).is_file() for folder in (run, other)):
            new, old = losses(run), losses(other)
            if new and new.keys() == old.keys():
                found[run.name] = {step: round(new[step] / old[step], 3) for step in new}
    return found


def main() -> None:
    """Compare, print and keep."""
    parser = arguments(__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    ratios = compared(options.before, options.after)
    ends = {
        end: [list(own.values())[at] for own in ratios.values()]
        for end, at in (("first", 0), ("last", -1))
    }
    summed = {
        end: {"mean": mean(own, 3), "sd": deviation(own, 3), "runs": len(own)}
        for end, own in ends.items()
    }
    for name, own in ratios.items():
        print(name, own)
    print(summed)
    keep({"machine": describe(), **summed, "ratios": ratios}, options.json)


if __name__ == "__main__":
    main()
