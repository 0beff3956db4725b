"""Width pruning: a narrower student starts from its teacher's layers (docs/method.md, section 8.1).

Dimensions of the residual stream are selected; each matrix that read all of them reads their linear
reconstruction; heads become low-rank; the strongest neurons stay. Then, layer after layer, every
matrix and norm is fitted to what the student itself computes up to there. The teacher runs once, on
a sample of the texts that are learnt from: the same ones give the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from augment.contract.models import FAMILIES, LayerNames, reads_segments
from distill.errors import ModelInvalid
from distill.models.loading import eval_mode
from distill.models.low_rank import (
    PROJECTION_RIDGE,
    Affine,
    fit,
    low_rank_scores,
    low_rank_values,
    reconstruction,
    refit,
    select_dimensions,
)

TEXTS, TOKENS = 128, 64  # of random tokens
MOST = TEXTS * TOKENS  # tokens that the teacher is measured on, padding included
FEW = 0.1  # of the texts are cut to what all others are at most long
ENOUGH = 2  # tokens for each dimension of the teacher; random ones make up for what texts lack


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a teacher is measured on.

    Attributes:
        ids: Of tokens, shape (texts, tokens).
        mask: Where they are no padding, likewise.
        segments: 1 for tokens of a second text and 0 for others, likewise; None where the teacher
            has no table of them.
    """

    ids: Tensor
    mask: Tensor
    segments: Tensor | None = None

    @property
    def embedded(self) -> dict[str, Tensor]:
        """What embeddings are looked up by, as a model takes it."""
        more = {} if self.segments is None else {"token_type_ids": self.segments}
        return {"input_ids": self.ids, **more}

    def rows(self, states: Tensor) -> Tensor:
        """States of shape (texts, tokens, width) where there is a token, shape (n, width)."""
        return states[self.mask].float()


@torch.no_grad()
def prune_width(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    mapping: Sequence[int],
    inputs: Inputs,
) -> Affine:
    """Overwrite a student's encoder with its teacher's mapped layers, pruned to its width.

    Args:
        student: Of the same family, one that narrows, and number of heads; at most as wide.
        teacher: In evaluation mode.
        mapping: Teacher layer for each student layer, counted from 1.
        inputs: That the teacher is measured on.

    Returns:
        The projection to the teacher's states, with a weight of shape (d, d').
    """
    pruned: Any = student.base_model
    source: Any = copy.deepcopy(teacher.base_model).cpu()  # the same weights wherever it works
    family, heads = FAMILIES[student.config.model_type], student.config.num_attention_heads
    names, old = family.layer, source.get_submodule(family.layers)
    states, calls = _states(source, old, inputs)
    rows = inputs.rows
    compared = torch.cat([rows(states[layer]) for layer in (0, *mapping)])
    keep = select_dimensions(compared, student.config.hidden_size)
    _prune_embeddings(pruned.embeddings, source.embeddings, keep)
    if bias := family.position_bias:
        pruned.get_submodule(bias).weight.copy_(source.get_submodule(bias).weight)
    was_training = student.training
    eval_mode(student)  # without dropout
    hidden = pruned.embeddings(**inputs.embedded)
    ours = [rows(hidden)]
    for new, number in zip(pruned.get_submodule(family.layers), mapping, strict=True):
        call = calls[number - 1]
        layer, narrow = (_Layer(own, names, heads, call, rows) for own in (old[number - 1], new))
        seen = layer.run(states[number - 1])
        _fit_attention(narrow, layer, seen, hidden, keep)
        _fit_feed_forward(narrow, layer, seen, hidden, keep)
        hidden = narrow.run(hidden).output
        ours.append(rows(hidden))
    student.train(was_training)
    last = rows(states[mapping[-1]])
    if getattr(pruned, "pooler", None) is not None and getattr(source, "pooler", None) is not None:
        _fit_pooler(pruned.pooler.dense, source.pooler.dense, ours[-1], last, keep)
    return refit(reconstruction(compared, keep), torch.cat(ours), compared, PROJECTION_RIDGE)


