"""Runs side by side: the same rows for all, and one sentence where they cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augment.contract import Version
from distill.cli.commands import app
from distill.errors import DataInvalid, Fault, UsageError
from distill.evaluation.intervals import gap
from distill.pipeline import distill_task
from distill.recipes.load import load_recipe
from distill.runs.comparison import compare_runs
from distill.runs.journal import JOURNAL
from distill.runs.listing import open_run
from tests.unit.distill.helpers import SENTIMENT, mood_rows, write_version


@pytest.fixture(scope="module")
def runs(version: Version, teacher: Path, recipe: Path, tmp_path_factory: Any) -> Path:
    """A good run, one that has learnt next to nothing, and one of other data."""
    root: Path = tmp_path_factory.mktemp("compared")
    settings = load_recipe(recipe, version.task.name)
    few = settings.prediction.model_copy(update={"max_steps": 1, "learning_rate": 1e-9})
    short = settings.model_copy(update={"prediction": few})
    other = write_version(
        tmp_path_factory.mktemp("other"),
        SENTIMENT,
        {"train": mood_rows(60, 7), "validation": mood_rows(40, 8)},
    )
    how: dict[str, Any] = {
        "teacher": teacher,
        "student": "1x32-64-4",
        "quiet": True,
        "plain": False,
    }
    distill_task(version, out=root / "good", recipe=settings, **how)
    distill_task(version, out=root / "short", recipe=short, **how)
    distill_task(other, out=root / "other", recipe=short, **how)
    return root


def test_the_interval_is_of_the_difference_on_the_same_rows(runs: Path) -> None:
    found = compare_runs([runs / "short", runs / "good"])

    (lead,) = found.leads
    assert found.split == "validation"  # its test rows have no labels
    assert [own.score for own in found.runs] == [
        open_run(runs / name).result.selected_scores()["student, distilled"]
        for name in ("short", "good")
    ]
    assert lead.difference == pytest.approx(found.runs[1].score - found.runs[0].score)
    assert lead.interval.low <= lead.difference <= lead.interval.high
    assert lead.differs == (lead.interval.low > 0)
    assert lead.sentence == gap(lead.difference, lead.interval, "run 1")


def test_rows_that_changed_sides_explain_the_difference(runs: Path, version: Version) -> None:
    found = compare_runs([runs / "short", runs / "good"])

    (lead,) = found.leads
    assert lead.gained + lead.lost == len(lead.rows)
    assert lead.difference * found.rows == pytest.approx(lead.gained - lead.lost)
    frame = version.to_pandas("validation").set_index("idx")
    names = np.array(version.task.label.names)
    for row in lead.rows:
        assert row.texts == (frame.loc[row.idx, version.task.text_columns[0]],)
        assert row.label == names[frame.loc[row.idx, version.task.label.column]]
        assert (row.before == row.label) != (row.after == row.label)


def test_recipes_are_compared_key_by_key(runs: Path) -> None:
    keys = {own.key: own.values for own in compare_runs([runs / "good", runs / "short"]).recipe}

    assert set(keys) == {"prediction.max_steps", "prediction.learning_rate"}
    assert keys["prediction.learning_rate"][1] == 1e-9


def test_runs_of_other_data_are_refused(runs: Path) -> None:
    with pytest.raises(UsageError, match="was trained on"):
        compare_runs([runs / "good", runs / "other"])


def test_other_tasks_are_refused_by_name(runs: Path, tmp_path: Path) -> None:
    for name in ("good", "other"):
        shutil.copytree(runs / name, tmp_path / name)
    _forge(tmp_path / "other" / "result.json", task="jokes")

    with pytest.raises(UsageError, match="of jokes"):
        compare_runs([tmp_path / "good", tmp_path / "other"])


@pytest.mark.parametrize(
    ("names", "sentence"),
    [(["good"], "one run"), ([], "one run"), (["good", "short", "good"], "named twice")],
)
def test_too_few_runs_are_refused(runs: Path, names: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        compare_runs([runs / name for name in names])


def test_an_unfinished_run_is_told_as_such(runs: Path, tmp_path: Path) -> None:
    half = Path(shutil.copytree(runs / "short", tmp_path / "half"))
    (half / "result.json").unlink()

    with pytest.raises(DataInvalid, match="not finished"):
        compare_runs([runs / "good", half])


def test_where_the_version_lies_can_be_said(runs: Path, tmp_path: Path, version: Version) -> None:
    old = [Path(shutil.copytree(runs / name, tmp_path / name)) for name in ("good", "short")]
    for run in old:
        (run / JOURNAL).unlink()

    with pytest.raises(DataInvalid, match="nobody knows"):
        compare_runs(old)
    assert compare_runs(old, version=version.path).rows == version.rows("validation")


def test_a_changed_student_is_not_compared(runs: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(runs / "short", tmp_path / "mine"))
    (mine / "student" / "config.json").write_text("{}")

    with pytest.raises(Fault, match="student"):
        compare_runs([runs / "good", mine])


@pytest.mark.parametrize(
    "words",
    [["list", "ROOT"], ["show", "ROOT/good"], ["compare", "ROOT/good", "ROOT/short"]],
)
def test_commands_print_a_page_and_json(
    words: list[str], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer.main

    command = typer.main.get_command(app)
    words = [word.replace("ROOT", str(runs)) for word in words]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            command.main([*words, *more])
        assert not end.value.code
        printed = capsys.readouterr().out
        assert "good" in printed
        if more:
            assert json.loads(printed)


def _forge(file: Path, **more: Any) -> None:
    from distill.runs.records import read_seal, write_sealed_json

    sealed = read_seal(file)
    assert sealed
    write_sealed_json(file, sealed.origin, {**json.loads(file.read_text()), **more})
