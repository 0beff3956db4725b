"""The terms of the distillation objective: tensors in, one float32 scalar out.

Pure: no model, no file, no device. Everything is computed in float32 with autocast switched off,
whatever precision the forward passes ran in. Equation numbers are those of the TinyBERT paper.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Reduction = Literal["masked", "official"]
SCORE_FLOOR = -100.0


def attention_score_loss(
    student: Tensor, teacher: Tensor, mask: Tensor, reduction: Reduction = "masked"
) -> Tensor:
    """Mean squared difference of raw attention scores, Eq. 7 for one layer.

    ``masked`` averages over pairs of a real query and a real key, and over heads: padding
    changes nothing. ``official`` does what the authors' code does (METHOD §12 row 12): scores of
    padded keys, and scores at or under -100, count as zero on either side, and the mean runs over
    the whole padded square, padded queries included; it depends on the padded length.

    Args:
        student: QKᵀ/√d of the student, shape (batch, heads, length, length), before softmax.
        teacher: The same of the teacher, same shape.
        mask: 1 for real tokens, 0 for padding, shape (batch, length).
        reduction: ``masked`` or ``official``.

    Returns:
        A float32 scalar.
    """
    with _float32(student):
        scores = student.float(), teacher.float()
        keys = mask.bool()[:, None, None, :]
        if reduction == "official":
            clean = [s.masked_fill(~keys | (s <= SCORE_FLOOR), 0.0) for s in scores]
            return F.mse_loss(clean[0], clean[1])
        pairs = keys & mask.bool()[:, None, :, None]
        squares = (scores[0] - scores[1]).masked_fill(~pairs, 0.0).square()
        return squares.sum() / (pairs.sum() * student.shape[1])


def hidden_loss(
    student: Tensor, teacher: Tensor, mask: Tensor, reduction: Reduction = "masked"
) -> Tensor:
    """Mean squared difference of hidden states, Eq. 8, or of embeddings, Eq. 9.

    Args:
        student: Projected states H·W of the student, shape (batch, length, teacher width).
        teacher: States of the mapped teacher layer, same shape.
        mask: 1 for real tokens, 0 for padding, shape (batch, length).
        reduction: ``masked``: mean over real tokens; ``official``: mean over all positions.

    Returns:
        A float32 scalar.
    """
    with _float32(student):
        if reduction == "official":
            return F.mse_loss(student.float(), teacher.float())
        tokens = mask.bool()[:, :, None]
        squares = (student.float() - teacher.float()).masked_fill(~tokens, 0.0).square()
        return squares.sum() / (tokens.sum() * student.shape[-1])


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy against the teacher's softened distribution, Eq. 10.

    Summed over classes and averaged over rows; the authors' code averages over classes too and
    so divides the gradient by their number (METHOD §12 row 13).

    Args:
        student: Logits, shape (batch, classes).
        teacher: Logits, same shape.
        temperature: t > 0; both sides are divided by it. Not multiplied by t².

    Returns:
        A float32 scalar, in nats.
    """
    with _float32(student):
        target = F.softmax(teacher.float() / temperature, dim=-1)
        log_student = F.log_softmax(student.float() / temperature, dim=-1)
        return -(target * log_student).sum(dim=-1).mean()


def regression_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference from the teacher's score, not from the gold one (METHOD §12 row 14).

    Args:
        student: Scores, shape (batch, 1).
        teacher: Scores, same shape.

    Returns:
        A float32 scalar, in squared units of the score.
    """
    with _float32(student):
        return F.mse_loss(student.float(), teacher.float())


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The task's own loss on hard labels: cross-entropy, or squared error for a regression.

    Args:
        logits: Shape (batch, classes), or (batch, 1) for a regression.
        labels: Class numbers (int64) or scores (float32), shape (batch,).

    Returns:
        A float32 scalar.
    """
    with _float32(logits):
        if labels.is_floating_point():
            return F.mse_loss(logits.float().squeeze(-1), labels.float())
        return F.cross_entropy(logits.float(), labels)


def _float32(like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)
