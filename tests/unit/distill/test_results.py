"""Results keep their bytes on the way from a file and back, and a broken file is a sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from distill.cli.output import print_result
from distill.errors import DataInvalid
from distill.evaluation.results import EvaluationResult, Role
from distill.runs.directory import RunDirectory
from distill.runs.records import read_json


def model(name: str, accuracy: float) -> dict[str, Any]:
    return {
        "model": name,
        "scores": {"validation": {"accuracy": accuracy}},
        "parameters": 2,
        "encoder_parameters": 1,
        "flops": 10,
        "file_bytes": 8,
        "max_length": 16,
        "latency": {"batch_1": 0.1, "throughput_32": 1e5, "device": "cpu", "threads": 1},
    }


def stored(**more: Any) -> dict[str, Any]:
    """A result as a file holds it."""
    models = [("teacher", 0.9), ("student, labels only", 0.5), ("student, distilled", 0.72)]
    return {
        "version": "mood@v0001",
        "version_id": "0" * 64,
        "task": "mood",
        "selection": {"metric": "accuracy", "split": "validation"},
        "rows": {"validation": 80},
        "models": [model(name, score) for name, score in models],
        **more,
    }


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"baseline": "teacher"},
        {"baseline": "teacher", "averaged": {"validation": {"accuracy": 0.95}}},
        {"folder": "models/teacher"},
    ],
)
def test_a_result_comes_back_as_it_was_written(more: dict[str, Any], tmp_path: Path) -> None:
    """Keys stand in the same order, and those that nobody set are not there."""
    text = json.dumps(stored(**more), indent=2, ensure_ascii=False) + "\n"
    (tmp_path / "result.json").write_text(text)
    result = read_json(tmp_path / "result.json", EvaluationResult)
    run = RunDirectory(tmp_path / "run").of({})
    with run.claim({}):
        run.finish(result)

    assert (run.path / "result.json").read_text() == text
    assert run.result(EvaluationResult, ()) == result


def test_numbers_that_are_none_survive(tmp_path: Path) -> None:
    changed = stored()
    changed["models"][0]["scores"]["validation"]["accuracy"] = math.nan
    (tmp_path / "result.json").write_text(json.dumps(changed))
    result = read_json(tmp_path / "result.json", EvaluationResult)

    assert json.dumps(result.to_json()) == json.dumps(changed)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "valid dictionary"),
        (json.dumps(stored(models=[{}])), r"models\.0\.model: Field required"),
        (json.dumps(stored(more=1)), "more: Extra inputs"),
    ],
)
def test_a_damaged_result_is_refused_with_a_sentence(
    text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "result.json").write_text(text)

    with pytest.raises(DataInvalid, match=rf"result\.json .*{sentence}"):
        read_json(tmp_path / "result.json", EvaluationResult)


def test_retention_refers_to_the_baseline() -> None:
    result = EvaluationResult.model_validate(stored(baseline=Role.TEACHER))
    alone = EvaluationResult.model_validate(stored())

    assert result.selected_scores()[Role.DISTILLED] == 0.72
    assert [result.retention(model) for model in result.models] == pytest.approx([100, 500 / 9, 80])
    assert list(result.table()["retention %"])[2] == pytest.approx(80)
    assert alone.retention(alone.models[0]) is None
    assert "retention %" not in alone.table()


def test_the_printed_table_explains_the_models_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    result = EvaluationResult.model_validate(stored(baseline=Role.TEACHER))
    print_result(result, Console(soft_wrap=True, width=200))
    printed = capsys.readouterr().out

    assert "  teacher = the model that the student learns from" in printed
    assert "  student, distilled = taught by the teacher" in printed
    assert "teacher 2" not in printed
    assert "72.0" not in printed
    assert "80.0%" in next(line for line in printed.splitlines() if "0.720" in line)
