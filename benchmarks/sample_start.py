"""What a student of the embedded sample scores after few steps, over seeds: how good its start is.

    python -m benchmarks.sample_start --folder sample --json benchmarks/results/sample_start.json

The sample's topics, augmented tenfold; one teacher of 4 layers; students of two shapes that start
from its layers made narrower, distilled in 80 + 80 steps and on labels only in 80. Scores are those
of the 77 validation rows, which also choose the step. What is finished in the folder is not done
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from augment import augment_task
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import ROOT
from benchmarks.seeds import deviation, mean
from distill.pipeline import distill_task
from distill.teacher import fine_tune_teacher

SAMPLE = ROOT / "data" / "sample"
SHAPES, SEEDS = ("2x64-256-4", "1x64-128-4"), 5
RECIPE = """
max_length = 24
seed = {seed}
[teacher]
epochs = 30
max_steps = 80
batch_size = 16
learning_rate = 2e-3
evaluations = 4
[intermediate]
epochs = 40
max_steps = 80
learning_rate = 2e-3
[prediction]
epochs = 40
max_steps = 80
learning_rate = 2e-3
evaluations = 4
[plain]
epochs = 30
max_steps = 80
batch_size = 16
learning_rate = 1e-3
evaluations = 4
"""


def remarks(folder: Path) -> Path:
    """The labeled topics and those that are answered elsewhere, as one file."""
    answers = pd.read_json(SAMPLE / "topics" / "answers.jsonl", lines=True)
    answers["label"] = [
        own if isinstance(own, str) else max(own, key=own.get) for own in answers.soft_labels
    ]
    files = [pd.read_csv(SAMPLE / "topics" / f"{name}.csv") for name in ("train", "validation")]
    found = folder / "remarks.csv"
    pd.concat([*files, answers])[["sentence", "label"]].to_csv(found, index=False)
    return found


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Train what is missing; the scores of every shape and seed."""
    version = augment_task(
        remarks(folder), mlm=SAMPLE / "mlm", vectors=SAMPLE / "vectors.txt", split="65/35",
        variants=10, out=folder / "versions", quiet=True,
    )  # fmt: skip
    recipes = [folder / f"{seed}.toml" for seed in range(SEEDS)]
    for seed, recipe in enumerate(recipes):
        recipe.write_text(RECIPE.format(seed=seed), encoding="utf-8")
    teacher = folder / "teacher"
    init = str(SAMPLE / "mlm")
    fine_tune_teacher(version, init=init, out=teacher, recipe=recipes[0], quiet=True)
    for shape in SHAPES:
        for seed, recipe in enumerate(recipes):
            out = folder / "students" / f"{shape}-{seed}"
            run = distill_task(
                version, teacher=teacher, student=shape, out=out, recipe=recipe, quiet=True
            )
            scores = {own.model: own.scores["validation"]["accuracy"] for own in run.result.models}
            found = {name: round(score, 4) for name, score in scores.items()}
            yield {"shape": shape, "seed": seed, **found}


def main() -> None:
    """Train what is missing; print and keep every line and their means."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    found = list(lines(options.folder.resolve()))
    names = [name for name in found[0] if name not in {"shape", "seed"}]
    table = []
    for shape in SHAPES:
        for name in names:
            own = [line[name] for line in found if line["shape"] == shape]
            scores = {"mean": mean(own), "sd": deviation(own), "seeds": len(own)}
            table.append({"shape": shape, "model": name, **scores})
    for line in (*found, *table):
        print(line)
    keep({"machine": describe(), "table": table, "lines": found}, options.json)


if __name__ == "__main__":
    main()
