"""Activation capture: raw scores, queries, keys, values and hidden states of any encoder's layers.

Scores are QKᵀ/√d before the mask, the softmax and dropout, which is the quantity of Eq. 1 and 7.
(The probabilities that transformers calls ``attentions`` are another one.) What that means by
family is proven in the tests: after rotation in ModernBERT, with the position terms in DeBERTa-v2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from augment.contract.foreign import counted
from distill.errors import EncoderUnsupported
from distill.models.attention import (
    AttentionRecorder,
    capture_attention,
    enable_capture,
    lower_layers,
    use_layers,
)
from distill.models.limits import filter_inputs
from distill.models.qkv import QKV


@dataclass(frozen=True, slots=True)
class Activations:
    """What was captured in one forward pass; layers are counted from 1.

    Attributes:
        embedding: The input of the first layer, shape (batch, length, width): the output of the
            embedding layer, mapped to the model's width if the table is narrower (ELECTRA).
        hidden: Layer to its output, shape (batch, length, width). If a norm follows the last
            layer (ModernBERT), its output is that of the norm.
        scores: Layer to its raw scores QKᵀ/√d, float32 of shape (batch, heads, length, length).
        windows: Layer to its window, see ``AttentionRecorder``.
        qkv: Layer to its queries, keys and values.
        logits: Of the task head, shape (batch, classes); None if the head was not run.
    """

    embedding: Tensor
    hidden: Mapping[int, Tensor]
    scores: Mapping[int, Tensor]
    windows: Mapping[int, int]
    qkv: Mapping[int, QKV]
    logits: Tensor | None = None

    def scores_of(self, layer: int) -> Tensor:
        """A layer's scores: as captured, or computed from its queries and keys."""
        return self.scores[layer] if layer in self.scores else self.qkv[layer].scores()


class ActivationCapture:
    """Runs an encoder and captures some of its layers; in some families, layers above are not run.

    Deliberately no ``nn.Module``: a module that holds a capture does not own the model's weights.

    Args:
        model: A model with or without a task head; if scores, queries, keys or values are
            captured, its attention implementation is replaced by one that computes the same.
        layers: Layers, counted from 1, whose hidden states are captured.
        scores: Layers whose scores are captured; ``layers`` if left out.
        qkv: Layers whose queries, keys and values are captured.
        task_head: Run the task head as well.
        max_score_length: See ``AttentionRecorder``.

    Raises:
        EncoderUnsupported: Attention is to be captured and the architecture does not allow it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[int],
        *,
        scores: Sequence[int] | None = None,
        qkv: Sequence[int] = (),
        task_head: bool = False,
        max_score_length: int | None = None,
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self.scores = self.layers if scores is None else tuple(scores)
        self.qkv = tuple(qkv)
        self.max_score_length = max_score_length
        self._run = model if task_head else model.base_model
        self._modules = enable_capture(model) if self.scores or self.qkv else []
        highest = max((1, *self.layers, *self.scores, *self.qkv))  # layer 1 gives the embedding
        self._lower = None if task_head else lower_layers(model, highest)
        self.depth = highest if self._lower else int(model.config.num_hidden_layers)

    def __call__(self, **inputs: Tensor) -> Activations:
        """Run the model.

        Args:
            **inputs: ``input_ids`` and ``attention_mask``, int64 of shape (batch, length), and
                ``token_type_ids`` of the same shape where the tokenizer gives them.

        Raises:
            EncoderUnsupported: It ran another number of layers than its config says.
        """
        recorder = AttentionRecorder(self.scores, self.qkv, self.max_score_length)
        with capture_attention(self._modules, recorder), use_layers(self.model, self._lower):
            output = self._run(
                **filter_inputs(self.model, inputs), output_hidden_states=[0, *self.layers]
            )
        hidden = output.hidden_states
        self._check([hidden[layer] for layer in (0, *self.layers)], len(hidden) - 1, recorder.calls)
        return Activations(
            embedding=hidden[0],
            hidden={layer: hidden[layer] for layer in self.layers},
            scores=recorder.scores,
            windows=recorder.windows,
            qkv=recorder.qkv,
            logits=getattr(output, "logits", None),
        )

    def _check(self, states: Sequence[Tensor], layers: int, attentions: int) -> None:
        """Every layer was run once, and reads and gives the same tokens."""
        calls = {layers, attentions} if self._modules else {layers}
        if calls != {self.depth} or len({state.shape[1] for state in states}) > 1:
            lengths = ", ".join(str(state.shape[1]) for state in states)
            raise EncoderUnsupported(
                f"{type(self.model).__name__} does not show its layers: expected "
                f"{counted(self.depth, 'layer')} over the same tokens, found "
                f"{counted(layers, 'hidden state')}, {counted(attentions, 'attention')} and "
                f"lengths {lengths}.",
                "Use --recipe logits, which looks at the answers only.",
            )
