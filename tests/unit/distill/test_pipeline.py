from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import transformers
from transformers import BertTokenizerFast

from augment.contract import OutputBusy, Version
from distill import Classifier, distill_task, pipeline
from distill.errors import (
    LabelMismatch,
    MappingInvalid,
    RunDiffers,
    ShapeMismatch,
    UsageError,
    WeakTeacher,
)
from distill.evaluation.compare import evaluate_models
from distill.inference.settings import serving_settings
from distill.runs.directory import RunDirectory
from distill.runs.listing import Run
from distill.teacher import fine_tune_teacher
from tests.unit.distill.helpers import Go, make_bert, make_good_teacher, save, stopping, written


@pytest.fixture(scope="module")
def go(version: Version, teacher: Path, recipe: Path) -> Go:
    def run(out: Path, **changes: Any) -> Run:
        settings = {
            "teacher": teacher,
            "student": "2x16-32-4",
            "recipe": recipe,
            "quiet": True,
            **changes,
        }
        return distill_task(version, out=out, **settings)

    return run


@pytest.fixture(scope="module")
def finished(go: Go, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return go(tmp_path_factory.mktemp("runs") / "run")


def test_the_student_answers_raw_texts(finished: Run) -> None:
    """It knows what the data calls its texts, and so does the run directory."""
    for folder in (finished.student, finished.student.parent):
        student = Classifier.load(folder)
        assert student.text_columns == ("sentence",)
        assert set(student.predict(["the room was good", "bad"])) <= {"negative", "positive"}


def test_the_table_compares_three_models(finished: Run, version: Version) -> None:
    table = finished.table()

    assert list(table["model"]) == ["teacher", "student, labels only", "student, distilled"]
    assert list(table.columns) == [
        "model",
        "accuracy",
        "retention %",
        "parameters",
        "without embeddings",
        "MFLOPs",
        "batch 1 ms",
        "batch 32 per s",
        "file MB",
        "95% low",
        "95% high",
    ]
    teacher, _, student = table.to_dict("records")

    assert teacher["accuracy"] > 0.9
    assert student["accuracy"] > 0.8
    assert student["retention %"] == pytest.approx(100 * student["accuracy"] / teacher["accuracy"])
    assert student["parameters"] < teacher["parameters"]
    assert student["MFLOPs"] < teacher["MFLOPs"]
    assert student["batch 32 per s"] > 1000 / student["batch 1 ms"]
    weights = (finished.student / "model.safetensors").stat().st_size

    assert student["file MB"] == pytest.approx(weights / 1e6)
    assert finished.result.version_id == version.manifest.id
    assert finished.result.rows == {"validation": 80}


def test_a_shape_starts_from_its_teachers_layers(finished: Run) -> None:
    identity = json.loads((finished.path / "run.json").read_text())

    assert identity["init"] == "teacher-layers"


def test_the_student_is_a_plain_transformers_folder(finished: Run) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(finished.student)
    tokenizer = transformers.AutoTokenizer.from_pretrained(finished.student)
    classify = transformers.pipeline("text-classification", model=str(finished.student))
    good, bad = classify(["the room was good and fresh", "the food was bad and stale"])

    assert (good["label"], bad["label"]) == ("positive", "negative")
    assert len(tokenizer) == model.config.vocab_size
    assert model.config.problem_type == "single_label_classification"
    assert "attn" not in (finished.student / "config.json").read_text()
    assert {f.name for f in finished.student.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_students_hold_their_calibration_and_the_table_says_what_it_brings(
    finished: Run,
) -> None:
    reports = {own.model: own.calibration for own in finished.result.models}
    config = json.loads((finished.student / "config.json").read_text())
    stored = serving_settings("s", config, 2).calibration
    student, teacher = reports["student, distilled"], reports["teacher"]

    assert student
    assert teacher
    assert student.stored
    assert student.temperature == stored.temperature != 1
    assert student.cross_fitted
    assert student.after
    assert student.after.log_loss < student.before.log_loss
    assert not teacher.stored  # its folder is the user's
    assert "distill" not in json.loads(
        (finished.path / "work" / "intermediate" / "student" / "config.json").read_text()
    )


def test_losses_are_logged_by_name_and_fall(finished: Run) -> None:
    rows = [json.loads(x) for x in (finished.path / "metrics.jsonl").read_text().splitlines()]
    first = [row for row in rows if row["stage"] == "intermediate"]
    for name in ("attention", "hidden", "embedding", "loss"):
        assert first[-1][name] < first[0][name]

    assert {row["stage"] for row in rows} == {"intermediate", "prediction", "plain"}
    assert all(len([r for r in rows if r == row]) == 1 for row in rows)


def test_a_finished_run_is_not_trained_again(finished: Run, go: Go) -> None:
    before = written(finished.path)

    assert go(finished.path).result == finished.result
    assert written(finished.path) == before


def test_a_directory_belongs_to_one_run(finished: Run, go: Go, tmp_path: Path) -> None:
    with pytest.raises(RunDiffers, match="student: 2x16-32-4 there, 1x16-32-4 now"):
        go(finished.path, student="1x16-32-4")
    other = tmp_path / "other.toml"
    other.write_text("seed = 4\n")
    with pytest.raises(RunDiffers, match=r"recipe\.seed: 3 there, 4 now"):
        go(finished.path, recipe=other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(UsageError, match="is not empty and holds no run"):
        go(tmp_path / "full")


def test_a_teacher_named_twice_would_count_double(go: Go, teacher: Path, tmp_path: Path) -> None:
    for again in (str(teacher), f"{teacher}/"):
        with pytest.raises(UsageError, match="is named twice"):
            go(tmp_path / "run", teacher=[str(teacher), again])
    assert not (tmp_path / "run").exists()


def test_an_untuned_teacher_is_refused_and_leaves_nothing(
    go: Go, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        WeakTeacher, match=r"scores 0\.\d+ \(accuracy\) .* guessing scores 0\.500"
    ) as e:
        go(tmp_path / "run", teacher=encoder)

    assert "--allow-weak-teacher" in e.value.hint
    assert "distill teacher" in e.value.hint
    assert not (tmp_path / "run").exists()


def test_a_run_asks_its_teacher_for_scores_once(
    finished: Run, go: Go, encoder: Path, tmp_path: Path
) -> None:
    kept = json.loads((finished.path / "work" / "teacher-judgment.json").read_text())

    assert kept["scores"] == finished.result.models[0].scores

    with stopping("stage 1/2", step=2):
        go(tmp_path / "run", teacher=encoder, allow_weak_teacher=True)
    with pytest.raises(WeakTeacher):
        go(tmp_path / "run", teacher=encoder)
    measured = mock.Mock(side_effect=AssertionError)
    with mock.patch.object(pipeline, "judge", measured), stopping("stage 1/2", step=3):
        go(tmp_path / "run", teacher=encoder, allow_weak_teacher=True)
    better = {"scores": {"validation": {"accuracy": 1.0}}}
    (tmp_path / "run" / "work" / "teacher-judgment.json").write_text(json.dumps(better))
    with pytest.raises(WeakTeacher):  # scores that this run did not write count for nothing
        go(tmp_path / "run", teacher=encoder)


def test_other_refusals_leave_nothing_either(
    go: Go, tokenizer: BertTokenizerFast, recipe: Path, tmp_path: Path
) -> None:
    folder = save(make_bert(tokenizer, labels=("sad", "glad")), tokenizer, tmp_path / "labels")
    with pytest.raises(LabelMismatch):
        go(tmp_path / "run", teacher=folder)
    with pytest.raises(MappingInvalid, match="a student of 5 layers"):
        go(tmp_path / "run", student="5x16-32-4")
    other = tmp_path / "scores.toml"
    other.write_text(
        recipe.read_text().replace("[intermediate]", '[intermediate]\nattention = "scores"')
    )
    with pytest.raises(ShapeMismatch, match="the student has 2 attention heads, the teacher 4"):
        go(tmp_path / "run", student="2x16-32-2", recipe=other)

    assert not (tmp_path / "run").exists()


def test_a_teacher_with_its_labels_reversed_teaches_the_same(
    go: Go, tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    teacher = make_good_teacher(tokenizer, labels=("positive", "negative"))
    run = go(tmp_path / "run", teacher=save(teacher, tokenizer, tmp_path / "t"), plain=False)
    table = run.table().set_index("model")

    assert table.loc["teacher", "accuracy"] > 0.9
    assert table.loc["student, distilled", "accuracy"] > 0.8
    config = json.loads((run.student / "config.json").read_text())

    assert config["id2label"] == {"0": "negative", "1": "positive"}


def test_fine_tuning_a_teacher(
    version: Version, encoder: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models" / "teacher"
    result = fine_tune_teacher(version, init=str(encoder), out=out, recipe=recipe, quiet=True)

    assert result.models[0].scores["validation"]["accuracy"] > 0.9
    model = transformers.AutoModelForSequenceClassification.from_pretrained(out)

    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert [path.name for path in out.parent.iterdir()] == ["teacher"]
    assert any("eval_accuracy" in line for line in (out / "metrics.jsonl").read_text().splitlines())
    again = fine_tune_teacher(version, init=str(encoder), out=out, recipe=recipe, quiet=True)

    assert again == result
    with pytest.raises(UsageError, match="exists and is not this teacher"):
        fine_tune_teacher(version, init=str(encoder), out=out, recipe="demo", quiet=True)
    measured = evaluate_models([str(out)], version)

    assert measured.models[0].scores == result.models[0].scores


def test_a_model_is_evaluated_at_the_length_it_was_trained_at(
    finished: Run, version: Version
) -> None:
    found = evaluate_models([str(finished.path), str(finished.student)], version)
    run, student = found.models

    assert run.model == "run"  # a run directory stands for its student
    assert run.scores == student.scores == finished.result.models[-1].scores
    assert run.max_length == 16  # the recipe's; "auto" would be 64
    tokenizer = transformers.AutoTokenizer.from_pretrained(finished.student)

    assert tokenizer.model_max_length == 16


def test_evaluation_by_split(version: Version, teacher: Path) -> None:
    found = evaluate_models([str(teacher)], version, split="train")

    assert found.rows == {"train": 400}


def test_bfloat16_and_official_reduction_also_train(go: Go, recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace('"float32"', '"bfloat16"')
    other = tmp_path / "other.toml"
    other.write_text('attention_reduction = "official"\nprojection = "per_layer"\n' + text)
    run = go(tmp_path / "run", recipe=other, plain=False)

    assert run.table()["accuracy"].iloc[-1] > 0.8
    model = transformers.AutoModelForSequenceClassification.from_pretrained(run.student)

    assert model.dtype == torch.float32


def test_a_run_directory_belongs_to_one_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from distill.runs.directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).claim({'a': 1}):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    run = RunDirectory(tmp_path / "run")
    other = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(OutputBusy, match="another process") as caught, run.claim({"a": 1}):
            pass
        assert caught.value.exit_code == 3
    finally:
        other.kill()
        other.wait()
    with run.claim({"a": 1}) as claim:
        assert claim.begun


def test_a_run_directory_is_free_again_when_the_call_has_ended(
    finished: Run, tmp_path: Path
) -> None:
    """A finished run in an open notebook keeps no terminal out."""
    code = (
        "import json, sys; from pathlib import Path\n"
        "from distill.runs.directory import RunDirectory\n"
        "run = RunDirectory(Path(sys.argv[1]))\n"
        "with run.claim(json.loads((run.path / 'run.json').read_text())): print('held')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(finished.path)], capture_output=True)

    assert done.stdout == b"held\n", done.stderr
