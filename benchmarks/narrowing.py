r"""How much of its teacher's states and attention scores a narrower student starts with.

    python -m benchmarks.narrowing --encoders ../shared/models/minilm-l6-mlm ../base/mpnet \
        --json benchmarks/results/narrowing.json

A teacher's layers are made narrower as measured on training rows of a task. What is told is the
share of the variance of the teacher's hidden states (from the embeddings upwards, by the projection
that the student starts with) and raw attention scores on GLUE's validation rows that the untrained
student's do not explain; above 1, their mean would be the better guess.
"""

from __future__ import annotations

import time
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
from distill.models.capture import ActivationCapture
from distill.models.layer_init import init_from_layers
from distill.models.limits import filter_inputs
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


def unexplained(student: Student, teacher: Encoder, rows: Any) -> dict[str, list[float]]:
    """The share of the variance of the teacher's states, of embeddings and layers, and scores."""
    batch = filter_inputs(teacher.model, teacher.tokenizer.pad(dict(rows), return_tensors="pt"))
    mask = batch["attention_mask"].bool()
    pairs = mask[:, None, :, None] & mask[:, None, None, :]
    (projection,) = student.pretrained
    theirs = student.mapping
    ours = range(1, len(theirs) + 1)
    with torch.inference_mode():
        small = ActivationCapture(student.model.eval(), ours)(**batch)
        large = ActivationCapture(teacher.model.eval(), theirs)(**batch)
        states = [_share(projection(small.embedding[mask]), large.embedding[mask])]
        scores = []
        for own, layer in zip(ours, theirs, strict=True):
            states.append(_share(projection(small.hidden[own][mask]), large.hidden[layer][mask]))
            guess, wanted = small.scores_of(own), large.scores_of(layer)
            seen = pairs.expand_as(wanted)
            scores.append(_share(guess[seen], wanted[seen]))
    return {"unexplained": states, "unexplained_scores": scores}


def _share(guess: Tensor, wanted: Tensor) -> float:
    error = (guess - wanted).square().sum()
    return round(float(error / (wanted - wanted.mean(dim=0)).square().sum()), 3)


def line(folder: Path, shape_name: str, task: str) -> dict[str, Any]:
    """What a student of a task's teacher starts with."""
    teacher = load_encoder(str(folder))
    config = teacher.model.config
    family = "" if config.model_type == "bert" else f"{config.model_type}:"
    shape = parse_shape(f"{family}{shape_name}")
    assert shape is not None
    mapping = layer_map(shape.layers, config.num_hidden_layers, "uniform")
    held_out = encoded(teacher, task, "validation", VALIDATION)
    texts = encoded(teacher, task, "train", ROWS_MEASURED)["input_ids"]
    began = time.perf_counter()
    student = init_from_layers(shape, teacher, mapping, seed=0, labels={}, texts=texts)
    seconds = time.perf_counter() - began
    student = replace(student, mapping=tuple(mapping))
    return {
        "encoder": folder.name, "shape": shape_name, "task": task, "rows": len(texts),
        "layers": [0, *mapping], **unexplained(student, teacher, held_out),
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
                found.append(line(folder.resolve(), shape, task))
                print(found[-1], flush=True)
    keep({"machine": describe(), "lines": found}, options.json)


if __name__ == "__main__":
    main()
