"""Raw attention scores, queries, keys, values and hidden states of chosen layers of any encoder.

Scores are QKᵀ/√d before the mask, the softmax and dropout, which is the quantity of Eq. 1 and 7.
(The probabilities that transformers calls ``attentions`` are another one.) What that means by
family is proven in the tests: after rotation in ModernBERT, with the position terms in DeBERTa-v2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from distill.errors import EncoderUnsupported
from distill.models.attention import (
    AttentionRecorder,
    capture_attention,
    enable_capture,
    lower_layers,
    use_layers,
)
from distill.models.limits import filter_inputs
from distill.models.qkv import Heads


@dataclass(frozen=True, slots=True)
class Activations:
    """What one forward pass of a model showed; layers are counted from 1.

    Attributes:
        embedding: What the first layer reads, shape (batch, length, width): the output of the
            embedding layer, brought to the model's width where the table is narrower (ELECTRA).
        hidden: Layer to its output, shape (batch, length, width). Where a norm follows the last
            layer (ModernBERT), the last one is taken behind it.
        scores: Layer to its raw scores QKᵀ/√d, float32 of shape (batch, heads, length, length).
        reach: Layer to the distance in tokens that it attends to; layers that see everything
            are left out.
        heads: Layer to its queries, keys and values.
        logits: Of the head, shape (batch, classes); nothing where the head was not run.
    """

    embedding: Tensor
    hidden: Mapping[int, Tensor]
    scores: Mapping[int, Tensor]
    reach: Mapping[int, int]
    heads: Mapping[int, Heads]
    logits: Tensor | None = None

    def scores_of(self, layer: int) -> Tensor:
        """A layer's scores, seen or made of its heads."""
        return self.scores[layer] if layer in self.scores else self.heads[layer].scores()


class ActivationCapture:
    """An encoder together with the layers to listen to; of some kinds, those above are not run.

    Deliberately no ``nn.Module``: a module that holds a tap does not own the model's weights.

    Args:
        model: A model with or without a task head; where scores or heads are wanted, its
            attention implementation is replaced by one that computes the same.
        layers: Layers, counted from 1, whose hidden states are wanted.
        scores: Layers whose scores are wanted; ``layers`` if left out.
        heads: Layers whose queries, keys and values are wanted.
        head: Run the task head as well.
        longest: Of longer texts ``heads`` are given in place of ``scores``, where they say all.

    Raises:
        EncoderUnsupported: The architecture does not show its attention, and it is wanted.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[int],
        *,
        scores: Sequence[int] | None = None,
        heads: Sequence[int] = (),
        head: bool = False,
        longest: int | None = None,
    ) -> None:
        self.model = model
        self.layers = tuple(layers)
        self.scores = self.layers if scores is None else tuple(scores)
        self.heads = tuple(heads)
        self.longest = longest
        self._run = model if head else model.base_model
        self._modules = enable_capture(model) if self.scores or self.heads else []
        highest = max((1, *self.layers, *self.scores, *self.heads))  # one shows what it reads
        self.height = int(model.config.num_hidden_layers)
        self._low = None if head else lower_layers(model, highest)
        if self._low is not None:
            self.height = highest

    def __call__(self, **inputs: Tensor) -> Activations:
        """Run the model.

        Args:
            **inputs: ``input_ids`` and ``attention_mask``, shape (batch, length), and what else
                the tokenizer gives.

        Raises:
            EncoderUnsupported: It ran another number of layers than its config says.
        """
        recorder = AttentionRecorder(self.scores, self.heads, self.longest)
        with capture_attention(self._modules, recorder), use_layers(self.model, self._low):
            output = self._run(
                **filter_inputs(self.model, inputs), output_hidden_states=[0, *self.layers]
            )
        hidden = output.hidden_states
        self._check([hidden[layer] for layer in (0, *self.layers)], len(hidden) - 1, recorder.calls)
        return Activations(
            embedding=hidden[0],
            hidden={layer: hidden[layer] for layer in self.layers},
            scores=recorder.scores,
            reach=recorder.reach,
            heads=recorder.heads,
            logits=getattr(output, "logits", None),
        )

    def _check(self, states: Sequence[Tensor], layers: int, attentions: int) -> None:
        """Every layer was seen once, and reads and gives the same tokens."""
        expected = self.height
        calls = {layers, attentions} if self._modules else {layers}
        if calls != {expected} or len({state.shape[1] for state in states}) > 1:
            raise EncoderUnsupported(
                f"{type(self.model).__name__} does not show its layers: expected {expected} layers "
                f"over the same tokens, found {layers} hidden states, {attentions} attentions and "
                f"lengths {', '.join(str(state.shape[1]) for state in states)}.",
                "Use --recipe logits, which looks at the answers only.",
            )
