"""Models as they lie on the hub, old ones too: every reader takes them, and reads the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from augment.contract import Fault, TaskSpec
from augment.filters.loading import load_sentence_encoder, load_teacher
from augment.masked_lm.inputs import build_input
from augment.masked_lm.loading import load_masked_lm
from distill.models.folders import model_folder
from distill.models.loading import Classifier, load_classifier, load_encoder
from distill.models.students import build_student, parse_student
from tests.unit.augment.conftest import VOCABULARY, make_classifier, make_masked_lm
from tests.unit.distill.helpers import SENTIMENT, make_bert, make_tokenizer, save

TASK = SENTIMENT.model_copy(
    update={"label": SENTIMENT.label.model_copy(update={"names": ("LABEL_0", "LABEL_1")})}
)
ROWS = [("the good film",), ("a bad Movie , ran",)]
KEPT = (
    "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size",
    "initializer_range", "intermediate_size", "max_position_embeddings", "num_attention_heads",
    "num_hidden_layers", "type_vocab_size", "vocab_size",
)  # fmt: skip


def publish(source: Path, folder: Path, *, old_names: bool) -> str:
    """As TinyBERT is: ``pytorch_model.bin``, ``vocab.txt``, a config that does not tell its family.

    Names of norms are those of TensorFlow in the oldest ones; a projection and the head of
    pre-training lie beside the model.
    """
    folder.mkdir()
    config = json.loads((source / "config.json").read_text())
    written = {key: config[key] for key in KEPT}
    written |= {"cell": {}, "emb_size": 32, "pre_trained": "", "structure": [], "training": ""}
    (folder / "config.json").write_text(json.dumps(written))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    state = load_file(source / "model.safetensors")
    if old_names:
        norms = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, old in norms.items():
            state = {name.replace(new, old): value for name, value in state.items()}
    state |= {
        "fit_dense.weight": torch.ones(64, 32),
        "fit_dense.bias": torch.zeros(64),
        "cls.seq_relationship.weight": torch.zeros(2, 32),
        "cls.seq_relationship.bias": torch.zeros(2),
        "bert.embeddings.position_ids": torch.arange(128)[None],
    }
    torch.save(state, folder / "pytorch_model.bin")
    return str(folder)


@pytest.mark.parametrize("old_names", [False, True])
def test_a_tinybert_as_published_is_read_by_every_option(tmp_path: Path, old_names: bool) -> None:
    mlm, classifier = make_masked_lm(tmp_path / "mlm"), make_classifier(tmp_path / "classifier")
    old_mlm = publish(mlm, tmp_path / "old-mlm", old_names=old_names)
    old_classifier = publish(classifier, tmp_path / "old-classifier", old_names=old_names)
    lm, same = load_masked_lm(old_mlm), load_masked_lm(str(mlm))
    asked = [build_input([(7,), (60,), (61,)], at, lm.tokenizer, "pair", lm.limit) for at in (1, 2)]
    named = json.loads((classifier / "config.json").read_text())
    names = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    (classifier / "config.json").write_text(json.dumps(named | names))

    assert lm.tokenizer.canonical_json() == same.tokenizer.canonical_json()
    assert lm.rank(asked, 9, words_only=False) == same.rank(asked, 9, words_only=False)
    for read in (load_sentence_encoder, lambda name: load_teacher(name, TASK)):
        of = (old_mlm, mlm) if read is load_sentence_encoder else (old_classifier, classifier)
        ours, theirs = (read(str(folder)).score(ROWS) for folder in of)
        assert all(np.array_equal(ours[row], theirs[row]) for row in ROWS)
    assert torch.equal(logits(old_classifier), logits(str(classifier)))
    states = [load_encoder(name).model.state_dict() for name in (old_mlm, str(mlm))]
    kept = [name for name in states[1] if not name.startswith("pooler.")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in kept)


def logits(name: str, task: TaskSpec = TASK) -> torch.Tensor:
    """The answers to ``ROWS``, one by one, of a classifier as ``distill`` reads it."""
    classifier = load_classifier(name, task)
    texts = [classifier.tokenizer(*row, return_tensors="pt") for row in ROWS]
    with torch.inference_mode():
        return torch.cat([classifier.logits(text) for text in texts])


def test_a_tinybert_is_a_general_student_with_its_projection(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(VOCABULARY[5:])
    guide = Classifier("guide", make_bert(tokenizer, width=64), tokenizer)
    folder = publish(make_masked_lm(tmp_path / "mlm"), tmp_path / "old", old_names=True)
    spec = parse_student(folder, "auto", "no teacher is read")
    student = build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=0)

    assert student.origin.startswith("general student")
    assert [projection.weight.shape for projection in student.pretrained] == [(64, 32)]


def test_a_config_that_could_be_anyones_is_refused(tmp_path: Path) -> None:
    folder = Path(publish(make_masked_lm(tmp_path / "mlm"), tmp_path / "old", old_names=False))
    config = json.loads((folder / "config.json").read_text())
    for other in ({"architectures": ["RobertaModel"]}, {"hidden_size": None}):
        told = {key: value for key, value in (config | other).items() if value is not None}
        (folder / "config.json").write_text(json.dumps(told))
        for read in (load_masked_lm, load_encoder, load_sentence_encoder):
            with pytest.raises(Fault) as caught:
                read(str(folder))
            assert caught.value.exit_code == 4
            assert caught.value.hint


def _one_segment(folder: Path) -> str:
    """A BERT with one kind of segment, of a tokenizer that tells two apart."""
    tokenizer = make_tokenizer(VOCABULARY[5:])
    return str(save(make_bert(tokenizer, type_vocab_size=1), tokenizer, folder))


def _without_segments(folder: Path) -> str:
    """DistilBERT with BERT's tokenizer, as published."""
    tokenizer = make_tokenizer(VOCABULARY[5:])
    sizes = {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64}
    labels = {
        "id2label": {0: "negative", 1: "positive"},
        "label2id": {"negative": 0, "positive": 1},
    }
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=len(tokenizer), **sizes, **labels)
    return str(save(DistilBertForSequenceClassification(config), tokenizer, folder))


@pytest.mark.parametrize("make", [_one_segment, _without_segments])
def test_segments_that_a_model_does_not_tell_apart(
    tmp_path: Path, make: Callable[[Path], str]
) -> None:
    """Pairs of texts: a filter's teacher answers as the same model in ``distill`` does."""
    pairs: list[Any] = [("the good film", "a bad movie"), ("a dog", "the cat ran")]
    task = SENTIMENT.model_copy(update={"text_columns": ("one", "other")})
    folder = make(tmp_path / "model")
    scores = load_teacher(folder, task).score(pairs)
    classifier = load_classifier(folder, task)
    for pair in pairs:
        with torch.inference_mode():
            answer = classifier.logits(dict(classifier.tokenizer(*pair, return_tensors="pt")))[0]
        np.testing.assert_allclose(scores[pair], answer.numpy(), atol=1e-6)
    load_sentence_encoder(folder).score(pairs)


def test_a_name_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    student = make_classifier(tmp_path / "run" / "student", TASK.label.names)

    assert model_folder("~/run/student") == student
    load_teacher("~/run/student", TASK)
    load_sentence_encoder("~/run/student")
    with pytest.raises(Fault, match="is no model folder but a run directory") as caught:
        load_teacher("~/run", TASK)
    assert str(student) in caught.value.hint
