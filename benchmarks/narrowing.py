r"""How much of its teacher's states a narrower student starts with: by random tokens, by rows.

    python -m benchmarks.narrowing --encoders ../shared/models/minilm-l6-mlm ../base/mpnet \
        --json benchmarks/results/narrowing.json

A teacher's layers are made narrower as measured on random tokens, or on 1,024 training rows of a
task. What is told, layer by layer from the embeddings upwards, is the share of the variance of the
teacher's states on GLUE's validation rows that the untrained student's states do not explain by
the projection that it starts with; above 1, their mean would be the better guess.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from benchmarks.low_resource import COLUMNS
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED
from distill.data.versions import ROWS_MEASURED
from distill.models.layer_init import init_from_layers
from distill.models.loading import Encoder, Student, load_encoder
from distill.models.shapes import parse_shape
from distill.stages.layer_mapping import layer_map

VALIDATION, LENGTH = 200, 64
SHAPES = ("3x312-1200-12", "4x312-1200-12")


def encoded(teacher: Encoder, task: str, split: str, most: int) -> Any:
    """Rows of a split as the teacher reads them."""
    table = pq.read_table(SHARED / "data" / "glue" / task / f"{split}.parquet")
    texts = [table.column(name)[:most].to_pylist() for name in COLUMNS[task]]
    return teacher.tokenizer(*texts, truncation=True, max_length=LENGTH)


def unexplained(student: Student, teacher: Encoder, rows: Any) -> list[float]:
    """The share of the variance of the teacher's states, of embeddings and mapped layers."""
    batch = teacher.tokenizer.pad({"input_ids": rows["input_ids"]}, return_tensors="pt")
    mask = batch["attention_mask"].bool()

    def states(model: Any) -> Sequence[Tensor]:
        found: Sequence[Tensor] = model.eval()(**batch, output_hidden_states=True).hidden_states
        return found

    (projection,) = student.pretrained
    shares = []
    with torch.inference_mode():
        ours, theirs = states(student.model), states(teacher.model)
        for own, layer in enumerate((0, *student.mapping)):
            wanted = theirs[layer][mask]
            error = (projection(ours[own][mask]) - wanted).square().sum()
            shares.append(round(float(error / (wanted - wanted.mean(dim=0)).square().sum()), 3))
    return shares


def lines(folder: Path, shape_name: str, task: str) -> Iterator[dict[str, Any]]:
    """What a student starts with, by what its teacher is measured on."""
    teacher = load_encoder(str(folder))
    config = teacher.model.config
    family = "" if config.model_type == "bert" else f"{config.model_type}:"
    shape = parse_shape(f"{family}{shape_name}")
    assert shape is not None
    mapping = layer_map(shape.layers, config.num_hidden_layers, "uniform")
    held_out = encoded(teacher, task, "validation", VALIDATION)
    texts = encoded(teacher, task, "train", ROWS_MEASURED)["input_ids"]
    for name, own in (("random tokens", []), (f"{len(texts):,} rows", texts)):
        began = time.perf_counter()
        student = init_from_layers(shape, teacher, mapping, seed=0, labels={}, texts=own)
        seconds = time.perf_counter() - began
        student = replace(student, mapping=tuple(mapping))
        yield {
            "encoder": folder.name, "shape": shape_name, "task": task, "measured on": name,
            "layers": [0, *mapping], "unexplained": unexplained(student, teacher, held_out),
            "seconds": round(seconds, 1),
        }  # fmt: skip


def main() -> None:
    """Measure, print and keep."""
    parser = arguments(__doc__)
    parser.add_argument("--encoders", nargs="+", type=Path, default=[MLM])
    parser.add_argument("--tasks", nargs="+", choices=COLUMNS, default=[*COLUMNS])
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for folder in options.encoders:
        for shape in SHAPES:
            for task in options.tasks:
                for line in lines(folder.resolve(), shape, task):
                    print(line, flush=True)
                    found.append(line)
    keep({"machine": describe(), "lines": found}, options.json)


if __name__ == "__main__":
    main()
