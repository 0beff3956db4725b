from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import distill
from augment.contract import Version
from distill.cli import app
from distill.recipes.load import RECIPES

PACKAGE = Path(distill.__file__).parent


@pytest.fixture
def call():
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


def test_recipes_are_printed(call: Callable[..., Any]) -> None:
    assert call("recipe", "quick").stdout == RECIPES.text("quick")
    assert [line.split(":")[0].strip() for line in call("recipe").stdout.splitlines()] == [
        "demo",
        "distilbert",
        "logits",
        "minilmv2",
        "paper",
        "pkd",
        "quick",
    ]


def test_evaluate_prints_a_table_or_json(
    call: Callable[..., Any], teacher: Any, version: Version
) -> None:
    shown = call("evaluate", teacher, version.path)
    assert shown.exit_code == 0, shown.stderr
    assert "accuracy" in shown.stdout
    assert "validation, 80 rows" in shown.stdout
    assert "from raw texts to labels" in shown.stdout
    data = json.loads(call("evaluate", teacher, version.path, "--json").stdout)
    times = data["models"][0]["end_to_end"][0]
    assert times["threads"] == 1
    assert sum(times["shares_1"].values()) == pytest.approx(1)
    assert times["batch_1"] > 0
    assert times["throughput_32"] > 0

    assert data["models"][0]["scores"]["validation"]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("evaluate", "{teacher}", "{tmp}/none"), 3, "holds no version"),
        (("evaluate", "{tmp}/none", "{version}"), 4, "there is no model folder"),
        (("evaluate", "{teacher}", "{version}", "--split", "dev"), 3, "has no split 'dev'"),
        (("evaluate", "{teacher}", "{version}", "--split", "test"), 3, "has no labels"),
        (("recipe", "quik"), 2, "there is no recipe 'quik'"),
        (
            (
                *("general", "{tmp}/none.txt", "--teacher", "{encoder}", "--student", "2x16-32-4"),
                *("--out", "{tmp}/run"),
            ),
            3,
            "there is no corpus",
        ),
        (("run", "{version}"), 2, "Missing option"),
        (
            (
                *("run", "{version}", "--teacher", "{encoder}", "--student", "2x16-32-4"),
                *("--out", "{tmp}/run", "--recipe", "{recipe}"),
            ),
            4,
            "of validation (50% of the labels say so)",
        ),
    ],
)
def test_faults_are_sentences_with_exit_codes(
    call: Callable[..., Any],
    tmp_path: Path,
    version: Version,
    teacher: Any,
    encoder: Any,
    recipe: Any,
    arguments: Any,
    code: int,
    sentence: str,
) -> None:
    places = {
        "tmp": tmp_path,
        "version": version.path,
        "teacher": teacher,
        "encoder": encoder,
        "recipe": recipe,
    }
    found = call(*(argument.format(**places) for argument in arguments))

    assert found.exit_code == code
    assert sentence in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""
    assert not (tmp_path / "run").exists()


def test_a_general_student_is_made_and_shown(
    call: Callable[..., Any], tmp_path: Path, encoder: Any
) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "the day was warm and the food was good"}\n' * 40)
    recipe = tmp_path / "my.toml"
    recipe.write_text('precision = "float32"\n[general]\nlength = 16\nmin_length = 4\n')
    command = ("general", tmp_path / "a.jsonl", "--teacher", encoder, "--student", "2x16-32-4")
    places = ("--out", tmp_path / "run", "--recipe", recipe, "--processes", 1)
    made = call(*command, *places, "--tokens", 600, "--column", "body")
    assert made.exit_code == 0, made.stderr
    assert "3 steps" in made.stdout  # of 32 and 7 blocks in turn
    assert f"--student {tmp_path}/run/student" in made.stdout
    assert "was fine-tuned (BertForSequenceClassification)" in made.stderr
    assert "40 blocks · 440 tokens" in made.stderr
    again = call(*command, *places, "--tokens", 600, "--column", "body", "--json")

    assert json.loads(again.stdout)["steps"] == 3


