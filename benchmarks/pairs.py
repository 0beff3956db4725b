"""Sentence pairs that large data sets are made of."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from benchmarks.places import ROOT, SHARED


def mnli_pairs() -> tuple[pa.Table, pa.Table]:
    """Training and matched validation pairs of the real MNLI.

    Where it does not lie beside the checkout, both are the made-up pairs of the sample data.
    """
    real = SHARED / "data" / "glue" / "mnli"
    if real.is_dir():
        train, held_out = (
            pq.read_table(real / f"{split}.parquet") for split in ("train", "validation_matched")
        )
        return train, held_out
    return (made_up := _made_up()), made_up


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
