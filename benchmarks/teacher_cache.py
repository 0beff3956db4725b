"""What keeping a teacher's states on disk could win in stage 1, over asking the teacher again.

Kept would be, in bfloat16 and without padding, the embedding output and the hidden states of the
mapped layers, and their queries and keys (which give the scores). A row that is drawn once only is
read back never: this can help only where a stage goes over the same rows again.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from distill.data.batching import Collator, model_inputs
from distill.models.bf16 import autocast
from distill.stages import IntermediateStage

BATCHES = 12
PIECES = {"cola, original rows": 8_551 * 11.4, "mrpc, original rows": 3_668 * 53.0,
          "cola, official": 206_806 * 11.4, "sst2, official": 1_043_120 * 13.3}  # fmt: skip


def bytes_a_piece(width: int, layers: int) -> int:
    """Of what would be kept of one piece."""
    states, queries_and_keys = 1 + layers, 2 * layers
    return 2 * width * (states + queries_and_keys)


def teacher_cache(
    stage: IntermediateStage, rows: datasets.Dataset, batch: int, step: float, precision: str
) -> dict[str, Any]:
    """Seconds of the teacher's pass and of reading what would be kept, and what that would win.

    Args:
        stage: With its teacher as it is trained with.
        rows: Spread over all lengths.
        batch: Rows a step.
        step: Seconds of a whole step.
        precision: Of the teacher's pass.
    """
    collate, asked, read = Collator(0), [], []
    teacher = stage.teacher
    assert teacher is not None
    kept = bytes_a_piece(teacher.config.hidden_size, len(stage.mapping))
    order = np.argsort(np.asarray(rows["length"]), kind="stable")
    parts = np.array_split(order, len(order) // batch)[:: max(1, len(order) // batch // BATCHES)]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "states"
        file.write_bytes(bytes(max(sum(rows[int(i)]["length"] for i in p) for p in parts) * kept))
        for part in parts:
            inputs = model_inputs(collate(list(rows.select(part))))
            began = time.perf_counter()
            with torch.no_grad(), autocast(torch.device("cpu"), precision):
                stage.teacher_capture(**inputs)
            asked.append(time.perf_counter() - began)
            size = int(inputs["attention_mask"].sum()) * kept
            began = time.perf_counter()
            raw = np.fromfile(file, dtype=np.uint8, count=size)
            torch.from_numpy(raw).view(torch.bfloat16).float()
            read.append(time.perf_counter() - began)
    teacher_seconds, read_seconds = statistics.fmean(asked), statistics.fmean(read)
    return {
        "teacher_seconds": teacher_seconds,
        "read_seconds": read_seconds,
        "bytes_a_piece": kept,
        "gigabytes": {name: round(pieces * kept / 1e9, 1) for name, pieces in PIECES.items()},
        "ratio_at_most": step / (step - teacher_seconds + read_seconds),
    }
