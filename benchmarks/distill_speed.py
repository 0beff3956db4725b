"""How much faster a step of each stage is than the straightforward way, and where its time goes.

    python -m benchmarks.distill_speed --json benchmarks/results/distill_speed.json

As if without AVX-512: ``--precision float32``, and in the environment ``ONEDNN_MAX_CPU_ISA=AVX2
ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=AVX2``.

A teacher of 12 x 768 and a student of 4 x 312, random weights, batches of 32 rows with the lengths
of SST-2 (of the embedded sample where the real data does not lie beside the checkout). Both sides
take turns; ratios are medians over turns. Ours is the very trainer of ``distill run``, from the end
of one step to the end of the next: loading of rows, clipping, logging and all. The share of the
peak, and the ratio that both sides would have at it, are those of the number format ours ran in.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks.equal_steps import equal_steps
from benchmarks.machine import arguments, describe, gemm_peak, keep, kind, waiting
from benchmarks.places import MLM, ROOT, SHARED
from benchmarks.straightforward import LENGTH, Straightforward
from benchmarks.teacher_cache import teacher_cache
from distill.data.batching import Collator, lengths_of, spread
from distill.evaluation.cost import parameter_counts
from distill.models.bf16 import frozen, uses_bfloat16
from distill.recipes.load import DistillRecipe
from distill.runs.progress import Narrator
from distill.stages import IntermediateStage, PredictionStage, Stage
from distill.training.budget import STEPS, measure_steps
from distill.training.job import Job
from distill.training.metric_log import MetricLog
from distill.training.soft_labels import Piece, SoftLabels

MAPPING = (3, 6, 9, 12)
BATCH = 32
STEPS_A_TURN = 3
TEACHER = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
STUDENT = {
    "hidden_size": 312, "num_hidden_layers": 4, "num_attention_heads": 12,
    "intermediate_size": 1200,
}  # fmt: skip
GOALS = {"stage 1": 12.0, "stage 2": 30.0}
"""Ratios, where the processor computes in bfloat16."""


def real_rows(count: int) -> datasets.Dataset:
    """Rows with the lengths of the real training set, spread over all of them."""
    vocabulary = MLM
    if SHARED.is_dir():
        file = SHARED / "data" / "glue" / "sst2" / "train.parquet"
        texts = pq.read_table(file)["sentence"].to_pylist()
    else:
        vocabulary = ROOT / "data" / "sample" / "mlm"
        texts = (ROOT / "data" / "sample" / "reviews" / "train.csv").read_text().splitlines()
    tokenizer = AutoTokenizer.from_pretrained(vocabulary)
    pieces = tokenizer(texts, truncation=True, max_length=LENGTH, return_token_type_ids=False)
    rows = [
        {"input_ids": ids, "length": len(ids), "labels": number % 2, "idx": number, "variant": 0}
        for number, ids in enumerate(pieces["input_ids"])
    ]
    table = datasets.Dataset.from_list(rows)
    return table.select(np.sort(spread(table, min(count, len(table)))))


def model(size: dict[str, int]) -> BertForSequenceClassification:
    """A classifier with random weights, which drops nothing, like the stages of ``quick``."""
    torch.manual_seed(0)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForSequenceClassification(BertConfig(vocab_size=30522, **size, **still))  # type: ignore[arg-type]


def teacher() -> BertForSequenceClassification:
    """At rest."""
    guide = model(TEACHER).eval()
    return guide.requires_grad_(False)


def padded_batches(rows: datasets.Dataset) -> Iterator[dict[str, Tensor]]:
    """Random batches of rows, each padded to 64 pieces."""
    collate = Collator(0, LENGTH)
    draw = np.random.default_rng(0)
    while True:
        batch = collate(list(rows.select(draw.choice(len(rows), BATCH, replace=False))))
        yield {name: batch[name] for name in ("input_ids", "attention_mask")}


def settings(precision: str) -> DistillRecipe:
    """The recipe ``quick`` in a number format, with numbers wherever it says ``auto``."""
    recipe = equal_steps("sst2", 0, (STEPS, STEPS), BATCH, "original")
    return recipe.model_copy(update={"precision": precision})


def job(
    name: str, stage: Stage, rows: datasets.Dataset, folder: Path, recipe: DistillRecipe
) -> Job:
    """What ``distill run`` trains in a stage."""
    training = recipe.intermediate if name == "stage 1" else recipe.prediction
    zeros = Piece(np.arange(len(rows)), np.zeros((len(rows), 2), dtype=np.float32))
    soft = SoftLabels(((zeros,),)) if name == "stage 2" else None
    return Job(
        stage=stage, rows=rows, collator=Collator(0), training=training, seed=0,
        precision=recipe.precision, folder=folder, log=MetricLog(None),
        narrator=Narrator(quiet=True), title=name, soft_labels=soft,
    )  # fmt: skip


def stage_of(name: str, recipe: DistillRecipe) -> Stage:
    """A stage as ``distill run`` builds it."""
    if name == "stage 1":
        guide = frozen(teacher(), recipe.precision)
        return IntermediateStage(model(STUDENT), guide, MAPPING, recipe=recipe.intermediate)
    return PredictionStage(model(STUDENT), recipe.prediction)


def compare(name: str, rows: datasets.Dataset, turns: int, recipe: DistillRecipe) -> dict[str, Any]:
    """Seconds a step on both sides, and the ratio."""
    slow = Straightforward(model(STUDENT), teacher(), MAPPING, padded_batches(rows))
    step = slow.intermediate if name == "stage 1" else slow.prediction
    stage, ours, theirs = stage_of(name, recipe), [], []
    step()
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(turns):
            began = time.perf_counter()
            for _ in range(STEPS_A_TURN):
                step()
            theirs.append((time.perf_counter() - began) / STEPS_A_TURN)
            trial = job(name, stage, rows, Path(scratch) / "job", recipe)
            ours.append(measure_steps(trial, 60).step)
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    return {
        "straightforward_seconds": statistics.median(theirs),
        "seconds": statistics.median(ours),
        "ratio": statistics.median(ratios),
    }


def operations(name: str, tokens: float) -> float:
    """GFLOP of a step on so many tokens: 2 a weight in a forward pass, 6 where it is trained."""
    student, guide = (
        parameter_counts(model(size).base_model).encoder for size in (STUDENT, TEACHER)
    )
    return tokens * (6 * student + (2 * guide if name == "stage 1" else 0)) / 1e9


def profile(name: str, rows: datasets.Dataset, recipe: DistillRecipe) -> list[dict[str, Any]]:
    """The ten operations that took most of a few steps, with their share of the whole."""
    with tempfile.TemporaryDirectory() as scratch:
        stage = stage_of(name, recipe)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            measure_steps(job(name, stage, rows, Path(scratch) / "job", recipe), 2)
    events = sorted(seen.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        {"operation": event.key, "share": round(event.self_cpu_time_total / total, 3)}
        for event in events[:10]
    ]


def measured(name: str, rows: datasets.Dataset, turns: int, precision: str) -> dict[str, Any]:
    """Everything about one stage."""
    recipe = settings(precision)
    peaks = {format_: gemm_peak(getattr(torch, format_)) for format_ in ("float32", precision)}
    work = operations(name, float(lengths_of(rows).mean()) * BATCH)
    padded = operations("stage 1", BATCH * LENGTH)
    found = compare(name, rows, turns, recipe)
    found |= {
        "format": precision,
        "goal": GOALS[name] if precision == "bfloat16" else None,
        "gemm_peak_gflops": peaks,
        "gflop": work,
        "share_of_peak": work / found["seconds"] / peaks[precision],
        "ratio_if_both_ran_at_peak": (padded / peaks["float32"]) / (work / peaks[precision]),
        "profile": profile(name, rows, recipe),
    }
    if name == "stage 1":
        stage = stage_of(name, recipe)
        assert isinstance(stage, IntermediateStage)
        cache = teacher_cache(stage, rows, BATCH, found["seconds"], precision)
        found["teacher_cache"] = cache
    return found


def show(name: str, found: dict[str, Any]) -> None:
    """One stage on the terminal."""
    goal = f" (goal {found['goal']:.0f}x)" if found["goal"] else ""
    print(
        f"{name}: {1e3 * found['straightforward_seconds']:,.0f} ms → "
        f"{1e3 * found['seconds']:,.0f} ms = {found['ratio']:.1f}x{goal} in {found['format']}: "
        f"{100 * found['share_of_peak']:.0f}% of its peak; both sides at their peaks would be "
        f"{found['ratio_if_both_ran_at_peak']:.1f}x"
    )
    if cache := found.get("teacher_cache"):
        print(f"    kept teacher states would win at most {cache['ratio_at_most']:.1f}x")
    for line in found["profile"]:
        print(f"    {100 * line['share']:5.1f}%  {line['operation']}")


def main() -> None:
    """Compare, count, profile, print."""
    parser = arguments(__doc__, threads=True, quick="three turns instead of nine")
    parser.add_argument("--precision", default="auto", choices=["auto", "bfloat16", "float32"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    precision = "bfloat16" if uses_bfloat16(options.precision) else "float32"
    print(f"{kind()}, {options.threads} threads, waiting: {waiting()}, {precision}")
    rows = real_rows(STEPS * BATCH)
    results: dict[str, Any] = {
        "machine": describe(),
        "tokens_per_step": float(lengths_of(rows).mean()) * BATCH,
        "padded_tokens_per_step": BATCH * LENGTH,
        "stages": {},
    }
    for name in GOALS:
        results["stages"][name] = measured(name, rows, 3 if options.quick else 9, precision)
        show(name, results["stages"][name])
    keep(results, options.json)


if __name__ == "__main__":
    main()
