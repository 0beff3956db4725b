"""What a model costs: parameters, file size, floating-point operations, milliseconds."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import datasets
import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from distill.data.batching import Collator, lengths_of, model_inputs, spread
from distill.evaluation.results import Latency
from distill.evaluation.target import EvaluationTarget, Row
from distill.models.loading import Classifier
from distill.runs.records import Record

BATCH = 32
WARM_UP, REPEATS = 3, 32
MOST_SECONDS = 3.0
INSTRUCTIONS = (
    "avx2", "avx512_f", "avx_vnni", "avx512_vnni", "amx_int8", "neon", "asimd", "dotprod", "i8mm",
)  # fmt: skip
"""Sets of instructions on which the speed of int8 depends."""


class Processor(Record):
    """What the forms were measured on.

    Attributes:
        name: As it calls itself.
        architecture: Such as ``x86_64``.
        instructions: Those of ``INSTRUCTIONS`` that it has.
    """

    name: str
    architecture: str
    instructions: tuple[str, ...]

    @classmethod
    def here(cls) -> Self:
        """This machine's."""
        found = torch.cpu.get_capabilities()
        return cls(
            name=str(found.get("cpu_name", platform.processor())),
            architecture=str(found.get("architecture", platform.machine())),
            instructions=tuple(name for name in INSTRUCTIONS if found.get(name)),
        )


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Parameters of a model: in all, and without embedding tables (words, positions, segments)."""

    total: int
    encoder: int


def parameter_counts(model: nn.Module) -> ParameterCounts:
    """Count the parameters of a model."""
    total = sum(weight.numel() for weight in model.parameters())
    tables = {
        id(module.weight): module.weight.numel()
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    }
    return ParameterCounts(total, total - sum(tables.values()))


def weight_bytes(model: PreTrainedModel) -> int:
    """Size of the weight files that a model was read from, as they are stored; 0 without any."""
    if model.name_or_path:
        for pattern in ("*.safetensors", "pytorch_model*.bin"):
            files = Path(model.name_or_path).glob(pattern)
            if size := sum(file.stat().st_size for file in files):
                return size
    return 0


def flops_per_sentence(classifier: Classifier, rows: datasets.Dataset) -> int:
    """Mean floating-point operations of a forward pass over sentences at their own lengths.

    Matrix products are counted, 2 operations for each multiply-add, without padding. As an
    encoder's count is a polynomial of degree 2 in the length, the counts of a real row at three
    lengths give those of all.
    """
    lengths = lengths_of(rows)
    known, first = np.unique(lengths, return_index=True)
    chosen = sorted({0, len(known) // 2, len(known) - 1})
    counts = [_count(classifier, rows[int(first[at])]) for at in chosen]
    polynomial = np.polyfit(known[chosen], counts, deg=len(chosen) - 1)
    return round(float(np.polyval(polynomial, lengths).mean()))


def _count(classifier: Classifier, row: Row) -> int:
    """Operations for one unpadded row; fused attention kernels would hide theirs."""
    unpadded = Collator(0, fixed_length=len(row["input_ids"]))([row])
    device = classifier.model.device
    inputs = {name: tensor.to(device) for name, tensor in model_inputs(unpadded).items()}
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        classifier.logits(inputs)
    return int(counter.get_total_flops())


def measure_latency(targets: Sequence[EvaluationTarget], share: float = 1.0) -> list[Latency]:
    """Time single sentences and batches of 32 whose lengths are spread like those of the data.

    The models take turns, so that a busy moment of the machine falls on all of them.

    Args:
        targets: The models.
        share: Of the seconds that are usual, where there is less time.
    """
    samples, most = [_spread(target.rows) for target in targets], share * MOST_SECONDS
    singles = _medians(targets, [[[row] for row in rows] for rows in samples], most)
    batches = _medians(targets, [[rows] for rows in samples], most)
    return [
        Latency(
            batch_1=1000 * single,
            throughput_32=BATCH / batch,
            device=target.classifier.model.device.type,
            threads=torch.get_num_threads(),
        )
        for target, single, batch in zip(targets, singles, batches, strict=True)
    ]


def _spread(rows: datasets.Dataset) -> list[Row]:
    """32 rows at evenly spaced ranks of length, in an order that has nothing to do with it."""
    picks = np.random.default_rng(0).permutation(spread(rows, BATCH))
    return [rows[int(at)] for at in picks]


def _medians(
    targets: Sequence[EvaluationTarget], calls: Sequence[Sequence[Sequence[Row]]], most: float
) -> list[float]:
    """Median seconds of a call for each model, over its own calls in turn.

    Where they take long there are fewer, and fewer to warm up: two turns at least.
    """
    seconds: list[list[float]] = [[] for _ in targets]
    began = time.perf_counter()
    for turn in range(WARM_UP + REPEATS):
        for target, batches, measured in zip(targets, calls, seconds, strict=True):
            start = time.perf_counter()
            target.logits(batches[turn % len(batches)])
            measured.append(time.perf_counter() - start)
        if turn and time.perf_counter() - began > most * len(targets):
            break
    warm_up = min(WARM_UP, (turn + 1) // 2)
    return [statistics.median(measured[warm_up:]) for measured in seconds]
