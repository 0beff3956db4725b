"""Rows a second of a whole run against nlpaug 1.1.11, with the same masked LM and threads.

    python -m benchmarks.against_nlpaug --nlpaug VENV/bin/python --json FILE

nlpaug breaks on transformers 5, so it runs in an environment of its own (nlpaug 1.1.11 with
transformers 4.57) that ``--nlpaug`` names. It makes one variant of a sentence at a time; ours is
the whole command: 5,000 SST-2 rows, recipe ``official`` (N = 20), models loaded, Parquet written,
no candidate store. The two take turns; the ratio is the median over turns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from augment import augment_task
from augment.recipes.load import load_recipe
from augment.sources.read import read_source
from augment.tasks import get_task
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED, VECTORS

SOURCE = SHARED / "data" / "glue" / "sst2"


def nlpaug_rate(python: str, texts: list[str], scratch: Path, threads: int) -> float:
    """Rows a second of nlpaug."""
    asked = scratch / "texts.json"
    asked.write_text(json.dumps(texts))
    script = Path(__file__).with_name("nlpaug_side.py")
    done = subprocess.run(
        [python, str(script), str(MLM), str(asked), str(threads)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return float(told["rows"] / told["seconds"])


def our_rate(precision: str, rows: int, out: Path, threads: int) -> dict[str, float]:
    """Rows a second of a whole run, and what it wrote."""
    recipe = load_recipe("official", "sst2").model_copy(update={"precision": precision})
    began = time.perf_counter()
    version = augment_task(
        "sst2", source=str(SOURCE), mlm=str(MLM), vectors=str(VECTORS), out=out, recipe=recipe,
        limit=rows, threads=threads,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    made = version.rows("train") - rows
    return {"seconds": seconds, "rows": made, "rows_per_second": made / seconds}


def main() -> None:
    """Take turns and print the rates."""
    parser = arguments(__doc__, threads=True)
    parser.add_argument("--nlpaug", required=True, help="python of nlpaug's environment")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    texts = read_source(get_task("sst2"), str(SOURCE)).splits["train"]["sentence"].to_pylist()
    some = texts[:: len(texts) // 100]
    turns: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(options.turns):
            theirs = nlpaug_rate(options.nlpaug, some, Path(scratch), options.threads)
            result: dict[str, Any] = {"nlpaug_rows_per_second": theirs}
            for precision in ("float32", "bfloat16"):
                out = Path(scratch) / f"{precision}-{turn}"
                ours = our_rate(precision, options.rows, out, options.threads)
                result[precision] = {**ours, "ratio": ours["rows_per_second"] / theirs}
            print(json.dumps(result), flush=True)
            turns.append(result)
    ratios = {
        precision: statistics.median(turn[precision]["ratio"] for turn in turns)
        for precision in ("float32", "bfloat16")
    }
    print("median ratios:", {name: round(ratio, 1) for name, ratio in ratios.items()})
    told = {"machine": describe(), "source_rows": options.rows, "turns": turns, "ratio": ratios}
    keep(told, options.json)


if __name__ == "__main__":
    main()
