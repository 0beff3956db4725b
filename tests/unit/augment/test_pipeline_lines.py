"""A recipe that asks for bfloat16 where it is slow is told so before it runs."""

from __future__ import annotations

import pytest

from augment.pipeline import precision_line


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("in_hardware", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_only_bfloat16_without_hardware_is_told(
    precision: str, in_hardware: bool, device: str
) -> None:
    said = precision_line(precision, device, in_hardware=in_hardware)

    assert bool(said) == (precision == "bfloat16" and not in_hardware and device == "cpu")
    assert not said or 'precision = "float32"' in said
