"""Tapped scores are QKᵀ/√d before mask, softmax and dropout, in every encoder tried."""

import json
import math

import pytest
import torch
import transformers as t

from distill.errors import EncoderUnsupported
from distill.taps import Tap

VOCABULARY, BATCH, LENGTH, WIDTH, HEADS = 50, 3, 12, 24, 3
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": HEADS,
    "intermediate_size": 48,
}
ENCODERS = {
    "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**COMMON)),
    "roberta": lambda: t.RobertaForSequenceClassification(t.RobertaConfig(**COMMON)),
    "electra": lambda: t.ElectraForSequenceClassification(
        t.ElectraConfig(**COMMON, embedding_size=16)
    ),
    "distilbert": lambda: t.DistilBertForSequenceClassification(
        t.DistilBertConfig(vocab_size=VOCABULARY, dim=WIDTH, n_layers=4, n_heads=3, hidden_dim=48)
    ),
}


def build(name):
    torch.manual_seed(0)
    model = ENCODERS[name]().eval()
    for weight in model.parameters():  # scores large enough to tell apart
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def inputs():
    ids = torch.randint(4, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 8:] = mask[2, 3:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


def query_key(model, layer):
    """The two projections of a layer, wherever the architecture keeps them."""
    modules = dict(model.base_model.named_modules())
    for name, q, k in (("encoder.layer.{}.attention.self", "query", "key"),
                       ("transformer.layer.{}.attention", "q_lin", "k_lin")):  # fmt: skip
        if name.format(layer - 1) in modules:
            module = modules[name.format(layer - 1)]
            return getattr(module, q), getattr(module, k)
    raise AssertionError


@pytest.mark.parametrize("name", ENCODERS)
def test_scores_equal_a_manual_product(name):
    model, batch = build(name), inputs()
    with torch.no_grad():
        plain = model(**batch, output_hidden_states=True)
        seen = Tap(model, [2, 4])(**batch)
        for layer in (2, 4):
            heads = [
                linear(plain.hidden_states[layer - 1])
                .view(BATCH, LENGTH, HEADS, -1)
                .transpose(1, 2)
                for linear in query_key(model, layer)
            ]
            manual = heads[0] @ heads[1].mT / math.sqrt(WIDTH / HEADS)
            torch.testing.assert_close(seen.scores[layer], manual, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(seen.hidden[layer], plain.hidden_states[layer])
        torch.testing.assert_close(seen.embedding, plain.hidden_states[0])
        torch.testing.assert_close(model(**batch).logits, plain.logits)


@pytest.mark.parametrize("name", ENCODERS)
def test_softmax_of_masked_scores_is_eager_attention(name):
    model, batch = build(name), inputs()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        eager = model(**batch, output_attentions=True).attentions
        seen = Tap(model, [1, 3])(**batch)
    real = batch["attention_mask"].bool()
    for layer in (1, 3):
        scores = seen.scores[layer].masked_fill(~real[:, None, None, :], float("-inf"))
        mine, theirs = (p.transpose(1, 2)[real] for p in (scores.softmax(-1), eager[layer - 1]))
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_only_tapped_layers_are_kept_and_gradients_reach_queries_and_keys():
    model = build("bert").train()
    seen = Tap(model, [3])(**inputs())
    assert list(seen.scores) == list(seen.hidden) == [3]
    seen.scores[3].square().mean().backward()
    attention = model.bert.encoder.layer[2].attention.self
    assert attention.query.weight.grad.abs().sum() > 0
    assert attention.key.weight.grad.abs().sum() > 0
    assert model.bert.encoder.layer[3].attention.self.query.weight.grad is None


def test_a_tapped_model_saves_clean(tmp_path):
    model = build("bert")
    Tap(model, [1])(**inputs())
    model.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert "sdpa" not in text
    assert not [key for key in json.loads(text) if "attn" in key or "output" in key]
    again = t.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(**inputs()).logits, model(**inputs()).logits)


def test_an_encoder_out_of_reach_is_refused():
    config = t.FunnelConfig(vocab_size=50, d_model=24, n_head=3, d_head=8, block_sizes=[1, 1])
    with pytest.raises(EncoderUnsupported, match="does not show its attention scores"):
        Tap(t.FunnelForSequenceClassification(config), [1])
