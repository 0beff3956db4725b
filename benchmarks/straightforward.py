"""The straightforward way to distil, as a yardstick: what one writes first, with nothing spared.

Every row is padded to 64 pieces, everything is float32, eager attention gives the attention of all
layers, the teacher runs at every step, and AdamW goes from weight to weight.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

LENGTH = 64


class Straightforward:
    """One step of stage 1 or stage 2.

    Args:
        student: Trained; its attention becomes eager.
        teacher: At rest; its attention becomes eager.
        mapping: Teacher layer for each student layer, counted from 1.
        batches: ``input_ids`` and ``attention_mask`` of shape (batch, 64), without end.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        mapping: tuple[int, ...],
        batches: Iterator[dict[str, Tensor]],
    ) -> None:
        self.student, self.teacher, self.mapping = student.train(), teacher, mapping
        for model in (student, teacher):
            model.set_attn_implementation("eager")
        self.projection = nn.Linear(student.config.hidden_size, teacher.config.hidden_size)
        weights = [*student.parameters(), *self.projection.parameters()]
        self.optimizer = torch.optim.AdamW(weights, lr=1e-4, fused=False, foreach=False)
        self.batches = batches

    def intermediate(self) -> None:
        """A step on embeddings, hidden states and attention."""
        batch = next(self.batches)
        with torch.no_grad():
            theirs = self.teacher(**batch, output_hidden_states=True, output_attentions=True)
        ours = self.student(**batch, output_hidden_states=True, output_attentions=True)
        loss = F.mse_loss(self.projection(ours.hidden_states[0]), theirs.hidden_states[0])
        for layer, source in enumerate(self.mapping, start=1):
            states = self.projection(ours.hidden_states[layer])
            loss = loss + F.mse_loss(states, theirs.hidden_states[source])
            maps = ours.attentions[layer - 1], theirs.attentions[source - 1]
            loss = loss + F.mse_loss(*maps)
        self._update(loss)

    def prediction(self) -> None:
        """A step on the teacher's answers."""
        batch = next(self.batches)
        with torch.no_grad():
            theirs = self.teacher(**batch)
        ours = self.student(**batch)
        target = theirs.logits.softmax(dim=-1)
        self._update(-(target * ours.logits.log_softmax(dim=-1)).sum(dim=-1).mean())

    def _update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
