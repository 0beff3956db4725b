"""What a large run takes: memory of the whole process tree, shards, store, rows a second.

    python -m benchmarks.memory --rows 400000 --json benchmarks/results/memory.json

Sentence pairs of the real MNLI training set, repeated under new numbers until there are so many
(made-up pairs where it does not lie beside the checkout), go through ``augment run`` with the small
masked LM as a process of its own. Every half second the resident memory of it and its descendants
is added up: PSS, which counts a page shared by several processes once, and RSS. The run can be
stopped and taken up again: it is an ordinary one, in ``--folder``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from augment.contract import open_version
from augment.store import describe_store
from benchmarks.machine import arguments, describe, keep

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SECONDS = 0.5
LIMIT = 3 * 2**30
SMALLEST, LARGEST = 64 * 10**6, 256 * 10**6


@dataclass(slots=True)
class Peak:
    """The largest sums seen, in bytes, and when."""

    pss: int = 0
    rss: int = 0
    processes: int = 0
    at_seconds: float = 0.0
    series: list[tuple[float, int]] = field(default_factory=list)

    def look(self, pid: int, seconds: float) -> None:
        """Add up a process and its descendants as they are now."""
        tree = [memory for memory in map(_memory, _descendants(pid)) if memory]
        pss = sum(memory["Pss"] for memory in tree)
        self.rss = max(self.rss, sum(memory["Rss"] for memory in tree))
        self.processes = max(self.processes, len(tree))
        self.series.append((round(seconds, 1), pss))
        if pss > self.pss:
            self.pss, self.at_seconds = pss, seconds


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = children.read_text().split()
        except OSError:
            continue
        for child in own:
            yield from _descendants(int(child))


def _memory(pid: int) -> dict[str, int]:
    """Pss and Rss of a process in bytes; empty when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, *_ in fields}


def make_source(folder: Path, rows: int) -> None:
    """A folder with ``rows`` training pairs and the real validation pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    real = SHARED / "data" / "glue" / "mnli"
    if real.is_dir():
        pairs, held_out = (
            pq.read_table(real / f"{split}.parquet") for split in ("train", "validation_matched")
        )
    else:
        pairs = held_out = _made_up()
    pq.write_table(held_out, folder / "validation_matched.parquet")
    with pq.ParquetWriter(folder / "train.parquet", pairs.schema) as writer:
        for start in range(0, rows, pairs.num_rows):
            part = pairs.slice(0, min(pairs.num_rows, rows - start))
            numbers = pa.array(range(start, start + part.num_rows), pairs.schema.field("idx").type)
            writer.write_table(part.set_column(part.column_names.index("idx"), "idx", numbers))


def _made_up() -> pa.Table:
    pairs = pa.json.read_json(ROOT / "data" / "sample" / "pairs" / "train.jsonl")
    numbers = range(pairs.num_rows)
    return pa.table(
        {
            "premise": pairs["first"],
            "hypothesis": pairs["second"],
            "label": [number % 3 for number in numbers],
            "idx": pa.array(numbers, pa.int32()),
        }
    )


def run(folder: Path, workers: int) -> tuple[dict[str, Any], Peak, float]:
    """Run to the end under observation: what it printed, its peak, and its seconds."""
    models = SHARED if SHARED.is_dir() else None
    mlm = models / "models" / "tiny-bert-mlm" if models else ROOT / "data" / "sample" / "mlm"
    glove = "vectors/glove.6B.50d.first100k.txt"
    vectors = models / glove if models else ROOT / "data" / "sample" / "vectors.txt"
    command = [sys.executable, "-m", "augment.cli", "run", "mnli", "--source", folder / "source",
               "--mlm", mlm, "--vectors", vectors, "--out", folder / "out", "--workers", workers,
               "--vectors-cache", folder / "vectors", "--json"]  # fmt: skip
    began, peak = time.monotonic(), Peak()
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            peak.look(process.pid, time.monotonic() - began)
            time.sleep(SECONDS)
        printed = process.stdout.read() if process.stdout else b""
    if process.returncode:
        sys.exit(process.returncode)
    return json.loads(printed), peak, time.monotonic() - began


def measured(folder: Path, rows: int, workers: int) -> dict[str, Any]:
    """Everything about one run."""
    manifest, peak, seconds = run(folder, workers)
    version = open_version(manifest["path"])
    shards = [file.bytes for file in version.manifest.files if file.split == "train"]
    step = max(1, len(peak.series) // 40)
    return {
        "machine": describe(),
        "source_rows": rows,
        "rows": version.rows("train"),
        "workers": workers,
        "processes": peak.processes,
        "peak_pss": peak.pss,
        "peak_rss": peak.rss,
        "peak_at_seconds": round(peak.at_seconds, 1),
        "seconds": round(seconds, 1),
        "rows_per_second": round(version.rows("train") / seconds),
        "shards": shards,
        "store_bytes": sum(file.bytes for file in describe_store(folder / "out" / ".candidates")),
        "pss_over_time": peak.series[::step],
    }


def faults(result: dict[str, Any]) -> list[str]:
    """Which limits the run broke; a data set smaller than a shard is one small shard."""
    found = []
    if result["peak_pss"] >= LIMIT:
        found.append(f"{result['peak_pss'] / 2**30:.2f} GiB are not under 3 GiB")
    shards = result["shards"]
    if max(shards) > LARGEST or (len(shards) > 1 and min(shards) < SMALLEST):
        found.append(f"shards of {min(shards) / 1e6:.0f} to {max(shards) / 1e6:.0f} MB")
    return found


def main() -> None:
    """Run, print the figures, and fail where a limit is broken."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=400_000, help="sentence pairs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where source and output go; kept if given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        make_source(folder / "source", options.rows)
        result = measured(folder, options.rows, options.workers)
    shards = [round(size / 1e6) for size in result["shards"]]
    print(f"{result['source_rows']:,} pairs → {result['rows']:,} rows, {result['seconds']:,.0f} s")
    pss, rss = result["peak_pss"] / 2**30, result["peak_rss"] / 2**30
    when = result["peak_at_seconds"]
    print(f"peak of the process tree {pss:.2f} GiB PSS, {rss:.2f} GiB RSS, after {when:,.0f} s")
    print(f"shards {shards} MB · candidate store {result['store_bytes'] / 1e6:,.1f} MB")
    keep(result, options.json)
    if broken := faults(result):
        sys.exit("; ".join(broken))


if __name__ == "__main__":
    main()
