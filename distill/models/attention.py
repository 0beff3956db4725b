"""Attention of encoders: capture of raw scores, queries, keys and values; a plain backward pass.

No modelling code is copied. Encoders that call transformers' attention interface get a function of
ours, registered under a name of its own: it computes what ``sdpa`` computes and, while a recorder
is attached, records what was asked for. DeBERTa-v2 and MPNet call no interface; there, modules are
listened to for the length of one forward pass (``_LISTENERS``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention
from transformers.utils.output_capturing import OutputRecorder, maybe_install_capturing_hooks

from augment.contract.foreign import counted
from augment.contract.models import FAMILIES
from distill.errors import EncoderUnsupported
from distill.models.qkv import QKV

ATTENTION = "sdpa_with_scores"
# Tokens up to which scores, softmax and product beat sdpa, backward pass included. Measured, a
# layer of 12 heads and 32 rows: 5 ms instead of 24 at 64 tokens, 19 instead of 55 at 128, equal
# at 192, slower from 256 on.
MAX_PLAIN_LENGTH = 192
_RECORDER = "_distill_recorder"


@dataclass(slots=True)
class AttentionRecorder:
    """Records the attention of one forward pass; layers are told apart by the order of the calls.

    Attributes:
        score_layers: Layers, counted from 1, whose scores are recorded.
        qkv_layers: Layers whose queries, keys and values are recorded.
        max_score_length: Of longer texts, in tokens, queries and keys are recorded in place of
            the scores, if the scores are their product and nothing else.
        calls: Attention layers that were run.
        scores: Layer to QKᵀ/√d before mask and softmax, shape (batch, heads, length, length).
        qkv: Layer to its queries, keys and values.
        windows: Layer to its window: pairs at this distance in tokens, or further apart, are not
            attended to. Layers without a window are left out.
    """

    score_layers: Sequence[int]
    qkv_layers: Sequence[int]
    max_score_length: int | None = None
    calls: int = 0
    scores: dict[int, Tensor] = field(default_factory=dict)
    qkv: dict[int, QKV] = field(default_factory=dict)
    windows: dict[int, int] = field(default_factory=dict)

    def record(
        self, qkv: QKV, bias: Tensor | None = None, window: int | None = None
    ) -> Tensor | None:
        """Record what is asked for of the next layer, and return its scores if they are.

        ``bias`` are position terms that belong to the scores, of the same shape.
        """
        self.calls += 1
        if self.calls in self.qkv_layers:
            self.qkv[self.calls] = qkv
        if self.calls not in self.score_layers:
            return None
        product_only = bias is None and window is None
        if product_only and self.max_score_length and qkv.query.shape[2] > self.max_score_length:
            self.qkv[self.calls] = qkv
            return None
        scores = qkv.scores() if bias is None else qkv.scores() + bias
        self.scores[self.calls] = scores
        if window is not None:
            self.windows[self.calls] = window
        return scores


def enable_capture(model: PreTrainedModel) -> list[nn.Module]:
    """Prepare an encoder for ``capture_attention``; it computes the same as before.

    Returns:
        Its attention modules; fewer than layers if layers share theirs (ALBERT).

    Raises:
        EncoderUnsupported: Its attention cannot be captured.
    """
    modules, layers = attention_modules(model), model.config.num_hidden_layers
    if not modules or layers % len(modules):
        raise EncoderUnsupported(
            f"{type(model).__name__} does not show its attention scores: expected one attention "
            f"module in each of {counted(layers, 'layer')}, found {len(modules)}.",
            "Set weights.attention = 0 in the recipe, or use --recipe logits. Scores "
            "are seen in BERT, RoBERTa, ELECTRA, DistilBERT, MPNet, DeBERTa-v2, ModernBERT and "
            "relatives.",
        )
    _use_own_attention(model, modules)
    return modules


def use_plain_attention(model: PreTrainedModel) -> None:
    """Train a model on a processor without sdpa's backward pass, if its family allows it."""
    if modules := attention_modules(model):
        _use_own_attention(model, modules)


def _use_own_attention(model: PreTrainedModel, modules: Sequence[nn.Module]) -> None:
    if not isinstance(modules[0], tuple(_LISTENERS)):
        model.set_attn_implementation(ATTENTION)


def attention_modules(model: PreTrainedModel) -> list[nn.Module]:
    """The self-attention modules that can be captured, from the lowest layer upwards."""
    encoder = model.base_model
    spec = (getattr(type(encoder), "_can_record_outputs", None) or {}).get("attentions")
    target = spec.target_class if isinstance(spec, OutputRecorder) else spec
    kinds = tuple(kind for kind in (target, *_LISTENERS) if isinstance(kind, type))
    modules = [module for module in encoder.modules() if isinstance(module, kinds)]
    has_scores = all(  # DeBERTa-v2 adds its terms up in a method that only then is called
        getattr(module, "relative_attention", True) and getattr(module, "pos_att_type", True)
        for module in modules
    )
    return modules if has_scores else []


