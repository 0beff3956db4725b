"""The campaign at the paper's size, on the sample and with a handful of steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from augment.contract import open_version
from benchmarks import paper_campaign, paper_size
from benchmarks.halves import CHOOSES, REPORTED, Course, Evaluated
from benchmarks.paper_arms import ARMS, Steps, student_recipe
from benchmarks.paper_campaign import Campaign, Cell
from distill.recipes.mixtures import count_parts
from distill.runs.listing import open_run
from docs.tools import paper

SHAPE = "1x32-64-4"
FEW = {"times": 0.002, "tokens": 300}


@pytest.fixture(scope="module")
def data(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's reviews as two of GLUE's tasks, and as a corpus."""
    root = tmp_path_factory.mktemp("data")
    reviews = pd.read_csv(sample / "reviews" / "train.csv")
    rows = pd.DataFrame(
        {"sentence": reviews["sentence"], "label": (reviews["label"] == "positive") * 1}
    )
    for task, first in (("cola", 0), ("sst2", 100)):
        folder = root / "glue" / task
        folder.mkdir(parents=True)
        rows.iloc[first : first + 60].to_parquet(folder / "train.parquet")
        rows.iloc[300 + first : 370 + first].to_parquet(folder / "validation.parquet")
    (root / "corpus").mkdir()
    (root / "corpus" / "text.txt").write_text("\n".join(rows["sentence"]), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def campaign(data: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Teachers, and two arms of one task."""
    made = Campaign(
        tmp_path_factory.mktemp("campaign"), sample / "mlm", sample / "mlm",
        sample / "vectors.txt", data, **FEW,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper_campaign, "GRID", {"cola": ((400, 1e-3), (400, 1e-9))})
        made.tune("cola")
        for cell in cells():
            made.train(cell)
        yield made


def cells() -> list[Cell]:
    arms = (ARMS["whole"], replace(ARMS["repeated"], start="random"))
    return [Cell("cola", SHAPE, arm, 0) for arm in arms]


def test_halves_choose_and_are_reported(campaign: Campaign, data: Path) -> None:
    version = campaign.version("cola")
    halves = [version.to_pandas(split) for split in (CHOOSES, REPORTED)]
    rows = pd.read_parquet(data / "glue" / "cola" / "validation.parquet")

    assert [len(half) for half in halves] == [35, 35]
    assert sorted(pd.concat(halves)["sentence"]) == sorted(rows["sentence"])
    assert 40 < count_parts(version)["unlabeled"] <= 60


def test_the_teacher_is_the_one_that_the_first_half_chooses(campaign: Campaign) -> None:
    lines = list(campaign.teacher_lines("cola"))
    scores = {}
    for point in campaign.grid("cola"):
        course = campaign.course("cola", point.place, "teacher")
        scores[point.place] = course.by_half.score([CHOOSES], course.task)

    assert [line["rate"] for line in lines] == [1e-3, 1e-9]
    assert sum(line["teaches"] for line in lines) == 1
    assert scores[campaign.teacher("cola")] == max(scores.values())


def test_answers_at_the_kept_step_are_those_of_the_model_that_was_kept(campaign: Campaign) -> None:
    """What the product reports at the end is what was recorded, with its calibration."""
    cell = cells()[0]
    by_arm = {line["arm"]: line for line in campaign.lines(cell)}
    distilled, plain = by_arm["whole"], by_arm["labels only: general"]
    result = open_run(campaign.place(cell)).result
    by_name = {model.model: model.scores[REPORTED]["matthews"] for model in result.models}

    assert distilled["calibrated"] == pytest.approx(by_name["student, distilled"], abs=1e-4)
    assert plain["calibrated"] == pytest.approx(by_name["student, labels only"], abs=1e-4)
    assert distilled["steps"] == [Steps.of("cola", 0.002).first, Steps.of("cola", 0.002).second]
    assert plain["steps"] == [0, Steps.of("cola", 0.002).all]
    assert distilled["curve"][-1][0] == Steps.of("cola", 0.002).all


def test_what_there_is_can_be_told_and_kept_as_json(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Cell("cola", SHAPE, ARMS["paper"], 0)
    found = json.loads(
        json.dumps(paper_size.results(campaign, [*cells(), missing], ["cola", "sst2"]))
    )
    paper_size.show(found["table"])

    assert {line["arm"] for line in found["lines"]} == {"whole", "repeated", "labels only: general"}
    for part, lines in (("teachers", found["teachers"]), ("general students", found["general"])):
        seconds = sum(line["seconds"] for line in lines)
        assert found["hours"][part] == pytest.approx(seconds / 3600, abs=1e-5)
    assert found["hours"]["students"] > 0
    assert found["rows"]["cola"]["original"] == 60
    assert found["rows"]["cola"]["augmented"] > 60
    for text in (paper.paper_size(found), paper.kept(found, "usual")):
        assert "| 1 x 32, repeated |" in text
        assert "None" not in text
    assert "scipy, 2,000 resamples of rows" in paper.paper_size(found)
    for draw in (paper.retention, paper.learning, paper.by_size):
        assert ElementTree.fromstring(draw(found)).get("aria-label")
    assert {own["against"] for own in found["comparisons"]} == {
        "its teacher", "labels only: general", "repeated",
    }  # fmt: skip
    assert all(own["rows"] == 35 for own in found["comparisons"])
    assert all(own["seeds"] == [1, 1] for own in found["comparisons"])
    assert [own["name"] for own in found["general"]] == ["1x32-encoder-300"]
    assert "1x32 whole" in capsys.readouterr().out


def test_tasks_of_another_folder_stay_in_the_results(campaign: Campaign, tmp_path: Path) -> None:
    own = json.loads(json.dumps(paper_size.results(campaign, cells(), ["cola"])))
    moved = {
        part: [line | {"task": "sst2"} for line in own[part]]
        for part in ("teachers", "table", "comparisons", "lines")
    }
    general = [line | {"name": "elsewhere"} for line in own["general"]]
    theirs = own | moved | {"rows": {"sst2": own["rows"]["cola"]}, "general": general}
    file = tmp_path / "paper_size.json"
    file.write_text(json.dumps(theirs))

    both = paper_size.with_other_tasks(own, paper_size.results_of(campaign, file))
    file.write_text(json.dumps(both))

    assert [line["task"] for line in both["teachers"]] == ["sst2", "sst2", "cola", "cola"]
    assert {*both["rows"]} == {"cola", "sst2"}
    assert both["hours"]["students"] == pytest.approx(2 * own["hours"]["students"], abs=2e-5)
    assert all(line["machine"] for part in ("teachers", "lines") for line in both[part])
    assert paper_size.with_other_tasks(own, both) == both
    assert paper_size.results_of(campaign, tmp_path / "none.json") == {}
    begun = own | {"lines": [], "table": [], "comparisons": []}
    assert paper_size.with_other_tasks(begun, both) == both  # what is only begun replaces nothing
    first = paper_size.with_other_tasks(begun, {})
    assert [line["task"] for line in first["teachers"]] == ["cola", "cola"]
    elsewhere = [{**line, "machine": "Other"} for line in both["lines"]]
    assert paper_size.with_other_tasks(own, both | {"lines": elsewhere})["lines"] == elsewhere
    with pytest.raises(SystemExit, match="expected results of settings"):
        paper_size.results_of(replace(campaign, times=0.5), file)


def test_nothing_is_trained_twice(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_campaign, "distill_task", None)
    again = replace(campaign, _versions={})

    for cell in cells():
        again.train(cell)
    assert (
        open_version(campaign.folder / "versions" / "cola").manifest.id
        == again.version("cola").manifest.id
    )


@pytest.mark.parametrize("name", ARMS)
def test_compared_arms_have_equal_steps_batches_and_evaluations(name: str) -> None:
    arm = ARMS[name]
    for side in arm.sides:
        own, other = (student_recipe("stsb", each, 0, 1.0) for each in (arm, ARMS[side]))
        for part in ("intermediate", "prediction", "plain"):
            steps = [getattr(recipe, part) for recipe in (own, other)]
            if arm.times == ARMS[side].times:
                assert steps[0].max_steps == steps[1].max_steps
            assert steps[0].batch_size == steps[1].batch_size
            if part != "intermediate":  # which has none
                assert steps[0].evaluations == steps[1].evaluations
        most = [own.intermediate.max_steps, own.prediction.max_steps, own.plain.max_steps]
        assert None not in most
        assert own.plain.max_steps == sum(steps or 0 for steps in most[:2])
    assert name not in arm.sides


@pytest.mark.parametrize("name", [name for name, arm in ARMS.items() if arm.data != "original"])
def test_every_augmented_arm_has_a_control_on_repeated_original_rows(name: str) -> None:
    arm, control = ARMS[name], ARMS[ARMS[name].control]
    own, other = (student_recipe("stsb", each, 0, 1.0).model_dump() for each in (arm, control))
    for recipe in (own, other):
        for part in ("intermediate", "prediction"):
            recipe[part].pop("data")

    assert control.data == "original"
    assert (control.start, control.tokens) == (arm.start, arm.tokens)
    assert own == other


def test_what_no_arm_has_of_all_tasks_is_not_drawn() -> None:
    own = {"shape": SHAPE, "arm": "whole", "task": "cola"}
    nothing: dict[str, Any] = {"lines": [], "table": [], "teachers": []}
    for draw in (paper.retention, paper.learning, paper.by_size):
        assert draw(nothing) == ""

    some = nothing | {"lines": [own, own | {"task": "sst2"}], "table": [own]}
    assert paper.retention(some) == ""


def test_forms_are_told_with_what_there_is_not() -> None:
    times = {"batch_1_ms": 4.0, "batch_32_ms": 2.0, "score": 0.5, "megabytes": 9.0}
    models = {"teacher, onnx": times, "student, onnx": {**times, "batch_1_ms": 0.4}}
    own = {"task": "cola", "shape": SHAPE, "metric": "matthews", "models": models}
    found = {"served": [{**own, "refused": {"teacher, onnx-int8": "no such graph."}}]}

    assert "| CoLA, 1 x 32: student, onnx | 0.500 | 9.0 | 0.40 | 2.00 | 10.0 |" in paper.served(
        found
    )
    assert "- CoLA, 1 x 32: teacher, onnx-int8: no such graph." in paper.served(found)
    assert ElementTree.fromstring(paper.latency(found)).get("aria-label")


def made(scores: list[tuple[int, int]]) -> Course:
    """A course of so many right answers of ten on each half."""

    def logits(right: int) -> np.ndarray:
        answers = np.where(np.arange(10) < right, labels, 1 - labels)
        return np.eye(2, dtype=np.float32)[answers]

    labels = np.arange(10) % 2
    task: Any = type("Task", (), {})()
    task.selection_metric, task.label = (
        "accuracy",
        type("Label", (), {"names": ("a", "b"), "kind": "classes"}),
    )
    return Course(
        tuple(
            Evaluated(
                (at + 1) / len(scores),
                {CHOOSES: logits(first), REPORTED: logits(second)},
                {CHOOSES: labels, REPORTED: labels},
            )
            for at, (first, second) in enumerate(scores)
        ),
        task,
    )


def test_the_half_that_is_reported_chooses_nothing() -> None:
    found = made([(5, 9), (8, 6), (7, 8)]).scores(300)

    assert (found["half"], found["half_step"]) == (0.6, 200)
    assert (found["usual"], found["usual_step"]) == (0.75, 300)


def test_arms_are_named_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        paper_size.main(["--help"])

    assert "--tell" in capsys.readouterr().out


def test_a_folder_is_of_one_campaign(tmp_path: Path, sample: Path) -> None:
    """Students of other steps would stand beside the old ones as their equals."""
    own = Campaign(tmp_path / "own", sample / "mlm")
    paper_size.claim(own)
    paper_size.claim(own)

    with pytest.raises(SystemExit, match=r"expected a campaign of .*0\.5.*found one of .*1\.0"):
        paper_size.claim(replace(own, times=0.5))
