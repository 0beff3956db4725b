"""A student of any family opens without this package, its label names intact."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from transformers import pipeline

from augment.contract import Label, TaskSpec
from distill.models.folders import save_clean
from distill.models.labels import label_settings
from distill.models.loading import fresh, load_classifier
from tests.unit.distill.helpers import tokenizer_of

TASK = TaskSpec(
    name="stance",
    text_columns=("sentence",),
    label=Label(names=("for", "against", "neither")),
    metrics=("accuracy",),
    selection_metric="accuracy",
)
SCORE = TASK.model_copy(
    update={
        "label": Label(kind="regression"),
        "metrics": ("pearson",),
        "selection_metric": "pearson",
    }
)
SMALL = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
FAMILIES = {
    "bert": SMALL,
    "roberta": {**SMALL, "type_vocab_size": 1},
    "electra": {**SMALL, "embedding_size": 16},
    "distilbert": {"dim": 32, "n_heads": 4, "hidden_dim": 64, "n_layers": 2},
    "mpnet": {**SMALL, "max_position_embeddings": 514},
    "modernbert": SMALL,
    "deberta-v2": {**SMALL, "type_vocab_size": 0},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", [TASK, SCORE], ids=["classes", "score"])
def test_a_saved_student_opens_anywhere(tmp_path: Path, family: str, task: TaskSpec) -> None:
    settings, tokenizer = {**FAMILIES[family], **label_settings(task)}, tokenizer_of(family)
    names = ("pad_token_id", "cls_token_id", "sep_token_id")
    specials = {name: getattr(tokenizer, name) for name in names}
    config = transformers.AutoConfig.for_model(
        family, vocab_size=len(tokenizer), num_hidden_layers=2, **specials, **settings
    )
    torch.manual_seed(0)
    save_clean(fresh(config), tokenizer, tmp_path, max_length=24)

    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path))
    (found,) = classify("the room was warm and fresh", truncation=True)
    ours = load_classifier(str(tmp_path), task)

    assert reader.model_max_length == 24
    assert ours.order is None
    with torch.no_grad():
        logits = model(**dict(reader("the room was warm and fresh", return_tensors="pt")))[0][0]
    if task is SCORE:
        assert model.config.num_labels == 1
        assert found["score"] == pytest.approx(logits.item(), abs=1e-6)
    else:
        assert model.config.id2label == dict(enumerate(TASK.label.names))
        assert found["label"] == TASK.label.names[int(logits.argmax())]
