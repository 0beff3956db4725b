"""What each quality gate does to the labels of generated rows, on real CoLA and SST-2.

    python -m benchmarks.gates --similarity-model DIR --json benchmarks/results/gates.json

The training rows of a task are cut into three parts that share no row: one trains the judge, one
trains the gate's own teacher (from another encoder, where one is given), the rest is augmented. The
judge therefore has seen neither the rows it judges nor the gate that it is compared with. Label
agreement is the share of generated rows to which the judge gives its label of the original row, or
the label of the data.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from augment import Version, augment_task
from augment.recipe import AugmentRecipe
from distill.teacher import fine_tune_teacher

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
MLM = SHARED / "models" / "minilm-l6-mlm"
VECTORS = SHARED / "vectors" / "glove.6B.50d.first100k.txt"

TRAINING = """
epochs = 6
max_steps = 375
batch_size = 64
learning_rate = 2e-4
evaluations = 3
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a task's training rows as a source folder of its own.

    Attributes:
        folder: With ``train.parquet`` and ``validation.parquet`` in it.
        rows: Training rows of the part.
    """

    folder: Path
    rows: int


def cut(task: str, sizes: dict[str, int], work: Path) -> dict[str, Part]:
    """Parts of a task's training rows that share no row, drawn by a fixed seed."""
    source = SHARED / "data" / "glue" / task
    train = pq.read_table(source / "train.parquet")
    order, parts, at = np.random.default_rng(0).permutation(train.num_rows), {}, 0
    for name, size in sizes.items():
        folder = work / task / name / "source"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(train.take(np.sort(order[at : at + size])), folder / "train.parquet")
        validation = pq.read_table(source / "validation.parquet")
        pq.write_table(validation, folder / "validation.parquet")
        parts[name], at = Part(folder, size), at + size
    return parts


def originals_only(task: str, part: Part) -> Version:
    """A version without replacements, to fine-tune on."""
    recipe = AugmentRecipe(variants=1, protect_patterns=(".",))
    return augment_task(
        task, source=str(part.folder), mlm=str(MLM), vectors=str(VECTORS),
        out=part.folder.parent, recipe=recipe,
    )  # fmt: skip


def fine_tuned(task: str, part: Part, init: str) -> Path:
    """A classifier fine-tuned on a part; one that an earlier call left is taken."""
    out, recipe = part.folder.parent / "classifier", part.folder.parent / "recipe.toml"
    recipe.write_text(f"[teacher]\n{TRAINING}")
    fine_tune_teacher(originals_only(task, part), init=init, out=out, recipe=recipe)
    return out
