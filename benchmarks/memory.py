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
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augment.contract import open_version
from augment.replacement.candidate_store import describe_store
from benchmarks.machine import arguments, describe, keep
from benchmarks.pairs import mnli_pairs
from benchmarks.peak import SECONDS, Peak
from benchmarks.places import ROOT, SHARED

LIMIT = 3 * 2**30
SMALLEST, LARGEST = 64 * 10**6, 256 * 10**6


def make_source(folder: Path, rows: int) -> None:
    """A folder with ``rows`` training pairs and the real validation pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs, held_out = mnli_pairs()
    pq.write_table(held_out, folder / "validation_matched.parquet")
    with pq.ParquetWriter(folder / "train.parquet", pairs.schema) as writer:
        for start in range(0, rows, pairs.num_rows):
            part = pairs.slice(0, min(pairs.num_rows, rows - start))
            numbers = pa.array(range(start, start + part.num_rows), pairs.schema.field("idx").type)
            writer.write_table(part.set_column(part.column_names.index("idx"), "idx", numbers))


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
        "pss_over_time": peak.thinned(),
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
