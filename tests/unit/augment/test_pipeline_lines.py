"""A recipe that asks for bfloat16 where it is slow is told so before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from augment.contract import models
from augment.pipeline import precision_line


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("faster", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_only_slower_bfloat16_is_told(precision: str, faster: bool, device: str) -> None:
    said = precision_line(precision, device, faster=faster)

    assert bool(said) == (precision == "bfloat16" and not faster and device == "cpu")
    assert not said or 'precision = "float32"' in said


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., bool]]:
    """Whether bfloat16 is found to be faster on a made-up processor."""

    def ask(*, instructions: bool, tiles: bool, slow: torch.dtype) -> bool:
        own, now = torch.nn.functional.linear, [0.0]

        def linear(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            now[0] += 2.0 if rows.dtype is slow else 1.0
            return own(rows[:1], weight[:1])

        with monkeypatch.context() as patch:
            patch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
            patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
            patch.setattr(torch.nn.functional, "linear", linear)
            patch.setattr(models.time, "perf_counter", lambda: now[0])
            models.bfloat16_is_faster.cache_clear()
            return models.bfloat16_is_faster()

    yield ask
    models.bfloat16_is_faster.cache_clear()


@pytest.mark.parametrize(
    ("instructions", "tiles", "slow", "faster"),
    [
        (True, False, torch.float32, True),
        (True, False, torch.bfloat16, False),  # cores that have them at half the rate
        (True, True, torch.bfloat16, True),  # tiles are not tried
        (False, False, torch.float32, False),
    ],
)
def test_instructions_alone_do_not_make_bfloat16_faster(
    processor: Callable[..., bool], instructions: bool, tiles: bool, slow: torch.dtype,
    faster: bool,
) -> None:  # fmt: skip
    assert processor(instructions=instructions, tiles=tiles, slow=slow) is faster
