"""``--minutes``: steps that fit, chosen once; the parts are those of the single commands."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from augment.contract import Version
from distill import Classifier, distill_task, distill_teacher
from distill.cli import app
from distill.diagnosis import calibrate
from distill.diagnosis import minutes as planning
from distill.diagnosis.calibrate import Allowance, Timings
from distill.diagnosis.dial import LEAST_STEPS, Costs, choose
from distill.diagnosis.forecast import Rows
from distill.diagnosis.minutes import PLAN, RECIPE, Asked, measure_costs
from distill.errors import DataInvalid, RunDiffers, UsageError
from distill.inference.forms import FINE_DROP
from distill.models.folders import folder_digest
from distill.models.guides import GuideSpec
from distill.recipes.auto import Facts, resolve
from distill.recipes.load import DistillRecipe, load_recipe
from distill.reports import task as journey
from distill.serving import export, smallest
from distill.serving.export import export_model

STEPS = {"intermediate": 0.2, "prediction": 0.2, "plain": 0.2}
TIMINGS = Timings(STEPS, tokenizing=1e4, teaching=1e3, answering=1e3, tokens=9, peak_bytes=10**8)
ROWS = Rows(augmented=400, original=200, validation=80, selecting=80)


def costs(recipe: DistillRecipe | None = None, **changed: Any) -> Costs:
    quick = recipe or resolve(load_recipe("quick", ""), Facts(200, 400))
    return replace(Costs(quick, ROWS, TIMINGS, tuning=0.5), **changed)


def test_more_time_is_more_steps_of_every_part_and_never_more_than_was_given() -> None:
    known = costs()
    before: dict[str, int] = {}
    for seconds in (80, 120, 240, 400):
        choice = choose(known, seconds, spent=5)
        steps = {part.name: part.steps for part in choice.parts if part.steps}
        assert 5 + choice.seconds + known.ending <= seconds
        assert all(steps[name] >= count for name, count in before.items())
        assert not choice.whole
        before = steps
    assert set(before) == {"teacher", "stage 1", "stage 2", "labels only"}
    assert 5 + choice.seconds + known.ending > 0.9 * 400


def test_time_that_the_recipe_has_no_use_for_is_left() -> None:
    choice = choose(costs(), 10**6)
    own = costs().recipe

    assert choice.whole
    assert choice.recipe.teacher.max_steps == 13 * own.teacher.numbers.epochs
    assert choice.seconds < 1000


def test_the_time_of_the_recipes_own_steps_is_told_where_it_was_not_given() -> None:
    own = choose(costs(), 120, spent=5).own
    enough = choose(costs(), own, spent=5)
    steps = {part.name: part.steps for part in enough.parts}
    plan = planning.Plan(minutes=2.0, identity={}, steps={}, parts=(), spent=5.0, ending=1.0,
                         whole=False, own=own)  # fmt: skip
    told = f"fewer steps than the recipe's own, which fit into --minutes {math.ceil(own / 60)}"

    assert steps["stage 2"] == pytest.approx(costs().at(1.0).prediction.max_steps, rel=0.02)
    assert ("", told) in plan.lines()
    assert len([*plan.model_copy(update={"minutes": own / 60 + 0.1}).lines()]) == 2


def test_seldom_evaluated_where_that_takes_long() -> None:
    many = replace(ROWS, validation=4000, selecting=4000)
    choice = choose(costs(rows=many), 400)

    assert choice.recipe.teacher.evaluations < costs().recipe.teacher.evaluations
    assert choice.recipe.intermediate.evaluations == costs().recipe.intermediate.evaluations


def test_too_little_time_says_how_much_is_enough() -> None:
    with pytest.raises(UsageError, match=r"--minutes 0.5 is too little: .* steps") as short:
        choose(costs(tuning=5.0), 30)
    least = int(short.value.hint.split(";")[0].split()[-1])

    chosen = choose(costs(tuning=5.0), 60 * least).recipe
    assert chosen.teacher.max_steps >= LEAST_STEPS


def fast(asked: Asked, most: Allowance) -> Costs:
    """As if a minute were enough for some dozen steps."""
    recipe = resolve(asked.settings, Facts.of(asked.version))
    steps = {name: own for name, own in STEPS.items() if asked.plain or name != "plain"}
    timings = replace(TIMINGS, steps={name: own * 1.5 for name, own in steps.items()})
    tuning = None if asked.teacher_init is None else 0.3
    return Costs(recipe, ROWS, timings, tuning)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads how fast these models are."""
    monkeypatch.setattr("distill.evaluation.cost.WARM_UP", 1)
    monkeypatch.setattr("distill.evaluation.cost.REPEATS", 1)
    monkeypatch.setattr("distill.evaluation.end_to_end.MOST_SECONDS", 0.02)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    measure = mock.Mock(side_effect=fast)
    monkeypatch.setattr(journey, "measure_costs", measure)
    return measure


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


