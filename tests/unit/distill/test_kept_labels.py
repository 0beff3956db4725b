"""Soft labels that a version keeps: what is read, refused, mixed, and learnt from."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizerFast
from typer.testing import CliRunner

from augment.contract import Label, Splits, TaskSpec, Version
from distill import distill_task
from distill.ablation import ablate_task
from distill.cli import app
from distill.data.row_sets import count_taught
from distill.diagnosis.calibrate import StageName, Timings
from distill.diagnosis.diagnose import CheckResult, Diagnosis, diagnose
from distill.errors import DataInvalid, ModelInvalid, UsageError, WeakTeacher
from distill.models.guides import LABELS, GuideSpec, model_name, parse_guides
from distill.recipes.auto import numbers, recipe_for
from distill.recipes.load import RECIPES
from distill.runs.listing import Run
from distill.stages.losses import logits_loss
from distill.training.kept_labels import filled, keep_labels
from distill.training.soft_labels import LEAST, mixed
from tests.unit.distill.helpers import (
    SENTIMENT,
    TINY_RECIPE,
    Row,
    make_bert,
    mood_rows,
    save,
    stopping,
    write_version,
    written,
)

TASK = SENTIMENT.model_copy(update={"splits": Splits(unlabeled="unlabeled")})
SCORES = TaskSpec(
    name="scores",
    text_columns=("sentence",),
    label=Label(kind="regression"),
    metrics=("pearson", "spearman"),
    selection_metric="pearson",
    splits=Splits(unlabeled="unlabeled"),
)
RECIPE = """
seed = 3
max_length = 16
precision = "float32"

[intermediate]
data = "all"
epochs = 1
learning_rate = 3e-3

[prediction]
data = "all"
epochs = 8
learning_rate = 5e-3
evaluations = 2

[plain]
epochs = 1
batch_size = 16
learning_rate = 1e-3
evaluations = 1
"""


@dataclass(frozen=True)
class Command:
    """A run's directory, and what it printed on stderr and on stdout."""

    out: Path
    told: str
    shown: str


def said(rows: Sequence[Row], sure: float = 0.9, first: int = 0, seed: int = 0) -> list[Row]:
    """Rows with distributions of which every twentieth is wrong."""
    draw, found = random.Random(seed), []
    for row in rows:
        answer = row["label"] if draw.random() < 0.95 else 1 - row["label"]
        soft = [sure, 1 - sure] if answer == 0 else [1 - sure, sure]
        found.append({**row, "idx": first + row["idx"], "soft_labels": soft})
    return found


def without_label(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "label": None} for row in rows]


def moods(root: Path, train: Sequence[Row], unlabeled: Sequence[Row] = ()) -> Version:
    splits = {"train": train, "validation": mood_rows(80, 5)}
    blind = {"unlabeled": without_label(unlabeled)} if unlabeled else {}
    return write_version(root, TASK if unlabeled else SENTIMENT, {**splits, **blind})


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Rows of every kind: label alone, label and distribution, distribution alone, neither."""
    train = [*mood_rows(40, 1), *said(mood_rows(60, 2), first=40)]
    neither = [{**row, "idx": 200 + row["idx"]} for row in mood_rows(20, 4)]
    root = tmp_path_factory.mktemp("versions")
    return moods(root, train, [*said(mood_rows(200, 3)), *neither])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    recipe = tmp_path_factory.mktemp("recipes") / "all.toml"
    recipe.write_text(RECIPE)
    return {"student": "2x16-32-4", "recipe": recipe, "quiet": True}


@pytest.fixture(scope="module")
def go(soft: Version, settings: dict[str, Any], encoder: Path) -> Callable[..., Run]:
    def run(out: Path, version: Version = soft, **changes: Any) -> Run:
        given = {"teacher": LABELS, "encoder": encoder, **settings, **changes}
        return distill_task(version, out=out, **given)

    return run


@pytest.fixture(scope="module")
def command(
    soft: Version, settings: dict[str, Any], encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Command:
    """The whole of a run, from the command line."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["run", str(soft.path), "--teacher", "labels", "--encoder", str(encoder)]
    words += ["--student", "2x16-32-4", "--recipe", str(settings["recipe"])]
    done = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return Command(out, " ".join(done.stderr.split()), " ".join(done.stdout.split()))


