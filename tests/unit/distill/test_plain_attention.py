"""Training on a processor goes without sdpa's backward pass, and computes the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as t

from distill.models import attention
from distill.models.attention import MAX_PLAIN_LENGTH, use_plain_attention
from distill.stages import HardLabelStage
from tests.unit.distill.test_capture import CONFIGS, LAYERS, build, few_keys, inputs


def learnt(model, *, batch=None, bfloat16=False):
    """Logits and the gradient of every weight."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(**(batch or inputs())).logits.float()
    logits.square().sum().backward()
    gradients = {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}
    return {"logits": logits.detach(), **gradients}


@pytest.mark.parametrize("name", [*CONFIGS, "heads that share keys"])
def test_answers_and_gradients_are_those_of_sdpa(name: str) -> None:
    model = build(name) if name in CONFIGS else few_keys()
    before = learnt(model)
    use_plain_attention(model)
    after = learnt(model)
    assert before.keys() == after.keys()
    for key, expected in before.items():
        largest = expected.abs().max().item()
        torch.testing.assert_close(after[key], expected, rtol=0, atol=1e-5 * max(1, largest))


def test_bfloat16_costs_no_more_than_in_sdpa() -> None:
    model = build("bert")
    exact, theirs = learnt(model), learnt(model, bfloat16=True)
    use_plain_attention(model)
    ours = learnt(model, bfloat16=True)

    def error(found):
        return {key: (found[key] - exact[key]).norm().item() for key in exact}

    mine, other = error(ours), error(theirs)

    assert sum(mine.values()) < 1.5 * sum(other.values())
    assert sum(mine.values()) > 0


@pytest.fixture
def sdpa_calls(monkeypatch):
    calls, original = [], attention.sdpa_attention_forward

    def counted(*args, **options):
        calls.append(1)
        return original(*args, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", counted)
    return calls


def test_sdpa_is_left_to_long_texts_and_forward_passes(sdpa_calls: Any) -> None:
    model = build("bert")
    HardLabelStage(model, "labels-only").start(torch.device("cpu"))
    learnt(model)
    assert not sdpa_calls
    with torch.no_grad():
        model(**inputs())
    assert len(sdpa_calls) == LAYERS
    for length, calls in ((MAX_PLAIN_LENGTH, LAYERS), (MAX_PLAIN_LENGTH + 1, 2 * LAYERS)):
        learnt(model, batch={"input_ids": torch.full((1, length), 5)})
        assert len(sdpa_calls) == calls


def test_an_encoder_that_shows_nothing_is_left_alone() -> None:
    config = t.FunnelConfig(vocab_size=50, d_model=24, n_head=3, d_head=8, block_sizes=[1, 1])
    model = t.FunnelForSequenceClassification(config).eval()
    before = model.config._attn_implementation
    use_plain_attention(model)

    assert model.config._attn_implementation == before
