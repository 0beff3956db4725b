from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as t
from transformers import PreTrainedTokenizerBase

from distill.data.batching import Collator
from distill.errors import MappingInvalid, ShapeMismatch
from distill.recipes.schema import (
    Intermediate,
    LossWeights,
    Prediction,
    PredictionWeights,
    Relations,
)
from distill.stages import HardLabelStage, IntermediateStage, PredictionStage
from distill.stages.losses import cosine_loss, logits_loss, patient_loss, relation_loss
from distill.stages.relations import RelationPlan, plan_relations
from tests.unit.distill.helpers import make_bert, mood_rows


def frozen(model):
    return model.eval().requires_grad_(False)


def batch(tokenizer, fixed=None):
    rows = [
        {**tokenizer(row["sentence"], return_attention_mask=False), "labels": row["label"]}
        for row in mood_rows(8, seed=4)
    ]
    return Collator(tokenizer.pad_token_id, fixed)(rows)


def intermediate(student, teacher, mapping=(2, 4), *, weights=None, **settings):
    recipe = Intermediate(weights=weights or LossWeights(), **settings)
    return IntermediateStage(student, frozen(teacher), mapping, recipe=recipe)


def test_a_teacher_copied_into_a_student_has_no_loss(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = make_bert(tokenizer)
    stage = intermediate(copy.deepcopy(teacher), teacher, (1, 2, 3, 4)).eval()
    losses = stage(**batch(tokenizer))

    assert {name: loss.item() for name, loss in losses.items()} == {
        "loss": 0.0,
        "attention": 0.0,
        "hidden": 0.0,
        "embedding": 0.0,
    }


def test_losses_are_those_of_the_paper_computed_by_hand(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher, student = make_bert(tokenizer), make_bert(tokenizer, layers=2, width=16, seed=1)
    stage = intermediate(student, teacher, (2, 4)).eval()
    inputs = batch(tokenizer)
    found = stage(**inputs)
    inputs.pop("labels")
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        ours = student(**inputs, output_hidden_states=True).hidden_states
        theirs = teacher(**inputs, output_hidden_states=True).hidden_states
        project = stage.projections.maps[0]
        squares = [
            (project(ours[m]) - theirs[n])[real].square().mean() for m, n in ((1, 2), (2, 4))
        ]
        embedding = (project(ours[0]) - theirs[0])[real].square().mean()
    assert found["hidden"].item() == pytest.approx(sum(squares).item(), rel=1e-5)
    assert found["embedding"].item() == pytest.approx(embedding.item(), rel=1e-5)
    total = found["attention"] + found["hidden"] + found["embedding"]

    assert found["loss"].item() == pytest.approx(total.item())


def test_more_padding_changes_no_loss(tokenizer: PreTrainedTokenizerBase) -> None:
    stage = intermediate(make_bert(tokenizer, layers=2, width=16), make_bert(tokenizer)).eval()
    short, long = stage(**batch(tokenizer)), stage(**batch(tokenizer, fixed=40))
    for name, loss in short.items():
        assert long[name].item() == pytest.approx(loss.item(), rel=1e-5)


def test_the_teacher_is_outside_and_at_rest(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher, student = make_bert(tokenizer), make_bert(tokenizer, layers=2, width=16)
    stage = intermediate(student, teacher)
    stage.train()
    assert not teacher.training
    assert stage.teacher is teacher
    assert len(list(stage.parameters())) == len(list(student.parameters())) + 2
    assert not any("teacher" in name for name in stage.state_dict())
    stage.start(torch.device("cpu"))
    stage(**batch(tokenizer))["loss"].backward()

    assert all(weight.grad is None for weight in teacher.parameters())
    assert student.bert.encoder.layer[0].attention.self.query.weight.grad.abs().sum() > 0
    assert student.classifier.weight.grad is None


@pytest.mark.parametrize("spoil", ["train", "unfreeze"])
def test_a_teacher_that_is_not_at_rest_is_noticed(
    tokenizer: PreTrainedTokenizerBase, spoil: str
) -> None:
    teacher = make_bert(tokenizer)
    stage = intermediate(make_bert(tokenizer, layers=2, width=16), teacher)
    if spoil == "train":
        teacher.bert.encoder.layer[1].train()
    else:
        teacher.classifier.bias.requires_grad_(True)
    with pytest.raises(AssertionError, match="teacher"):
        stage.start(torch.device("cpu"))


def test_weights_by_layer_and_switched_off(tokenizer: PreTrainedTokenizerBase) -> None:
    student, teacher = make_bert(tokenizer, layers=2, width=16), make_bert(tokenizer)
    inputs = batch(tokenizer)

    def losses(**weights):
        torch.manual_seed(0)
        return intermediate(student, teacher, weights=LossWeights(**weights)).eval()(**inputs)

    first, second, both = (losses(attention=w) for w in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)))
    total = first["attention"] + second["attention"]

    assert both["attention"].item() == pytest.approx(total.item(), rel=1e-5)
    assert losses(embedding=0.0)["embedding"].item() == 0


def test_shapes_that_cannot_be_matched(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = make_bert(tokenizer)
    with pytest.raises(ShapeMismatch, match="the student has 2 attention heads, the teacher 4"):
        intermediate(make_bert(tokenizer, layers=2, heads=2), teacher, attention="scores")
    weights = LossWeights(hidden=(1.0, 1.0, 1.0))
    with pytest.raises(ShapeMismatch, match="lists 3 numbers, the student has 2 layers"):
        intermediate(make_bert(tokenizer, layers=2), teacher, weights=weights)
    off = LossWeights(attention=0.0)
    stage = intermediate(make_bert(tokenizer, layers=2, heads=2), frozen(teacher), weights=off)
    terms = stage(**batch(tokenizer))

    assert terms["attention"].item() == 0
    assert terms["hidden"].item() > 0


def test_other_numbers_of_heads_are_compared_by_relations(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    student, teacher = make_bert(tokenizer, layers=2, width=16, heads=2), make_bert(tokenizer)
    stage = intermediate(student, teacher, (1, 3)).eval()
    assert stage.relations == RelationPlan(2, 3, 2, {"query": 1.0, "key": 1.0, "value": 1.0})
    inputs = batch(tokenizer)
    found = stage(**inputs)
    assert list(found) == ["loss", "relation", "hidden", "embedding"]
    inputs.pop("labels")
    expected = 0.0
    for name in ("query", "key", "value"):
        heads = []
        for model, layer in ((student, 2), (teacher, 3)):
            states = model(**inputs, output_hidden_states=True).hidden_states[layer - 1]
            linear = getattr(model.bert.encoder.layer[layer - 1].attention.self, name)
            heads.append(linear(states)[:, None])  # one head: joined as it is
        expected += relation_loss(*heads, inputs["attention_mask"], 2).item()
    assert found["relation"].item() == pytest.approx(expected, rel=1e-5)
    stage.train()(**batch(tokenizer))["relation"].backward()
    for name in ("query", "key", "value"):
        layers = [getattr(x.attention.self, name).weight for x in student.bert.encoder.layer]
        assert layers[1].grad.abs().sum() > 0, name


def test_relations_alone_with_any_number_of_heads(tokenizer: PreTrainedTokenizerBase) -> None:
    """As MiniLMv2: equal heads, a chosen layer, chosen relations; nothing else is captured."""
    student, teacher = make_bert(tokenizer, layers=2, width=16), make_bert(tokenizer)
    stage = intermediate(
        student,
        teacher,
        weights=LossWeights(attention=2.0, hidden=0.0, embedding=0.0),
        attention="relations",
        relations=Relations(heads=8, layer=3, query=0.0, value=0.5),
    )
    assert stage.relations == RelationPlan(2, 3, 8, {"key": 2.0, "value": 1.0})
    assert str(stage.relations) == "key-key, value-value relations of teacher layer 3, 8 heads"
    terms = stage(**batch(tokenizer))
    assert terms["hidden"].item() == terms["embedding"].item() == 0
    assert not stage.teacher_capture.layers
    with pytest.raises(ShapeMismatch, match=r"heads is 3, which does not divide .* 16 .* 32") as e:
        intermediate(student, teacher, attention="relations", relations=Relations(heads=3))
    assert e.value.hint == "Possible are 1, 2, 4, 8, 16."
    with pytest.raises(MappingInvalid, match="layer is 5; the teacher has 4 layers"):
        intermediate(student, teacher, attention="relations", relations=Relations(layer=5))
    many = LossWeights(attention=(1.0, 1.0))
    with pytest.raises(ShapeMismatch, match="lists one number for each layer"):
        intermediate(make_bert(tokenizer, layers=2, heads=2), teacher, weights=many)


@pytest.mark.parametrize(
    ("widths", "heads"), [((384, 768), 48), ((312, 768), 24), ((768, 768), 48), ((16, 32), 2)]
)
def test_how_many_relation_heads(widths: Any, heads: int) -> None:
    models = [SimpleNamespace(config=t.BertConfig(hidden_size=w)) for w in widths]
    plan = plan_relations(*models, (12,), Intermediate(attention="relations"))

    assert plan.heads == heads


def soft(inputs, logits):
    return {**inputs, "soft_labels": logits}


def test_prediction_adds_up_what_has_a_weight(tokenizer: PreTrainedTokenizerBase) -> None:
    student, inputs = make_bert(tokenizer, layers=2).eval(), batch(tokenizer)
    target = torch.randn(8, 2, generator=torch.Generator().manual_seed(3))
    weights = PredictionWeights(logits=2.0, labels=0.5)
    recipe = Prediction(temperature=2.0, loss="kl", weights=weights)
    stage = PredictionStage(student, recipe, teacher=make_bert(tokenizer))
    assert stage.teacher is None
    found = stage(**soft(inputs, target))
    assert list(found) == ["loss", "prediction", "label"]
    logits = student(**{k: v for k, v in inputs.items() if k != "labels"}).logits
    expected = logits_loss(logits, target, "kl", 2.0).item()
    assert found["prediction"].item() == pytest.approx(2 * expected, rel=1e-6)
    label = torch.nn.functional.cross_entropy(logits, inputs["labels"]).item()

    assert found["label"].item() == pytest.approx(label / 2, rel=1e-6)


def test_labels_alone_need_no_teacher(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe = Prediction(weights=PredictionWeights(logits=0.0, labels=1.0))
    found = PredictionStage(make_bert(tokenizer).eval(), recipe)(**batch(tokenizer))

    assert list(found) == ["loss", "label"]


def test_regression_learns_the_teachers_score(tokenizer: PreTrainedTokenizerBase) -> None:
    student = make_bert(tokenizer, labels=("score",), layers=2).eval()
    inputs = soft(batch(tokenizer), torch.ones(8, 1))
    inputs["labels"] = torch.full((8,), 1e6)  # the gold score plays no part
    found = PredictionStage(student, Prediction())(**inputs)

    assert found["prediction"].item() < 10


def test_states_beside_the_answers(tokenizer: PreTrainedTokenizerBase) -> None:
    """PKD's and DistilBERT's losses, by hand: mapped layers but the last; the last ones."""
    teacher = frozen(make_bert(tokenizer, layers=6))
    student = make_bert(tokenizer, layers=3, width=16, seed=1).eval()
    weights = PredictionWeights(patient=10.0, cosine=0.5)
    recipe = Prediction(weights=weights)
    stage = PredictionStage(student, recipe, teacher=teacher, mapping=(2, 4, 5)).eval()
    inputs = soft(batch(tokenizer), torch.zeros(8, 2))
    found = stage(**inputs)
    assert list(found) == ["loss", "prediction", "patient", "cosine"]
    inner = {k: v for k, v in inputs.items() if k not in ("labels", "soft_labels")}
    ours = student(**inner, output_hidden_states=True).hidden_states
    theirs = teacher(**inner, output_hidden_states=True).hidden_states
    project = stage.states.projections.maps[0]
    first = [patient_loss(project(ours[m]), theirs[n]) for m, n in ((1, 2), (2, 4))]
    assert found["patient"].item() == pytest.approx(10 * sum(first).item(), rel=1e-5)
    cosine = cosine_loss(project(ours[3]), theirs[6], inner["attention_mask"])
    assert found["cosine"].item() == pytest.approx(0.5 * cosine.item(), rel=1e-5)
    assert len(list(stage.parameters())) == len(list(student.parameters())) + 2
    stage.start(torch.device("cpu"))
    found["loss"].backward()

    assert all(weight.grad is None for weight in teacher.parameters())
    assert all(w.grad is not None for w in stage.parameters())


def test_pkd_needs_a_layer_below_the_last(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe = Prediction(weights=PredictionWeights(patient=1.0))
    student, teacher = make_bert(tokenizer, layers=1), make_bert(tokenizer)
    with pytest.raises(ShapeMismatch, match="the student has 1 layer"):
        PredictionStage(student, recipe, teacher=teacher, mapping=(4,))


def test_hard_labels(tokenizer: PreTrainedTokenizerBase) -> None:
    student, inputs = make_bert(tokenizer).eval(), batch(tokenizer)
    found = HardLabelStage(student, "plain")(**inputs)["label"].item()

    assert found == pytest.approx(student(**inputs).loss.item(), rel=1e-6)