@pytest.fixture(scope="module")
def finished(go: Callable[..., Run], command: Command) -> Run:
    return go(command.out)


# ---- what a run makes of them


def test_a_run_needs_no_teacher(finished: Run) -> None:
    table = finished.table()

    assert list(table["model"]) == ["student, labels only", "student, distilled"]
    assert "retention %" not in table.columns
    assert table["accuracy"].iloc[-1] > 0.8
    assert finished.result.baseline is None
    use = finished.result.soft_labels
    assert use is not None
    assert (use.rows, use.labels, use.left_out, use.compared) == (260, 40, 20, 60)
    assert use.scores["accuracy"] == pytest.approx(0.95, abs=0.04)


def test_the_command_says_what_teaches(command: Command) -> None:
    assert "260 of 320 rows have one" in command.told
    assert "40 rows are taught by a label, without one" in command.told
    assert "20 rows are left out, with neither a soft label nor a label" in command.told
    assert "taught by the version's soft labels; no teacher model, no retention" in command.shown
    assert "260 rows, labels of 40 without any; 20 rows are left out, with neither" in command.shown


def test_stage_1_learns_from_the_encoder(finished: Run, encoder: Path) -> None:
    identity = json.loads((finished.path / "run.json").read_text())
    stages = {
        json.loads(line)["stage"]
        for line in (finished.path / "metrics.jsonl").read_text().splitlines()
    }

    assert identity["teacher"] == "labels"
    assert len(identity["encoder"]) == 64
    assert identity["init"] == "teacher-layers"
    assert stages == {"intermediate", "prediction", "plain"}


def test_a_finished_run_is_not_trained_again(finished: Run, go: Callable[..., Run]) -> None:
    before = written(finished.path)

    assert go(finished.path).result == finished.result
    assert written(finished.path) == before


def test_an_interrupted_run_ends_with_the_same_bytes(
    finished: Run, go: Callable[..., Run], tmp_path: Path
) -> None:
    with stopping("stage 2/2", 45):
        go(tmp_path / "run")
    again = go(tmp_path / "run")

    for name in ("student", "plain-student"):
        first, second = (run.path / name / "model.safetensors" for run in (finished, again))
        assert first.read_bytes() == second.read_bytes()


def test_what_stands_in_the_way_of_a_run_is_told_apart(
    finished: Run, go: Callable[..., Run], teacher: Path
) -> None:
    with pytest.raises(UsageError, match="different: teacher: labels there"):
        go(finished.path, teacher=teacher, encoder=None)