def lower_layers(model: PreTrainedModel, highest: int) -> nn.ModuleList | None:
    """The layers up to the highest that is captured; None for all, and for families beyond BERT's.

    Where a norm follows the last layer, a lower one must not be taken for the last.
    """
    family = FAMILIES.get(model.config.model_type)
    if family is None or highest >= model.config.num_hidden_layers:
        return None
    base: Any = model.base_model
    maybe_install_capturing_hooks(base)  # while all layers are there to get theirs
    return nn.ModuleList(list(base.get_submodule(family.layers))[:highest])


@contextmanager
def use_layers(model: PreTrainedModel, layers: nn.ModuleList | None) -> Iterator[None]:
    """Run an encoder with these layers alone for the length of one forward pass."""
    if layers is None:
        yield
        return
    base, name = model.base_model, FAMILIES[model.config.model_type].layers
    all_layers = base.get_submodule(name)
    base.set_submodule(name, layers)
    try:
        yield
    finally:
        base.set_submodule(name, all_layers)


@contextmanager
def capture_attention(modules: Sequence[nn.Module], recorder: AttentionRecorder) -> Iterator[None]:
    """Attach a recorder to attention modules for the length of one forward pass."""
    with ExitStack() as stack:
        for module in modules:
            hear = _LISTENERS.get(type(module), _hear_interface)
            stack.enter_context(hear(module, recorder))
        yield


@contextmanager
def _hear_interface(module: Any, recorder: AttentionRecorder) -> Iterator[None]:
    """Let ``_attention`` find the recorder."""
    setattr(module, _RECORDER, recorder)
    try:
        yield
    finally:
        delattr(module, _RECORDER)


@contextmanager
def _hear_deberta(module: Any, recorder: AttentionRecorder) -> Iterator[None]:
    """Record queries, keys and position terms in the method of DeBERTa-v2 that adds them up.

    Its score is (QKᵀ + position terms)/√(d·f), f = 1 + the number of position terms. Values are
    computed earlier in the same call.
    """
    original, count = module.disentangled_attention_bias, module.num_attention_heads
    values: list[Tensor] = []

    def bias(query: Tensor, key: Tensor, position: Any, table: Tensor, factor: int) -> Tensor:
        terms: Tensor = original(query, key, position, table, factor)
        query, key, split = (t.view(-1, count, *t.shape[1:]) for t in (query, key, terms))
        value = values.pop().view(len(query), -1, count, query.shape[-1]).transpose(1, 2)
        scale = (query.shape[-1] * factor) ** -0.5
        recorder.record(QKV(query, key, value, scale), split)
        return terms

    module.disentangled_attention_bias = bias
    try:
        with module.value_proj.register_forward_hook(lambda *call: values.append(call[-1])):
            yield
    finally:
        delattr(module, "disentangled_attention_bias")


@contextmanager
def _hear_mpnet(module: Any, recorder: AttentionRecorder) -> Iterator[None]:
    """Record queries, keys and values of MPNet, and the bias by distance that its encoder gives.

    Its score is QKᵀ/√d + bias.
    """
    parts: list[Tensor] = []
    size = module.attention_head_size

    def record(_module: Any, args: tuple[Any, ...], _output: Any) -> None:
        query, key, value = (part.view(*part.shape[:2], -1, size).transpose(1, 2) for part in parts)
        parts.clear()
        recorder.record(QKV(query, key, value, size**-0.5), args[2])

    with ExitStack() as stack:
        for part in (module.q, module.k, module.v):
            hook = part.register_forward_hook(lambda *call: parts.append(call[-1]))
            stack.enter_context(hook)
        stack.enter_context(module.register_forward_hook(record))
        yield


Hear = Callable[[Any, AttentionRecorder], AbstractContextManager[None]]
_LISTENERS: dict[type, Hear] = {
    DisentangledSelfAttention: _hear_deberta,
    MPNetSelfAttention: _hear_mpnet,
}
"""Kinds of attention that call no interface: what records them."""


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

    Scores that are recorded are computed once, in float32, and serve for both.
    """
    recorder: AttentionRecorder | None = getattr(module, _RECORDER, None)
    trained = query.requires_grad  # sdpa's backward pass would follow
    plain = trained and query.device.type == "cpu" and query.shape[2] <= MAX_PLAIN_LENGTH
    if recorder is not None or plain:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        groups = query.shape[1] // key.shape[1]  # heads that share keys and values
        qkv = QKV(query, repeat_kv(key, groups), repeat_kv(value, groups), scale)
        window = options.get("sliding_window")
        scores = None if recorder is None else recorder.record(qkv, window=window)
        if scores is None and plain:
            scores = torch.matmul(query * scale, qkv.key.mT)  # in bfloat16 where autocast is on
        if scores is not None:
            return _attend(scores, qkv.value, attention_mask, dropout).transpose(1, 2), None
    context, _ = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
    )
    return context, None


def _attend(scores: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Values weighted by softmax(scores), shape (batch, heads, length, head size).

    A query that may attend to nothing gets zeros, as from sdpa: padding beside a local window.
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
