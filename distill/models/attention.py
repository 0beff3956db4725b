"""How the attention of an encoder is overheard, family by family.

No modelling code is copied. Encoders that call transformers' attention interface get a function of
ours, registered under a name of its own: it computes what ``sdpa`` computes and, while a recorder
is attached, notes what was asked for. DeBERTa-v2 calls no interface; there, the method that adds
its position terms is wrapped for the length of one forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention
from transformers.utils.output_capturing import OutputRecorder, maybe_install_capturing_hooks

from distill.errors import EncoderUnsupported
from distill.models.qkv import Heads

ATTENTION = "sdpa_with_scores"
LONGEST_PLAIN = 192  # pieces; from 256 on sdpa is faster, backward pass included
STACKED = ("bert", "roberta", "electra", "xlm-roberta", "camembert")
_RECORDER = "_distill_recorder"


@dataclass(slots=True)
class AttentionRecorder:
    """Notes the attention of one forward pass; layers are told apart by the order of the calls.

    Attributes:
        score_layers: Layers, counted from 1, whose scores are kept.
        head_layers: Layers whose queries, keys and values are kept.
        longest: Of longer texts they are kept in place of the scores, where nothing but they
            makes the scores.
        calls: Attention layers that were run.
        scores: Layer to QKᵀ/√d before mask and softmax, (batch, heads, length, length).
        heads: Layer to its queries, keys and values.
        reach: Layer to the distance in tokens that it attends to, where that is limited.
    """

    score_layers: Sequence[int]
    head_layers: Sequence[int]
    longest: int | None = None
    calls: int = 0
    scores: dict[int, Tensor] = field(default_factory=dict)
    heads: dict[int, Heads] = field(default_factory=dict)
    reach: dict[int, int] = field(default_factory=dict)

    def note(
        self, heads: Heads, bias: Tensor | None = None, window: int | None = None
    ) -> Tensor | None:
        """Keep what is wanted of the next layer.

        Args:
            heads: Its queries, keys and values.
            bias: Position terms that belong to the score, shape of the scores.
            window: Pairs at this distance or beyond are never attended to.

        Returns:
            The scores in float32, where they are kept.
        """
        self.calls += 1
        if self.calls in self.head_layers:
            self.heads[self.calls] = heads
        if self.calls not in self.score_layers:
            return None
        plain = bias is None and window is None
        if plain and self.longest is not None and heads.query.shape[2] > self.longest:
            self.heads[self.calls] = heads
            return None
        product = heads.scores()
        scores = product if bias is None else product + bias
        self.scores[self.calls] = scores
        if window is not None:
            self.reach[self.calls] = window - 1
        return scores


def enable_capture(model: PreTrainedModel) -> list[nn.Module]:
    """Make an encoder ready to be overheard; it computes the same as before.

    Returns:
        Its attention modules; fewer than layers where layers share theirs (ALBERT).

    Raises:
        EncoderUnsupported: Its attention is out of reach.
    """
    modules, layers = attention_modules(model), model.config.num_hidden_layers
    if not modules or layers % len(modules):
        raise EncoderUnsupported(
            f"{type(model).__name__} does not show its attention scores: expected one attention "
            f"module in each of {layers} layers, found {len(modules)}.",
            "Set weights.attention = 0 in the recipe, or use --recipe logits. Scores "
            "are seen in BERT, RoBERTa, ELECTRA, DistilBERT, DeBERTa-v2, ModernBERT and relatives.",
        )
    _compute(model, modules)
    return modules


def use_plain_attention(model: PreTrainedModel) -> None:
    """Let a model that is trained on a processor do without sdpa's backward pass, where it can."""
    if modules := attention_modules(model):
        _compute(model, modules)


def _compute(model: PreTrainedModel, modules: Sequence[nn.Module]) -> None:
    if not isinstance(modules[0], DisentangledSelfAttention):
        model.set_attn_implementation(ATTENTION)