def test_without_an_encoder_there_is_no_stage_1(
    go: Callable[..., Run], tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    student = save(make_bert(tokenizer, layers=1, width=16), tokenizer, tmp_path / "student")
    run = go(tmp_path / "run", encoder=None, student=str(student), plain=False)
    log = (run.path / "metrics.jsonl").read_text().splitlines()

    assert {json.loads(line)["stage"] for line in log} == {"prediction"}
    assert list(run.table()["model"]) == ["student, distilled"]
    assert not (run.path / "work" / "intermediate").exists()


def test_a_teacher_and_soft_labels_are_mixed(
    go: Callable[..., Run], teacher: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(RECIPE.replace("[prediction]\n", "[prediction]\nteacher_weight = 0.5\n"))
    given = {"teacher": teacher, "encoder": None, "plain": False, "recipe": recipe}
    run = go(tmp_path / "run", **given)

    assert list(run.table()["model"]) == ["teacher", "student, distilled"]
    assert run.table()["retention %"].iloc[-1] > 80
    assert run.result.soft_labels is not None
    assert run.result.soft_labels.left_out == run.result.soft_labels.labels == 0


def test_rows_are_taught_what_the_version_says(finished: Run, soft: Version) -> None:
    """The file beside the rows: distributions, labels as ones, in the order of the rows."""
    file = finished.path / "work" / "soft-labels" / "soft-labels-kept.f32"
    found = np.fromfile(file, dtype=np.float32).reshape(-1, 2)
    train, blind = (soft.to_pandas(split) for split in ("train", "unlabeled"))
    ones = np.eye(2)[train["label"][:40]]
    kept = np.stack([*train["soft_labels"][40:], *blind["soft_labels"][:200]])

    np.testing.assert_array_equal(found, np.concatenate([ones, kept]).astype(np.float32))


# ---- the arithmetic


def test_the_mean_is_one_of_probabilities() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], dtype=np.float32)
    own = np.array([[0.2, 0.8, 0.0], [np.nan] * 3], dtype=np.float32)
    found = mixed(logits, own, 0.25)
    shares = torch.from_numpy(logits[0]).softmax(-1).numpy()

    np.testing.assert_allclose(np.exp(found[0]), 0.25 * shares + 0.75 * own[0], rtol=1e-5)
    np.testing.assert_array_equal(found[1], logits[1])
    for weight, wanted in ((1.0, shares), (0.0, own[0])):
        np.testing.assert_allclose(np.exp(mixed(logits, own, weight)[0]), wanted, atol=1e-6)


def test_a_score_is_the_mean_of_scores() -> None:
    logits, own = np.array([[2.0], [5.0]], np.float32), np.array([[4.0], [np.nan]], np.float32)

    assert mixed(logits, own, 0.25).tolist() == [[3.5], [5.0]]
    assert mixed(None, own[:1], 0.0).tolist() == [[4.0]]


@pytest.mark.parametrize("kind", ["soft_cross_entropy", "kl"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_class_without_probability_is_safe(kind: Any, temperature: float) -> None:
    own = np.array([[0.75, 0.25, 0.0], [1.0, 0.0, 0.0]], dtype=np.float32)
    target = torch.from_numpy(mixed(None, own, 0.0))
    student = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.5, 9.0]], requires_grad=True)
    loss = logits_loss(student, target, kind, temperature)
    loss.backward()  # type: ignore[no-untyped-call]
    softened = own ** (1 / temperature)
    q = torch.from_numpy(softened / softened.sum(axis=1, keepdims=True))
    cross = -(q * (student / temperature).log_softmax(-1)).sum(-1).mean()
    entropy = -(q * q.clamp(min=LEAST).log()).sum(-1).mean() if kind == "kl" else 0.0

    assert loss.item() == pytest.approx((cross - entropy).item(), rel=1e-5)
    assert torch.isfinite(student.grad).all()


def test_labels_fill_in_where_nothing_was_said() -> None:
    own = np.array([[0.6, 0.4], [np.nan] * 2, [np.nan] * 2], dtype=np.float32)
    found = filled(own, np.array([0.0, 1.0, np.nan]))

    np.testing.assert_array_equal(found, np.array([[0.6, 0.4], [0, 1], [np.nan] * 2], np.float32))
    scores = filled(np.array([[np.nan], [2.0]], np.float32), np.array([4.5, 1.0]))

    assert scores.tolist() == [[4.5], [2.0]]


# ---- what is refused


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([1.0], "1 number, but mood has 2 classes"),
        ([0.2, 0.3, 0.5], "3 numbers, but mood has 2 classes"),
        ([], "0 numbers, but mood has 2 classes"),
        ([float("nan"), 1.0], "NaN or infinity"),
        ([float("inf"), 0.0], "NaN or infinity"),
        ([-0.5, 1.5], "a negative probability"),
        ([0.4, 0.4], "a sum of 0.8, not 1"),
    ],
)
def test_a_damaged_column_names_the_row(value: Any, fault: str, tmp_path: Path) -> None:
    rows = said(mood_rows(12, 1))
    rows[7]["soft_labels"] = value
    version = moods(tmp_path, rows)

    with pytest.raises(DataInvalid, match=rf"split 'train', row idx 7, variant 0: .* {fault}"):
        keep_labels(version, "augmented", fill=True)


