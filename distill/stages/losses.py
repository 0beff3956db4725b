"""Losses of distillation: tensors in, one float32 scalar out.

No model, no file, no device. Everything is computed in float32 with autocast switched off,
whatever precision the forward passes ran in. Equation numbers are those of the TinyBERT paper, as
docs/method.md states them; losses of other papers name theirs. Student and teacher have one shape
where nothing else is said; masks, (batch, length), are 1 for real tokens and 0 for padding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from augment.contract import UNLABELED
from distill.models.qkv import QKV

Reduction = Literal["masked", "official"]
LogitsLoss = Literal["soft_cross_entropy", "kl", "mse"]
SCORE_FLOOR = -100.0


def attention_score_loss(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    reduction: Reduction = "masked",
    window: int | None = None,
) -> Tensor:
    """Mean squared difference of raw attention scores, Eq. 7 for one layer.

    Scores are QKᵀ/√d before softmax, shape (batch, heads, length, length).

    ``masked`` averages over pairs of a real query and a real key, and over heads: padding
    changes nothing. It leaves out pairs a ``window`` of tokens or further apart: the teacher's
    layer does not attend to them (ModernBERT's local layers), so their scores mean nothing.

    ``official`` is the authors' code (docs/method.md, departure 12): scores of padded keys, and
    scores at or under -100, count as zero on either side, and the mean runs over the whole padded
    square, padded queries included; it depends on the padded length.
    """
    with _float32(student):
        scores = student.float(), teacher.float()
        keys = mask.bool()[:, None, None, :]
        if reduction == "official":
            clean = [s.masked_fill(~keys | (s <= SCORE_FLOOR), 0.0) for s in scores]
            return F.mse_loss(clean[0], clean[1])
        pairs = real_pairs(mask, window)
        return _squares(*scores, pairs) / (pairs.sum() * student.shape[1])


def attention_product_loss(student: QKV, teacher: QKV, mask: Tensor) -> Tensor:
    """The ``masked`` mean of ``attention_score_loss`` without scores (docs/method.md, section 8.3).

    Σ(QKᵀ - Q'K'ᵀ)² over all pairs is ⟨QᵀQ, KᵀK⟩ + ⟨Q'ᵀQ', K'ᵀK'⟩ - 2⟨QᵀQ', KᵀK'⟩: products of
    the size of a head instead of the square of the length, and the same number but for rounding,
    which grows with the part of the scores that both sides have in common: the sums are float64.
    Head sizes may differ.
    """
    with _float32(student.query):
        queries = [_real(qkv.query, mask) * qkv.scale for qkv in (student, teacher)]
        keys = [_real(qkv.key, mask) for qkv in (student, teacher)]
        student_square, teacher_square, product = (
            ((queries[a].mT @ queries[b]).double() * (keys[a].mT @ keys[b])).sum()
            for a, b in ((0, 0), (1, 1), (0, 1))
        )
        pairs = mask.sum(dim=1).float().square().sum() * student.query.shape[1]
        squares = student_square + teacher_square - 2 * product
        return (squares.clamp(min=0.0) / pairs).float()


def _real(states: Tensor, mask: Tensor) -> Tensor:
    return states.float().masked_fill(~mask.bool()[:, None, :, None], 0.0)


def real_pairs(mask: Tensor, window: int | None = None) -> Tensor:
    """Whether query and key are both real tokens, and less than a window of tokens apart.

    Booleans of shape (batch, 1, length, length).
    """
    real = mask.bool()
    pairs = real[:, None, None, :] & real[:, None, :, None]
    if window is not None:
        positions = torch.arange(mask.shape[1], device=mask.device)
        pairs = pairs & ((positions[:, None] - positions).abs() < window)
    return pairs


def hidden_loss(
    student: Tensor, teacher: Tensor, mask: Tensor, reduction: Reduction = "masked"
) -> Tensor:
    """Mean squared difference of hidden states, Eq. 8, or of embeddings, Eq. 9.

    The student's, projected (H·W), and those of the mapped teacher layer have the shape (batch,
    length, teacher width). ``masked`` is the mean over real tokens, ``official`` over all
    positions.
    """
    with _float32(student):
        if reduction == "official":
            return F.mse_loss(student.float(), teacher.float())
        tokens = mask.bool()[:, :, None]
        squares = _squares(student.float(), teacher.float(), tokens)
        return squares / (tokens.sum() * student.shape[-1])


class _MaskedSquares(torch.autograd.Function):
    """Σ(student - teacher)² where the mask is true: three passes over memory instead of nine.

    The numbers, and those of the gradient, are the bits that autograd's own operations give.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        difference = (student - teacher).masked_fill_(~mask, 0.0)
        ctx.save_for_backward(difference)
        return difference.square().sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (difference,) = ctx.saved_tensors
        return difference * (2 * gradient), None, None


