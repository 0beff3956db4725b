"""General distillation from text to a student that a task run takes up."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from augment.contract import Version, sha256_file
from distill import distill_task, general
from distill.data.blocks import split
from distill.data.corpus import Source, open_corpus
from distill.errors import (
    DataInvalid,
    MappingInvalid,
    ModelInvalid,
    ModelNotFound,
    RunDiffers,
    ShapeMismatch,
    TrainingFailed,
    UsageError,
    VocabularyMismatch,
)
from distill.evaluation.results import GeneralResult
from distill.general import (
    distill_general,
    general_start,
    make_plan,
    open_teacher,
    read_corpus,
    start_stage,
)
from distill.models import layer_init
from distill.models.loading import load_classifier
from distill.models.projections import Projections
from distill.models.students import checkpoint_projections, parse_student
from distill.pipeline import start_student
from distill.recipes.load import load_recipe
from distill.runs.directory import RunDirectory
from distill.runs.progress import Narrator
from distill.runs.records import write_sealed_json
from distill.training.budget import Budget, Plan, Timing
from distill.training.context import RunContext
from tests.unit.distill.helpers import at_step, make_bert, make_tokenizer, save, written
from tests.unit.distill.test_blocks import write_text

ROOT = Path(__file__).resolve().parents[3]
RECIPE = """
seed = 3
precision = "float32"
projection = "{projection}"

[general]
length = 32
min_length = 6
learning_rate = 3e-3
evaluations = 3
held_out = 0.1
"""

Go = Callable[..., GeneralResult]
Finished = tuple[GeneralResult, Path]


def recipe_file(folder: Path, projection: str = "shared") -> Path:
    file = folder / f"{projection}.toml"
    file.write_text(RECIPE.format(projection=projection))
    return file


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("corpus") / "text.txt", 60_000)


@pytest.fixture(scope="module")
def masked_lm(tokenizer: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untuned teacher with a masked-LM head: 4 layers x 32, 4 heads."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    folder = tmp_path_factory.mktemp("models") / "mlm"
    return save(BertForMaskedLM(config), tokenizer, folder)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_file(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def go(text: Path, masked_lm: Path, recipe: Path) -> Go:
    def run(
        out: Path,
        corpus: Path = text,
        tokens: int = 40_000,
        hours: float | None = None,
        **changes: Any,
    ) -> GeneralResult:
        settings = {
            "teacher": masked_lm,
            "student": "2x16-32-4",
            "recipe": recipe,
            "quiet": True,
            **changes,
        }
        budget = Budget(hours, None if hours else tokens)
        return distill_general(Source(corpus, processes=1), out=out, budget=budget, **settings)

    return run


@pytest.fixture(scope="module")
def finished(go: Go, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out = tmp_path_factory.mktemp("runs") / "run"
    return go(out), out


def weights(out: Path) -> str:
    return sha256_file(out / "student" / "model.safetensors")


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_losses_fall_and_are_measured_on_blocks_that_were_held_out(finished: Finished) -> None:
    result, out = finished
    rows = logged(out)
    measured = [row for row in rows if "eval_loss" in row]

    assert len(measured) == 3
    for name in ("loss", "attention", "hidden", "embedding"):
        assert measured[-1][f"eval_{name}"] < measured[0][f"eval_{name}"]
    parts = [measured[-1][f"eval_{name}"] for name in ("attention", "hidden", "embedding")]

    assert sum(parts) == pytest.approx(measured[-1]["eval_loss"])
    assert result.held_out["loss"] == measured[-1]["eval_loss"]
    assert "prediction" not in json.dumps(rows)
    assert result.blocks.train + result.blocks.held_out == result.corpus.blocks
    assert result.tokens == pytest.approx(40_000, rel=0.02)
    assert result.epochs > 1  # the budget is larger than the corpus
    assert json.loads((out / "result.json").read_text()) == result.to_json()


def test_the_student_is_a_plain_encoder_folder(
    finished: Finished, tokenizer: BertTokenizerFast
) -> None:
    _, out = finished
    model, loading = transformers.AutoModel.from_pretrained(
        out / "student", output_loading_info=True
    )

    assert not loading["missing_keys"]
    assert model.config.architectures == ["BertModel"]
    assert model.config.hidden_dropout_prob == 0.1
    assert transformers.AutoTokenizer.from_pretrained(out / "student").get_vocab() == (
        tokenizer.get_vocab()
    )
    assert not list(out.glob("work/general"))


def test_the_same_call_again_returns_the_result(finished: Finished, go: Go) -> None:
    result, out = finished
    before = written(out)

    assert go(out) == result
    assert written(out) == before
    (out / "result.json").unlink()  # killed between the student and the result

    assert go(out) == result
    assert written(out / "student").items() <= before.items()


@pytest.mark.parametrize("projection", ["shared", "per_layer", "separate_embedding"])
def test_a_task_run_starts_from_encoder_and_projections(
    finished: Finished, go: Go, tmp_path: Path, version: Version, teacher: Path, projection: str
) -> None:
    _, out = finished
    settings = load_recipe(file := recipe_file(tmp_path, projection), "")
    if projection != "shared":
        out = tmp_path / "general"
        go(out, recipe=file, tokens=2000)
    classifier = load_classifier(str(teacher), version.task)
    spec = parse_student(str(out / "student"), "auto", str(teacher))
    student = start_student(spec, version.task, settings, classifier)
    context = RunContext(settings, student.tokenizer, 16, RunDirectory(tmp_path), Narrator())
    taught = classifier.model
    stage = context.layerwise_stage("intermediate", student, taught, settings.intermediate)

    stored = load_file(out / "student" / "model.safetensors")
    encoder = {k: v for k, v in stored.items() if not k.startswith("fit_dense")}

    assert encoder.keys() == stage.student.base_model.state_dict().keys()
    for name, tensor in stage.student.base_model.state_dict().items():
        assert torch.equal(tensor, encoder[name]), name
    pretrained = checkpoint_projections(out / "student")

    assert len(pretrained) == {"shared": 1, "per_layer": 3, "separate_embedding": 2}[projection]
    fresh = Projections(16, 32, layers=2, kind=projection)

    assert len(stage.projections.maps) == len(fresh.maps)
    for linear, affine in zip(stage.projections.maps, pretrained, strict=True):
        assert torch.equal(linear.weight, affine.weight)
        assert torch.equal(linear.bias, affine.bias)
        assert affine.bias.abs().max() > 0


def test_projections_that_do_not_fit_the_recipe_are_named(
    go: Go, tmp_path: Path, version: Version, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint has M + 1 of them, the recipe asks for a shared one."""
    go(tmp_path / "general", recipe=recipe_file(tmp_path, "per_layer"), tokens=2000)
    short = "[intermediate]\nmax_steps = 1\n[prediction]\nmax_steps = 1\n"
    recipe = tmp_path / "short.toml"
    recipe.write_text(RECIPE.format(projection="shared") + short)
    student = str(tmp_path / "general" / "student")
    out = tmp_path / "task"
    distill_task(version, teacher=teacher, student=student, out=out, recipe=recipe, plain=False)
    said = "projections start at random: the recipe needs 1 (16 to 32), the checkpoint has 3 (16"

    assert capsys.readouterr().err.count(said) == 1


