"""A teacher in bfloat16 for good computes what autocast makes of it at every pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from distill.models.bf16 import FrozenLinear, autocast, frozen, slow_format
from distill.models.capture import ActivationCapture
from distill.models.shapes import FAMILIES
from distill.recipes.schema import Intermediate
from distill.stages import IntermediateStage
from distill.stages.base import assert_frozen_eval
from tests.unit.distill.helpers import make_bert, make_model, tokenizer_of
from tests.unit.distill.test_stages import batch


def under_autocast(run, **inputs):
    with torch.no_grad(), autocast(torch.device("cpu"), "bfloat16"):
        return run(**inputs)


def test_a_layer_equals_autocast() -> None:
    torch.manual_seed(0)
    for bias in (True, False):
        layer = nn.Linear(48, 20, bias=bias)
        states = torch.randn(3, 7, 48)
        wanted = under_autocast(lambda states, layer=layer: layer(states), states=states)
        found = FrozenLinear(layer)(states)
        assert found.dtype is wanted.dtype is torch.bfloat16
        torch.testing.assert_close(found, wanted, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_scores_equal_those_of_autocast(family: str) -> None:
    tokenizer = tokenizer_of(family)
    teacher = make_model(family, tokenizer).eval().requires_grad_(False)
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    twin = frozen(teacher, "bfloat16")
    inputs = {k: v for k, v in batch(tokenizer).items() if k != "labels"}
    wanted = under_autocast(ActivationCapture(teacher, (2, 4)), **inputs)
    found = under_autocast(ActivationCapture(twin, (2, 4)), **inputs)
    real = inputs["attention_mask"].bool()
    for layer in (2, 4):
        torch.testing.assert_close(
            found.hidden[layer][real].float(), wanted.hidden[layer][real].float(),
            atol=0.05, rtol=0.05,
        )  # fmt: skip
        torch.testing.assert_close(
            found.scores[layer].float(), wanted.scores[layer].float(), atol=0.05, rtol=0.05
        )
    assert any(isinstance(module, FrozenLinear) for module in twin.modules())
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())
    assert_frozen_eval(twin)


def test_losses_and_gradients_are_those_of_autocast(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = make_bert(tokenizer).eval().requires_grad_(False)
    found = {}
    for name, guide in (("autocast", teacher), ("frozen", frozen(teacher, "bfloat16"))):
        student = make_bert(tokenizer, layers=2, width=16, seed=1)
        stage = IntermediateStage(student, guide, (2, 4), recipe=Intermediate()).eval()
        with autocast(torch.device("cpu"), "bfloat16"):
            losses = stage(**batch(tokenizer))
        losses["loss"].backward()
        gradient = torch.cat([w.grad.flatten() for w in student.bert.encoder.parameters()])
        found[name] = losses["loss"].item(), gradient
    (loss, gradient), (other, theirs) = found["autocast"], found["frozen"]

    assert loss == pytest.approx(other, rel=2e-3)
    assert torch.cosine_similarity(gradient, theirs, dim=0) > 0.999


def test_float32_needs_no_copy(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = make_bert(tokenizer)
    assert frozen(teacher, "float32") is teacher


def test_nothing_but_matrices_is_there_twice(tokenizer: PreTrainedTokenizerBase) -> None:
    teacher = make_bert(tokenizer).eval().requires_grad_(False)
    twin = frozen(teacher, "bfloat16")
    own, theirs = (m.bert.embeddings.word_embeddings.weight for m in (twin, teacher))
    assert own is theirs
    query = twin.bert.encoder.layer[0].attention.self.query
    assert not list(query.parameters())
    packed = query._packed is not None

    assert query.weight.untyped_storage().nbytes() == (0 if packed else 32 * 32 * 2)


@pytest.mark.parametrize("precision", ["auto", "bfloat16", "float32"])
@pytest.mark.parametrize("faster", [True, False])
def test_only_slower_bfloat16_is_told(precision: str, faster: bool) -> None:
    said = slow_format(precision, faster=faster)

    assert bool(said) == (precision == "bfloat16" and not faster)
    assert not said or 'precision = "auto"' in said
