"""What a model costs: parameters, file size, floating-point operations, milliseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from distill.data.batching import Collator, lengths_of, model_inputs, spread
from distill.models.loading import Classifier

BATCH = 32
WARM_UP, REPEATS = 3, 32
MOST_SECONDS = 3.0

Row = dict[str, Any]
Answer = Callable[[Sequence[Row]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Latency:
    """How fast a model answers on real rows; medians after a warm-up, tokenizing left out.

    Attributes:
        batch_1: Milliseconds for one sentence; the median is over different sentences.
        throughput_32: Sentences a second in batches of 32, padded to the longest of them.
        device: ``cpu`` or ``cuda``.
        threads: Threads that the model may use.
    """

    batch_1: float
    throughput_32: float
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class TimedModel:
    """A model that is timed.

    Attributes:
        answer: Rows of the tokenized data set to logits.
        rows: Its tokens of the data, with a ``length`` column.
        device: Where it runs.
    """

    answer: Answer
    rows: datasets.Dataset
    device: str


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Parameters in all, and without embedding tables (words, positions, segments)."""
    total = sum(weight.numel() for weight in model.parameters())
    tables = {
        id(module.weight): module.weight.numel()
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    }
    return total, total - sum(tables.values())


def weight_bytes(model: PreTrainedModel) -> int:
    """Size of the weight files that a model was read from, as they are stored; 0 without any."""
    if model.name_or_path:
        for pattern in ("*.safetensors", "pytorch_model*.bin"):
            files = Path(model.name_or_path).glob(pattern)
            if found := sum(file.stat().st_size for file in files):
                return found
    return 0


def flops_per_sentence(classifier: Classifier, rows: datasets.Dataset) -> int:
    """Mean floating-point operations of a forward pass over sentences at their own lengths.

    Matrix products are counted, 2 operations for each multiply-add, without padding. As an
    encoder's count is a polynomial of degree 2 in the length, the counts of a real row at three
    lengths give those of all.

    Args:
        classifier: In evaluation mode.
        rows: Its tokenized rows with a ``length`` column.
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


def time_answers(contenders: Sequence[TimedModel]) -> list[Latency]:
    """Time single sentences and batches of 32 whose lengths are spread like those of the data.

    The models take turns, so that a busy moment of the machine falls on all of them.
    """
    some = [_spread(contender.rows) for contender in contenders]
    singles = _medians(contenders, [[[row] for row in rows] for rows in some])
    batches = _medians(contenders, [[rows] for rows in some])
    return [
        Latency(1000 * single, BATCH / many, contender.device, torch.get_num_threads())
        for contender, single, many in zip(contenders, singles, batches, strict=True)
    ]


def _spread(rows: datasets.Dataset) -> list[Row]:
    """32 rows at evenly spaced ranks of length, in an order that has nothing to do with it."""
    picks = np.random.default_rng(0).permutation(spread(rows, BATCH))
    return [rows[int(at)] for at in picks]


def _medians(
    contenders: Sequence[TimedModel], calls: Sequence[Sequence[Sequence[Row]]]
) -> list[float]:
    """Median seconds of a call for each contender, over its own calls in turn."""
    seconds: list[list[float]] = [[] for _ in contenders]
    began = time.perf_counter()
    for turn in range(WARM_UP + REPEATS):
        for contender, batches, measured in zip(contenders, calls, seconds, strict=True):
            start = time.perf_counter()
            contender.answer(batches[turn % len(batches)])
            measured.append(time.perf_counter() - start)
        if turn >= 2 * WARM_UP and time.perf_counter() - began > MOST_SECONDS * len(contenders):
            break
    return [statistics.median(measured[WARM_UP:]) for measured in seconds]