@pytest.fixture
def asked(version: Version, encoder: Path, recipe: Path) -> list[Any]:
    return [version.path, "--teacher-init", encoder, "--student", "2x16-32-4", "--recipe", recipe]


def test_one_command_makes_what_the_single_ones_make(
    asked: list[Any], version: Version, encoder: Path, tmp_path: Path, timed: mock.Mock
) -> None:
    out = tmp_path / "run"
    done = call(*asked, "--minutes", 1, "--out", out, "--allow-weak-teacher")
    assert done.exit_code == 0, done.output
    assert f"distill predict {out}/export --text" in done.stdout.replace("\n", "")
    assert "<html" in (out / "report.html").read_text()
    plan = json.loads((out / "minutes" / PLAN).read_text())
    assert f"teacher {plan['steps']['teacher']['max_steps']} steps" in done.stderr
    assert plan["steps"]["teacher"]["max_steps"] < 70
    ends = {part["name"]: part["seconds"] for part in plan["ends"]}
    assert set(ends) == {"measuring", "export", "report"}
    share = f"{100 * ends['export'] / 60:.0f}%"
    assert f"export {ends['export']:.0f} s ({share})" in " ".join(done.stderr.split())
    kept = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.suffix in (".json", ".onnx")}

    chosen = out / "minutes" / RECIPE
    settings: dict[str, Any] = {"recipe": chosen, "quiet": True}
    distill_teacher(version, init=str(encoder), out=tmp_path / "teacher", **settings)
    settings |= {"teacher": tmp_path / "teacher", "allow_weak_teacher": True}
    distill_task(version, student="2x16-32-4", out=tmp_path / "single", **settings)
    export_model(str(tmp_path / "single"), version, out=tmp_path / "export", quiet=True)
    for ours, theirs in (
        (tmp_path / "run-teacher", tmp_path / "teacher"),
        (out / "student", tmp_path / "single" / "student"),
        (out / "plain-student", tmp_path / "single" / "plain-student"),
    ):
        assert folder_digest(str(ours)) == folder_digest(str(theirs))
    for form in ("onnx-int8/model.onnx", "onnx/model.onnx"):
        both = [(place / form).read_bytes() for place in (out / "export", tmp_path / "export")]
        assert both[0] == both[1]
    Classifier.load(out / "export").predict(["the room was good"])

    again = call(*asked, "--minutes", 1, "--out", out, "--allow-weak-teacher")
    assert again.exit_code == 0, again.output
    assert timed.call_count == 1
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_a_run_that_was_stopped_goes_on_with_its_steps(
    asked: list[Any], tmp_path: Path, timed: mock.Mock
) -> None:
    out = tmp_path / "run"
    command = [*asked, "--out", out, "--allow-weak-teacher", "--no-plain", "--minutes", 1]
    places = (
        (journey, "fine_tune_teacher"), (journey.pipeline, "distill_task"),
        (journey, "export_smallest"), (journey, "write_report"),
    )  # fmt: skip
    for module, name in places:
        with mock.patch.object(module, name, side_effect=KeyboardInterrupt):
            done = call(*command)
        assert done.exit_code == 130, done.output
        assert "the same command goes on from there" in done.stderr
    with mock.patch.multiple(journey, export_smallest=mock.DEFAULT, write_report=mock.DEFAULT):
        assert call(*command).exit_code == 0
    assert timed.call_count == 1

    other = call(*command[:-1], 2)
    assert other.exit_code == 2, other.output
    assert "different: minutes: 1.0 there, 2.0 now" in other.stderr


def test_a_stop_while_it_is_measured_leaves_nothing(
    asked: list[Any], tmp_path: Path, timed: mock.Mock
) -> None:
    timed.side_effect = KeyboardInterrupt
    assert call(*asked, "--minutes", 1, "--out", tmp_path / "run").exit_code == 130
    assert not list(tmp_path.iterdir())


