from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase

from augment.contract import Label, TaskSpec
from distill.errors import LabelMismatch, ModelInvalid, ModelNotFound, VocabularyMismatch
from distill.models import loading as models
from distill.models.folders import folder_digest
from distill.models.loading import load_classifier
from tests.unit.distill.helpers import SENTIMENT, make_bert, make_tokenizer, save

REGRESSION = TaskSpec(
    name="warmth",
    text_columns=("sentence",),
    label=Label(column="score", kind="regression"),
    metrics=("pearson",),
    selection_metric="pearson",
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "model"


def test_a_classifier_arrives_frozen_and_in_evaluation_mode(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    save(make_bert(tokenizer), tokenizer, folder)
    found = load_classifier(str(folder), SENTIMENT)

    assert not found.model.training
    assert not any(weight.requires_grad for weight in found.model.parameters())
    assert found.order is None
    assert not found.notice


def test_half_precision_weights_become_float32(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    save(make_bert(tokenizer).half(), tokenizer, folder)
    assert load_classifier(str(folder), SENTIMENT).model.dtype == torch.float32


def test_labels_in_another_order_are_permuted(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    model = make_bert(tokenizer, labels=("Positive", "Negative"))
    save(model, tokenizer, folder)
    found = load_classifier(str(folder), SENTIMENT)
    inputs = dict(tokenizer("good day", return_tensors="pt"))
    assert found.order == (1, 0)
    assert "orders its labels Positive, Negative" in found.notice
    with torch.no_grad():
        assert torch.equal(found.logits(inputs), model.eval()(**inputs).logits.flip(-1))


def test_default_names_are_taken_by_position_with_a_notice(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    save(make_bert(tokenizer, labels=("LABEL_0", "LABEL_1")), tokenizer, folder)
    found = load_classifier(str(folder), SENTIMENT)

    assert found.order is None
    assert "LABEL_0 = negative, LABEL_1 = positive" in found.notice


@pytest.mark.parametrize(
    ("labels", "task", "sentence"),
    [
        (("bad", "good"), SENTIMENT, "has the labels bad, good; mood has negative, positive"),
        (("negative",), SENTIMENT, "has the labels negative"),
        (("negative", "positive"), REGRESSION, "tells 2 classes apart; warmth asks for one score"),
    ],
)
def test_other_labels_are_refused(
    tokenizer: PreTrainedTokenizerBase, folder: Path, labels: Any, task: TaskSpec, sentence: str
) -> None:
    save(make_bert(tokenizer, labels=labels), tokenizer, folder)
    with pytest.raises(LabelMismatch, match=sentence) as caught:
        load_classifier(str(folder), task)

    assert caught.value.exit_code == 4


def test_a_hundred_other_labels_are_named_in_short(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    save(make_bert(tokenizer, labels=[f"topic {n}" for n in range(100)]), tokenizer, folder)
    with pytest.raises(LabelMismatch) as caught:
        load_classifier(str(folder), SENTIMENT)

    assert "topic 0, topic 1," in caught.value.problem
    assert "topic 6 … topic 99 (100 in all); mood has negative, positive." in caught.value.problem


def test_folders_that_are_no_classifier(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    with pytest.raises(ModelNotFound, match="there is no model folder"):
        load_classifier(str(folder), SENTIMENT)
    folder.mkdir()
    with pytest.raises(ModelInvalid, match=r"has no config\.json"):
        load_classifier(str(folder), SENTIMENT)
    save(make_bert(tokenizer).bert, tokenizer, folder)
    with pytest.raises(ModelInvalid, match="has no sequence-classification head") as caught:
        load_classifier(str(folder), SENTIMENT)

    assert "distill teacher" in caught.value.hint


def test_damaged_folders(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    save(make_bert(tokenizer), tokenizer, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(ModelInvalid, match="cannot be read as the weights of a model"):
        load_classifier(str(folder), SENTIMENT)
    weights.unlink()
    with pytest.raises(ModelInvalid, match="there are no weights in"):
        load_classifier(str(folder), SENTIMENT)
    (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ModelInvalid, match=r"config of .* cannot be loaded"):
        load_classifier(str(folder), SENTIMENT)


def test_code_that_comes_with_a_model_is_not_run(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    save(make_bert(tokenizer), tokenizer, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelInvalid, match="cannot be loaded"):
        load_classifier(str(folder), SENTIMENT)


def test_a_pickle_that_is_more_than_weights_is_refused(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    save(make_bert(tokenizer), tokenizer, folder)
    (folder / "model.safetensors").unlink()

    class Trap:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"bert.trap": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelInvalid, match="something else than tensors"):
        load_classifier(str(folder), SENTIMENT)


def test_a_hub_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_, **__):
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(ModelNotFound, match=r"hub could not be reached \(ConnectionError\)") as e:
        load_classifier("some/model", SENTIMENT)

    assert "name its folder" in e.value.hint


def test_a_hub_name_loads_what_the_hub_hands_over(
    tokenizer: PreTrainedTokenizerBase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make_bert(tokenizer), tokenizer, folder)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))

    assert load_classifier("some/model", SENTIMENT).name == "some/model"


def test_vocabularies_are_compared_piece_by_piece(tokenizer: PreTrainedTokenizerBase) -> None:
    models.same_vocabulary("a", tokenizer, "b", make_tokenizer())
    other = make_tokenizer(["other", "words"])
    with pytest.raises(VocabularyMismatch, match="29 tokens, b one of 7; 5 agree"):
        models.same_vocabulary("a", tokenizer, "b", other)


def test_a_tokenizer_that_is_not_the_models_own(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    save(make_bert(tokenizer), make_tokenizer(["one"]), folder)
    with pytest.raises(ModelInvalid, match="has 6 tokens, the model 29"):
        load_classifier(str(folder), SENTIMENT)


def test_digests_follow_the_content_not_the_place(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    a, b = (save(make_bert(tokenizer), tokenizer, tmp_path / n) for n in "ab")
    assert folder_digest(str(a)) == folder_digest(str(b))
    save_file({"x": torch.zeros(1)}, b / "model.safetensors")

    assert folder_digest(str(a)) != folder_digest(str(b))


def test_a_classifier_of_several_labels_at_once_is_refused(
    tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Its logits are meant one by one; a softmax over them would be taken in silence."""
    model = make_bert(tokenizer, labels=("negative", "positive"))
    model.config.problem_type = "multi_label_classification"
    save(model, tokenizer, folder)

    with pytest.raises(LabelMismatch, match="gives a row several labels at once"):
        load_classifier(str(folder), SENTIMENT)


def test_a_run_that_has_no_student_yet_says_so(folder: Path) -> None:
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    with pytest.raises(ModelInvalid, match="has no student yet") as caught:
        load_classifier(str(folder), SENTIMENT)
    assert "the same distill command again goes on" in caught.value.hint
    (folder / "arms").mkdir()
    with pytest.raises(ModelInvalid) as caught:
        folder_digest(str(folder))
    assert "name one of its arms" in caught.value.hint
