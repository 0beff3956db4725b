import pytest
import torch

from distill.models.projections import Projections


def count(**settings):
    return len(Projections(16, 32, layers=3, **settings).maps)


def test_how_many():
    assert count(kind="shared") == 1
    assert count(kind="separate_embedding") == 2
    assert count(kind="per_layer") == 4


@pytest.mark.parametrize(
    ("kind", "which"),
    [("shared", (0, 0, 0, 0)), ("separate_embedding", (0, 1, 1, 1)), ("per_layer", (0, 1, 2, 3))],
)
def test_which_layer_uses_which(kind, which):
    projections = Projections(16, 32, layers=3, kind=kind)
    states = torch.randn(2, 5, 16)
    for layer, index in enumerate(which):
        assert torch.equal(projections(states, layer), projections.maps[index](states))


def test_equal_widths_are_the_identity():
    states = torch.randn(2, 5, 16)
    assert Projections(16, 16, layers=3)(states, 1) is states


@pytest.mark.parametrize("kind", ["shared", "separate_embedding", "per_layer"])
def test_pretrained_ones_are_taken_over(kind):
    weight, bias = torch.randn(32, 16), torch.randn(32)
    projections = Projections(16, 32, layers=3, kind=kind, pretrained=((weight, bias),))
    assert all(
        torch.equal(m.weight, weight) and torch.equal(m.bias, bias) for m in projections.maps
    )
    assert all(m.weight.data_ptr() != weight.data_ptr() for m in projections.maps)


def test_one_for_each_layer_is_taken_over_in_order():
    pairs = tuple((torch.full((32, 16), float(i)), torch.zeros(32)) for i in range(4))
    projections = Projections(16, 32, layers=3, kind="per_layer", pretrained=pairs)
    assert [m.weight[0, 0].item() for m in projections.maps] == [0, 1, 2, 3]