def attention_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The self-attention modules of an encoder that can be overheard, from the lowest upwards."""
    encoder = model.base_model
    spec = (getattr(type(encoder), "_can_record_outputs", None) or {}).get("attentions")
    target = spec.target_class if isinstance(spec, OutputRecorder) else spec
    kinds = tuple(kind for kind in (target, DisentangledSelfAttention) if isinstance(kind, type))
    found = [module for module in encoder.modules() if isinstance(module, kinds)]
    blind = [m for m in found if not getattr(m, "relative_attention", True)]
    return [] if blind else found


def lower_layers(model: PreTrainedModel, highest: int) -> nn.ModuleList | None:
    """The layers up to the highest that is wanted; nothing where all are, or it is not that easy.

    Where a norm follows the last layer, a lower one must not be taken for the last.
    """
    if model.config.model_type not in STACKED or highest >= model.config.num_hidden_layers:
        return None
    base: Any = model.base_model
    maybe_install_capturing_hooks(base)  # while all layers are there to get theirs
    return nn.ModuleList(list(base.encoder.layer)[:highest])


@contextmanager
def use_layers(model: PreTrainedModel, layers: nn.ModuleList | None) -> Iterator[None]:
    """Let an encoder have these layers for the length of one forward pass."""
    if layers is None:
        yield
        return
    encoder: Any = model.base_model.encoder
    whole, encoder.layer = encoder.layer, layers
    try:
        yield
    finally:
        encoder.layer = whole


@contextmanager
def capture_attention(modules: Sequence[nn.Module], recorder: AttentionRecorder) -> Iterator[None]:
    """Attach a recorder to attention modules for the length of one forward pass."""
    for module in modules:
        setattr(module, _RECORDER, recorder)
    disentangled = [m for m in modules if isinstance(m, DisentangledSelfAttention)]
    hooks = [_wrap(module, recorder) for module in disentangled]
    try:
        yield
    finally:
        for module in modules:
            delattr(module, _RECORDER)
        for module, hook in zip(disentangled, hooks, strict=True):
            hook.remove()
            delattr(module, "disentangled_attention_bias")


def _wrap(module: Any, recorder: AttentionRecorder) -> Any:
    """Note queries, keys and position terms where DeBERTa-v2 brings them together.

    Its score is (QKᵀ + position terms)/√(d·f), f = 1 + the number of position terms. Values pass
    by earlier in the same call.
    """
    original, values, count = module.disentangled_attention_bias, [], module.num_attention_heads
    hook = module.value_proj.register_forward_hook(lambda *call: values.append(call[-1]))

    def bias(query: Tensor, key: Tensor, position: Any, table: Tensor, factor: int) -> Tensor:
        terms: Tensor = original(query, key, position, table, factor)
        query, key, split = (t.view(-1, count, *t.shape[1:]) for t in (query, key, terms))
        value = values.pop().view(len(query), -1, count, query.shape[-1]).transpose(1, 2)
        scale = (query.shape[-1] * factor) ** -0.5
        recorder.note(Heads(query, key, value, scale), split)
        return terms

    module.disentangled_attention_bias = bias
    return hook


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as sdpa computes it; queries and keys are (batch, heads, length, head size).

    Where a recorder wants the scores, they are computed once, in float32, and serve for both.
    """
    recorder: AttentionRecorder | None = getattr(module, _RECORDER, None)
    plain = _is_faster_plain(query)
    if recorder is not None or plain:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        groups = query.shape[1] // key.shape[1]  # heads that share keys and values
        own = [t.repeat_interleave(groups, dim=1) if groups > 1 else t for t in (key, value)]
        heads = Heads(query, own[0], own[1], scale)
        window = options.get("sliding_window")
        scores = None if recorder is None else recorder.note(heads, window=window)
        if scores is None and plain:
            scores = torch.matmul(query * scale, heads.key.mT)  # in bfloat16 where autocast is on
        if scores is not None:
            return _attend(scores, heads.value, attention_mask, dropout).transpose(1, 2), None
    context, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
    )
    return context, None


def _is_faster_plain(query: Tensor) -> bool:
    """Whether sdpa's backward pass is to come, where it takes several times as long."""
    return query.requires_grad and query.device.type == "cpu" and query.shape[2] <= LONGEST_PLAIN


def _attend(scores: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Values weighted by softmax(scores), shape (batch, heads, length, head size).

    A query that may look at nothing gets zeros, as from sdpa: padding beside a local window.
    """
    boolean = mask is not None and mask.dtype is torch.bool
    if mask is not None:
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~mask, lowest) if boolean else scores + mask
    weights = nn.functional.dropout(scores.softmax(dim=-1, dtype=torch.float32), dropout)
    context = torch.matmul(weights.to(value.dtype), value)
    if mask is not None and boolean:
        context = context.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)
    return context


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
