"""General distillation from text to a student that a task run takes up."""

import dataclasses
import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM, TrainerCallback

from augment.contract import sha256_file
from distill import distill_task
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
from distill.general import decide, distill_general, prepare, read
from distill.models.projections import Projections
from distill.models.students import checkpoint_projections
from distill.progress import Narrator
from distill.recipes.load import load_recipe
from distill.run_directory import RunDirectory
from distill.training import trainer
from distill.training.budget import Budget, Timing
from tests.unit.distill.helpers import make_bert, make_tokenizer, save
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


def recipe_file(folder, projection="shared"):
    file = folder / f"{projection}.toml"
    file.write_text(RECIPE.format(projection=projection))
    return file


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("corpus") / "text.txt", 60_000)


@pytest.fixture(scope="module")
def masked_lm(tokenizer, tmp_path_factory):
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
def recipe(tmp_path_factory):
    return recipe_file(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def go(text, masked_lm, recipe):
    def run(out, corpus=text, tokens=40_000, hours=None, **changes):
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
def finished(go, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return go(out), out


def weights(out):
    return sha256_file(out / "student" / "model.safetensors")


def logged(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_losses_fall_and_are_measured_on_blocks_that_were_held_out(finished):
    result, out = finished
    rows = logged(out)
    measured = [row for row in rows if "eval_loss" in row]
    assert len(measured) == 3
    for name in ("loss", "attention", "hidden", "embedding"):
        assert measured[-1][f"eval_{name}"] < measured[0][f"eval_{name}"]
    parts = [measured[-1][f"eval_{name}"] for name in ("attention", "hidden", "embedding")]
    assert sum(parts) == pytest.approx(measured[-1]["eval_loss"])
    assert result["held_out"]["loss"] == measured[-1]["eval_loss"]
    assert "prediction" not in json.dumps(rows)
    assert result["blocks"]["train"] + result["blocks"]["held_out"] == result["corpus"]["blocks"]
    assert result["tokens"] == pytest.approx(40_000, rel=0.02)
    assert result["epochs"] > 1  # the budget is larger than the corpus
    assert json.loads((out / "result.json").read_text()) == result


def test_the_student_is_a_plain_encoder_folder(finished, tokenizer):
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


def test_the_same_call_again_returns_the_result(finished, go, monkeypatch):
    result, out = finished
    monkeypatch.setattr("distill.general.train", None)
    assert go(out) == result
    (out / "result.json").unlink()  # killed between the student and the result
    assert go(out) == result


@pytest.mark.parametrize("projection", ["shared", "per_layer", "separate_embedding"])
def test_a_task_run_starts_from_encoder_and_projections(
    finished, go, tmp_path, version, teacher, monkeypatch, projection
):
    _, out = finished
    recipe = recipe_file(tmp_path, projection)
    if projection != "shared":
        out = tmp_path / "general"
        go(out, recipe=recipe, tokens=2000)
    begun = []

    def stop(job):
        begun.append(job.stage)
        raise KeyboardInterrupt

    monkeypatch.setattr("distill.training.context.train_stage", stop)
    with pytest.raises(KeyboardInterrupt):
        distill_task(
            version,
            teacher=teacher,
            student=str(out / "student"),
            out=tmp_path / "task",
            recipe=recipe,
            plain=False,
            quiet=True,
        )
    [stage] = begun
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


def test_projections_that_do_not_fit_the_recipe_are_named(go, tmp_path, version, teacher, capsys):
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


def test_a_general_student_can_go_on_from_a_checkpoint(finished, go, tmp_path):
    first, out = finished
    again = go(tmp_path / "more", student=str(out / "student"), tokens=10_000)
    assert again["held_out"]["loss"] < first["held_out"]["loss"]


def test_teacher_layers(go, tmp_path):
    result = go(tmp_path / "run", student="2x32-64-4", init="teacher-layers", tokens=1000)
    assert result["projections"] == 0  # equal widths need none
    assert result["steps"] == 1


def test_other_heads_and_another_family_learn_relations(go, tmp_path):
    result = go(tmp_path / "run", student="electra:2x16-32-2", tokens=2000)
    assert set(result["held_out"]) == {"loss", "relation", "hidden", "embedding"}
    config = json.loads((tmp_path / "run" / "student" / "config.json").read_text())
    assert config["architectures"] == ["ElectraModel"]


def test_a_loss_that_is_no_number_names_its_documents(go, tmp_path):
    recipe = tmp_path / "wild.toml"
    recipe.write_text(RECIPE.format(projection="shared").replace("3e-3", "1e30"))
    with pytest.raises(TrainingFailed, match=r"the rows \(document\) \d+"):
        go(tmp_path / "run", recipe=recipe)


class Interrupt(TrainerCallback):
    """Presses Ctrl-C at a step."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_the_very_step_and_the_run_ends_as_if_undisturbed(
    finished, go, tmp_path, monkeypatch
):
    _, whole = finished
    out = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    undisturbed = trainer.train_stage
    with monkeypatch.context() as patch:
        patch.setattr(
            "distill.general.train_stage",
            lambda job: undisturbed(dataclasses.replace(job, callbacks=(Interrupt(17),))),
        )
        with pytest.raises(KeyboardInterrupt):
            go(out)
    assert signal.getsignal(signal.SIGINT) is before
    assert (out / "work" / "general" / "checkpoints" / "checkpoint-18" / "complete").is_file()
    assert not (out / "student").exists()
    go(out)
    assert weights(out) == weights(whole)
    steps = [(row["step"], "eval_loss" in row) for row in logged(out)]
    assert steps == [(row["step"], "eval_loss" in row) for row in logged(whole)]


def test_hours_become_steps_once(go, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.general.measure_steps", lambda *_: Timing(150.0, 10.0))
    out = tmp_path / "run"
    result = go(out, hours=1.0)
    assert result["steps"] == 23  # 23 x 150 s and 3 x 10 s of 98% of an hour
    assert len([row for row in logged(out) if "eval_loss" in row]) == 3
    plan = json.loads((out / "plan.json").read_text())
    assert plan == {
        "steps": 23,
        "evaluations": 3,
        "tokens_per_step": pytest.approx(result["tokens"] / 23, rel=0.01),
        "seconds_per_step": 150.0,
    }
    for name in ("student", "result.json"):  # as if it had been killed before the end
        (out / name).rename(tmp_path / name)
    monkeypatch.setattr("distill.general.measure_steps", None)
    assert go(out, hours=1.0) == result
    assert weights(out) == sha256_file(tmp_path / "student" / "model.safetensors")


def test_steps_are_timed_on_a_student_that_is_thrown_away(text, masked_lm, recipe, tmp_path):
    began, run = time.monotonic(), RunDirectory(tmp_path / "run")
    settings, narrator = load_recipe(recipe, ""), Narrator(quiet=True)
    bench = prepare(run, settings, str(masked_lm), "2x16-32-4", "random", narrator)
    source = Source(text, cache=tmp_path / "tokens", processes=1)
    blocks = read(bench, open_corpus(source), source)
    parts = split(blocks, 0.1, seed=3)
    plan = decide(bench, parts, Budget(hours=1.0), began)
    assert plan.seconds_per_step is not None
    assert 0.9 * 3600 < plan.steps * plan.seconds_per_step < 0.985 * 3600
    assert not (run.path / "metrics.jsonl").exists()
    assert not (run.path / "work" / "general" / "timing").exists()


def test_hours_too_few_keep_the_tokens(go, tmp_path):
    with pytest.raises(UsageError, match="--hours leaves 0 s to train in"):
        go(tmp_path / "run", hours=1e-6)
    assert list(tmp_path.glob("run/work/tokens/*/blocks.arrow"))


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
    go, tmp_path, monkeypatch, changes, error, sentence
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(error, match=sentence):
        go(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_an_empty_corpus_leaves_nothing(go, tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(DataInvalid, match="holds no text to train on"):
        go(tmp_path / "run", corpus=tmp_path / "a.txt")
    assert not (tmp_path / "run").exists()


def test_a_student_of_another_vocabulary_is_refused(go, tmp_path):
    other = make_tokenizer(["other", "words"])
    save(make_bert(other, layers=2, width=16), other, tmp_path / "other")
    with pytest.raises(VocabularyMismatch):
        go(tmp_path / "run", student=str(tmp_path / "other"))


def test_a_teacher_without_its_encoder_is_refused(go, masked_lm, tokenizer, tmp_path):
    config = BertConfig.from_pretrained(masked_lm, num_hidden_layers=5)
    BertForMaskedLM.from_pretrained(masked_lm).save_pretrained(tmp_path / "broken")
    config.save_pretrained(tmp_path / "broken")
    tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(ModelInvalid, match="lack 16 tensors of its encoder"):
        go(tmp_path / "run", teacher=tmp_path / "broken")


def test_another_budget_is_another_run(finished, go):
    _, out = finished
    with pytest.raises(RunDiffers, match=r"budget\.tokens: 40000 there, 50000 now"):
        go(out, tokens=50_000)
