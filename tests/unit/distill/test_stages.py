import copy

import pytest
import torch

from distill.batching import Collator
from distill.errors import ShapeMismatch
from distill.models import Classifier
from distill.recipe import Intermediate as Recipe
from distill.recipe import LossWeights
from distill.stages import HardLabels, Intermediate, Prediction
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
    recipe = Recipe(weights=weights or LossWeights())
    return Intermediate(student, frozen(teacher), mapping, recipe=recipe, **settings)


def test_a_teacher_copied_into_a_student_has_no_loss(tokenizer):
    teacher = make_bert(tokenizer)
    stage = intermediate(copy.deepcopy(teacher), teacher, (1, 2, 3, 4)).eval()
    losses = stage(**batch(tokenizer))
    assert {name: loss.item() for name, loss in losses.items()} == {
        "loss": 0.0,
        "attention": 0.0,
        "hidden": 0.0,
        "embedding": 0.0,
    }


def test_losses_are_those_of_the_paper_computed_by_hand(tokenizer):
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


def test_more_padding_changes_no_loss(tokenizer):
    stage = intermediate(make_bert(tokenizer, layers=2, width=16), make_bert(tokenizer)).eval()
    short, long = stage(**batch(tokenizer)), stage(**batch(tokenizer, fixed=40))
    for name, loss in short.items():
        assert long[name].item() == pytest.approx(loss.item(), rel=1e-5)


def test_the_teacher_is_outside_and_at_rest(tokenizer):
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
def test_a_teacher_that_is_not_at_rest_is_noticed(tokenizer, spoil):
    teacher = make_bert(tokenizer)
    stage = intermediate(make_bert(tokenizer, layers=2, width=16), teacher)
    if spoil == "train":
        teacher.bert.encoder.layer[1].train()
    else:
        teacher.classifier.bias.requires_grad_(True)
    with pytest.raises(AssertionError, match="teacher"):
        stage.start(torch.device("cpu"))


def test_weights_by_layer_and_switched_off(tokenizer):
    student, teacher = make_bert(tokenizer, layers=2, width=16), make_bert(tokenizer)
    inputs = batch(tokenizer)

    def losses(**weights):
        torch.manual_seed(0)
        return intermediate(student, teacher, weights=LossWeights(**weights)).eval()(**inputs)

    first, second, both = (losses(attention=w) for w in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)))
    total = first["attention"] + second["attention"]
    assert both["attention"].item() == pytest.approx(total.item(), rel=1e-5)
    assert losses(embedding=0.0)["embedding"].item() == 0


def test_shapes_that_cannot_be_matched(tokenizer):
    teacher = make_bert(tokenizer)
    with pytest.raises(ShapeMismatch, match="the student has 2 attention heads, the teacher 4"):
        intermediate(make_bert(tokenizer, layers=2, heads=2), teacher)
    weights = LossWeights(hidden=(1.0, 1.0, 1.0))
    with pytest.raises(ShapeMismatch, match="lists 3 numbers, the student has 2 layers"):
        intermediate(make_bert(tokenizer, layers=2), teacher, weights=weights)
    off = LossWeights(attention=0.0)
    stage = intermediate(make_bert(tokenizer, layers=2, heads=2), frozen(teacher), weights=off)
    terms = stage(**batch(tokenizer))
    assert terms["attention"].item() == 0
    assert terms["hidden"].item() > 0


def test_prediction_follows_the_labels_of_the_data(tokenizer):
    teacher, student = frozen(make_bert(tokenizer)), make_bert(tokenizer, layers=2).eval()
    inputs = batch(tokenizer)
    swapped = Classifier("t", teacher, tokenizer, order=(1, 0))
    found = Prediction(student, swapped)(**inputs)["loss"]
    inputs.pop("labels")
    with torch.no_grad():
        target = teacher(**inputs).logits.flip(-1).softmax(-1)
        expected = -(target * student(**inputs).logits.log_softmax(-1)).sum(-1).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_regression_learns_the_teachers_score(tokenizer):
    teacher = frozen(make_bert(tokenizer, labels=("score",)))
    student = make_bert(tokenizer, labels=("score",), layers=2).eval()
    inputs = batch(tokenizer)
    inputs["labels"] = torch.full((8,), 1e6)  # the gold score plays no part
    found = Prediction(student, Classifier("t", teacher, tokenizer))(**inputs)
    assert found["prediction"].item() < 10


def test_hard_labels(tokenizer):
    student, inputs = make_bert(tokenizer).eval(), batch(tokenizer)
    found = HardLabels(student, "plain")(**inputs)["label"].item()
    assert found == pytest.approx(student(**inputs).loss.item(), rel=1e-6)
