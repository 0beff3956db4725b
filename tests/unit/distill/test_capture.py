"""Tapped scores are QKᵀ/√d before mask, softmax and dropout, in every encoder tried.

The oracle: outputs of the modules' own query and key layers, caught by hooks, multiplied by hand.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import transformers as t

from distill.errors import EncoderUnsupported
from distill.models.attention import attention_modules
from distill.models.capture import ActivationCapture

VOCABULARY, BATCH, LENGTH, WIDTH, HEADS, LAYERS = 50, 3, 12, 24, 3, 4
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 48,
    "pad_token_id": 1,
}
DEBERTA = {
    **COMMON,
    "relative_attention": True,
    "max_relative_positions": 8,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
CONFIGS = {
    "bert": t.BertConfig(**COMMON),
    "minilm": t.BertConfig(**{**COMMON, "num_attention_heads": 12, "initializer_range": 0.1}),
    "roberta": t.RobertaConfig(**COMMON, type_vocab_size=1),
    "electra": t.ElectraConfig(**COMMON, embedding_size=16),
    "distilbert": t.DistilBertConfig(
        vocab_size=VOCABULARY, dim=WIDTH, n_layers=LAYERS, n_heads=HEADS, hidden_dim=48
    ),
    "mpnet": t.MPNetConfig(**COMMON),
    "modernbert": t.ModernBertConfig(
        **COMMON, local_attention=6, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3
    ),
    "albert": t.AlbertConfig(**COMMON, embedding_size=16),
    "deberta-v2": t.DebertaV2Config(**DEBERTA),
    "deberta-v3": t.DebertaV2Config(
        **DEBERTA, share_att_key=True, position_buckets=6, norm_rel_ebd="layer_norm"
    ),
}


def build(name):
    torch.manual_seed(0)
    model = t.AutoModelForSequenceClassification.from_config(CONFIGS[name]).eval()
    for weight in model.parameters():  # scores large enough to tell apart
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def inputs():
    ids = torch.randint(4, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 8:] = mask[2, 3:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


def caught(model, endings):
    """Run a model; what the modules of these names gave, first call of each layer, in order."""
    found = {ending: [] for ending in endings}
    hooks = [
        module.register_forward_hook(
            lambda _m, args, out, ending=ending: found[ending].append((args[0], out))
        )
        for name, module in model.base_model.named_modules()
        for ending in endings
        if f".{name}".endswith(f".{ending}")
    ]
    with torch.no_grad():
        output = model(**inputs(), output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    return output, found


def heads_of(tensor, count=HEADS):
    return tensor.view(*tensor.shape[:2], count, -1).transpose(1, 2)


def query_key_value(model, name):
    """For each layer the outputs of its three linear layers, split into heads."""
    names = {
        "distilbert": ("q_lin", "k_lin", "v_lin"),
        "deberta-v2": ("query_proj", "key_proj", "value_proj"),
        "deberta-v3": ("query_proj", "key_proj", "value_proj"),
        "mpnet": ("q", "k", "v"),
        "modernbert": ("Wqkv",),
    }.get(name, ("query", "key", "value"))
    _, found = caught(model, names)
    if name == "modernbert":
        layers = [out.chunk(3, dim=-1) for _, out in found["Wqkv"]]
    else:
        calls = [[out for _, out in found[n] if len(out) == BATCH] for n in names]
        layers = list(zip(*calls, strict=True))  # without DeBERTa's calls on position tables
    count = model.config.num_attention_heads
    return [[heads_of(tensor, count) for tensor in layer] for layer in layers]


def rotated(states, base):
    """Positions as rotations of pairs (i, i + d/2) by position · base^(-2i/d), pair by pair."""
    size = states.shape[-1]
    result = torch.empty_like(states)
    for position in range(states.shape[2]):
        for i in range(size // 2):
            angle = position * base ** (-2 * i / size)
            a, b = states[:, :, position, i], states[:, :, position, i + size // 2]
            result[:, :, position, i] = a * math.cos(angle) - b * math.sin(angle)
            result[:, :, position, i + size // 2] = b * math.cos(angle) + a * math.sin(angle)
    return result


def with_positions(attention, query, key):
    """DeBERTa-v2: each pair's content and position terms, added up one pair at a time."""
    encoder_table = attention.table
    span, size = encoder_table.shape[0] // 2, query.shape[-1]
    keys = heads_of(attention.pos_key_proj(encoder_table)[None])[0]
    queries = heads_of(attention.pos_query_proj(encoder_table)[None])[0]
    scores = torch.empty(*query.shape[:3], LENGTH)
    for i in range(LENGTH):
        for j in range(LENGTH):
            there = min(max(i - j + span, 0), 2 * span - 1)
            content = (query[:, :, i] * key[:, :, j]).sum(-1)
            to_position = (query[:, :, i] * keys[:, there]).sum(-1)
            from_position = (key[:, :, j] * queries[:, there]).sum(-1)
            scores[:, :, i, j] = (content + to_position + from_position) / math.sqrt(3 * size)
    return scores


