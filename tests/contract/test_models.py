"""What both packages say of a model: its longest input, whether a name is the hub's, its errors."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModel

from augment.contract import FileMissing
from augment.contract.errors import first_line
from augment.contract.models import (
    COUNT_FROM_PADDING,
    is_hub_name,
    loading,
    max_input_length,
    tokenizer_rules,
)

POSITIONS, PADDING = 24, 1
OTHERS = ("albert", "bert", "convbert", "electra", "ernie", "nystromformer", "squeezebert")


@pytest.mark.parametrize("family", [*sorted(COUNT_FROM_PADDING), *OTHERS])
def test_the_longest_input_is_the_longest_that_a_family_reads(family: str) -> None:
    config = AutoConfig.for_model(
        family, vocab_size=40, hidden_size=24, embedding_size=24, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=POSITIONS,
        pad_token_id=PADDING, position_embedding_type="absolute", attention_window=[4],
        max_depth=4, xpath_unit_hidden_size=4, languages=["en_XX"], default_language="en_XX",
        q_groups=1, k_groups=1, v_groups=1, post_attention_groups=1, intermediate_groups=1,
        output_groups=1, channel_shrink_ratio=1, conv_kernel_size=3,
    )  # fmt: skip
    model = AutoModel.from_config(config).eval()
    longest = max_input_length(config)
    assert longest is not None

    assert longest == POSITIONS - (PADDING + 1) * (family in COUNT_FROM_PADDING)
    with torch.no_grad():
        model(torch.full((1, longest), 5))
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            model(torch.full((1, longest + 1), 5))


def test_a_model_without_positions_has_no_longest_input() -> None:
    assert max_input_length(AutoConfig.for_model("xlnet")) is None


@pytest.mark.parametrize("name", ["bert-base-uncased", "google-bert/bert-base-uncased"])
def test_names_of_the_hub(name: str) -> None:
    assert is_hub_name(name)


@pytest.mark.parametrize("name", ["./a", "../a/b", "/a", "~/a", "a/b/c", "a\\b"])
def test_names_that_can_only_be_places(name: str) -> None:
    assert not is_hub_name(name)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(" \n"), "ValueError"),
        (OSError(), "OSError"),
        (ValueError("x" * 300), "x" * 200),
    ],
)
def test_the_first_line_of_an_error(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_what_a_library_raises_becomes_a_sentence() -> None:
    with (
        pytest.raises(FileMissing, match="weights of a/b cannot be loaded: header") as caught,
        loading("weights", "a/b", FileMissing, "Look."),
    ):
        raise OSError("header\nmore")
    assert caught.value.hint == "Look."


def test_what_a_call_left_in_a_tokenizer_does_not_count() -> None:
    assert tokenizer_rules('{"model": 1, "padding": {}, "truncation": null}') == {"model": 1}
