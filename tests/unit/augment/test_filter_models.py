"""Classifier and sentence encoder: the numbers of transformers, labels in order, plain refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
)

from augment.contract import Label, TaskSpec
from augment.errors import AssetInvalid, AssetMissing
from augment.filters.loading import load_sentence_encoder, load_teacher
from augment.filters.scorer import ROUNDING
from augment.tasks import get_task
from tests.unit.augment.conftest import WORDS, make_classifier

RTE, SST2, STSB = (get_task(name).spec for name in ("rte", "sst2", "stsb"))
PAIRS = [
    ("a good film", "the dog ran ."),
    ("red dog", "a"),
    ("wonderful [MASK] music", "the plot"),
    ("", "the cat"),
    ("a good film", "the dog ran ."),
    ("film " * 300, "dog"),
]


def test_logits_are_those_of_transformers_in_the_tasks_order(classifier_dir: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(classifier_dir).eval()
    tokenizer = BertTokenizer.from_pretrained(classifier_dir)
    logits = load_teacher(str(classifier_dir), RTE).score(PAIRS)

    for pair in PAIRS:
        inputs = tokenizer(
            *pair, truncation=True, max_length=128, split_special_tokens=True, return_tensors="pt"
        )
        with torch.no_grad():
            reference = model(**inputs).logits[0]
        expected = reference[[1, 0]].numpy()  # entailment comes first in the task
        np.testing.assert_allclose(logits[pair], expected, atol=1e-5)


def test_vectors_are_averages_of_length_one(mlm_dir: Path) -> None:
    """A masked LM serves as an encoder; the pooler it lacks is not read."""
    model = BertModel.from_pretrained(mlm_dir).eval()
    tokenizer = BertTokenizer.from_pretrained(mlm_dir)
    encoder = load_sentence_encoder(str(mlm_dir))
    vector = encoder.score([("a good film",)])[("a good film",)]
    with torch.no_grad():
        hidden = model(**tokenizer("a good film", return_tensors="pt")).last_hidden_state
    mean = hidden[0].mean(dim=0)

    np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-6)
    assert load_sentence_encoder(str(mlm_dir)).digest == encoder.digest


def sentence_encoder(source: Path, folder: Path, pooling: dict[str, Any], *more: str) -> str:
    """A masked LM with what sentence-transformers keeps beside it."""
    shutil.copytree(source, folder)
    kinds = ["Transformer", "Pooling", *more]
    parts = [
        {"idx": at, "name": str(at), "path": f"{at}_{kind}" if at else "",
         "type": f"sentence_transformers.models.{kind}"}
        for at, kind in enumerate(kinds)
    ]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(parts))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return str(folder)


MEAN = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
CLS = {**MEAN, "pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}


def test_vectors_are_pooled_as_the_folder_says(mlm_dir: Path, tmp_path: Path) -> None:
    plain = load_sentence_encoder(str(mlm_dir))
    mean = load_sentence_encoder(sentence_encoder(mlm_dir, tmp_path / "m", MEAN, "Normalize"))
    cls = load_sentence_encoder(sentence_encoder(mlm_dir, tmp_path / "c", CLS))
    row = ("a good film",)
    inputs = BertTokenizer.from_pretrained(mlm_dir)(*row, return_tensors="pt")
    with torch.no_grad():
        first = BertModel.from_pretrained(mlm_dir).eval()(**inputs).last_hidden_state[0, 0]

    assert mean.digest == plain.digest != cls.digest
    assert (mean.score([row])[row] == plain.score([row])[row]).all()
    np.testing.assert_allclose(cls.score([row])[row], (first / first.norm()).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "more", "said"),
    [
        (MEAN, ["Dense"], "a part that is not computed here: Dense"),
        ({**MEAN, **CLS, "pooling_mode_mean_tokens": True}, [], "mean_tokens . cls_token"),
        ({"pooling_mode_max_tokens": True}, [], "not computed here: max_tokens"),
        ({"pooling_mode": "lasttoken"}, [], "not computed here: lasttoken"),
        ([], [], "holds no object of keys"),
    ],
)
def test_other_poolings_are_refused(
    pooling: Any, more: list[str], said: str, mlm_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssetInvalid, match=said):
        load_sentence_encoder(sentence_encoder(mlm_dir, tmp_path / "e", pooling, *more))


def test_batches_do_not_matter_beyond_rounding(classifier_dir: Path) -> None:
    teacher = load_teacher(str(classifier_dir), RTE)
    batched = teacher.score(PAIRS)
    teacher.tokens_a_batch = 1
    alone = teacher.score(PAIRS)

    for pair in PAIRS:
        exact = teacher.canonical(pair)
        assert np.abs(batched[pair] - exact).max() < ROUNDING / 5
        assert np.abs(alone[pair] - exact).max() < ROUNDING / 5
        assert (alone.settle(pair) == batched.settle(pair)).all()


@pytest.mark.parametrize("kind", ["teacher", "encoder"])
def test_out_of_memory_halves_the_batch(kind: str, classifier_dir: Path, mlm_dir: Path) -> None:
    loaded = {
        "teacher": lambda: load_teacher(str(classifier_dir), RTE),
        "encoder": lambda: load_sentence_encoder(str(mlm_dir)),
    }
    scorer, rows = loaded[kind](), [(a, b) for a in WORDS[:6] for b in WORDS[:6]]
    model, expected = scorer._model, scorer.score(rows)
    sizes: list[int] = []

    def small(**inputs: torch.Tensor) -> object:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 8:
            raise torch.OutOfMemoryError
        return model(**inputs)

    scorer._model = small
    halved = scorer.score(rows)
    tried = len(sizes)
    again = scorer.score(rows)

    for row in rows:
        np.testing.assert_allclose(halved[row], expected[row], atol=ROUNDING / 5)
        np.testing.assert_allclose(again[row], expected[row], atol=ROUNDING / 5)
    assert max(sizes[:tried]) == len(rows)
    assert 4 <= max(sizes[tried:]) <= 8


def test_no_room_for_a_single_row_is_an_error(classifier_dir: Path) -> None:
    teacher = load_teacher(str(classifier_dir), RTE)

    def none(**_: torch.Tensor) -> object:
        raise torch.OutOfMemoryError

    teacher._model = none
    with pytest.raises(torch.OutOfMemoryError):
        teacher.score(PAIRS)


@pytest.mark.parametrize(
    ("labels", "task", "sentence"),
    [
        (("a", "b", "c"), SST2, "has the labels a, b, c; sst2 has negative, positive"),
        (("good", "bad"), SST2, "has the labels good, bad"),
        (("negative", "positive"), STSB, "stsb has one score"),
        (("score",), SST2, "has the labels score"),
    ],
)
def test_labels_that_are_not_those_of_the_task(
    tmp_path: Path, labels: tuple[str, ...], task: TaskSpec, sentence: str
) -> None:
    folder = make_classifier(tmp_path / "teacher", labels)
    with pytest.raises(AssetInvalid, match=sentence) as caught:
        load_teacher(str(folder), task)

    assert "distill teacher" in caught.value.hint


def test_labels_without_names_are_taken_by_position(tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "teacher", ("LABEL_0", "LABEL_1"))

    assert "by position" in load_teacher(str(folder), SST2).notice
    named = make_classifier(tmp_path / "named", ("Negative", "POSITIVE"))
    assert not load_teacher(str(named), SST2).notice


def test_models_that_cannot_be_used(mlm_dir: Path, classifier_dir: Path, tmp_path: Path) -> None:
    headless = tmp_path / "headless"
    shutil.copytree(classifier_dir, headless)
    BertForMaskedLM.from_pretrained(mlm_dir).save_pretrained(headless)
    cut = tmp_path / "cut"
    shutil.copytree(classifier_dir, cut)
    (cut / "model.safetensors").write_bytes(b"\0" * 100)
    untokenized = tmp_path / "untokenized"
    shutil.copytree(classifier_dir, untokenized, ignore=shutil.ignore_patterns("tok*", "voc*"))

    with pytest.raises(AssetMissing, match="no model folder"):
        load_teacher("./no/such/folder", RTE)
    with pytest.raises(AssetInvalid, match="no sequence-classification head"):
        load_teacher(str(mlm_dir), SST2.model_copy(update={"label": _unnamed()}))
    with pytest.raises(AssetInvalid, match="cannot be read as the weights of a model"):
        load_teacher(str(cut), RTE)
    with pytest.raises(AssetInvalid, match="there is no tokenizer in"):
        load_sentence_encoder(str(untokenized))
    teacher = load_teacher(str(classifier_dir), RTE)
    with torch.no_grad():
        teacher._model.classifier.bias.fill_(float("nan"))
    with pytest.raises(AssetInvalid, match="NaN"):
        teacher.score(PAIRS)


def _unnamed() -> Label:
    return SST2.label.model_copy(update={"names": ("LABEL_0", "LABEL_1")})


def test_the_digest_follows_weights_and_labels(classifier_dir: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(classifier_dir, moved)
    other = make_classifier(tmp_path / "other", ("not_entailment", "entailment"), seed=5)
    swapped = make_classifier(tmp_path / "swapped", ("entailment", "not_entailment"))
    digests = [load_teacher(str(f), RTE).digest for f in (classifier_dir, moved, other, swapped)]

    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_classifier_of_several_labels_at_once_is_refused(tmp_path: Path) -> None:
    folder = make_classifier(tmp_path / "many", ("negative", "positive"))
    config = json.loads((folder / "config.json").read_text())
    config["problem_type"] = "multi_label_classification"
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(AssetInvalid, match="gives a row several labels at once"):
        load_teacher(str(folder), SST2)