def by_distance(encoder, size=LENGTH):
    """MPNet's bias, one pair at a time: 8 near distances, then steps of a logarithm up to 128."""
    table = encoder.relative_attention_bias.weight
    bias = torch.empty(table.shape[1], size, size)
    for i in range(size):
        for j in range(size):
            far = abs(i - j)
            wide = 8 + int(math.log(max(far, 1) / 8) / math.log(128 / 8) * 8)
            bucket = far if far < 8 else min(wide, 15)
            bias[:, i, j] = table[bucket + 16 * (j > i)]
    return bias


def manual(model, name, layer):
    query, key, _ = query_key_value(model, name)[layer - 1]
    if name == "modernbert":
        kind = model.config.layer_types[layer - 1]
        base = model.config.rope_parameters[kind]["rope_theta"]
        query, key = rotated(query, base), rotated(key, base)
    if name == "deberta-v2":
        encoder = model.base_model.encoder
        attention = encoder.layer[layer - 1].attention.self
        attention.table = encoder.rel_embeddings.weight
        return with_positions(attention, query, key)
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return scores + by_distance(model.base_model.encoder) if name == "mpnet" else scores


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "deberta-v3"])
def test_scores_equal_a_manual_product(name: str) -> None:
    model, batch = build(name), inputs()
    with torch.no_grad():
        plain = model(**batch).logits
        expected = {layer: manual(model, name, layer) for layer in (2, LAYERS)}
        seen = ActivationCapture(model, [2, LAYERS], task_head=True)(**batch)
        for layer, scores in expected.items():
            torch.testing.assert_close(seen.scores[layer], scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(seen.logits, plain)
        torch.testing.assert_close(model(**batch).logits, plain)


@pytest.mark.parametrize("name", CONFIGS)
def test_softmax_of_masked_scores_is_the_models_own_attention(name: str) -> None:
    model, batch = build(name), inputs()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        eager = model(**batch, output_attentions=True).attentions
        seen = ActivationCapture(model, [1, 3])(**batch)
    real = batch["attention_mask"].bool()
    positions = torch.arange(LENGTH)
    for layer in (1, 3):
        far = (positions[:, None] - positions).abs() >= seen.windows.get(layer, LENGTH)
        unseen = far | ~real[:, None, None, :]
        scores = seen.scores[layer].masked_fill(unseen, float("-inf"))
        mine, theirs = (p.transpose(1, 2)[real] for p in (scores.softmax(-1), eager[layer - 1]))
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)

    assert seen.windows == ({3: 4} if name == "modernbert" else {})


