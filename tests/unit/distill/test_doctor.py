"""What the doctor says of healthy and of ill arguments, and whether its forecast comes true."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizerFast
from typer.testing import CliRunner

from augment.contract import Label, Version
from distill import distill_task
from distill.cli import app
from distill.data.versions import count_split, sample
from distill.diagnosis.calibrate import StageName, Timings, Trial, calibrate
from distill.diagnosis.diagnose import CHECKS, CheckResult, Diagnosis, diagnose
from distill.diagnosis.forecast import Rows, make_forecast
from distill.recipes.auto import numbers
from distill.recipes.load import DistillRecipe
from tests.unit.distill.helpers import (
    SENTIMENT,
    make_bert,
    make_good_teacher,
    make_tokenizer,
    mood_rows,
    save,
    write_version,
)


@pytest.fixture(scope="module")
def healthy(teacher: Path, version: Version, recipe: Path) -> Diagnosis:
    """Timed by the processor's clock, which other programs and pauses leave alone."""
    timed = partial(calibrate, clock=time.process_time)
    settings = {"student": "2x16-32-4", "recipe": recipe, "quiet": True}
    return diagnose(str(teacher), version, calibrate=timed, **settings)


def uncalibrated(trial: Trial, stages: Sequence[StageName]) -> Timings:
    """For checks that are not about time."""
    steps = dict.fromkeys(stages, 1.0)
    return Timings(steps, tokenizing=1e3, teaching=1e3, answering=1e3, tokens=9, peak_bytes=10**8)


def check(result: Diagnosis, name: str) -> CheckResult:
    return next(one for one in result.checks if one.name == name)


def statuses(result: Diagnosis) -> dict[str, str]:
    return {one.name: one.status for one in result.checks}


def test_a_healthy_run(healthy: Diagnosis) -> None:
    assert statuses(healthy) == dict.fromkeys(CHECKS, "ok") | {"version": "warning"}
    assert "has no test split" in check(healthy, "version").hint
    assert healthy.exit_code == 0
    assert "4 x 32" in check(healthy, "teacher").finding
    assert check(healthy, "labels").finding == "negative 200 · positive 200 in training"
    assert check(healthy, "lengths").finding.startswith("0 of 400 training rows are cut to 16")
    assert "layers 1→2 2→4" in check(healthy, "student").finding
    assert set(healthy.forecast.seconds_a_step) == {"intermediate", "prediction", "plain"}
    assert 0 < healthy.forecast.memory_bytes < 20e9


def test_the_forecast_comes_true(
    healthy: Diagnosis, version: Version, teacher: Path, recipe: Path, tmp_path: Path
) -> None:
    """Within a factor that the fixed costs of a tiny run allow."""
    began = time.process_time()
    distill_task(version, teacher=teacher, student="2x16-32-4", out=tmp_path / "run",
                 recipe=recipe, quiet=True)  # fmt: skip
    took = time.process_time() - began
    print(f"forecast {healthy.forecast.seconds:.1f} s, took {took:.1f} s")

    assert took / 5 < healthy.forecast.seconds < took * 2
    steps = {part.name: part.steps for part in healthy.forecast.parts}
    log = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for title, stage in (("stage 1", "intermediate"), ("stage 2", "prediction")):
        assert steps[title] == max(row["step"] for row in log if row["stage"] == stage)


def test_arithmetic_of_the_forecast() -> None:
    recipe = DistillRecipe.model_validate(
        {
            "intermediate": {"epochs": 2.0, "batch_size": 10},
            "prediction": {"max_steps": 7, "batch_size": 10, "evaluations": 3},
            "plain": {"epochs": 1.0, "batch_size": 10, "evaluations": 2},
        }
    )
    steps = {"intermediate": 2.0, "prediction": 1.0, "plain": 0.5}
    pace = Timings(steps, tokenizing=100.0, teaching=10.0, answering=20.0, tokens=8, peak_bytes=5)
    found = make_forecast(recipe, Rows(1000, 100, 60, 40), pace, 1_000)
    parts = {part.name: (part.steps, part.seconds) for part in found.parts}

    assert parts == {
        "tokenizing": (0, 10.6),
        "teacher on validation": (0, 6.0),
        "stage 1": (200, 400.0),
        "teacher's answers": (0, 8.0),  # 7 steps and the batch fetched ahead
        "stage 2": (7, 7.0 + 3 * 40 / 20),
        "labels only": (10, 5.0 + 2 * 40 / 20),
    }
    assert found.seconds == pytest.approx(sum(seconds for _, seconds in parts.values()))
    answered = make_forecast(recipe, Rows(1000, 100, 60, 40, answered=True), pace, 1_000)

    assert found.seconds - answered.seconds == pytest.approx(8.0)
    assert found.memory_bytes == 5
    assert found.disk_bytes == 1060 * (8 * 5 + 24) + 9 * 4_000 + 3 * 4_000


def test_rows_that_are_cut_are_counted(
    version: Version, teacher: Path, recipe: Path, tmp_path: Path
) -> None:
    file = tmp_path / "short.toml"
    file.write_text(recipe.read_text().replace("max_length = 16", "max_length = 8"))
    result = ill(teacher, version, file)
    texts = [*version.to_pandas("train")["sentence"]]
    cut = sum(len(text.split()) + 2 > 8 for text in texts)

    assert 0 < cut < 400
    lengths = check(result, "lengths")

    assert lengths.status == "warning"
    assert lengths.finding.startswith(f"{cut} of 400 training rows are cut to 8 tokens")
    assert "max_length = 16 in the recipe" in lengths.hint
    assert result.exit_code == 0


