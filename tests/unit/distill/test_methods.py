"""Whole runs of what is not the default: baselines, several teachers, other vocabularies, tasks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase

from augment.contract import Label, TaskSpec
from distill import distill_task
from distill.errors import EncoderUnsupported, VocabularyMismatch
from distill.recipes.load import RECIPES
from distill.training import trainer
from tests.unit.distill.helpers import (
    BAD,
    GOOD,
    PLAIN,
    make_bert,
    make_good_teacher,
    make_model,
    make_tokenizer,
    mood_rows,
    save,
    write_version,
)

FEW_STEPS = """
[task.{task}]
max_length = 16
precision = "float32"

[task.{task}.intermediate]
max_steps = {steps}
learning_rate = 3e-3

[task.{task}.prediction]
max_steps = {steps}
learning_rate = 3e-3
evaluations = 1
"""


@pytest.fixture
def go(version, teacher, tmp_path):
    def run(name, *, data=version, steps=8, more="", out="run", **changes):
        file = tmp_path / f"{name}.toml"
        few = FEW_STEPS.format(task=data.task.name, steps=steps)
        file.write_text(f"{RECIPES.text(name)}\n{few}\n{more}")
        settings = {"teacher": teacher, "student": "2x16-32-4", "plain": False, "quiet": True}
        return distill_task(data, recipe=file, out=tmp_path / out, **{**settings, **changes})

    return run


def losses(run):
    """Names of the losses that were logged, by stage."""
    found = {}
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        other = {"stage", "step", "epoch", "loss", "grad_norm", "learning_rate"}
        names = {key for key in row if key not in other and not key.startswith("eval_")}
        found.setdefault(row["stage"], set()).update(names)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("logits", {"prediction": {"prediction"}}),
        ("pkd", {"prediction": {"prediction", "label", "patient"}}),
        ("distilbert", {"prediction": {"prediction", "label", "cosine"}}),
        (
            "minilmv2",
            {"intermediate": {"relation", "hidden", "embedding"}, "prediction": {"label"}},
        ),
    ],
)
def test_named_baselines_run(go: Callable[..., Any], name: str, expected: Any) -> None:
    run = go(name, steps=60 if name == "logits" else 8)
    assert losses(run) == expected
    assert list(run.table()["model"]) == ["teacher", "student, distilled"]
    if name == "logits":
        assert run.table()["accuracy"].iloc[-1] > 0.8
        assert not (run.path / "work" / "intermediate").exists()


def test_the_trainer_draws_the_rows_that_have_soft_labels(
    go: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight steps of 32 rows, and a batch fetched ahead: soft labels are made for those alone."""
    drawn = []

    class Spy(trainer.SoftRows):
        def __getitems__(self, indices):
            drawn.extend(indices)
            return super().__getitems__(indices)

    monkeypatch.setattr(trainer, "SoftRows", Spy)
    run = go("logits")
    size = (run.path / "work" / "soft-labels" / "soft-labels-1.f32").stat().st_size

    assert size == 9 * 32 * 2 * 4
    assert len(set(drawn)) == 9 * 32


