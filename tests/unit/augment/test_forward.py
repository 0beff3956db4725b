"""The fast forward against transformers' own, in every precision, batch and number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import BertForMaskedLM

from augment.masked_lm.bert import BertForward
from augment.masked_lm.inputs import MaskedInput, PackedInputs, pack
from augment.masked_lm.kernels import Linear
from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.model import MaskedLM
from distill.models.bf16 import FrozenLinear


@pytest.fixture
def model(mlm_dir: Path) -> BertForMaskedLM:
    return BertForMaskedLM.from_pretrained(mlm_dir).eval()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def some_queries(count: int = 60) -> list[MaskedInput]:
    """Random inputs of many lengths, in the order of their lengths."""
    generator = torch.Generator().manual_seed(1)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    queries = []
    for _ in range(count):
        length = draw(4, 30)
        ids = tuple(draw(5, 60) for _ in range(length))
        queries.append(MaskedInput(ids, draw(1, length + 1), draw(0, length)))
    return sorted(queries, key=lambda query: len(query.ids))


def slow(model: BertForMaskedLM, query: MaskedInput) -> torch.Tensor:
    segments = (torch.arange(len(query.ids)) >= query.first_segment).long()[None]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([query.ids]), token_type_ids=segments).logits
    return logits[0, query.mask_at]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_logits_are_those_of_the_whole_model(
    model: BertForMaskedLM, dtype: str, tolerance: float
) -> None:
    model = model.to(getattr(torch, dtype))
    queries = some_queries()
    found = BertForward(model, getattr(torch, dtype))(pack(queries, "cpu"))
    expected = torch.stack([slow(model, query) for query in queries])

    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def test_a_model_of_one_layer(mlm_dir: Path) -> None:
    model = BertForMaskedLM.from_pretrained(mlm_dir, num_hidden_layers=1).eval()
    queries = some_queries(9)
    found = BertForward(model)(pack(queries, "cpu"))

    torch.testing.assert_close(
        found, torch.stack([slow(model, query) for query in queries]), atol=1e-4, rtol=0
    )


@pytest.mark.usefixtures("two_threads")
def test_bfloat16_has_the_same_bits_in_any_company(model: BertForMaskedLM) -> None:
    """No gap settles a bfloat16 ranking, so its bits must not depend on batch or threads."""
    forward, queries = BertForward(model, torch.bfloat16), some_queries()
    torch.set_num_threads(1)
    together = forward(pack(queries, "cpu"))
    torch.set_num_threads(2)
    parts = [forward(pack(queries[at : at + 7], "cpu")) for at in range(0, len(queries), 7)]
    alone = [forward(pack([query], "cpu")) for query in queries]

    assert torch.equal(torch.cat(parts), together)
    assert torch.equal(torch.cat(alone), together)
    assert together.dtype is torch.float32


@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("activation", ["", "gelu", "gelu_new", "relu"])
def test_a_linear_layer_and_what_follows_it(rows: int, activation: str) -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(48, 32), torch.randn(48), torch.randn(rows, 32)
    residual = torch.randn(rows, 48)
    exact = Linear(weight.double(), bias.double())
    layer = Linear(weight, bias)

    torch.testing.assert_close(
        layer(x, activation=activation).double(),
        exact(x.double(), activation=activation),
        atol=1e-5,
        rtol=1e-5,
    )
    torch.testing.assert_close(
        layer(x, residual=residual).double(),
        torch.addmm(bias.double(), x.double(), weight.double().T) + residual.double(),
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("rows", [2, 33])
@pytest.mark.parametrize("bias", [True, False])
def test_both_packages_compute_bfloat16_alike(rows: int, bias: bool) -> None:
    """A layer of the masked LM and one of a frozen teacher have the same bits, packed or not."""
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(48, 32, bias=bias), torch.randn(rows, 48).bfloat16()
    ours, frozen = Linear.of(layer, torch.bfloat16), FrozenLinear(layer)

    assert torch.equal(ours(x), frozen(x))
    assert ours._packed is (frozen._packed is not None)


@pytest.mark.parametrize("missing", ["_linear_pointwise", "_is_mkldnn_bf16_supported"])
def test_neither_packs_bfloat16_without_its_kernels(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"_linear_pointwise", "_is_mkldnn_bf16_supported"} - {missing}
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**dict.fromkeys(names, lambda: True)))
    layer, x = torch.nn.Linear(48, 32), torch.randn(3, 48).bfloat16()

    assert torch.equal(Linear.of(layer, torch.bfloat16)(x), FrozenLinear(layer)(x))


def test_out_of_memory_halves_the_batch(mlm_dir: Path) -> None:
    lm = load_masked_lm(str(mlm_dir))
    whole, queries = lm._forward, some_queries()

    def small(inputs: PackedInputs) -> torch.Tensor:
        if len(inputs.masks) > 8:
            raise torch.OutOfMemoryError
        return whole(inputs)

    expected = [ranked.token_ids for ranked in lm.rank(queries, 5, words_only=False)]
    lm._forward = small  # type: ignore[assignment]

    assert [ranked.token_ids for ranked in lm.rank(queries, 5, words_only=False)] == expected
    assert lm.tokens_a_batch < 2048


def test_each_batch_too_large_does_not_shrink_the_next_ones_further(mlm_dir: Path) -> None:
    """Batches planned before the first failure fail too: that says nothing new."""
    lm = load_masked_lm(str(mlm_dir))
    whole, queries = lm._forward, some_queries()
    lm.tokens_a_batch = 10 * max(len(query.ids) for query in queries)
    room = lm.tokens_a_batch // 2

    def small(inputs: PackedInputs) -> torch.Tensor:
        if len(inputs.ids) > room:
            raise torch.OutOfMemoryError
        return whole(inputs)

    lm._forward = small  # type: ignore[assignment]
    lm.rank(queries, 5, words_only=False)

    assert room // 2 <= lm.tokens_a_batch <= room


def test_no_room_for_a_single_position_is_an_error(mlm_dir: Path) -> None:
    lm: MaskedLM = load_masked_lm(str(mlm_dir))

    def none(_: PackedInputs) -> torch.Tensor:
        raise torch.OutOfMemoryError

    lm._forward = none  # type: ignore[assignment]
    with pytest.raises(torch.OutOfMemoryError):
        lm.rank(some_queries(3), 5, words_only=False)


def test_packing_keeps_every_input_whole() -> None:
    queries: Sequence[MaskedInput] = some_queries(20)
    packed = pack(queries, "cpu")

    for group, first in zip(packed.groups, _firsts(packed), strict=True):
        rows = packed.ids[group.tokens].view(group.inputs, group.length).tolist()
        assert rows == [list(query.ids) for query in queries[first : first + group.inputs]]
    assert packed.ids[packed.masks].tolist() == [query.ids[query.mask_at] for query in queries]


def _firsts(packed: PackedInputs) -> list[int]:
    firsts, total = [], 0
    for group in packed.groups:
        firsts.append(total)
        total += group.inputs
    return firsts
