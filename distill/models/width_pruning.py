"""A teacher's layers made narrower: the start of a student that is thinner than its teacher.

One forward pass of the teacher is needed. TinyBERT starts its general student from random
weights; here a thinner student begins as an approximation of the teacher, which the losses then
repair. Of the width, the numbers are kept that explain the others best, and every matrix that read
a number which is gone reads its best linear guess from those kept instead. So embeddings and the
residual stream are the teacher's own, number by number. An attention head keeps its scores QKᵀ as
closely as its new size allows (the best product of that rank in the mean square), its values
likewise, and the feed-forward layer its most active neurons. Norms over fewer numbers see another
spread: from the bottom upwards their weights are fitted to what the teacher gives there. All of it
is measured on made-up texts, so no data is needed and the same call gives the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.models.loading import eval_mode
from distill.models.low_rank import (
    Affine,
    fit,
    low_rank_scores,
    low_rank_values,
    reconstruction,
    select_dimensions,
)

TEXTS, TOKENS = 64, 64


@torch.no_grad()
def prune_width(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    mapping: Sequence[int],
    texts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Write a thinner copy of a teacher's layers into a student.

    Args:
        student: Same kind and number of heads, at most as wide; its encoder is overwritten.
        teacher: At rest, without dropout.
        mapping: Teacher layer for each student layer, counted from 1.
        texts: What is measured on, piece ids of shape (texts, pieces) without padding.

    Returns:
        The projection that gives back the teacher's states: weight (d, d') and bias (d,).
    """
    ours: Any = student.base_model
    theirs: Any = copy.deepcopy(teacher.base_model).cpu()  # the same weights wherever it works
    states = theirs(texts, output_hidden_states=True).hidden_states
    seen = torch.cat([_rows(states[layer]) for layer in (0, *mapping)])
    keep = select_dimensions(seen, student.config.hidden_size)
    _narrow_embeddings(ours.embeddings, theirs.embeddings, keep)
    trained = student.training
    eval_mode(student)  # without dropout
    own = ours.embeddings(input_ids=texts)
    for target, layer in zip(ours.encoder.layer, mapping, strict=True):
        middle = _narrow_layer(target, theirs.encoder.layer[layer - 1], states[layer - 1], keep)
        _fit_norm(target.attention.output.LayerNorm, target, own, middle[:, keep])
        own = _fit_norm(target.output.LayerNorm, target, own, _rows(states[layer])[:, keep])
    student.train(trained)
    if getattr(ours, "pooler", None) is not None and getattr(theirs, "pooler", None) is not None:
        last = reconstruction(_rows(states[mapping[-1]]), keep)
        _put(ours.pooler.dense, _pick(_of(theirs.pooler.dense).after(last), keep))
    back = reconstruction(seen, keep)
    return back.weight, back.bias


def synthetic_inputs(tokenizer: PreTrainedTokenizerBase, seed: int, most: int = TOKENS) -> Tensor:
    """Random pieces, early ones of the vocabulary (which are the frequent ones) more often.

    Args:
        tokenizer: The teacher's.
        seed: Of the draw.
        most: The most pieces that the teacher reads at once.

    Returns:
        Piece ids of shape (texts, pieces), special ones at both ends.
    """
    special = set(tokenizer.all_special_ids)
    words = [
        index
        for piece, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        if index not in special and not piece.startswith("[unused")
    ]
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand((TEXTS, min(TOKENS, most) - 2), generator=generator)
    places = (len(words) ** share).long().clamp(max=len(words) - 1)
    drawn = torch.tensor(words)[places].tolist()
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    return torch.tensor([[first, *row, last] for row in drawn])


def _narrow_embeddings(target: Any, source: Any, keep: Tensor) -> None:
    for name, table in source.named_children():
        if isinstance(table, nn.Embedding):
            getattr(target, name).weight.copy_(table.weight[:, keep])
    _put_norm(target.LayerNorm, source.LayerNorm, keep)