def test_a_damaged_row_of_the_unlabeled_split_is_found(tmp_path: Path) -> None:
    rows = said(mood_rows(12, 1))
    rows[3]["soft_labels"] = [0.0, 0.0]
    version = moods(tmp_path, said(mood_rows(4, 2)), rows)

    with pytest.raises(DataInvalid, match="split 'unlabeled', row idx 3"):
        keep_labels(version, "all", fill=True)


@pytest.mark.parametrize("value", [[1.0, 2.0], [float("nan")], []])
def test_a_score_is_one_number(value: Any, tmp_path: Path) -> None:
    rows = [{"sentence": "a", "label": 1.0, "soft_labels": [2.0]} for _ in range(3)]
    rows[1]["soft_labels"] = value
    version = write_version(tmp_path, SCORES, {"train": rows, "validation": rows[:1]})

    with pytest.raises(DataInvalid, match="row idx 1"):
        keep_labels(version, "augmented", fill=True)


def test_a_version_without_soft_labels(
    version: Version, go: Callable[..., Run], teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataInvalid, match="keeps no soft labels, and --teacher labels") as e:
        go(tmp_path / "run", version)
    assert "./labels" in e.value.hint
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(TINY_RECIPE.replace("[prediction]\n", "[prediction]\nteacher_weight = 0.9\n"))
    with pytest.raises(DataInvalid, match="keeps no soft labels, and teacher_weight is below 1"):
        go(tmp_path / "run", version, teacher=teacher, encoder=None, recipe=recipe)
    assert not (tmp_path / "run").exists()


def test_rows_that_have_none_teach_nothing_but_labels(
    go: Callable[..., Run], tmp_path: Path
) -> None:
    version = moods(tmp_path, mood_rows(20, 1), said(mood_rows(20, 2)))
    recipe = tmp_path / "original.toml"
    recipe.write_text(TINY_RECIPE.replace("[prediction]\n", '[prediction]\ndata = "original"\n'))
    with pytest.raises(DataInvalid, match=r"none of the rows .* has a soft label") as e:
        go(tmp_path / "run", version, recipe=recipe)
    assert 'data = "all"' in e.value.hint


def test_soft_labels_that_say_the_opposite_are_refused(
    go: Callable[..., Run], tmp_path: Path
) -> None:
    version = moods(tmp_path / "versions", said(mood_rows(60, 1), sure=0.1))
    with pytest.raises(WeakTeacher, match=r"score 0\.0\d+ \(accuracy\) on the 60 .* 0\.5"):
        go(tmp_path / "run", version)
    assert not (tmp_path / "run").exists()
    short = tmp_path / "short.toml"
    short.write_text(RECIPE.replace("epochs = 8", "epochs = 1"))
    run = go(tmp_path / "run", version, recipe=short, allow_weak_teacher=True, plain=False)

    assert run.student.is_dir()


