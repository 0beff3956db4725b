"""Each loss agrees with a few lines of NumPy, and padding changes no masked loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from distill.models.qkv import QKV
from distill.stages.losses import (
    attention_product_loss,
    attention_score_loss,
    cosine_loss,
    hidden_loss,
    label_loss,
    logits_loss,
    patient_loss,
    real_pairs,
    relation_loss,
)

BATCH, HEADS, LENGTH, WIDTH = 3, 2, 7, 5
LENGTHS = (7, 4, 2)
MASK = torch.tensor([[1] * n + [0] * (LENGTH - n) for n in LENGTHS])


def pair(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_masked_attention() -> None:
    student, teacher = pair(BATCH, HEADS, LENGTH, LENGTH)
    real = [
        (student[b, :, :n, :n] - teacher[b, :, :n, :n]).numpy().ravel()
        for b, n in enumerate(LENGTHS)
    ]
    expected = np.mean(np.concatenate(real) ** 2)

    assert attention_score_loss(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sizes", [(5, 5), (5, 8)])
def test_products_of_heads_give_the_masked_attention_loss_and_its_gradient(sizes: Any) -> None:
    """The same number without the scores, whatever stands in the padding."""
    draw = torch.Generator().manual_seed(2)
    ours, theirs = (
        QKV(*torch.randn((3, BATCH, HEADS, LENGTH, size), generator=draw), 0.7 / size)
        for size in sizes
    )
    found = {}
    for name in ("scores", "products"):
        query, key = (t.clone().requires_grad_() for t in (ours.query, ours.key))
        heads = QKV(query, key, ours.value, ours.scale)
        if name == "scores":
            loss = attention_score_loss(heads.scores(), theirs.scores(), MASK)
        else:
            loss = attention_product_loss(heads, theirs, MASK)
        loss.backward()
        found[name] = loss, query.grad, key.grad
    for wanted, product in zip(found["scores"], found["products"], strict=True):
        torch.testing.assert_close(product, wanted, rtol=1e-4, atol=1e-6)

    assert attention_product_loss(theirs, theirs, MASK).item() == pytest.approx(0.0, abs=1e-5)


def test_official_attention_is_that_of_the_released_code() -> None:
    student, teacher = pair(BATCH, HEADS, LENGTH, LENGTH)
    student[0, 0, 0, 0] = -150.0  # a real score under the floor counts as zero too
    added = np.where(MASK.numpy()[:, None, None, :] == 1, 0.0, -10000.0)
    s, t = student.numpy() + added, teacher.numpy() + added
    expected = np.mean((np.where(s <= -100, 0, s) - np.where(t <= -100, 0, t)) ** 2)
    found = attention_score_loss(student, teacher, MASK, "official").item()

    assert found == pytest.approx(expected, rel=1e-6)


def test_hidden() -> None:
    student, teacher = pair(BATCH, LENGTH, WIDTH)
    squares = (student - teacher).numpy() ** 2
    masked = np.concatenate([squares[b, :n].ravel() for b, n in enumerate(LENGTHS)]).mean()
    assert hidden_loss(student, teacher, MASK).item() == pytest.approx(masked, rel=1e-6)
    official = hidden_loss(student, teacher, MASK, "official").item()

    assert official == pytest.approx(squares.mean(), rel=1e-6)


def test_masked_squares_have_the_bits_of_plain_operations() -> None:
    for shape, mask, loss_of, width in (
        ((BATCH, HEADS, LENGTH, LENGTH), real_pairs(MASK), attention_score_loss, HEADS),
        ((BATCH, LENGTH, WIDTH), MASK.bool()[:, :, None], hidden_loss, WIDTH),
    ):
        student, teacher = pair(*shape)
        found, plain = (student.clone().requires_grad_() for _ in range(2))
        loss = loss_of(found, teacher, MASK)
        squares = (plain - teacher).masked_fill(~mask, 0.0).square()
        wanted = squares.sum() / (mask.sum() * width)
        (3 * loss).backward()
        (3 * wanted).backward()
        assert torch.equal(loss, wanted)
        assert torch.equal(found.grad, plain.grad)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_cross_entropy_sums_over_classes(temperature: float) -> None:
    student, teacher = pair(BATCH, 4)
    soft = np.exp(teacher.numpy() / temperature)
    soft /= soft.sum(-1, keepdims=True)
    z = student.numpy() / temperature
    log = z - np.log(np.exp(z).sum(-1, keepdims=True))
    expected = np.mean(-(soft * log).sum(-1))
    found = logits_loss(student, teacher, temperature=temperature).item()

    assert found == pytest.approx(expected, rel=1e-6)


def test_kl_is_zero_where_both_agree_and_has_the_gradient_of_cross_entropy() -> None:
    student, teacher = pair(BATCH, 4)
    assert logits_loss(teacher, teacher, "kl", 2.0).item() == pytest.approx(0, abs=1e-7)
    gradients = []
    for kind in ("kl", "soft_cross_entropy"):
        ours = student.clone().requires_grad_()
        logits_loss(ours, teacher, kind, 2.0).backward()
        gradients.append(ours.grad)
    torch.testing.assert_close(*gradients)
    p, q = (np.exp(z.numpy() / 2) for z in (teacher, student))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    found = logits_loss(student, teacher, "kl", 2.0).item()

    assert found == pytest.approx((p * np.log(p / q)).sum(-1).mean(), rel=1e-5)


def test_logits_by_squared_difference() -> None:
    student, teacher = pair(BATCH, 4)
    expected = ((student - teacher).numpy() ** 2).mean()

    assert logits_loss(student, teacher, "mse").item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_relations_between_models_of_other_heads_and_widths(heads: int) -> None:
    """MiniLMv2 by loops: heads joined, split anew, softmax over the real tokens of a row."""
    generator = torch.Generator().manual_seed(5)
    student = torch.randn((BATCH, 2, LENGTH, 3), generator=generator)
    teacher = torch.randn((BATCH, 3, LENGTH, 4), generator=generator)

    def relation(states, row, head, token):
        joined = states[row].transpose(0, 1).reshape(LENGTH, -1).numpy()
        size = joined.shape[1] // heads
        part = joined[: LENGTHS[row], head * size : (head + 1) * size]
        scores = np.exp(part @ part[token] / np.sqrt(size))
        return scores / scores.sum()

    divergences = []
    for row, length in enumerate(LENGTHS):
        for head in range(heads):
            for token in range(length):
                p, q = (relation(s, row, head, token) for s in (teacher, student))
                divergences.append((p * np.log(p / q)).sum())
    found = relation_loss(student, teacher, MASK, heads).item()

    assert found == pytest.approx(np.mean(divergences), rel=1e-5)
    assert relation_loss(teacher, teacher, MASK, heads).item() == pytest.approx(0, abs=1e-7)


def test_patient_looks_at_the_direction_of_the_first_token() -> None:
    student, teacher = pair(BATCH, LENGTH, WIDTH)
    s, t = (x[:, 0].numpy() for x in (student, teacher))
    s, t = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (s, t))

    assert patient_loss(student, teacher).item() == pytest.approx(((s - t) ** 2).mean(), rel=1e-6)
    assert patient_loss(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-7)


def test_cosine_is_a_mean_over_real_tokens() -> None:
    student, teacher = pair(BATCH, LENGTH, WIDTH)
    angles = []
    for row, length in enumerate(LENGTHS):
        for token in range(length):
            s, t = student[row, token].numpy(), teacher[row, token].numpy()
            angles.append(1 - s @ t / (np.linalg.norm(s) * np.linalg.norm(t)))

    assert cosine_loss(student, teacher, MASK).item() == pytest.approx(np.mean(angles), rel=1e-5)
    assert cosine_loss(-teacher, teacher, MASK).item() == pytest.approx(2)


def test_pairs_beyond_the_window_do_not_count() -> None:
    student, teacher = pair(BATCH, HEADS, LENGTH, LENGTH)
    squares = [
        ((student - teacher)[b, :, i, j] ** 2).numpy()
        for b, n in enumerate(LENGTHS)
        for i in range(n)
        for j in range(n)
        if abs(i - j) <= 2
    ]
    found = attention_score_loss(student, teacher, MASK, window=3).item()

    assert found == pytest.approx(np.mean(squares), rel=1e-6)


def test_regression_and_labels() -> None:
    student, teacher = pair(BATCH, 1)
    expected = np.mean((student - teacher).numpy() ** 2)
    assert logits_loss(student, teacher, "mse").item() == pytest.approx(expected, rel=1e-6)
    assert label_loss(student, teacher[:, 0]).item() == pytest.approx(expected, rel=1e-6)
    logits, _ = pair(BATCH, 4)
    labels = torch.tensor([0, 3, 1])
    p = np.exp(logits.numpy())
    p /= p.sum(-1, keepdims=True)
    expected = -np.log(p[range(BATCH), labels]).mean()

    assert label_loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("filler", [0.0, 7.0, float("nan"), float("inf")])
def test_padding_changes_no_masked_loss(filler: Any) -> None:
    grow = torch.nn.functional.pad
    scores, states = pair(BATCH, HEADS, LENGTH, LENGTH), pair(BATCH, LENGTH, WIDTH)
    mask = grow(MASK, (0, 9))
    longer = [grow(s, (0, 9, 0, 9), value=filler) for s in scores]
    assert torch.equal(
        attention_score_loss(*longer, mask), attention_score_loss(*scores, MASK)
    ) or attention_score_loss(*longer, mask).item() == pytest.approx(
        attention_score_loss(*scores, MASK).item(), rel=1e-6
    )
    longer = [grow(s, (0, 0, 0, 9), value=filler) for s in states]
    for loss in (hidden_loss, cosine_loss):
        assert loss(*longer, mask).item() == pytest.approx(loss(*states, MASK).item(), rel=1e-6)
    heads = [torch.stack([s, s.flip(-1)], dim=1) for s in states]
    longer = [grow(h, (0, 0, 0, 9), value=filler) for h in heads]
    found, expected = (relation_loss(*h, m, 5) for h, m in ((longer, mask), (heads, MASK)))

    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_losses_are_float32_under_autocast() -> None:
    student, teacher = (t.bfloat16() for t in pair(BATCH, HEADS, LENGTH, LENGTH))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention_score_loss(student, teacher, MASK)
        soft = logits_loss(student[:, 0, 0], teacher[:, 0, 0])
    assert found.dtype == soft.dtype == torch.float32
    exact = attention_score_loss(student.float(), teacher.float(), MASK)

    assert found.item() == exact.item()