def test_other_heads_are_told_and_learnt_by_relations(
    go: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    run = go("quick", student="2x16-32-2", quiet=False)
    assert losses(run)["intermediate"] == {"relation", "hidden", "embedding"}
    told = "query-query, key-key, value-value relations of teacher layer 4, 2 heads"

    assert told in capfd.readouterr().err


def test_several_teachers(
    go: Callable[..., Any], tokenizer: PreTrainedTokenizerBase, teacher: Any, tmp_path: Path
) -> None:
    second = make_good_teacher(tokenizer, labels=("positive", "negative"), layers=2, seed=4)
    save(second, tokenizer, tmp_path / "second")
    names = [teacher, tmp_path / "second"]
    run = go("logits", teacher=names, plain=True)
    assert list(run.table()["model"]) == [
        "teacher",
        "teacher 2",
        "student, labels only",
        "student, distilled",
    ]
    assert run.result.averaged["validation"]["accuracy"] > 0.9
    assert len(list((run.path / "work" / "soft-labels").glob("*.f32"))) == 2
    identity = json.loads((run.path / "run.json").read_text())

    assert len(set(identity["teacher"])) == 2
    assert go("logits", teacher=names, plain=True).result == run.result


@pytest.fixture
def stranger(tmp_path):
    """A student that knows other words in another order."""
    other = make_tokenizer(sorted([*PLAIN, *GOOD, *BAD[:5]], reverse=True))
    return save(make_bert(other, layers=2, width=16), other, tmp_path / "stranger"), other


def test_other_vocabularies_learn_from_logits_alone(go: Callable[..., Any], stranger: Any) -> None:
    folder, tokenizer = stranger
    run = go("logits", student=str(folder), steps=60)
    assert run.table()["accuracy"].iloc[0] > 0.9
    assert run.table()["accuracy"].iloc[-1] > 0.8
    saved = transformers.AutoTokenizer.from_pretrained(run.student)

    assert saved.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("name", ["quick", "distilbert", "minilmv2"])
def test_other_vocabularies_are_refused_where_tokens_are_compared(
    go: Callable[..., Any], stranger: Any, name: str, tmp_path: Path
) -> None:
    with pytest.raises(VocabularyMismatch, match=r"29 tokens, .*stranger one of 28") as caught:
        go(name, student=str(stranger[0]))

    assert "With --recipe logits each reads the text in its own way" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_an_encoder_that_hides_its_attention_teaches_by_logits(
    go: Callable[..., Any], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    config = transformers.DebertaV2Config(
        **{**make_model("deberta-v2", tokenizer).config.to_dict(), "relative_attention": False}
    )
    hidden = transformers.AutoModelForSequenceClassification.from_config(config)
    folder = save(hidden, tokenizer, tmp_path / "hidden")
    settings = {"teacher": folder, "allow_weak_teacher": True}
    with pytest.raises(EncoderUnsupported, match="does not show its attention scores"):
        go("quick", **settings)
    assert not (tmp_path / "run").exists()
    assert losses(go("logits", **settings)) == {"prediction": {"prediction"}}
    states = "[task.mood.intermediate.weights]\nattention = 0.0\n"
    run = go("quick", more=states, out="states", **settings)

    assert losses(run)["intermediate"] == {"attention", "hidden", "embedding"}


def test_a_student_deeper_than_its_teacher_learns_from_logits(go: Callable[..., Any]) -> None:
    assert go("logits", student="5x16-32-4").table()["model"].iloc[-1] == "student, distilled"


PAIRS = TaskSpec(
    name="closeness",
    text_columns=("first", "second"),
    label=Label(column="score", kind="regression"),
    metrics=("pearson_spearman",),
    selection_metric="pearson_spearman",
)
TOPICS = tuple(f"topic-{number}" for number in range(100))
MANY = TaskSpec(
    name="topics",
    text_columns=("sentence",),
    label=Label(names=TOPICS),
    metrics=("accuracy", "f1"),
    selection_metric="f1",
)


def test_regression_on_pairs(
    go: Callable[..., Any], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    draw = random.Random(0)

    def rows(count):
        texts = [[" ".join(draw.choices(PLAIN, k=3)) for _ in range(2)] for _ in range(count)]
        return [{"first": a, "second": b, "score": draw.uniform(0, 5)} for a, b in texts]

    data = write_version(tmp_path / "v", PAIRS, {"train": rows(64), "validation": rows(32)})
    teacher = save(make_bert(tokenizer, labels=("score",)), tokenizer, tmp_path / "t")
    run = go("quick", data=data, teacher=teacher, allow_weak_teacher=True, plain=True)
    assert list(run.table()["pearson_spearman"].notna()) == [True] * 3
    config = json.loads((run.student / "config.json").read_text())

    assert config["problem_type"] == "regression"


def test_a_hundred_labels_very_unevenly_spread(
    go: Callable[..., Any], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    def rows(count, seed):
        found = mood_rows(count, seed)
        return [{**row, "label": 99 if i % 8 else i % 7} for i, row in enumerate(found)]

    data = write_version(tmp_path / "v", MANY, {"train": rows(96, 1), "validation": rows(48, 2)})
    teacher = save(make_bert(tokenizer, labels=TOPICS), tokenizer, tmp_path / "t")
    more = "[task.topics.plain]\nlearning_rate = 3e-3\nevaluations = 1\n"
    run = go("quick", data=data, teacher=teacher, allow_weak_teacher=True, plain=True, more=more)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(run.student)
    assert model.config.id2label[99] == "topic-99"
    plain = run.table().set_index("model").loc["student, labels only"]

    assert 0 < plain["f1"] < plain["accuracy"]


def byte_level(folder):
    """A tokenizer as RoBERTa's: byte-level tokens, padding 1, no segments."""
    specials = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = [row["sentence"] for row in mood_rows(100, 0)]
    core.train_from_iterator(
        texts, BpeTrainer(vocab_size=120, special_tokens=list(specials), show_progress=False)
    )
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = ("bos", "pad", "eos", "unk", "mask")
    tokens = {f"{name}_token": text for name, text in zip(names, specials, strict=True)}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        cls_token="<s>",
        sep_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
        **tokens,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize("student", ["2x16-32-4", "roberta:2x16-32-4", "modernbert:2x16-32-4"])
def test_a_roberta_with_a_vocabulary_of_its_own(
    go: Callable[..., Any], tmp_path: Path, student: str
) -> None:
    tokenizer = byte_level(tmp_path / "teacher")
    model = make_model("roberta", tokenizer)
    assert (model.config.pad_token_id, model.config.max_position_embeddings) == (1, 514)
    model.save_pretrained(tmp_path / "teacher")
    run = go("quick", teacher=tmp_path / "teacher", student=student, allow_weak_teacher=True)
    config = json.loads((run.student / "config.json").read_text())
    family = student.split(":", maxsplit=1)[0] if ":" in student else "bert"
    assert (config["model_type"], config["pad_token_id"]) == (family, 1)
    saved = transformers.AutoTokenizer.from_pretrained(run.student)
    assert saved("we had it")["input_ids"] == tokenizer("we had it")["input_ids"]
    pipe = transformers.pipeline("text-classification", str(run.student), device="cpu")

    assert pipe("we had it")[0]["label"] in ("negative", "positive")