def _narrow_layer(target: Any, source: Any, states: Tensor, keep: Tensor) -> Tensor:
    """One layer; ``states`` (texts, pieces, width) is what the teacher's layer reads.

    Returns:
        What the teacher has between attention and feed-forward layer, shape (n, width).
    """
    rows = _rows(states)
    back = reconstruction(rows, keep)
    _narrow_attention(target.attention, source.attention, rows, back, keep)
    caught: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: caught.update({name: out}))
        for name, module in (("middle", source.attention.output), ("active", source.intermediate))
    ]
    try:
        source(states)
    finally:
        for hook in hooks:
            hook.remove()
    middle, active = _rows(caught["middle"]), _rows(caught["active"])
    read = _of(source.intermediate.dense).after(reconstruction(middle, keep))
    write = _pick(_of(source.output.dense), keep)
    strength = active.square().mean(dim=0) * write.weight.square().sum(dim=0)
    chosen = strength.topk(min(target.intermediate.dense.out_features, len(strength))).indices
    chosen = chosen.sort().values
    _put(target.intermediate.dense, _pick(read, chosen))
    _put(target.output.dense, fit(active[:, chosen], write(active)))
    _put_norm(target.output.LayerNorm, source.output.LayerNorm, keep)
    return middle


def _fit_norm(norm: Any, layer: Any, own: Tensor, wanted: Tensor) -> Tensor:
    """Weights of a norm that bring a layer of the student closest to its teacher there.

    Args:
        norm: The norm, in the layer.
        layer: The student's.
        own: What the layer reads, shape (texts, pieces, width).
        wanted: What the teacher has behind the norm, shape (n, width).

    Returns:
        What the norm gives then, shape (texts, pieces, width).
    """
    caught: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _module, inputs: caught.append(inputs[0]))
    try:
        layer(own)
    finally:
        hook.remove()
    read = nn.functional.layer_norm(_rows(caught[0]), wanted.shape[1:], eps=norm.eps)
    centered = read - read.mean(dim=0)
    slope = (centered * (wanted - wanted.mean(dim=0))).sum(dim=0) / centered.square().sum(dim=0)
    norm.weight.copy_(slope)
    norm.bias.copy_(wanted.mean(dim=0) - slope * read.mean(dim=0))
    given: Tensor = norm(caught[0])
    return given


def _narrow_attention(target: Any, source: Any, rows: Tensor, back: Affine, keep: Tensor) -> None:
    read, write = source.self, source.output.dense
    heads = read.num_attention_heads
    size = target.self.query.out_features // heads
    maps = {name: _of(getattr(read, name)) for name in ("query", "key", "value")}
    split = {
        name: one(rows).view(len(rows), heads, -1).double().transpose(0, 1)
        for name, one in maps.items()
    }
    queries, keys = low_rank_scores(split["query"], split["key"], size)
    thin = {"query": queries, "key": keys}
    columns = write.weight[keep].view(len(keep), heads, -1).double().transpose(0, 1)
    thin["value"], outs = low_rank_values(split["value"], columns, size)
    for name, small in thin.items():
        _put(getattr(target.self, name), _by_head(small, maps[name]).after(back))
    target.output.dense.weight.copy_(outs.transpose(0, 1).flatten(1).float())
    target.output.dense.bias.copy_(write.bias[keep])
    _put_norm(target.output.LayerNorm, source.output.LayerNorm, keep)


def _by_head(small: Tensor, wide: Affine) -> Affine:
    """A map of each head after one of all heads."""
    heads, size = small.shape[0], small.shape[1]
    weight = wide.weight.view(heads, small.shape[2], -1).double()
    bias = wide.bias.view(heads, small.shape[2], 1).double()
    joined = (small @ weight).reshape(heads * size, -1)
    return Affine(joined.float(), (small @ bias).flatten().float())


def _rows(states: Tensor) -> Tensor:
    return states.flatten(0, 1).float()


def _of(linear: Any) -> Affine:
    return Affine(linear.weight, linear.bias)


def _pick(wide: Affine, keep: Tensor) -> Affine:
    return Affine(wide.weight[keep], wide.bias[keep])


def _put(linear: Any, new: Affine) -> None:
    """Where the student has more neurons than the teacher, the others stay as they were."""
    linear.weight[: len(new.weight), : new.weight.shape[1]].copy_(new.weight)
    linear.bias[: len(new.bias)].copy_(new.bias)


def _put_norm(norm: Any, source: Any, keep: Tensor) -> None:
    norm.weight.copy_(source.weight[keep])
    norm.bias.copy_(source.bias[keep])