def test_a_weak_teacher_keeps_what_was_chosen(
    asked: list[Any], tmp_path: Path, timed: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    monkeypatch.setattr(journey, "export_smallest", mock.Mock())
    monkeypatch.setattr(journey, "write_report", mock.Mock())
    with mock.patch("distill.pipeline.fitness") as judged:
        judged.return_value = mock.Mock(score=0.5, weakness="scores as guessing does.")
        done = call(*asked, "--minutes", 1, "--out", out)
    assert done.exit_code == 4, done.output
    assert "more than 1 minute," in done.stderr
    assert [p.name for p in out.iterdir() if p.name[0] != "."] == ["minutes"]
    go_on = call(*asked, "--minutes", 1, "--out", out, "--allow-weak-teacher")
    assert go_on.exit_code == 0, go_on.output
    assert "is already that teacher" in go_on.stderr
    assert timed.call_count == 1


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--minutes", "0"], 2, "--minutes 0 is no time to train in"),
        (["--minutes", "0.1"], 2, "--minutes 0.1 is no time to train in"),
        (["--minutes", "-3"], 2, "--minutes -3 is no time to train in"),
        (["--minutes", "nan"], 2, "no time to train in"),
        (["--minutes", "inf"], 2, "no time to train in"),
        (["--minutes", "0.5"], 2, "--minutes 0.5 is too little"),
        (["--minutes", "1", "--teacher", "x"], 2, "--teacher-init makes the teacher"),
        (["--minutes", "1", "--encoder", "x"], 2, "--encoder goes with --teacher labels"),
        (["--minutes", "1", "--student", "nothing"], 4, "student 'nothing' is neither"),
        (["--minutes", "1", "--recipe", "nothing"], 2, "there is no recipe 'nothing'"),
    ],
)
def test_what_is_refused(
    asked: list[Any],
    tmp_path: Path,
    timed: mock.Mock,
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    if "0.5" in arguments:
        timed.side_effect = lambda asked, most: replace(fast(asked, most), tuning=9.0)
    done = call(*asked, "--out", tmp_path / "run", *arguments)

    assert done.exit_code == code, done.output
    assert sentence in done.stderr
    assert "mistake of the program" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_places_that_hold_other_things(
    version: Version, encoder: Path, recipe: Path, tmp_path: Path, timed: mock.Mock
) -> None:
    settings: dict[str, Any] = {
        "teacher_init": str(encoder), "student": "2x16-32-4", "recipe": recipe, "quiet": True,
        "allow_weak_teacher": True, "plain": False,
    }  # fmt: skip
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").touch()
    with pytest.raises(UsageError, match="holds no run"):
        distill_task(version, out=full, minutes=1, **settings)
    distill_task(version, out=tmp_path / "run", **settings)
    with pytest.raises(RunDiffers, match="begun without --minutes"):
        distill_task(version, out=tmp_path / "run", minutes=1, **settings)
    shutil.copytree(tmp_path / "run-teacher", tmp_path / "other-teacher")
    with pytest.raises(DataInvalid, match="how many steps were chosen") as refused:
        distill_task(version, out=tmp_path / "other", minutes=1, **settings)
    assert "other-teacher may be named" in refused.value.hint
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("damage", ["plan", "recipe", "gone"])
def test_a_choice_that_was_damaged(
    version: Version, encoder: Path, recipe: Path, tmp_path: Path, timed: mock.Mock, damage: str
) -> None:
    def go() -> None:
        distill_task(
            version, teacher_init=str(encoder), student="2x16-32-4", out=tmp_path / "run",
            recipe=recipe, minutes=1, quiet=True,
        )  # fmt: skip

    with (
        mock.patch.object(journey, "fine_tune_teacher", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        go()
    place = tmp_path / "run" / "minutes"
    if damage == "gone":
        shutil.rmtree(place)
    else:
        (place / (PLAN if damage == "plan" else RECIPE)).write_text("{}")
    (tmp_path / "run-teacher").mkdir()
    with pytest.raises(DataInvalid, match="nobody can say how many steps"):
        go()
    (tmp_path / "run-teacher").rmdir()
    with (
        mock.patch.object(journey, "fine_tune_teacher", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        go()
    assert timed.call_count == 2


@pytest.mark.parametrize(
    ("out", "beside"), [("run", "run-teacher"), (".", "../in-teacher"), ("x/..", "../in-teacher")]
)
def test_the_teacher_lies_beside_the_run(
    out: str, beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in")

    assert planning.teacher_of(Path(out)).resolve() == Path(beside).resolve()


@pytest.mark.parametrize("out", ["..", "/", "x/.."])
def test_no_teacher_is_tuned_for_a_directory_of_others(
    out: str, version: Version, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in")
    monkeypatch.setattr(journey, "fine_tune_teacher", lambda *_, **__: pytest.fail("tuned"))
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        distill_task(version, teacher_init=str(encoder), student="2x16-32-4", out=out)


def test_what_is_measured(version: Version, encoder: Path, teacher: Path, recipe: Path) -> None:
    tuned = Asked(version, GuideSpec((str(encoder),)), "2x16-32-4", recipe, "auto", True,
                  str(encoder), 1.0)  # fmt: skip
    found = measure_costs(tuned, Allowance(1.0))
    given = replace(tuned, guides=GuideSpec((str(teacher),)), teacher_init=None, plain=False)

    assert found.tuning is not None
    assert 0 < found.tuning < 10
    assert set(found.timings.steps) == {"intermediate", "prediction", "plain"}
    assert found.rows == replace(ROWS, unlabeled=0)
    assert measure_costs(given, Allowance(1.0)).sections == ("intermediate", "prediction")


def test_a_slow_model_is_timed_by_few_rows_in_the_time_that_is_allowed(
    version: Version, encoder: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, str]] = []
    asked = Asked(version, GuideSpec((str(encoder),)), "2x16-32-4", recipe, "auto", True,
                  str(encoder), 1.0)  # fmt: skip
    run = mock.Mock(wraps=calibrate._run)
    monkeypatch.setattr(calibrate, "_run", run)
    monkeypatch.setattr(calibrate, "BACKWARD", 1e6)
    found = measure_costs(asked, Allowance(0.0, lambda done, what: told.append((done, what))))

    assert [called.kwargs.get("batch_size") for called in run.call_args_list][:3] == [2, 2, 2]
    assert [called.args[2] for called in run.call_args_list][:3] == [3, 3, 3]
    assert all(seconds > 0 for seconds in found.timings.steps.values())
    assert [what for _, what in told] == [
        "answers of the teacher", "answers of the student", "steps of stage 1",
        "steps of stage 2", "steps of labels only", "steps of the teacher",
    ]  # fmt: skip
    assert [done for done, _ in told] == pytest.approx([at / 6 for at in range(6)])


@pytest.mark.parametrize("name", ["quick", "paper", "demo", "logits", "minilmv2", "pkd"])
def test_a_recipe_with_steps_is_read_back(name: str, version: Version, tmp_path: Path) -> None:
    asked = Asked(version, GuideSpec(("x",)), "2x16-32-4", name, "auto", True, "x", 3.0)
    sections = ("teacher", "prediction", "plain")
    steps = {section: {"max_steps": 7, "evaluations": 2} for section in sections}
    plan = planning.Plan(minutes=3.0, identity={}, steps=steps, parts=(), spent=1.0, ending=1.0,
                         whole=False)  # fmt: skip
    planning._fill(tmp_path, asked, plan)

    read = load_recipe(tmp_path / RECIPE, version.task.name)
    assert read.plain.max_steps == 7
    assert read.general == asked.settings.general


def test_the_smallest_form_that_keeps_the_score(
    teacher: Path, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = smallest.export_smallest(str(teacher), version, out=tmp_path / "a", quiet=True)
    assert made.folder == tmp_path / "a" / "onnx-small"
    assert made.form.drop <= FINE_DROP
    assert smallest.export_smallest(str(teacher), version, out=tmp_path / "a", quiet=True) == made
    with pytest.raises(UsageError, match="another model"):
        smallest.export_smallest(str(tmp_path / "a" / "transformers"), version, out=tmp_path / "a")

    monkeypatch.setattr(smallest, "FINE_DROP", -1.0)
    measured = mock.Mock(wraps=export.measure_latency)
    monkeypatch.setattr(export, "measure_latency", measured)
    whole = smallest.export_smallest(str(teacher), version, out=tmp_path / "b", quiet=True)
    assert not whole.trimmed
    assert [len(called.args[0]) for called in measured.call_args_list] == [5]
    monkeypatch.setattr("distill.serving.onnx.PACKAGES", ("nowhere",))
    alone = smallest.export_smallest(str(teacher), version, out=tmp_path / "c", quiet=True)
    assert alone.folder == tmp_path / "c" / "transformers"