@pytest.mark.parametrize("name", CONFIGS)
def test_states_are_those_of_the_layers_themselves(name: str) -> None:
    """What each layer read and gave, caught at the layers; ModernBERT's last one after its norm."""
    model = build(name)
    kinds = {"distilbert": "TransformerBlock", "modernbert": "ModernBertEncoderLayer"}
    ending = kinds.get(name) or type(model.base_model).__name__.replace("Model", "Layer")
    calls = []
    layers = [m for m in model.base_model.modules() if type(m).__name__ == ending]
    hooks = [
        m.register_forward_hook(lambda _m, args, out: calls.append((args[0], out))) for m in layers
    ]
    with torch.no_grad():
        seen = ActivationCapture(model, [1, LAYERS], scores=())(**inputs())
    for hook in hooks:
        hook.remove()
    outputs = [out[0] if isinstance(out, tuple) else out for _, out in calls]
    last = model.base_model.final_norm(outputs[-1]) if name == "modernbert" else outputs[-1]
    assert len(calls) == LAYERS
    assert seen.embedding.shape == (BATCH, LENGTH, WIDTH)
    torch.testing.assert_close(seen.embedding, calls[0][0])
    torch.testing.assert_close(seen.hidden[1], outputs[0])
    torch.testing.assert_close(seen.hidden[LAYERS], last)

    assert not seen.scores


def test_embeddings_by_hand() -> None:
    """BERT's sum of three tables; ELECTRA's narrow table brought to the width of the layers."""
    batch = inputs()
    for name in ("bert", "electra"):
        model = build(name)
        parts = model.base_model.embeddings
        with torch.no_grad():
            total = (
                parts.word_embeddings(batch["input_ids"])
                + parts.position_embeddings.weight[:LENGTH]
                + parts.token_type_embeddings.weight[0]
            )
            expected = parts.LayerNorm(total)
            if name == "electra":
                expected = model.base_model.embeddings_project(expected)
            seen = ActivationCapture(model, [1], scores=())(**batch)
        torch.testing.assert_close(seen.embedding, expected)


@pytest.mark.parametrize("name", CONFIGS)
def test_queries_keys_and_values(name: str) -> None:
    model, layer = build(name), 3
    query, key, value = query_key_value(model, name)[layer - 1]
    with torch.no_grad():
        seen = ActivationCapture(model, [], qkv=[layer])(**inputs())
    if name == "modernbert":
        base = model.config.rope_parameters[model.config.layer_types[layer - 1]]["rope_theta"]
        query, key = rotated(query, base), rotated(key, base)
    assert list(seen.qkv) == [layer]
    for mine, theirs in zip(("query", "key", "value"), (query, key, value), strict=True):
        torch.testing.assert_close(
            getattr(seen.qkv[layer], mine), theirs, rtol=1e-4, atol=1e-5, msg=mine
        )


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_reach_queries_and_keys_and_nothing_above(name: str) -> None:
    model = build(name).train()
    seen = ActivationCapture(model, [3], qkv=[2])(**inputs())
    assert list(seen.scores) == list(seen.hidden) == [3]
    seen.scores[3].square().mean().backward(retain_graph=True)
    seen.qkv[2].value.sum().backward()
    moved = [n for n, w in model.named_parameters() if w.grad is not None and w.grad.any()]
    if name == "albert":  # one set of weights for all layers
        assert any("attention.query.weight" in n for n in moved)
        return
    layer, above = ([n for n in moved if f".{i}." in n] for i in (2, 3))
    words = {
        "distilbert": ("q_lin", "k_lin"),
        "mpnet": (".q.", ".k."),
        "modernbert": ("Wqkv", "Wqkv"),
    }
    for word in words.get(name, ("query", "key")):
        assert any(word in n and "weight" in n for n in layer), word

    assert not above
    assert any("relative_attention_bias" in n for n in moved) is (name == "mpnet")


