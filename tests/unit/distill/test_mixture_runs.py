"""Runs, diagnoses and predictions on a version with rows that have no label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from augment.contract import Version
from distill.cli import app
from distill.diagnosis.calibrate import Timings, Trial
from distill.diagnosis.diagnose import diagnose
from distill.errors import DataInvalid
from distill.pipeline import distill_task
from distill.serving.predict import write_predictions
from distill.teacher import fine_tune_teacher
from distill.training import soft_labels
from tests.unit.distill.helpers import MIXED, TINY_RECIPE, blind, mood_rows, write_version

PREDICTION = "data = { original = 1, unlabeled = 3 }\nweights = { labels = 0.5 }"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """60 rows with one variant each, 100 longer rows without labels."""
    more = [{**row, "sentence": f"{row['sentence']} day" * 2} for row in mood_rows(100, 3)]
    rows = {
        "train": mood_rows(60, 1, variants=2),
        "validation": mood_rows(40, 2),
        "unlabeled": blind(more),
    }
    return write_version(tmp_path_factory.mktemp("mixed"), MIXED, rows)


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipes") / "shares.toml"
    text = TINY_RECIPE.replace("[prediction]", f"[prediction]\n{PREDICTION}")
    file.write_text(text.replace("[intermediate]", '[intermediate]\ndata = "all"\nmax_steps = 6'))
    return file


def test_a_run_on_a_mixture(
    mixed: Version,
    teacher: Path,
    shares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The teacher answers unlabeled rows too; labels count where there are any."""
    asked: list[dict[str, Any]] = []
    compute = soft_labels.compute_logits

    def noting(teacher: Any, rows: Any, *more: Any) -> None:
        asked.extend(rows.select_columns(["idx", "variant", "labels"]).to_list())
        compute(teacher, rows, *more)

    monkeypatch.setattr(soft_labels, "compute_logits", noting)
    common = {"teacher": teacher, "student": "2x16-32-4", "recipe": shares, "plain": False}
    found = distill_task(mixed, out=tmp_path / "run", **common)
    told = capsys.readouterr().err

    assert "120 training rows · 100 unlabeled rows" in told
    assert {row["variant"] for row in asked} == {0}
    assert sorted(row["idx"] for row in asked if row["labels"] < 0) == list(range(100))
    assert len(asked) == 160
    assert all(np.isfinite(list(model.scores["validation"].values())).all()
               for model in found.result.models)  # fmt: skip
    assert found.result.rows == {"validation": 40}


def test_an_empty_part_is_refused_before_anything_is_read(
    version: Version, encoder: Path, shares: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataInvalid, match=r"mood@v0001 has no unlabeled rows") as caught:
        distill_task(
            version, teacher="nowhere", student="2x16-32-4", out=tmp_path / "run", recipe=shares
        )
    assert "augment run" in caught.value.hint
    assert not (tmp_path / "run").exists()
    recipe = tmp_path / "teacher.toml"
    recipe.write_text("[teacher]\ndata = { augmented = 1 }")
    lonely = write_version(
        tmp_path, MIXED, {"train": mood_rows(4, 1), "validation": mood_rows(4, 2)}
    )
    with pytest.raises(DataInvalid, match=r"has no augmented rows, and data of \[teacher\]"):
        fine_tune_teacher(lonely, init=str(encoder), out=tmp_path / "t", recipe=recipe)


def fake(trial: Trial, stages: Sequence[Any], *_: Any) -> Timings:
    steps = dict.fromkeys(stages, 1.0)
    return Timings(steps, tokenizing=1e3, teaching=1e3, answering=1e3, tokens=9, peak_bytes=10**8)


def test_the_doctor_shows_the_mixture(mixed: Version, teacher: Path, shares: Path) -> None:
    found = diagnose(str(teacher), mixed, student="2x16-32-4", recipe=shares, quiet=True,
                     calibrate=fake)  # fmt: skip
    assert found.forecast is not None
    lines = {
        (part.stage, part.part): (part.rows, round(part.steps, 2), round(part.epochs, 3))
        for part in found.forecast.mixture
    }
    steps = {part.name: part.steps for part in found.forecast.parts}

    assert lines == {
        ("intermediate", "original"): (60, round(6 * 60 / 220, 2), round(6 / 7, 3)),
        ("intermediate", "augmented"): (60, round(6 * 60 / 220, 2), round(6 / 7, 3)),
        ("intermediate", "unlabeled"): (100, round(6 * 100 / 220, 2), round(6 / 7, 3)),
        ("prediction", "original"): (60, 15 / 4, 2.0),
        ("prediction", "unlabeled"): (100, 15 * 3 / 4, 3.6),
        ("plain", "original"): (60, 8.0, 2.0),
    }
    assert (steps["stage 1"], steps["stage 2"], steps["labels only"]) == (6, 15, 8)
    assert next(part.seconds for part in found.forecast.parts if part.name == "tokenizing") == (
        pytest.approx(0.26)
    )


def test_the_doctor_prints_a_table_of_it(mixed: Version, teacher: Path, shares: Path) -> None:
    """With real timings: sampled rows of both kinds go through every stage."""
    done = CliRunner().invoke(
        app,
        ["doctor", str(teacher), str(mixed.path), "--student", "2x16-32-4",
         "--recipe", str(shares), "--quiet"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    table = [line.split() for line in done.stdout.splitlines()]

    assert ["stage", "part", "rows", "steps", "epochs"] in table
    assert ["stage", "2", "unlabeled", "100", "11", "3.60"] in table
    assert ["labels", "only", "original", "60", "8", "2.00"] in table


def test_predictions_for_rows_without_labels(mixed: Version, teacher: Path, tmp_path: Path) -> None:
    done = write_predictions(
        str(teacher), mixed, out=tmp_path / "p.csv", split="unlabeled", quiet=True
    )
    frame = pd.read_csv(tmp_path / "p.csv")

    assert done.to_json()["rows"] == len(frame) == 100
    assert list(frame["idx"]) == list(range(100))
    assert set(frame["prediction"]) == {"negative", "positive"}