def test_a_general_student_can_go_on_from_a_checkpoint(
    finished: Finished, go: Go, tmp_path: Path
) -> None:
    first, out = finished
    again = go(tmp_path / "more", student=str(out / "student"), tokens=10_000)

    assert again.held_out["loss"] < first.held_out["loss"]


def test_teacher_layers(go: Go, tmp_path: Path) -> None:
    result = go(tmp_path / "run", student="2x32-64-4", init="teacher-layers", tokens=1000)

    assert result.projections == 0  # equal widths need none
    assert result.steps == 1


def test_other_heads_and_another_family_learn_relations(go: Go, tmp_path: Path) -> None:
    result = go(tmp_path / "run", student="electra:2x16-32-2", tokens=2000)

    assert set(result.held_out) == {"loss", "relation", "hidden", "embedding"}
    config = json.loads((tmp_path / "run" / "student" / "config.json").read_text())

    assert config["architectures"] == ["ElectraModel"]


def test_a_loss_that_is_no_number_names_its_documents(go: Go, tmp_path: Path) -> None:
    recipe = tmp_path / "wild.toml"
    recipe.write_text(RECIPE.format(projection="shared").replace("3e-3", "1e30"))
    with pytest.raises(TrainingFailed, match=r"the rows \(document\) \d+"):
        go(tmp_path / "run", recipe=recipe)


def test_ctrl_c_keeps_the_very_step_and_the_run_ends_as_if_undisturbed(
    finished: Finished, go: Go, tmp_path: Path
) -> None:
    _, whole = finished
    out = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with (
        at_step("general", 17, lambda: os.kill(os.getpid(), signal.SIGINT)),
        pytest.raises(KeyboardInterrupt),
    ):
        go(out)

    assert signal.getsignal(signal.SIGINT) is before
    assert (out / "work" / "general" / "checkpoints" / "checkpoint-17" / "complete").is_file()
    assert not (out / "student").exists()
    go(out)

    assert weights(out) == weights(whole)
    steps = [(row["step"], "eval_loss" in row) for row in logged(out)]

    assert steps == [(row["step"], "eval_loss" in row) for row in logged(whole)]


@pytest.fixture
def planning(text: Path, masked_lm: Path, recipe: Path, tmp_path: Path) -> Callable[..., Plan]:
    """A plan for an hour, by what times the steps."""
    settings, out = load_recipe(recipe, ""), tmp_path / "run"
    out.mkdir()
    (out / "run.json").touch()
    encoder = open_teacher(str(masked_lm), settings)
    context = RunContext(settings, encoder.tokenizer, 32, RunDirectory(out), Narrator(quiet=True))
    spec = parse_student("2x16-32-4", "random", str(masked_lm))
    source = Source(text, cache=tmp_path / "tokens", processes=1)
    blocks = read_corpus(context, str(masked_lm), open_corpus(source), source)
    parts = split(blocks, 0.1, seed=3)

    def run(**measure: Any) -> Plan:
        start = partial(
            start_stage, context, partial(general_start, context, spec, encoder), encoder
        )
        return make_plan(context, start, parts, Budget(hours=1.0), time.monotonic(), **measure)

    return run