def ill(teacher: Path, version: Version | Path, recipe: Path, **more: Any) -> Diagnosis:
    settings = {"student": "2x16-32-4", "recipe": recipe, "quiet": True, **more}
    return diagnose(str(teacher), version, calibrate=uncalibrated, **settings)


def test_numbers_left_to_the_rows_are_counted_as_a_run_would(
    version: Version, teacher: Path, recipe: Path, tmp_path: Path
) -> None:
    file = tmp_path / "auto.toml"
    text = recipe.read_text().replace("evaluations = 2", "patience = 1\nevaluations = 2")
    file.write_text(text.replace("epochs = 4", 'epochs = "auto"'))
    result = ill(teacher, version, file)
    expected = numbers("intermediate", 400, batch_size=32).epochs * 13

    steps = {part.name: part.steps for part in result.forecast.parts}
    assert steps["stage 1"] == math.ceil(expected)
    assert check(result, "time").finding.startswith("at most ")
    assert check(ill(teacher, version, recipe), "time").finding.startswith("about ")


def test_a_place_that_no_run_can_have(
    version: Version, teacher: Path, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    found = ill(teacher, version, recipe, out=tmp_path / "file")

    assert check(found, "disk").finding.endswith("a part of its path is a file, not a folder.")
    assert found.exit_code == 3


def test_errors_skip_what_needs_the_broken_thing(
    version: Version,
    teacher: Path,
    encoder: Path,
    recipe: Path,
    tokenizer: BertTokenizerFast,
    tmp_path: Path,
) -> None:
    gone = ill(tmp_path / "none", version, recipe)

    assert statuses(gone)["teacher"] == "error"
    assert statuses(gone)["recipe"] == "ok"
    assert {statuses(gone)[name] for name in CHECKS[3:]} == {"skipped"}
    assert gone.exit_code == 4
    assert gone.forecast is None

    untuned = ill(encoder, version, recipe)

    assert statuses(untuned)["score"] == "error"
    assert "It answers 'negative' for all 80 rows" in check(untuned, "score").finding
    assert statuses(untuned)["time"] == "ok"
    assert untuned.exit_code == 4

    other = save(make_bert(tokenizer, labels=("sad", "glad")), tokenizer, tmp_path / "other")
    named = ill(other, version, recipe)

    assert statuses(named)["labels"] == "error"
    assert "sad, glad" in check(named, "labels").finding

    deep = ill(teacher, version, recipe, student="5x16-32-4")

    assert statuses(deep)["student"] == "error"
    assert statuses(deep)["time"] == "skipped"
    assert deep.exit_code == 2

    faulty = tmp_path / "faulty.toml"
    faulty.write_text("epoch = 1\n")

    assert statuses(ill(teacher, version, faulty)) == {
        **dict.fromkeys(CHECKS, "skipped"),
        **dict.fromkeys(("teacher", "labels", "tokenizer"), "ok"),
        "version": "warning",
        "recipe": "error",
    }
    assert ill(teacher, tmp_path / "nothing", recipe).exit_code == 3


def test_doubts(recipe: Path, tmp_path: Path) -> None:
    """A class without rows, labels in another order, words that nobody knows."""
    task = SENTIMENT.model_copy(update={"label": Label(names=("negative", "positive", "neutral"))})
    rows = mood_rows(60, 1)
    strange = [{**row, "sentence": f"{row['sentence']} xyzzy"} for row in rows]
    version = write_version(tmp_path / "v", task, {"train": strange, "validation": rows})
    tokenizer = make_tokenizer()
    labels = ("positive", "negative", "neutral")
    model = make_good_teacher(tokenizer, labels=labels, layers=2)
    folder = save(model, tokenizer, tmp_path / "teacher")
    result = ill(folder, version, recipe)
    hint = check(result, "labels").hint

    assert "orders its labels positive, negative, neutral" in hint
    assert "No training row has the label neutral" in hint
    assert statuses(result)["tokenizer"] == "warning"
    assert statuses(result)["score"] == "ok"


def test_a_sample_is_evenly_drawn_and_a_census_counts_all(version: Version) -> None:
    assert sample(version, "train", 400)["idx"].to_pylist() == [i // 2 for i in range(400)]
    some = sample(version, "train", 100)
    assert some["idx"].to_pylist() == [*range(1, 200, 2)]
    found = count_split(version, "train")

    assert (found.rows, found.original, found.classes.tolist()) == (400, 200, [200, 200])


def test_nothing_is_left_behind(
    teacher: Path, version: Version, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = torch.nn.modules.module._global_forward_pre_hooks.copy()
    settings = {"student": "2x16-32-4", "recipe": recipe, "quiet": True}

    assert diagnose(str(teacher), version, plain=False, **settings).exit_code == 0
    assert list(tmp_path.iterdir()) == []
    assert torch.nn.modules.module._global_forward_pre_hooks == before


def test_the_command(teacher: Path, encoder: Path, version: Version, recipe: Path) -> None:
    arguments = [str(version.path), "--student", "2x16-32-4", "--recipe", str(recipe)]
    shown = CliRunner().invoke(app, ["doctor", str(teacher), *arguments, "--no-plain"])

    assert shown.exit_code == 0, shown.stderr
    assert "labels only" not in shown.stdout
    assert "checking    time" in shown.stderr
    found = [line.split()[0] for line in shown.stdout.splitlines() if line[2] != " "]

    assert found == ["doctor", *CHECKS, "mixture"]
    shown = CliRunner().invoke(app, ["doctor", str(encoder), *arguments, "--json", "--quiet"])

    assert shown.exit_code == 4
    assert json.loads(shown.stdout)["exit_code"] == 4
