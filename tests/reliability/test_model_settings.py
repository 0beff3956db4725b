"""Every setting of a configuration that is taken: our forward passes equal those of transformers.

Each family has the keys that its code in transformers reads, with values that models were published
with or could be. What is not computed here is refused: see ``test_weights``.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification

from augment.masked_lm.inputs import pack
from augment.masked_lm.registry import forward_of, moving_rotations
from distill.errors import EncoderUnsupported
from distill.models.attention import use_plain_attention
from distill.models.capture import ActivationCapture
from tests.unit.augment.test_families import some_queries, whole_forward

Settings = dict[str, Any]
SIZES = {"num_attention_heads": 2, "intermediate_size": 48, "hidden_size": 32}
SMALL = {"num_hidden_layers": 3, "vocab_size": 130, "max_position_embeddings": 64}
MODERN = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
DEBERTA = {
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_buckets": 8,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}


def rotating(kind: str, **more: Any) -> Settings:
    own = {"rope_type": kind, "factor": 3.0, "rope_theta": 1e4, **more}
    local = {"rope_type": "default", "rope_theta": 1e4}
    return {"rope_parameters": {"full_attention": own, "sliding_attention": local}}


YARN = rotating("yarn", original_max_position_embeddings=16)
ACTIVATIONS = ("relu", "gelu_new", "gelu_pytorch_tanh")
SHARED: dict[str, list[Settings]] = {
    "bert": [
        *({"hidden_act": name} for name in ACTIVATIONS),
        {"layer_norm_eps": 0.1},
        {"type_vocab_size": 1},
        {"type_vocab_size": 3},
        {"pad_token_id": None},
        {"pad_token_id": 7},
        {"num_attention_heads": 8},
        {"num_hidden_layers": 1},
    ],
    "roberta": [{}, {"pad_token_id": 0}, {"type_vocab_size": 1}, {"hidden_act": "relu"}],
    "electra": [
        {"embedding_size": 16},
        {"embedding_size": 32, "summary_type": "last", "summary_activation": "tanh"},
    ],
    "distilbert": [{}, {"sinusoidal_pos_embds": True}, {"activation": "relu"}],
    "mpnet": [{}, {"hidden_act": "relu", "layer_norm_eps": 0.1, "num_attention_heads": 8}],
    "modernbert": [
        {"hidden_activation": "relu", "classifier_activation": "relu"},
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True},
        {"local_attention": 4, "global_attn_every_n_layers": 2},
        {"local_attention": 5},
        {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
        {"global_rope_theta": 50.0, "local_rope_theta": 90.0, "norm_eps": 0.1},
        {"classifier_pooling": "mean", "sparse_prediction": True, "decoder_bias": False},
        {"num_hidden_layers": 1},
        rotating("linear"),
        YARN,
    ],
}
MASKED_LMS = {family: [*known, {"tie_word_embeddings": False}] for family, known in SHARED.items()}
CLASSIFIERS: dict[str, list[Settings]] = {
    **SHARED,
    "xlm-roberta": [{}],
    "camembert": [{}],
    "albert": [{"embedding_size": 16}, {"embedding_size": 16, "num_hidden_groups": 3}],
    "deberta-v2": [
        DEBERTA,
        *(DEBERTA | {"pos_att_type": one} for one in (["c2p"], ["p2c"], "c2p|p2c")),
        DEBERTA | {"share_att_key": False, "norm_rel_ebd": "none"},
        DEBERTA | {"position_buckets": -1, "max_relative_positions": 16},
        DEBERTA | {"conv_kernel_size": 3, "conv_act": "gelu", "position_biased_input": True},
        DEBERTA | {"embedding_size": 16, "type_vocab_size": 2},
    ],
}


def flat(table: dict[str, list[Settings]]) -> list[Any]:
    return [
        pytest.param(family, settings, id=f"{family}-{index}")
        for family, rows in table.items()
        for index, settings in enumerate(rows)
    ]


def make(kind: Any, family: str, settings: Settings) -> Any:
    """A model with weights large enough that every setting tells."""
    torch.manual_seed(0)
    sizes = SIZES if family != "distilbert" else {"n_heads": 2, "hidden_dim": 48, "dim": 32}
    known = {**SMALL, **sizes, "num_labels": 3, **(MODERN if family == "modernbert" else {})}
    defaults = {"pad_token_id": 0} if family == "modernbert" else {}
    model = kind.from_config(AutoConfig.for_model(family, **{**known, **defaults, **settings}))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.25)
    return model.eval()


@pytest.mark.parametrize(("family", "settings"), flat(MASKED_LMS))
def test_masked_lm(family: str, settings: Settings) -> None:
    model = make(AutoModelForMaskedLM, family, settings)
    queries = some_queries(SMALL["vocab_size"], 12)
    if model.config.to_dict().get("type_vocab_size", 2) < 2:
        queries = [replace(query, first_segment=len(query.ids)) for query in queries]
    ours = forward_of(model)(pack(queries, "cpu"))
    whole = torch.stack([whole_forward(model, query) for query in queries])

    torch.testing.assert_close(ours, whole, atol=1e-4, rtol=0)
    assert ours.std() > 0.1


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_a_batch_decides_are_known(kind: str) -> None:
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    more = {"original_max_position_embeddings": 16, **factors} if kind == "longrope" else {}
    config = make(AutoModelForMaskedLM, "modernbert", rotating(kind, **more)).config

    assert moving_rotations(config) == [kind]
    assert not moving_rotations(make(AutoModelForMaskedLM, "modernbert", YARN).config)


@pytest.mark.parametrize(("family", "settings"), flat(CLASSIFIERS))
@pytest.mark.parametrize("trained", [False, True])
def test_captured_and_plain_attention(family: str, settings: Settings, trained: bool) -> None:
    """Padded texts: logits, hidden states and scores are those of transformers' eager attention."""
    model = make(AutoModelForSequenceClassification, family, settings)
    ids = torch.randint(10, 130, (3, 14), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(14) < torch.tensor([[14], [9], [5]])).long()
    ids[mask == 0] = model.config.pad_token_id or 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    eager, plain = copy.deepcopy(model), copy.deepcopy(model)
    if family != "deberta-v2":
        eager.set_attn_implementation("eager")
    use_plain_attention(plain)
    layers = range(1, model.config.num_hidden_layers + 1)
    with torch.no_grad():
        whole = eager(**inputs, output_attentions=True, output_hidden_states=True)
    with torch.set_grad_enabled(trained):
        seen = ActivationCapture(model, layers, task_head=True)(**inputs)
        logits = plain(**inputs).logits

    close = {"atol": 5e-5, "rtol": 0}
    torch.testing.assert_close(logits, whole.logits, **close)
    torch.testing.assert_close(seen.logits, whole.logits, **close)
    real = mask.bool()
    for layer in layers:
        states = seen.hidden[layer]
        torch.testing.assert_close(states[real], whole.hidden_states[layer][real], **close)
        scores = seen.scores[layer].masked_fill(~real[:, None, None, :], -torch.inf)
        if (window := seen.windows.get(layer)) is not None:
            apart = (torch.arange(14)[:, None] - torch.arange(14)).abs()
            scores = scores.masked_fill(apart >= window, -torch.inf)
        weights = scores.softmax(-1).transpose(1, 2)[real]
        eagerly = whole.attentions[layer - 1].transpose(1, 2)[real]
        torch.testing.assert_close(weights, eagerly, **close)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("deberta-v2", DEBERTA | {"relative_attention": False}),
        ("deberta-v2", DEBERTA | {"pos_att_type": []}),
        ("albert", {"embedding_size": 16, "inner_group_num": 2}),
        ("roformer", {}),
    ],
)
def test_attention_that_cannot_be_captured_is_refused(family: str, settings: Settings) -> None:
    with pytest.raises(EncoderUnsupported, match="does not show its attention scores"):
        ActivationCapture(make(AutoModelForSequenceClassification, family, settings), (1,))