def test_recipe_faults_come_all_at_once(
    call: Callable[..., Any], tmp_path: Path, version: Version, teacher: Any
) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[intermediate]\nepoch = 3\n[prediction]\ntemperature = -1.0\n")
    found = call("run", version.path, "--teacher", teacher, "--student", "2x16-32-4",
                 "--out", tmp_path / "run", "--recipe", file)  # fmt: skip

    assert found.exit_code == 2
    assert "has 2 faults" in found.stderr
    assert "unknown key; did you mean 'epochs'?" in found.stderr
    assert found.stderr.endswith("(exit 2)\n")


def test_a_teacher_may_be_given_several_times(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def refuse(version, **settings):
        asked.append(settings["teacher"])
        raise KeyboardInterrupt

    monkeypatch.setattr("distill.pipeline.distill_task", refuse)
    rest = ("--student", "roberta:2x16-32-4", "--out", tmp_path / "run")
    call("run", "v", "--teacher", "a", *rest)
    call("run", "v", "--teacher", "a", "--teacher", "b", *rest)

    assert asked == [["a"], ["a", "b"]]


def test_a_run_may_begin_with_its_teacher(
    call: Callable[..., Any], tmp_path: Path, version: Version, encoder: Any, brief: Any
) -> None:
    command = ("run", version.path, "--fine-tune", encoder, "--student", "2x16-32-4")
    places = ("--out", tmp_path / "run", "--recipe", brief, "--allow-weak-teacher")
    made = call(*command, *places, "--json")
    assert made.exit_code == 0, made.stderr
    again = call(*command, *places, "--json")

    assert (tmp_path / "run-teacher" / "model.safetensors").is_file()
    assert json.loads(made.stdout) == json.loads(again.stdout)
    assert "is already that teacher" in again.stderr
    assert "nothing is trained again" in again.stderr


def test_a_teacher_is_named_or_made_not_both(
    call: Callable[..., Any], tmp_path: Path, version: Version, encoder: Any
) -> None:
    rest = ("run", version.path, "--student", "2x16-32-4", "--out", tmp_path / "run")
    both, none = call(*rest, "--fine-tune", encoder, "--teacher", "a"), call(*rest)

    assert (both.exit_code, none.exit_code) == (2, 2)
    assert "--teacher-init makes the teacher that --teacher names" in both.stderr
    assert "no teacher is named" in none.stderr
    assert not list(tmp_path.glob("run*"))


@pytest.mark.parametrize(
    ("command", "works", "sentence"),
    [
        (
            "evaluate",
            "distill.evaluation.compare.evaluate_models",
            "stopped. No result was written",
        ),
        ("run", "distill.pipeline.distill_task", "the same command goes on from there"),
    ],
)
def test_an_interruption_is_told_and_exits_130(
    call: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    teacher: Any,
    version: Version,
    command: str,
    works: str,
    sentence: str,
) -> None:
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(works, stop)
    arguments = {
        "evaluate": (teacher, version.path),
        "run": (version.path, "--teacher", teacher, "--student", "2x16-32-4", "--out", "x"),
    }
    found = call(command, *arguments[command])

    assert found.exit_code == 130
    assert sentence in found.stderr


def test_help_is_quick_and_loads_no_torch() -> None:
    began = time.perf_counter()
    code = "import sys; from distill.cli import app; assert 'torch' not in sys.modules; app()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)

    assert done.returncode == 0
    assert "teacher" in done.stdout
    assert time.perf_counter() - began < 5  # about 0.7 s on an idle machine


def test_public_names_are_there_and_load_nothing_before() -> None:
    code = "import sys, distill; assert 'torch' not in sys.modules; print(distill.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.strip() == str(distill.__all__), done.stderr
    assert all(
        callable(getattr(distill, name)) or name == "__version__" for name in distill.__all__
    )