def test_a_tapped_model_saves_clean(tmp_path: Path) -> None:
    for name in ("bert", "mpnet", "deberta-v2"):
        model = build(name)
        ActivationCapture(model, [1])(**inputs())
        model.save_pretrained(tmp_path)
        text = (tmp_path / "config.json").read_text()
        assert "sdpa" not in text
        assert not [key for key in json.loads(text) if "attn" in key or "output" in key]
        again = t.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(again(**inputs()).logits, model(**inputs()).logits)


def few_keys():
    """All heads share one set of keys and values."""
    config = t.EuroBertConfig(**COMMON, num_key_value_heads=1, bos_token_id=2, eos_token_id=3)
    torch.manual_seed(0)
    return t.EuroBertForSequenceClassification(config).eval()


def test_heads_that_share_keys() -> None:
    model = few_keys()
    with torch.no_grad():
        seen = ActivationCapture(model, [2], qkv=[2])(**inputs())

    assert seen.scores[2].shape == (BATCH, HEADS, LENGTH, LENGTH)
    assert torch.equal(seen.qkv[2].key[:, 0], seen.qkv[2].key[:, 2])


@pytest.mark.parametrize("blind", ["funnel", "deberta-v2"])
def test_an_encoder_that_cannot_be_captured_is_refused(blind: str) -> None:
    configs = {
        "funnel": t.FunnelConfig(vocab_size=50, d_model=24, n_head=3, d_head=8, block_sizes=[1, 1]),
        "deberta-v2": t.DebertaV2Config(**{**DEBERTA, "relative_attention": False}),
    }
    model = t.AutoModelForSequenceClassification.from_config(configs[blind]).eval()
    with pytest.raises(EncoderUnsupported, match="does not show its attention scores") as caught:
        ActivationCapture(model, [1])

    assert "--recipe logits" in caught.value.hint


def test_layers_that_shorten_the_text_are_refused() -> None:
    config = t.FunnelConfig(vocab_size=50, d_model=24, n_head=3, d_head=8, block_sizes=[1, 1])
    capture = ActivationCapture(t.FunnelForSequenceClassification(config).eval(), [2], scores=())
    with pytest.raises(EncoderUnsupported, match="does not show its layers"):
        capture(**inputs())


@pytest.mark.parametrize("name", list(CONFIGS))
def test_layers_above_the_highest_wanted_are_not_run(name: str) -> None:
    """The same states and scores, whatever was captured before."""
    model, batch = build(name), inputs()
    ran = []
    attention = attention_modules(model)
    for number, module in enumerate(attention, start=1):
        module.register_forward_hook(lambda *_, number=number: ran.append(number))
    with torch.no_grad():
        low = ActivationCapture(model, [2])(**batch)
        seen = len(ran)
        whole = ActivationCapture(model, [2, LAYERS], task_head=True)(**batch)
        again = ActivationCapture(model, [2])(**batch)
    torch.testing.assert_close(low.hidden[2], whole.hidden[2])
    torch.testing.assert_close(again.scores[2], whole.scores[2])
    if name in ("bert", "roberta", "electra", "distilbert", "mpnet"):
        assert seen == 2

    assert len(ran) == 2 * seen + LAYERS


@pytest.mark.parametrize("name", list(CONFIGS))
def test_embeddings_alone_can_be_captured(name: str) -> None:
    """The ablation without attention and hidden states asks for nothing else."""
    model, batch = build(name), inputs()
    with torch.no_grad():
        seen = ActivationCapture(model, [], scores=())(**batch)
        whole = ActivationCapture(model, [LAYERS], task_head=True)(**batch)
    torch.testing.assert_close(seen.embedding, whole.embedding)

    assert not seen.hidden


def test_all_layers_are_back_after_an_error() -> None:
    model, batch = build("bert"), inputs()
    capture, layers = ActivationCapture(model, [2]), model.bert.encoder.layer
    hook = layers[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        capture(**batch)
    hook.remove()

    assert model.bert.encoder.layer is layers
    assert len(layers) == LAYERS
