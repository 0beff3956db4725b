"""What a stage is: a batch in, named losses out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.models.attention import use_plain_attention


class Stage(nn.Module, ABC):
    """What the trainer knows of a stage.

    Attributes:
        student: The model that is trained.
        teacher: The model that is not, or nothing.
        whole: Whether every weight of the student takes part in the loss.
        pads_to_fixed_length: Whether the loss counts padding, so that all batches have one length.
    """

    name: str
    whole = True
    pads_to_fixed_length = False

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel | None = None) -> None:
        super().__init__()
        self.student = student
        self._outside = (teacher,)

    @property
    def teacher(self) -> PreTrainedModel | None:
        """The teacher, which no ``parameters()`` of this module returns."""
        return self._outside[0]

    def start(self, device: torch.device) -> None:
        """Called once before training: put the teacher to its place and check that it rests."""
        if device.type == "cpu":
            use_plain_attention(self.student)
        if self.teacher is not None:
            nn.Module.to(self.teacher, device)
            assert_frozen_eval(self.teacher)

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """Losses of a batch.

        Returns:
            ``loss``, which is minimized, and its terms by name, each as it counts in ``loss``.
        """
        terms = dict(self.terms(batch))
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    @abstractmethod
    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The named terms of the loss, float32 scalars."""


def assert_frozen_eval(teacher: PreTrainedModel) -> None:
    """The teacher is frozen and in evaluation mode: no dropout (docs/method.md, departure 16).

    Raises:
        AssertionError: It is not; a fault of this program.
    """
    moving = [name for name, weight in teacher.named_parameters() if weight.requires_grad]
    awake = [name for name, module in teacher.named_modules() if module.training]
    assert not moving, f"teacher weights are not frozen: {moving[:3]}"
    assert not awake, f"teacher modules are in training mode: {awake[:3]}"
