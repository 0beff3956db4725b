"""Projections from the student's width to the teacher's: W_h and W_e of Eq. 8 and 9."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from distill.models.low_rank import Affine

Pretrained = tuple[Affine, ...]
Kind = Literal["shared", "per_layer", "separate_embedding"]
INIT_STD = 0.02


class Projections(nn.Module):
    """Learnable linear maps with bias, as in the authors' code (docs/method.md, departure 19).

    Args:
        student_width: d'.
        teacher_width: d. If both are equal and nothing is pretrained: the identity.
        layers: M, the student's layers.
        kind: ``shared``: one map for embeddings and all layers; ``separate_embedding``: one for
            the embeddings, one for all layers; ``per_layer``: M + 1 maps.
        pretrained: Of a general student, weights of shape (d, d'): one map, or M + 1. Those that
            do not fit are left out.

    Attributes:
        notice: A sentence about pretrained maps that were left out, or empty.
    """

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        *,
        layers: int,
        kind: Kind = "shared",
        pretrained: Pretrained = (),
    ) -> None:
        super().__init__()
        count = {"shared": 1, "separate_embedding": 2, "per_layer": layers + 1}[kind]
        shape = (teacher_width, student_width)
        right = all(tuple(affine.weight.shape) == shape for affine in pretrained)
        start = pretrained if right and len(pretrained) in (1, count) else ()
        self.notice = ""
        if pretrained and not start:
            rows, columns = pretrained[0].weight.shape
            self.notice = (
                f"start at random: the recipe needs {count} ({student_width} to {teacher_width}), "
                f"the checkpoint has {len(pretrained)} ({columns} to {rows})"
            )
        self.maps = nn.ModuleList()
        if student_width == teacher_width and not pretrained:
            return
        for index in range(count):
            linear = nn.Linear(student_width, teacher_width)
            nn.init.normal_(linear.weight, std=INIT_STD)
            nn.init.zeros_(linear.bias)
            self.maps.append(linear)
            if start:
                affine = start[index % len(start)]
                linear.load_state_dict({"weight": affine.weight, "bias": affine.bias})

    def forward(self, states: Tensor, layer: int) -> Tensor:
        """Project states (batch, length, d') of a layer, 0 for the embeddings, to width d."""
        if not len(self.maps):
            return states
        projected: Tensor = self.maps[min(layer, len(self.maps) - 1)](states)
        return projected


def save_projections(projections: Projections, weights: Path) -> None:
    """Add projections to a model's safetensors file, as published TinyBERT checkpoints hold them.

    Their names are ``fit_dense``, or ``fit_denses.N`` for several; transformers ignores them.
    """
    several = len(projections.maps) > 1
    tensors = load_file(weights)
    for index, linear in enumerate(projections.maps):
        prefix = f"fit_denses.{index}" if several else "fit_dense"
        for name, tensor in linear.named_parameters():
            tensors[f"{prefix}.{name}"] = tensor.detach().cpu().contiguous()
    save_file(tensors, weights, metadata={"format": "pt"})