@pytest.mark.parametrize("data", ['"unlabeled"', "{ original = 1, unlabeled = 2 }"])
def test_unlabeled_rows_without_any_are_refused_before_models_are_read(
    go: Callable[..., Run], settings: dict[str, Any], tmp_path: Path, data: str
) -> None:
    version = moods(tmp_path, said(mood_rows(8, 1)), mood_rows(8, 2))
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE.replace('[prediction]\ndata = "all"', f"[prediction]\ndata = {data}"))
    with pytest.raises(
        DataInvalid, match=r"none of the unlabeled rows of .* has a soft label"
    ) as e:
        go(tmp_path / "run", version, recipe=recipe, encoder="nowhere")
    given = {**settings, "recipe": recipe, "calibrate": uncalibrated, "student": "nowhere"}
    checks = found(diagnose(LABELS, version, **given))

    assert (checks["recipe"].finding, checks["recipe"].exit_code) == (e.value.problem, 3)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"encoder": None}, "the student 2x16-32-4 has no vocabulary of its own"),
        ({"teacher": [LABELS, "models/other"]}, "labels stands alone"),
        ({"teacher": []}, "no teacher is named"),
        ({"teacher": [LABELS, LABELS]}, "labels stands alone"),
        ({"teacher": "models/other"}, "--encoder goes with --teacher labels"),
        ({"encoder": "no/such/place"}, "no/such/place"),
    ],
)
def test_words_that_do_not_go_together(
    go: Callable[..., Run], tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises((UsageError, ModelInvalid), match=fault) as e:
        go(tmp_path / "run", **changes)
    assert e.value.hint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ('[prediction]\nloss = "mse"\n', 'loss = "mse" in .* compares logits'),
        ("[prediction]\nweights = { logits = 0.0, labels = 1.0 }\n", "no weight"),
        ("[prediction]\nweights = { patient = 1.0 }\n", "compares hidden states"),
    ],
)
def test_recipes_that_soft_labels_cannot_follow(
    go: Callable[..., Run], encoder: Path, tmp_path: Path, section: str, fault: str
) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE.replace("[prediction]\n", section))
    with pytest.raises(UsageError, match=fault) as e:
        go(tmp_path / "run", encoder=None, student=str(encoder), recipe=recipe)
    assert e.value.hint


def test_a_folder_called_labels_is_named_by_its_place() -> None:
    assert parse_guides("labels") == GuideSpec(())
    assert parse_guides("./labels") == GuideSpec(("./labels",))
    assert parse_guides(Path("labels")) == GuideSpec(("./labels",))
    assert parse_guides(["labels/"]).teachers == ("labels/",)
    assert (model_name(Path("labels")), model_name(Path("a/labels"))) == ("./labels", "a/labels")


def test_an_ablation_wants_a_teacher(soft: Version, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="labels is none"):
        ablate_task(soft, teacher=LABELS, student="2x16-32-4", out=tmp_path / "out")


def test_a_regression_learns_scores(go: Callable[..., Run], tmp_path: Path) -> None:
    def scored(rows: Sequence[Row]) -> list[Row]:
        return [{**row, "label": float(row["label"])} for row in rows]

    blind = [{**r, "label": None, "soft_labels": [r["label"]]} for r in scored(mood_rows(80, 1))]
    splits = {"train": scored(mood_rows(20, 2)), "validation": scored(mood_rows(40, 3))}
    version = write_version(tmp_path / "versions", SCORES, {**splits, "unlabeled": blind})
    run = go(tmp_path / "run", version, plain=False)

    file = run.path / "work" / "soft-labels" / "soft-labels-kept.f32"
    taught = np.fromfile(file, dtype=np.float32)

    assert taught.tolist() == [row["label"] for row in (*splits["train"], *mood_rows(80, 1))]
    assert run.result.soft_labels is not None
    assert (run.result.soft_labels.rows, run.result.soft_labels.labels) == (80, 20)


# ---- the doctor


def uncalibrated(_: object, stages: Sequence[StageName]) -> Timings:
    """For checks that are not about time."""
    steps = dict.fromkeys(stages, 1.0)
    return Timings(steps, tokenizing=1e3, teaching=math.inf, answering=1e3, tokens=9, peak_bytes=1)


def found(result: Diagnosis) -> dict[str, CheckResult]:
    return {check.name: check for check in result.checks}


def test_the_doctor_looks_at_soft_labels(
    soft: Version, encoder: Path, settings: dict[str, Any]
) -> None:
    given = {**settings, "encoder": str(encoder), "calibrate": uncalibrated}
    result = diagnose(LABELS, soft, **given)
    checks = found(result)

    assert result.exit_code == 0
    assert {name for name, check in checks.items() if check.status == "skipped"} == {"score"}
    assert checks["teacher"].finding.startswith("none; encoder ")
    assert checks["soft-labels"].finding.startswith("260 of 320 rows have one")
    assert "layers 1→2 2→4" in checks["student"].finding
    assert result.forecast is not None
    assert not [part for part in result.forecast.parts if "teacher" in part.name]


