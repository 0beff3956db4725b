"""The machine a figure was measured on, and what it can do at best."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from augment.contract.models import bfloat16_is_faster, processor_computes_bfloat16
from augment.masked_lm.kernels import Linear


def describe() -> dict[str, Any]:
    """Processor, threads and library versions."""
    model = platform.processor()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if "model name" in x), model)
    return {
        "processor": model,
        "kind": kind(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "waiting_threads": waiting(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
    }


def kind() -> str:
    """What its instructions are, such as ``AVX-512 + bfloat16``: that decides what is fast.

    Libraries that are held below them through the environment make it another machine.
    """
    capability = torch.backends.cpu.get_cpu_capability().replace("AVX512", "AVX-512")
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        return f"{capability}, emulated"
    if not processor_computes_bfloat16():
        return capability
    return f"{capability} + bfloat16" if bfloat16_is_faster() else f"{capability}, slow bfloat16"


def waiting() -> str:
    """Whether idle OpenMP threads sleep (PASSIVE, as in the commands) or spin (ACTIVE)."""
    return os.environ["OMP_WAIT_POLICY"]


def arguments(about: str | None, *, threads: bool = False, quick: str = "") -> ArgumentParser:
    """A parser of what benchmarks take: ``--json``, and ``--threads`` and ``--quick`` if asked.

    Args:
        about: What the benchmark says of itself.
        threads: Whether its threads can be chosen.
        quick: What ``--quick`` leaves out; empty where there is no such way.
    """
    parser = ArgumentParser(description=about)
    parser.add_argument("--json", type=Path, help="where the results go")
    if threads:
        parser.add_argument("--threads", type=int, default=2)
    if quick:
        parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def keep(results: dict[str, Any], path: Path | None) -> None:
    """Write results where they were asked for."""
    if path:
        path.write_text(json.dumps(results, indent=1) + "\n")


def tell(results: dict[str, dict[str, Any]], digits: int) -> None:
    """A line for each result with its numbers."""
    for name, result in results.items():
        shown = {k: round(v, digits) for k, v in result.items() if isinstance(v, int | float)}
        print(f"{name}: {shown}")


def interleaved(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Wall seconds of each side, the sides taking turns, after one turn that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def median_ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    """Median over turns of slow / fast, turn by turn."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def gemm_peak(dtype: torch.dtype = torch.float32) -> float:
    """GFLOP/s of one large product, the best of twelve by either of torch's libraries."""
    m, k, n = 2048, 768, 3072
    left, right = torch.randn(m, k).to(dtype), torch.randn(n, k).to(dtype)
    packed = Linear(right, None)
    return max(
        _rate(lambda: left @ right.T, 2 * m * k * n), _rate(lambda: packed(left), 2 * m * k * n)
    )


def _rate(product: Callable[[], Any], operations: int) -> float:
    best = float("inf")
    with torch.inference_mode():
        for _ in range(12):
            began = time.perf_counter()
            product()
            best = min(best, time.perf_counter() - began)
    return operations / best / 1e9
