"""The script that is prepared for an accelerator, on a processor and with two steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from augment.contract import Version
from benchmarks.accelerator import TINY, Sizes, measure
from docs.tools import sections


def test_it_runs_and_its_results_are_a_section_of_the_page(
    version: Version, encoder: Path, tmp_path: Path
) -> None:
    sizes = Sizes({**TINY, "hidden_size": 32, "num_hidden_layers": 2}, "1x32-32-4", 4, (1, 2), 60)
    found = json.loads(json.dumps(measure(sizes, version, encoder, tmp_path)))

    assert list(found["parts"]) == [
        "general distillation", "stage 1 and stage 2", "stage 2, with the teacher's answers",
    ]  # fmt: skip
    for speed in found["parts"].values():
        assert all(math.isfinite(value) for value in speed.values())
        if not torch.cuda.is_available():
            assert (speed["peak_bytes"], speed["share_of_peak"]) == (0, 0)
    text = sections.accelerator(found)
    assert "teacher of 2 x 32 and a student of 1x32-32-4" in text
    assert text.count("\n|") == 5