def test_the_doctor_times_stages_without_a_teacher(
    soft: Version, tokenizer: BertTokenizerFast, settings: dict[str, Any], tmp_path: Path
) -> None:
    student = save(make_bert(tokenizer, layers=1, width=16), tokenizer, tmp_path / "student")
    result = diagnose(LABELS, soft, **{**settings, "student": str(student)}, plain=False)

    assert result.exit_code == 0, [check.finding for check in result.checks]
    assert result.forecast is not None
    assert set(result.forecast.seconds_a_step) == {"prediction"}
    assert found(result)["teacher"].finding == "none: the soft labels of the version teach"


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """20 rows with a label; of 600 without one, 40 have a soft label."""
    rows = said(mood_rows(600, 3))
    silent = [{**row, "soft_labels": None} for row in rows[40:]]
    return moods(tmp_path_factory.mktemp("sparse"), mood_rows(20, 1), [*rows[:40], *silent])


def test_rows_that_nothing_teaches_do_not_count_where_numbers_are_automatic(
    sparse: Version,
) -> None:
    recipe = recipe_for(sparse, "quick", taught=count_taught(sparse))

    assert count_taught(sparse) == 40
    assert recipe.prediction.epochs == numbers("prediction", 60).epochs
    assert recipe.intermediate.epochs == numbers("intermediate", 620).epochs
    assert recipe_for(sparse, "quick").prediction.epochs == numbers("prediction", 620).epochs


def test_the_doctor_counts_the_steps_that_a_run_makes(
    sparse: Version, go: Callable[..., Run], settings: dict[str, Any], encoder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "own.toml"
    text = RECIPES.text("quick") + "\n[task.mood]\nmax_length = 16\n"
    recipe.write_text(f"{text}[task.mood.intermediate]\nmax_steps = 2\n"
                      "[task.mood.prediction]\nepochs = 2\nevaluations = 1\n")  # fmt: skip
    given = {**settings, "recipe": recipe, "plain": False, "encoder": str(encoder)}
    forecast = diagnose(LABELS, sparse, **given, calibrate=uncalibrated).forecast
    assert forecast is not None
    lines = {line.part: line.rows for line in forecast.mixture if line.stage == "prediction"}
    run = go(tmp_path / "run", sparse, **given)
    log = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]

    assert lines == {"original": 20, "unlabeled": 40}
    assert [part.steps for part in forecast.parts if part.name == "stage 2"] == [
        max(line["step"] for line in log if line["stage"] == "prediction")
    ]


def test_the_doctor_asks_nothing_of_a_stage_that_is_left_out(
    soft: Version, settings: dict[str, Any], tmp_path: Path
) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE.replace("[plain]", "[plain]\ndata = { augmented = 1 }"))
    given = {**settings, "recipe": recipe, "student": "nowhere", "calibrate": uncalibrated}

    assert found(diagnose(LABELS, soft, **given))["recipe"].exit_code == 3
    assert found(diagnose(LABELS, soft, **given, plain=False))["recipe"].status == "ok"


@pytest.mark.parametrize(
    ("changes", "name", "code"),
    [({}, "soft-labels", 3), ({"teacher": "./labels", "encoder": None}, "teacher", 4),
     ({"encoder": None}, "student", 2), ({"encoder": "no/such/place"}, "teacher", 4)],
)  # fmt: skip
def test_the_doctor_names_what_is_missing(
    version: Version,
    encoder: Path,
    settings: dict[str, Any],
    changes: dict[str, Any],
    name: str,
    code: int,
) -> None:
    given = {"teacher": LABELS, "encoder": str(encoder), **settings, **changes}
    result = diagnose(version=version, calibrate=uncalibrated, **given)

    assert found(result)[name].status == "error"
    assert found(result)[name].exit_code == code
