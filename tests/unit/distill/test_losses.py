"""Each loss agrees with a few lines of NumPy, and padding changes no masked loss."""

import numpy as np
import pytest
import torch

from distill.losses import (
    attention_score_loss,
    hidden_loss,
    label_loss,
    regression_loss,
    soft_cross_entropy,
)

BATCH, HEADS, LENGTH, WIDTH = 3, 2, 7, 5
LENGTHS = (7, 4, 2)
MASK = torch.tensor([[1] * n + [0] * (LENGTH - n) for n in LENGTHS])


def pair(*shape):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_masked_attention():
    student, teacher = pair(BATCH, HEADS, LENGTH, LENGTH)
    real = [
        (student[b, :, :n, :n] - teacher[b, :, :n, :n]).numpy().ravel()
        for b, n in enumerate(LENGTHS)
    ]
    expected = np.mean(np.concatenate(real) ** 2)
    assert attention_score_loss(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-6)


def test_official_attention_is_that_of_the_released_code():
    student, teacher = pair(BATCH, HEADS, LENGTH, LENGTH)
    student[0, 0, 0, 0] = -150.0  # a real score under the floor counts as zero too
    added = np.where(MASK.numpy()[:, None, None, :] == 1, 0.0, -10000.0)
    s, t = student.numpy() + added, teacher.numpy() + added
    expected = np.mean((np.where(s <= -100, 0, s) - np.where(t <= -100, 0, t)) ** 2)
    found = attention_score_loss(student, teacher, MASK, "official").item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_hidden():
    student, teacher = pair(BATCH, LENGTH, WIDTH)
    squares = (student - teacher).numpy() ** 2
    masked = np.concatenate([squares[b, :n].ravel() for b, n in enumerate(LENGTHS)]).mean()
    assert hidden_loss(student, teacher, MASK).item() == pytest.approx(masked, rel=1e-6)
    official = hidden_loss(student, teacher, MASK, "official").item()
    assert official == pytest.approx(squares.mean(), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_soft_cross_entropy_sums_over_classes(temperature):
    student, teacher = pair(BATCH, 4)
    soft = np.exp(teacher.numpy() / temperature)
    soft /= soft.sum(-1, keepdims=True)
    z = student.numpy() / temperature
    log = z - np.log(np.exp(z).sum(-1, keepdims=True))
    expected = np.mean(-(soft * log).sum(-1))
    found = soft_cross_entropy(student, teacher, temperature).item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_regression_and_labels():
    student, teacher = pair(BATCH, 1)
    expected = np.mean((student - teacher).numpy() ** 2)
    assert regression_loss(student, teacher).item() == pytest.approx(expected, rel=1e-6)
    assert label_loss(student, teacher[:, 0]).item() == pytest.approx(expected, rel=1e-6)
    logits, _ = pair(BATCH, 4)
    labels = torch.tensor([0, 3, 1])
    p = np.exp(logits.numpy())
    p /= p.sum(-1, keepdims=True)
    expected = -np.log(p[range(BATCH), labels]).mean()
    assert label_loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("filler", [0.0, 7.0, float("nan"), float("inf")])
def test_padding_changes_no_masked_loss(filler):
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
    assert hidden_loss(*longer, mask).item() == pytest.approx(
        hidden_loss(*states, MASK).item(), rel=1e-6
    )


def test_losses_are_float32_under_autocast():
    student, teacher = (t.bfloat16() for t in pair(BATCH, HEADS, LENGTH, LENGTH))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention_score_loss(student, teacher, MASK)
        soft = soft_cross_entropy(student[:, 0, 0], teacher[:, 0, 0])
    assert found.dtype == soft.dtype == torch.float32
    exact = attention_score_loss(student.float(), teacher.float(), MASK)
    assert found.item() == exact.item()