def _states(source: Any, layers: Any, inputs: Inputs) -> tuple[tuple[Tensor, ...], list[_Call]]:
    """Hidden states of every layer, and what each was called with beside its input."""
    calls: list[_Call] = []

    def note(_module: nn.Module, args: tuple[Any, ...], more: dict[str, Any]) -> None:
        calls.append(_Call(args[1:], more))

    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    mask = inputs.mask.long()
    found = source(**inputs.embedded, attention_mask=mask, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    return found.hidden_states, calls


def measured_inputs(
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Iterable[Sequence[int]],
    seed: int,
    max_length: int = TOKENS,
) -> Inputs:
    """Some texts, evenly drawn; where these are few, random tokens as well.

    Args:
        teacher: That is measured.
        tokenizer: Its.
        rows: Token ids of texts, special ones at both ends; long ones are cut.
        seed: Of the random tokens.
        max_length: The most tokens of a text.

    Raises:
        ModelInvalid: The tokenizer has no tokens for the ends.
    """
    _, last = _ends(tokenizer)
    texts = [[*row] for row in rows if row]
    lengths = sorted(map(len, texts)) or [TOKENS]
    longest = min(TOKENS, max_length, lengths[int((1 - FEW) * (len(lengths) - 1))])
    texts = [[*row[: longest - 1], last] if len(row) > longest else row for row in texts]
    count = min(len(texts), MOST // longest)
    chosen = [texts[(2 * at + 1) * len(texts) // (2 * count)] for at in range(count)]
    missing = ENOUGH * int(teacher.config.hidden_size) - sum(map(len, chosen))
    if missing > 0:
        random = synthetic_inputs(tokenizer, seed, max_length).tolist()
        chosen += random[: -(-missing // len(random[0]))] if chosen else random
    padding = tokenizer.pad_token_id or 0
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in chosen], True, padding)
    many = torch.tensor([len(row) for row in chosen])
    segments = _segments(ids, last) if reads_segments(teacher.config) else None
    return Inputs(ids, torch.arange(ids.shape[1]) < many[:, None], segments)


def _segments(ids: Tensor, last: int) -> Tensor:
    """1 after the first token that ends a text, as BERT numbers the texts of a pair."""
    ends = (ids == last).long()
    return (ends.cumsum(dim=1) - ends).clamp(max=1)


def synthetic_inputs(
    tokenizer: PreTrainedTokenizerBase, seed: int, max_length: int = TOKENS
) -> Tensor:
    """Random tokens, those early in the vocabulary (which are the frequent ones) more often.

    Token ids of shape (texts, tokens), special ones at both ends; at most ``max_length`` tokens.

    Raises:
        ModelInvalid: The tokenizer has no tokens for the ends.
    """
    first, last = _ends(tokenizer)
    special = set(tokenizer.all_special_ids)
    usable = [
        index
        for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        if index not in special and not token.startswith("[unused")
    ]
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand((TEXTS, min(TOKENS, max_length) - 2), generator=generator)
    ranks = (len(usable) ** share).long().clamp(max=len(usable) - 1)
    drawn = torch.tensor(usable)[ranks].tolist()
    return torch.tensor([[first, *row, last] for row in drawn])


def _ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Ids of the tokens at the start and the end of a text."""
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    if first is None or last is None:
        raise ModelInvalid(
            "the teacher's tokenizer names no tokens for the start and the end of a text.",
            "Start at random: --init random",
        )
    return int(first), int(last)


def _prune_embeddings(target: Any, source: Any, keep: Tensor) -> None:
    for name, table in source.named_children():
        if isinstance(table, nn.Embedding):
            getattr(target, name).weight.copy_(table.weight[:, keep])
    _assign_norm(target.LayerNorm, source.LayerNorm, keep)


@dataclass(frozen=True, slots=True)
class _Call:
    """What a layer is called with beside its input: masks, what is added to scores by distance."""

    args: tuple[Any, ...]
    more: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer of any family of BERT's shape: its modules by what they are, and how it is run.

    Attributes:
        module: It.
        names: Of its parts.
        heads: How many it has.
        call: What it is called with beside its input.
        rows: States of shape (texts, tokens, width) to those where there is a token.
    """

    module: Any
    names: LayerNames
    heads: int
    call: _Call
    rows: Callable[[Tensor], Tensor]

    def part(self, name: str) -> Any:
        """A module by its field of ``LayerNames``."""
        return self.module.get_submodule(getattr(self.names, name))

    def run(self, states: Tensor) -> _Seen:
        """Run it on states of shape (texts, tokens, width), and note what its parts see."""
        noted: dict[str, Tensor] = {}

        def before(name: str) -> Any:
            return lambda _module, args: noted.__setitem__(name, args[0])

        def after(name: str) -> Any:
            return lambda _module, _args, output: noted.__setitem__(name, output)

        hooks = [
            self.part("attention_out").register_forward_pre_hook(before("context")),
            self.part("attention_norm").register_forward_pre_hook(before("attended")),
            self.part("attention_norm").register_forward_hook(after("middle")),
            self.part("output").register_forward_pre_hook(before("active")),
            self.part("output_norm").register_forward_pre_hook(before("written")),
            self.part("output_norm").register_forward_hook(after("output")),
        ]
        self.module(states, *self.call.args, **self.call.more)
        for hook in hooks:
            hook.remove()
        return _Seen(states, **noted)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the parts of a layer see, each of shape (texts, tokens, its width).

    Attributes:
        input: Of the layer.
        context: What the heads' values sum up to, before the output matrix.
        attended: Attention and input, before the norm.
        middle: After it.
        active: Neurons after the activation.
        written: What feed-forward part and middle sum up to, before the norm.
        output: After it.
    """

    input: Tensor
    context: Tensor
    attended: Tensor
    middle: Tensor
    active: Tensor
    written: Tensor
    output: Tensor


def _fit_attention(
    target: _Layer, source: _Layer, seen: _Seen, hidden: Tensor, keep: Tensor
) -> None:
    """Give a layer its teacher's attention, fitted to its own input, (texts, tokens, width)."""
    rows, heads = source.rows, source.heads
    states, own = rows(seen.input), rows(hidden)
    write = source.part("attention_out")
    size = target.part("query").out_features // heads
    wide = {name: _affine(source.part(name)) for name in ("query", "key", "value")}
    split = {
        name: affine(states).view(len(states), heads, -1).double().transpose(0, 1)
        for name, affine in wide.items()
    }
    scores = low_rank_scores(split["query"], split["key"], size)
    columns = write.weight[keep].view(len(keep), heads, -1).double().transpose(0, 1)
    values = low_rank_values(split["value"], columns, size)
    expand = reconstruction(states, keep)
    for name, small in (("query", scores.query), ("key", scores.key), ("value", values.value)):
        first = _by_head(small, wide[name])
        _assign(target.part(name), refit(first.compose(expand), own, first(states)))
    first = Affine(values.output.transpose(0, 1).flatten(1).float(), write.bias[keep])
    missing = rows(seen.attended)[:, keep] - own
    context = rows(target.run(hidden).context)
    _assign(target.part("attention_out"), refit(first, context, missing))
    _fit_norm(
        target.part("attention_norm"), rows(target.run(hidden).attended), rows(seen.middle)[:, keep]
    )


def _fit_feed_forward(
    target: _Layer, source: _Layer, seen: _Seen, hidden: Tensor, keep: Tensor
) -> None:
    """Give a layer its teacher's strongest neurons, fitted to what its own attention writes."""
    rows, up, down = source.rows, source.part("intermediate"), source.part("output")
    middle, active = rows(seen.middle), rows(seen.active)
    write = _select_rows(_affine(down), keep)
    strength = active.square().mean(dim=0) * write.weight.square().sum(dim=0)
    count = min(target.part("intermediate").out_features, len(strength))
    neurons = strength.topk(count).indices.sort().values
    wide = _select_rows(_affine(up), neurons)
    own = rows(target.run(hidden).middle)
    first = wide.compose(reconstruction(middle, keep))
    _assign(target.part("intermediate"), refit(first, own, wide(middle)))
    _assign(target.part("output"), fit(active[:, neurons], write(active)))
    driven = rows(target.run(hidden).active)
    missing = rows(seen.written)[:, keep] - own
    _assign(target.part("output"), refit(_affine(target.part("output")), driven, missing))
    _fit_norm(
        target.part("output_norm"), rows(target.run(hidden).written), rows(seen.output)[:, keep]
    )


def _fit_pooler(target: Any, source: Any, own: Tensor, theirs: Tensor, keep: Tensor) -> None:
    """Fit what the pooler computes of the last states, both (n, width)."""
    wide = _select_rows(_affine(source), keep)
    first = wide.compose(reconstruction(theirs, keep))
    _assign(target, refit(first, own, wide(theirs)))


def _fit_norm(norm: Any, states: Tensor, target: Tensor) -> None:
    """Fit the weights of a norm, so that of states it makes what is closest to a target.

    Both have the shape (n, width).
    """
    read = nn.functional.layer_norm(states, target.shape[1:], eps=norm.eps)
    centered = read - read.mean(dim=0)
    slope = (centered * (target - target.mean(dim=0))).sum(dim=0) / centered.square().sum(dim=0)
    norm.weight.copy_(slope)
    norm.bias.copy_(target.mean(dim=0) - slope * read.mean(dim=0))


def _by_head(small: Tensor, wide: Affine) -> Affine:
    """A map of each head, (heads, new head size, head size), composed with one of all heads."""
    heads, size = small.shape[0], small.shape[1]
    weight = wide.weight.view(heads, small.shape[2], -1).double()
    bias = wide.bias.view(heads, small.shape[2], 1).double()
    joined = (small @ weight).reshape(heads * size, -1)
    return Affine(joined.float(), (small @ bias).flatten().float())


def _affine(linear: Any) -> Affine:
    return Affine(linear.weight, linear.bias)


def _select_rows(affine: Affine, keep: Tensor) -> Affine:
    return Affine(affine.weight[keep], affine.bias[keep])


def _assign(linear: Any, affine: Affine) -> None:
    """Where the student has more neurons than the teacher, the others stay as they were."""
    linear.weight[: len(affine.weight), : affine.weight.shape[1]].copy_(affine.weight)
    linear.bias[: len(affine.bias)].copy_(affine.bias)


def _assign_norm(norm: Any, source: Any, keep: Tensor) -> None:
    norm.weight.copy_(source.weight[keep])
    norm.bias.copy_(source.bias[keep])