_squares: Callable[[Tensor, Tensor, Tensor], Tensor] = _MaskedSquares.apply


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    """KL(teacher ‖ student) of relations between tokens: MiniLMv2 (docs/method.md, section 8.2).

    For one of queries, keys or values. Heads are joined and split again into ``heads`` relation
    heads on either side, so the numbers of attention heads and the widths may differ. A relation
    is softmax(A·Aᵀ/√d) over real tokens; the mean, in nats, is over those and the relation heads.

    Args:
        student: Queries, keys or values, shape (batch, heads, length, head size).
        teacher: The same of the teacher; heads and head size may differ.
        mask: Which tokens are real.
        heads: Relation heads; they divide both widths (heads times head size).
    """
    with _float32(student):
        log_student, log_teacher = (
            _log_relations(states.float(), mask.bool(), heads) for states in (student, teacher)
        )
        divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=-1)
        rows = mask.bool()[:, None, :].expand_as(divergence)
        return divergence[rows].mean()


def _log_relations(states: Tensor, real: Tensor, heads: int) -> Tensor:
    """Logarithm of the relations, shape (batch, heads, length, length)."""
    joined = states.transpose(1, 2).flatten(2).masked_fill(~real[:, :, None], 0.0)
    split = joined.view(*joined.shape[:2], heads, -1).transpose(1, 2)
    products = torch.matmul(split, split.mT) * split.shape[-1] ** -0.5
    lowest = torch.finfo(products.dtype).min
    return F.log_softmax(products.masked_fill(~real[:, None, None, :], lowest), dim=-1)


def patient_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of normalized [CLS] states, as in PKD (Sun et al. 2019), for one layer.

    Of the student's projected states and those of the mapped layer, shape (batch, length, width),
    the first token counts. The mean over the width, as in its code: with states of length 1 that
    is small, so its weight is large (the paper searches 10 to 1000).
    """
    with _float32(student):
        first = [F.normalize(states[:, 0].float(), dim=-1) for states in (student, teacher)]
        return F.mse_loss(first[0], first[1])


def cosine_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1 - cosine of last hidden states, as in DistilBERT (Sanh et al. 2019).

    The mean over real tokens, between 0 and 2; states have the shape (batch, length, width).
    """
    with _float32(student):
        real = mask.bool()
        return 1 - F.cosine_similarity(student[real].float(), teacher[real].float(), dim=-1).mean()


def logits_loss(
    student: Tensor,
    teacher: Tensor,
    kind: LogitsLoss = "soft_cross_entropy",
    temperature: float = 1.0,
) -> Tensor:
    """Distance of the student's logits from the teacher's.

    - ``soft_cross_entropy``: against the teacher's softened distribution, Eq. 10. Summed over
      classes and averaged over rows; the authors' code averages over classes too and so divides
      the gradient by their number (docs/method.md, departure 13).
    - ``kl``: the same less the teacher's entropy: 0 where both agree, and the same gradient.
    - ``mse``: mean squared difference of the logits themselves, without temperature; for the
      scores of a regression too, in their units squared.

    Logits have the shape (batch, classes). Both sides are divided by the temperature t > 0; the
    loss is not multiplied by t².
    """
    with _float32(student):
        if kind == "mse":
            return F.mse_loss(student.float(), teacher.float())
        log_target = F.log_softmax(teacher.float() / temperature, dim=-1)
        log_student = F.log_softmax(student.float() / temperature, dim=-1)
        if kind == "kl":
            return (log_target.exp() * (log_target - log_student)).sum(dim=-1).mean()
        return -(log_target.exp() * log_student).sum(dim=-1).mean()


def label_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Loss on hard labels: cross-entropy, or mean squared error for a regression.

    The mean over the rows that have a label; 0, with a gradient of 0, where none has.

    Args:
        logits: Shape (batch, classes), or (batch, 1) for a regression.
        labels: Class numbers (int64) or scores (float32), shape (batch,); see ``has_label``.
        class_weights: What a row of each class counts for in the mean, at least 1, shape
            (classes,); all count the same if left out.
    """
    with _float32(logits):
        known = has_label(labels)
        if class_weights is not None:
            found, some = logits.float()[known], labels[known]
            loss = F.cross_entropy(found, some, weight=class_weights, reduction="sum")
            return loss / label_counts(labels, class_weights).sum().clamp(min=1)
        count = known.sum().clamp(min=1)
        if labels.is_floating_point():
            scores = logits.float().squeeze(-1)
            if known.all():
                return F.mse_loss(scores, labels.float())
            return F.mse_loss(scores[known], labels[known].float(), reduction="sum") / count
        if known.all():
            return F.cross_entropy(logits.float(), labels)
        return F.cross_entropy(logits.float()[known], labels[known], reduction="sum") / count


def label_counts(labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """What each row counts for in the mean of ``label_loss``, shape (batch,)."""
    known = has_label(labels)
    return known if class_weights is None else class_weights[labels.clamp(min=0)] * known


def has_label(labels: Tensor) -> Tensor:
    """Which rows have a label: class numbers that are not -1, scores that are numbers."""
    return ~labels.isnan() if labels.is_floating_point() else labels != UNLABELED


def _float32(like: Tensor) -> torch.autocast:
    return torch.autocast(like.device.type, enabled=False)