def test_hours_become_steps_once(planning: Callable[..., Plan], tmp_path: Path) -> None:
    plan = planning(measure=lambda job, seconds: Timing(150.0, 10.0))

    assert plan.steps == 23  # 23 x 150 s and 3 x 10 s of 98% of an hour
    assert (plan.evaluations, plan.seconds_per_step) == (3, 150.0)
    assert json.loads((tmp_path / "run" / "plan.json").read_text()) == dataclasses.asdict(plan)
    assert planning(measure=None) == plan


def test_a_plan_is_kept_to(go: Go, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UsageError, match="--hours leaves 0 s to train in"):
        go(out, hours=1e-6)

    assert list(out.glob("work/tokens/*/blocks.arrow"))
    origin = RunDirectory(out).of(json.loads((out / "run.json").read_text())).origin("plan.json")
    write_sealed_json(out / "plan.json", origin, dataclasses.asdict(Plan(7, 2, 500.0, 150.0)))
    result = go(out, hours=1e-6)

    assert (result.steps, result.tokens) == (7, 3500)
    assert len([row for row in logged(out) if "eval_loss" in row]) == 2


def test_a_student_is_made_narrower_once_where_its_steps_are_timed(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    one = Plan(1, 1, 500.0, 150.0)
    monkeypatch.setattr(general, "plan_for_seconds", lambda *_args: one)
    with monkeypatch.context() as patch:
        own = layer_init.prune_width
        patch.setattr(
            layer_init, "prune_width", lambda *args, **more: (made.append(1), own(*args, **more))[1]
        )
        timed = go(tmp_path / "timed", student="2x16-32-4", init="teacher-layers", hours=1e-6)
    told = go(tmp_path / "told", student="2x16-32-4", init="teacher-layers", tokens=1000)

    assert made == [1]
    assert timed.steps == told.steps == 1
    assert timed.held_out == told.held_out


def test_steps_are_timed_on_a_student_that_is_thrown_away(
    planning: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = planning()

    assert plan.seconds_per_step is not None
    assert 0.9 * 3600 < plan.steps * plan.seconds_per_step < 0.985 * 3600
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "work" / "general" / "timing").exists()


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"teacher": "./none"}, ModelNotFound, "there is no model folder"),
        ({"corpus": "./none.txt"}, DataInvalid, "there is no corpus"),
        ({"student": "bert:2x15-32-4"}, ShapeMismatch, "width 15 is not a multiple of 4 heads"),
        ({"student": "6x16-32-4"}, MappingInvalid, "a student of 6 layers"),
        ({"student": "small"}, ModelInvalid, "neither a known name"),
    ],
)
def test_what_cannot_work_is_said_and_leaves_nothing(
    go: Go,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[Exception],
    sentence: str,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=sentence):
        go(tmp_path / "run", **changes)

    assert not (tmp_path / "run").exists()


def test_an_empty_corpus_leaves_nothing(go: Go, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(DataInvalid, match="holds no text to train on"):
        go(tmp_path / "run", corpus=tmp_path / "a.txt")

    assert not (tmp_path / "run").exists()


def test_a_text_in_another_language_is_told(
    go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("文字 在 另外 的 語言 裡 " * 100)
    with pytest.raises(UsageError, match="--hours leaves"):
        go(tmp_path / "run", corpus=tmp_path / "a.txt", hours=1e-6, quiet=False)

    assert "94% of the tokens are unknown to the vocabulary" in capsys.readouterr().err


def test_a_student_of_another_vocabulary_is_refused(go: Go, tmp_path: Path) -> None:
    other = make_tokenizer(["other", "words"])
    save(make_bert(other, layers=2, width=16), other, tmp_path / "other")
    with pytest.raises(VocabularyMismatch):
        go(tmp_path / "run", student=str(tmp_path / "other"))


def test_a_teacher_without_its_encoder_is_refused(
    go: Go, masked_lm: Path, tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    config = BertConfig.from_pretrained(masked_lm, num_hidden_layers=5)
    BertForMaskedLM.from_pretrained(masked_lm).save_pretrained(tmp_path / "broken")
    config.save_pretrained(tmp_path / "broken")
    tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(ModelInvalid, match="lack 16 tensors of its encoder"):
        go(tmp_path / "run", teacher=tmp_path / "broken")


def test_another_budget_is_another_run(finished: Finished, go: Go) -> None:
    _, out = finished
    with pytest.raises(RunDiffers, match=r"budget\.tokens: 40000 there, 50000 now"):
        go(out, tokens=50_000)
