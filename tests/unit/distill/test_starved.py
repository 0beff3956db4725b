"""A teacher that a recipe starves is named wherever it turns up, with lines that mend it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from augment.contract import Version
from augment.contract.terminal import open_console
from distill.cli.output import print_result
from distill.diagnosis.checks import check_score
from distill.errors import WeakTeacher
from distill.evaluation.collapse import Collapse
from distill.evaluation.compare import evaluate_models
from distill.models.loading import open_classifier
from distill.pipeline import distill_task
from distill.recipes.auto import numbers, recipe_for
from distill.recipes.schema import Optimization, Training
from distill.runs.directory import RunDirectory
from distill.teacher import fine_tune_teacher
from distill.training import context as training_context
from distill.training.advice import advice
from distill.training.context import Validation
from distill.training.schedule import total_steps
from tests.unit.distill.helpers import TINY_RECIPE

USUAL = total_steps(200, Optimization().model_copy(update=asdict(numbers("teacher", 200))))
STARVED = """
max_length = 16

[teacher]
epochs = 1
batch_size = 32
learning_rate = 1e-7
evaluations = 3
"""


@pytest.fixture(scope="module")
def starved(version: Version, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that was trained for seven steps at next to no rate."""
    folder = tmp_path_factory.mktemp("starved")
    recipe = folder / "starved.toml"
    recipe.write_text(STARVED)
    fine_tune_teacher(version, init=str(encoder), out=folder / "teacher", recipe=recipe, quiet=True)
    return folder / "teacher"


def test_the_teacher_says_so_in_time_and_at_its_end(
    version: Version, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "starved.toml", tmp_path / "teacher"
    recipe.write_text(STARVED)
    result = fine_tune_teacher(version, init=str(encoder), out=out, recipe=recipe)
    said = capsys.readouterr().err
    print_result(result, open_console())
    printed = capsys.readouterr().out
    (verdict,) = result.verdicts

    early, later = (
        said.index("so far this model answers 'negative' for all 80 rows"),
        said.index("kept"),
    )
    assert early < later
    assert f"If that goes on, stop it (Ctrl-C). To give it {USUAL} steps in place of 7, put" in said
    assert said.count("so far this model") == 1
    assert verdict.sentence == (
        "The teacher answers 'negative' for all 80 rows of validation (50% of the labels say so): "
        "its accuracy is 0.500, that of TF-IDF + logistic regression 1.000."
    )
    assert verdict.sentence in printed
    assert re.search(r"negative +40 +0\.50 1\.00 0\.67\n +positive +40 +0\.00 0\.00 0\.00", printed)
    kept = json.loads((out / "teacher.json").read_text())["result"]
    assert kept["models"][0]["collapse"]["recalls"] == {"negative": 1.0, "positive": 0.0}
    assert kept["verdicts"] == [verdict.model_dump()]

    mended = tmp_path / "mended.toml"
    mended.write_text("\n".join(verdict.hint.split("\n")[1:]))
    assert recipe_for(version, mended).teacher.numbers.learning_rate == 1e-4


def test_run_and_doctor_refuse_it_with_the_lines(
    version: Version, starved: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE)
    with pytest.raises(WeakTeacher) as run:
        distill_task(
            version, teacher=starved, student="2x16-32-4", out=tmp_path / "run", recipe=recipe
        )
    with pytest.raises(WeakTeacher) as doctor:
        check_score(version, open_classifier(str(starved), version.task), 16)

    assert doctor.value.problem == run.value.problem
    assert "It answers 'negative' for all 80 rows of validation" in run.value.problem
    for hint in (run.value.hint, doctor.value.hint):
        assert hint.startswith(f"To give it {USUAL} steps in place of 7, put these lines")
        assert "\n[task.mood.teacher]\n" in hint
    assert run.value.hint.endswith("To go on all the same: --allow-weak-teacher")


def test_so_it_is_where_nobody_knows_how_it_was_made(version: Version, encoder: Path) -> None:
    with pytest.raises(WeakTeacher) as doctor:
        check_score(version, open_classifier(str(encoder), version.task), 16)

    first, second, *lines = doctor.value.hint.split("\n")
    assert first.startswith("Fine-tune it: distill teacher ")
    assert second.startswith(
        f"To give it the {USUAL} steps that 200 rows call for, put these lines"
    )
    assert lines[0] == "[task.mood.teacher]"


def test_an_evaluation_names_it_too(version: Version, starved: Path, teacher: Path) -> None:
    result = evaluate_models([str(starved), str(teacher)], version)

    assert [verdict.sentence for verdict in result.verdicts] == [
        f"{result.models[0].model} answers 'negative' for all 80 rows of validation (50% of the "
        "labels say so)."
    ]


def test_a_weak_teacher_may_teach_nevertheless_and_is_named_in_the_result(
    version: Version, starved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "short.toml"
    recipe.write_text(
        'max_length = 16\nprecision = "float32"\n[intermediate]\nenabled = false\n'
        "[prediction]\nmax_steps = 4\nevaluations = 2\nlearning_rate = 1e-7\n"
    )
    run = distill_task(
        version,
        teacher=starved,
        student="2x16-32-4",
        out=tmp_path / "run",
        recipe=recipe,
        plain=False,
        allow_weak_teacher=True,
    )
    said = capsys.readouterr().err
    of_teacher, of_student = run.verdicts

    assert "the teacher answers 'negative' for all 80 rows" in said
    assert of_teacher.startswith("The teacher answers 'negative' for all 80 rows")
    assert of_student.startswith("The distilled student answers ")
    assert "of TF-IDF + logistic regression 1.000" in of_student
    assert "[task.mood.prediction]" in run.result.verdicts[1].hint


def test_where_minutes_chose_the_steps_more_of_them_are_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run" / "minutes").mkdir(parents=True)
    given = {name: RunDirectory(tmp_path / name).in_minutes for name in ("run", "run-teacher", "x")}
    assert given == {"run": True, "run-teacher": True, "x": False}
    monkeypatch.chdir(tmp_path / "run")
    given = {name: RunDirectory(Path(name)).in_minutes for name in (".", "..", "../-teacher", "/")}
    assert given == {".": True, "..": False, "../-teacher": False, "/": False}

    own = Training(max_steps=7).numbers
    said = advice("mood", "teacher", own, 200, in_minutes=True)
    more = "give more --minutes, and another --out."
    assert said == f"To give it {USUAL} steps in place of 7, {more}"


@pytest.mark.parametrize(
    ("dones", "said"),
    [
        ([0.1, 0.2, 0.3], 0),  # nearly every model begins like that
        ([0.1, 0.2, 0.4], 1),
        ([0.2, 0.6], 1),
        ([0.6], 0),
        ([0.4, 0.6, 0.8, 1.0], 1),
    ],
)
def test_a_slow_start_is_no_collapse(
    dones: list[float], said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Collapse(split="validation", rows=80, sentence="answers 'a' for all 80 rows")
    judged = SimpleNamespace(collapse=seen, scores={"validation": {"accuracy": 0.5}})
    monkeypatch.setattr(training_context, "judge", lambda *_, **__: judged)
    context = mock.MagicMock()
    context.tokens.validation = {"validation": []}
    context.advice.return_value = "More steps."
    watch = Validation(context, "prediction")
    for done in dones:
        assert watch(mock.MagicMock(), done) == {"accuracy": 0.5}

    warnings = [call for call in context.narrator.say.call_args_list if call.args[0] == "warning"]
    assert len(warnings) == said
