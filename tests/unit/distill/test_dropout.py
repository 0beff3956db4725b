"""Dropout for the length of a stage: of every kind of module, and given back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import ModernBertConfig, PreTrainedTokenizerBase

from distill.errors import RecipeInvalid
from distill.models.shapes import FAMILIES
from distill.recipes.load import RECIPES
from distill.training.schedule import use_dropout
from tests.unit.distill.helpers import make_model, tokenizer_of

INPUTS = {
    "input_ids": torch.arange(5, 17).reshape(2, 6),
    "attention_mask": torch.ones(2, 6, dtype=torch.long),
}


def answers(model):
    """What a model in training answers, drawing from the same numbers."""
    torch.manual_seed(0)
    return model.train()(**INPUTS).logits


def still(model):
    return model.eval()(**INPUTS).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_dropped_in_any_family(family: str) -> None:
    model = make_model(family, tokenizer_of(family))
    before = answers(model)
    with use_dropout(model, 0.0):
        torch.testing.assert_close(answers(model), still(model))

    assert torch.equal(answers(model), before)


def test_a_share_is_dropped_where_the_architecture_drops_nothing(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    model = make_model("modernbert", tokenizer)
    assert isinstance(model.config, ModernBertConfig)
    assert model.config.attention_dropout == 0
    torch.testing.assert_close(answers(model), still(model))
    with use_dropout(model, 0.5):
        assert not torch.allclose(answers(model), still(model))
    torch.testing.assert_close(answers(model), still(model))


def test_auto_leaves_the_architecture_its_own(tokenizer: PreTrainedTokenizerBase) -> None:
    model = make_model("bert", tokenizer)
    before = answers(model)
    with use_dropout(model, "auto"):
        assert torch.equal(answers(model), before)

    assert not torch.allclose(before, still(model))


def test_it_is_given_back_after_a_failure(tokenizer: PreTrainedTokenizerBase) -> None:
    model = make_model("bert", tokenizer)
    before = answers(model)
    with pytest.raises(KeyboardInterrupt), use_dropout(model, 0.0):
        raise KeyboardInterrupt

    assert torch.equal(answers(model), before)


@pytest.mark.parametrize("value", [1.0, -0.1, "none", True])
def test_a_recipe_with_another_share_is_refused(value: Any) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        RECIPES.resolve({"intermediate": {"dropout": value}}, "mood", source="mine")
    assert 'must be "auto" or at least 0 and below 1' in str(caught.value.hint)
