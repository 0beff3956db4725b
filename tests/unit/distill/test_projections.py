from __future__ import annotations

from typing import Any

import pytest
import torch

from distill.models.low_rank import Affine
from distill.models.projections import Projections


def numbered(count):
    return tuple(Affine(torch.full((32, 16), float(i)), torch.zeros(32)) for i in range(count))


def count(**settings):
    return len(Projections(16, 32, layers=3, **settings).maps)


def test_how_many() -> None:
    assert count(kind="shared") == 1
    assert count(kind="separate_embedding") == 2
    assert count(kind="per_layer") == 4


@pytest.mark.parametrize(
    ("kind", "which"),
    [("shared", (0, 0, 0, 0)), ("separate_embedding", (0, 1, 1, 1)), ("per_layer", (0, 1, 2, 3))],
)
def test_which_layer_uses_which(kind: str, which: Any) -> None:
    projections = Projections(16, 32, layers=3, kind=kind)
    states = torch.randn(2, 5, 16)
    for layer, index in enumerate(which):
        assert torch.equal(projections(states, layer), projections.maps[index](states))


def test_equal_widths_are_the_identity() -> None:
    states = torch.randn(2, 5, 16)
    assert Projections(16, 16, layers=3)(states, 1) is states


@pytest.mark.parametrize("kind", ["shared", "separate_embedding", "per_layer"])
def test_pretrained_ones_are_taken_over(kind: str) -> None:
    given = Affine(torch.randn(32, 16), torch.randn(32))
    projections = Projections(16, 32, layers=3, kind=kind, pretrained=(given,))
    for linear in projections.maps:
        assert torch.equal(linear.weight, given.weight)
        assert torch.equal(linear.bias, given.bias)
        assert linear.weight.data_ptr() != given.weight.data_ptr()

    assert not projections.notice


def test_one_for_each_layer_is_taken_over_in_order() -> None:
    projections = Projections(16, 32, layers=3, kind="per_layer", pretrained=numbered(4))
    assert [m.weight[0, 0].item() for m in projections.maps] == [0, 1, 2, 3]


@pytest.mark.parametrize(("maps", "width"), [(4, 16), (1, 24)])
def test_those_that_do_not_fit_are_left_out_with_a_notice(maps: int, width: int) -> None:
    torch.manual_seed(0)
    projections = Projections(width, 32, layers=3, pretrained=numbered(maps))
    assert projections.notice == (
        f"start at random: the recipe needs 1 ({width} to 32), the checkpoint has {maps} (16 to 32)"
    )
    torch.manual_seed(0)
    fresh = Projections(width, 32, layers=3)

    assert torch.equal(projections.maps[0].weight, fresh.maps[0].weight)
    assert not fresh.notice
