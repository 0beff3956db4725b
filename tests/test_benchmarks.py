"""What benchmarks use of the product is there: they run for hours, seldom, and not in CI."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.earlier import machine_name, read_results, with_earlier
from benchmarks.first_stages import compared
from benchmarks.low_resource import ALL_OF_MRPC, ARMS, TRIES, Cell, has_rows, table
from benchmarks.machine import describe
from distill.evaluation.results import Role
from tests.conftest import ROOT

OTHERS = {"nlpaug_side"}  # runs in an environment of its own
NAMES = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py") if path.stem not in OTHERS
)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_imported(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


def test_few_labels_are_told_beside_a_teacher_that_learnt_nothing() -> None:
    line = {"task": "cola", "rows": 250, "student": "3x312", "minutes": 1.0}
    scores = {(0, Role.TEACHER): 0.0, (0, "a"): 0.1, (1, Role.TEACHER): 0.4, (1, "a"): 0.3}
    every = [
        line | {"seed": seed, "arm": str(arm), "score": own} for (seed, arm), own in scores.items()
    ]

    assert [own["percent_of_teacher"] for own in table(every)] == [100.0, 75.0]
    assert [own["percent_of_teacher"] for own in table(every[:2])] == [None, None]


def test_few_labels_are_not_tried_with_rows_that_there_are_not() -> None:
    def left_out(task: str, rows: int) -> set[str]:
        cell = Cell(task, rows, 0)
        return {arm.name for arm in (*ARMS, *TRIES) if not has_rows(cell, arm)}

    assert left_out("cola", 250) == set()
    assert left_out("mrpc", 250) == {"+ insertions", "+ general text"}
    assert {"+ unlabelled", "unlabelled alone"} < left_out("mrpc", ALL_OF_MRPC)
    assert not {"original", "+ augmented"} & left_out("mrpc", ALL_OF_MRPC)


def test_cells_of_another_machine_stay_in_the_results(tmp_path: Path) -> None:
    file = tmp_path / "low.json"
    theirs, this = {"processor": "Other", "kind": "AVX2"}, machine_name(describe())
    lines = [{"task": task, "seed": seed, "score": 0.5} for task in "ab" for seed in (0, 1)]
    file.write_text(json.dumps({"machine": theirs, "lines": lines}))
    ours = [{"task": "a", "seed": 1, "score": 0.7}]

    merged = with_earlier(ours, read_results(file), ("task", "seed"))

    assert [(line["task"], line["seed"], line["machine"]) for line in merged] == [
        ("a", 0, "Other, AVX2"),
        ("b", 0, "Other, AVX2"),
        ("b", 1, "Other, AVX2"),
        ("a", 1, this),
    ]
    none = read_results(tmp_path / "none.json")
    assert with_earlier(ours, none, ("task", "seed")) == merged[-1:]
    named = {"lines": merged}
    assert with_earlier([], named, ("task", "seed")) == merged
    (again,) = with_earlier(lines[:1], named, ("task", "seed"))[-1:]
    assert again["machine"] == "Other, AVX2"  # whoever tells of it


def test_first_stages_are_compared_where_both_have_ended(tmp_path: Path) -> None:
    def run(folder: str, name: str, losses: list[float]) -> None:
        place = tmp_path / folder / name
        place.mkdir(parents=True)
        (place / "run.json").touch()  # a run, if one that cannot be opened
        lines: list[dict[str, object]] = [
            {"stage": "intermediate", "step": at, "loss": loss} for at, loss in enumerate(losses)
        ]
        lines += [{"stage": "intermediate", "step": 9}, {"stage": "plain", "loss": 1.0, "step": 1}]
        (place / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))

    run("before", "a", [4.0, 2.0])
    run("before", "b", [4.0])
    run("after", "a", [1.0, 1.0])
    run("after", "b", [1.0, 1.0])
    run("after", "c", [1.0])

    assert compared(tmp_path / "before", tmp_path / "after") == {"a": {0: 0.25, 1: 0.5}}
