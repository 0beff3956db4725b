"""Runs are opened and listed from their records alone, and what cannot be read says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from augment.contract import Version
from distill.errors import DataInvalid
from distill.pipeline import distill_task
from distill.runs.journal import JOURNAL, Part, read_journal, timed
from distill.runs.listing import Kind, Run, State, list_runs, open_run, recipe_changes
from distill.runs.records import read_seal, write_sealed_json
from distill.teacher import fine_tune_teacher


@pytest.fixture(scope="module")
def runs(
    version: Version, teacher: Path, encoder: Path, recipe: Path, tmp_path_factory: Any
) -> Path:
    """A folder with a run and a teacher."""
    root: Path = tmp_path_factory.mktemp("runs")
    how: dict[str, Any] = {"recipe": recipe, "quiet": True}
    distill_task(version, teacher=teacher, student="2x32-64-4", out=root / "one", **how)
    fine_tune_teacher(version, init=str(encoder), out=root / "deep" / "teacher", **how)
    return root


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    """A run that may be damaged."""
    return Path(shutil.copytree(runs / "one", tmp_path / "one"))


def rewrite(file: Path, **more: Any) -> None:
    """Write a file again with more in it, as another release would: sealed."""
    sealed = read_seal(file)
    assert sealed
    write_sealed_json(file, sealed.origin, {**json.loads(file.read_text()), **more})


def test_runs_of_a_folder_are_listed_by_path(runs: Path) -> None:
    found = list_runs(runs)

    assert [run.path.relative_to(runs).as_posix() for run in found] == ["deep/teacher", "one"]
    assert [run.kind for run in found] == [Kind.TEACHER, Kind.TASK]
    assert {run.state for run in found} == {State.FINISHED}


def test_a_run_tells_what_it_was_made_of(runs: Path, version: Version) -> None:
    run = open_run(runs / "one")

    assert (run.task, run.version_id) == (version.task.name, version.manifest.id)
    assert run.version_path == version.path.resolve()
    assert run.calls[-1].recipe.endswith("tiny.toml")
    assert {"preparation", "intermediate", "prediction", "plain", "measuring"} <= {*run.seconds}
    assert len(run.table()) == 3


def test_changes_are_told_against_the_default_as_it_would_have_been_here(runs: Path) -> None:
    changes = {own.key: own for own in open_run(runs / "one").changes}

    rates = changes["prediction.learning_rate"]
    assert isinstance(rates.before, float)  # what auto stands for on these rows
    assert rates.before != rates.after
    assert not [key for key in changes if key.startswith("teacher")]


def test_without_a_journal_it_is_the_same_run(copied: Path) -> None:
    (copied / JOURNAL).unlink()

    run = open_run(copied)

    assert run.result == open_run(copied).result
    assert not run.seconds
    assert "prediction.learning_rate" not in {own.key for own in run.changes}  # nobody knows


@pytest.mark.parametrize("content", [b"\xff\x00", b'[]\n{}\n{"part": 3}\n', b'{"part"', b""])
def test_a_damaged_journal_is_left_out(copied: Path, content: bytes) -> None:
    (copied / JOURNAL).write_bytes(content)

    assert open_run(copied).state is State.FINISHED
    assert not [line for line in read_journal(copied) if isinstance(line, Part)]


def test_a_run_without_a_result_is_unfinished(copied: Path) -> None:
    (copied / "result.json").unlink()

    run = open_run(copied)

    assert run.state is State.UNFINISHED
    with pytest.raises(DataInvalid, match="not finished"):
        _ = run.result


DAMAGE = {
    "result is cut short": ("result.json", lambda file: file.write_bytes(file.read_bytes()[:99])),
    "result has no seal": (".result.json.seal", Path.unlink),
    "result is empty": ("result.json", lambda file: file.write_text("")),
    "run is another's": ("run.json", lambda file: rewrite(file, version="0" * 64)),
    "run is gone": ("run.json", Path.unlink),
    "run is no object": ("run.json", lambda file: file.write_text("[]")),
    "seal is a folder": (".run.json.seal", lambda file: (file.unlink(), file.mkdir())),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_told_as_such(copied: Path, damage: str) -> None:
    name, do = DAMAGE[damage]
    do(copied / name)

    with pytest.raises(DataInvalid):
        open_run(copied)
    (run,) = list_runs(copied.parent)
    assert run.state is State.DAMAGED
    assert run.problem


def test_another_releases_result_is_whole_and_not_understood(copied: Path) -> None:
    rewrite(copied / "result.json", invented=1)

    with pytest.raises(DataInvalid, match=r"another release.*invented"):
        open_run(copied)
    (run,) = list_runs(copied.parent)
    assert run.state is State.OTHER_RELEASE


@pytest.mark.parametrize("place", ["", "nowhere", "one/student", "one/run.json"])
def test_what_is_no_run_is_refused(runs: Path, place: str) -> None:
    with pytest.raises(DataInvalid, match="run"):
        open_run(runs / place)


def test_an_unfinished_teacher_is_found_by_its_name(runs: Path, tmp_path: Path) -> None:
    source = runs / "one"
    for name in ("run.json", ".run.json.seal"):
        (tmp_path / ".mine.work").mkdir(exist_ok=True)
        shutil.copy(source / name, tmp_path / ".mine.work" / name)

    (run,) = list_runs(tmp_path)

    assert (run.path, run.state) == (tmp_path / "mine", State.UNFINISHED)
    assert open_run(tmp_path / "mine") == run


def test_keys_of_recipes_are_compared_by_path() -> None:
    before, after = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "e": 0}

    found = [(own.key, own.before, own.after) for own in recipe_changes(before, after)]

    assert found == [("a.c", 2, 3), ("d", [1], None), ("e", None, 0)]


def test_a_run_is_short_when_printed(runs: Path) -> None:
    assert isinstance(open_run(runs / "one"), Run)
    assert len(repr(open_run(runs / "one"))) < 300


HOSTILE = [
    '{"part": "a", "seconds": NaN}',
    '{"part": "a", "seconds": Infinity}',
    '{"part": "a", "seconds": -1}',
    '{"part": "a", "seconds": 1' + "0" * 400 + "}",
    '{"teacher": 2000000, "mapping": [1]}',
    '{"teacher": 2, "mapping": []}',
    '{"teacher": 2, "mapping": [-7]}',
]


@pytest.mark.parametrize("line", HOSTILE)
def test_a_line_that_nobody_wrote_is_left_out(tmp_path: Path, line: str) -> None:
    (tmp_path / JOURNAL).write_text(f'{line}\n{{"part": "b", "seconds": 2}}\n')

    assert read_journal(tmp_path) == (Part(part="b", seconds=2),)


@pytest.mark.parametrize(
    "facts", [{"evil": 1}, {"original": 1}, {"original": None, "augmented": None}, {}]
)
def test_facts_that_nobody_understands_change_no_recipe(
    copied: Path, facts: dict[str, int | None]
) -> None:
    (copied / JOURNAL).write_text(json.dumps({"at": "x", "facts": facts}) + "\n")

    run = open_run(copied)

    assert len(run.calls) == 1
    assert "prediction.learning_rate" not in {own.key for own in run.changes}


def test_a_line_that_was_cut_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b'{"part": "a", "seco')
    with timed(tmp_path, "b"):
        pass

    assert [own.part for own in read_journal(tmp_path) if isinstance(own, Part)] == ["b"]


def test_of_a_journal_without_end_the_last_lines_are_read(tmp_path: Path) -> None:
    with (tmp_path / JOURNAL).open("wb") as stream:
        stream.truncate(2**36)  # of zeros, which take no room
        stream.seek(0, 2)
        stream.write(b'\n{"part": "b", "seconds": 2}\n')

    assert read_journal(tmp_path) == (Part(part="b", seconds=2),)


@pytest.mark.parametrize(
    "more", [{"models": []}, {"selection": {"metric": "new", "split": "validation"}}]
)
def test_a_result_without_its_scores_is_not_understood(copied: Path, more: Any) -> None:
    rewrite(copied / "result.json", **more)

    (run,) = list_runs(copied)

    assert run.state is State.OTHER_RELEASE
    assert "a model has no" in run.problem
