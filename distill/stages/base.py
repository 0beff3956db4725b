"""Stage: the module that the trainer trains; a batch in, named losses out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.models.attention import use_plain_attention


class Stage(nn.Module, ABC):
    """A student with a loss, and the teacher that the loss may need.

    Attributes:
        name: Of the stage: in progress, metrics and the run directory.
        student: The model that is trained.
        teacher: The frozen model, or None.
        trains_all_parameters: Whether every weight of the student takes part in the loss.
        pads_to_fixed_length: Whether the loss counts padding, so that all batches have one length.
    """

    name: str
    trains_all_parameters = True
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
        """Prepare for training on a device; called once.

        Raises:
            AssertionError: The teacher is not frozen in evaluation mode; a fault of this program.
        """
        if device.type == "cpu":
            use_plain_attention(self.student)
        if self.teacher is not None:
            nn.Module.to(self.teacher, device)
            assert_frozen_eval(self.teacher)

    def notices(self) -> dict[str, str]:
        """Label to a sentence that the user should see before anything is trained."""
        return {}

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """Losses of a batch, as ``Collator`` gives it, on the student's device.

        ``loss``, which is minimized, and its terms by name, each as it counts in it; float32
        scalars.
        """
        terms = dict(self.terms(batch))
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    @abstractmethod
    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The named terms of the loss, float32 scalars."""


def assert_frozen_eval(teacher: PreTrainedModel) -> None:
    """Check that a teacher has no gradients and no dropout (docs/method.md, departure 16).

    Raises:
        AssertionError: It has; a fault of this program.
    """
    trainable = [name for name, weight in teacher.named_parameters() if weight.requires_grad]
    training = [name for name, module in teacher.named_modules() if module.training]
    assert not trainable, f"teacher weights are not frozen: {trainable[:3]}"
    assert not training, f"teacher modules are in training mode: {training[:3]}"
