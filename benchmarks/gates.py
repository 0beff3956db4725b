"""What each quality gate does to the labels of generated rows, on real CoLA and SST-2.

    python -m benchmarks.gates --similarity-model DIR --json benchmarks/results/gates.json

A teacher must not judge itself: the judge is another model than the gate's teacher, fine-tuned from
another encoder (where --similarity-model names one) and on other rows (CoLA has too few of them:
there the judge's rows hold the teacher's). Neither has seen the rows that are augmented. Label
agreement is the share of generated rows to which the judge gives the label that it gives to the
original row, or the label of the data.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from augment import Version, augment_task
from augment.analysis.stats import version_stats
from augment.filters.loading import load_teacher
from augment.filters.scorer import Scores
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.tasks import get_task
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED, VECTORS
from distill.evaluation.results import TeacherRecord
from distill.runs.records import TEACHER_RECORD, read_json
from distill.teacher import fine_tune_teacher

TRAINING = """
[teacher]
epochs = 6
max_steps = {steps}
batch_size = 64
learning_rate = 2e-4
evaluations = 3
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a task's training rows are shared out, in a random order that is always the same.

    Attributes:
        judge: First and last row of the judge's part.
        teacher: The same for the gate's teacher.
        trial: The same for the rows that are augmented, which neither has seen.
        steps: Steps of fine-tuning, for the judge and for the teacher.
    """

    judge: tuple[int, int]
    teacher: tuple[int, int]
    trial: tuple[int, int]
    steps: tuple[int, int]


PLANS = {
    "cola": Plan((0, 8000), (4000, 8000), (8000, 8500), (500, 375)),
    "sst2": Plan((0, 12000), (12000, 24000), (24000, 24500), (190, 190)),
}

PROTECTED = {"protect_numbers": True, "protect_negations": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "normalized duplicates": {"normalised_duplicates": True},
    "numbers and negations protected": PROTECTED,
    "probability 0.2": {"probability": 0.2},
    "similarity 0.7": {"min_similarity": 0.7},
    "similarity 0.8": {"min_similarity": 0.8},
    "similarity 0.9": {"min_similarity": 0.9},
    "teacher unchanged": {"teacher_agreement": "unchanged"},
    "teacher gold": {"teacher_agreement": "gold"},
    "all": {
        "normalised_duplicates": True,
        "min_similarity": 0.8,
        "teacher_agreement": "unchanged",
        **PROTECTED,
    },
}
VARIANTS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """What one setting leaves of the generated rows.

    Attributes:
        rows: Generated rows that pass.
        kept: Their share of all that were drawn.
        judge: Share with the judge's label of the original row.
        gold: Share with the label of the data.
        stays_right: Of the rows whose original the judge gets right, by label: the share that it
            still gives that label.
        replaced: Replaced words of all words.
    """

    rows: int
    kept: float
    judge: float
    gold: float
    stays_right: dict[str, float]
    replaced: float


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a task's training rows as a source folder of its own.

    Attributes:
        folder: With ``train.parquet`` and ``validation.parquet`` in it.
        rows: Training rows of the part.
    """

    folder: Path
    rows: int


def cut(task: str, name: str, rows: tuple[int, int], work: Path) -> Part:
    """A part of a task's training rows, with the whole validation split beside it."""
    source, folder = SHARED / "data" / "glue" / task, work / task / name / "source"
    train = pq.read_table(source / "train.parquet")
    order = np.random.default_rng(0).permutation(train.num_rows)[slice(*rows)]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(train.take(np.sort(order)), folder / "train.parquet")
    pq.write_table(pq.read_table(source / "validation.parquet"), folder / "validation.parquet")
    return Part(folder, len(order))


def originals_only(task: str, part: Part) -> Version:
    """A version without replacements, to fine-tune on."""
    recipe = AugmentRecipe(variants=1, protect_patterns=(".",))
    return augment_task(
        task, source=str(part.folder), mlm=str(MLM), vectors=str(VECTORS),
        out=part.folder.parent, recipe=recipe,
    )  # fmt: skip


def fine_tuned(task: str, part: Part, init: str, steps: int) -> Path:
    """A classifier fine-tuned on a part; one that an earlier call left is taken."""
    out, recipe = part.folder.parent / "classifier", part.folder.parent / "recipe.toml"
    recipe.write_text(TRAINING.format(steps=steps))
    fine_tune_teacher(originals_only(task, part), init=init, out=out, recipe=recipe)
    return out


def trial(task: str, part: Part, models: dict[str, str], rows: int, work: Path) -> dict[str, Any]:
    """Augment unseen rows under each setting, and let the judge label what is left."""
    versions = {}
    for name, changes in SETTINGS.items():
        recipe = load_recipe("official", task).model_copy(
            update={"variants": VARIANTS, "leak_guard": name == "all", **changes}
        )
        versions[name] = augment_task(
            task, source=str(part.folder), mlm=str(MLM), vectors=str(VECTORS), recipe=recipe,
            out=work / "versions", limit=rows, store=work / "store",
            teacher=models["teacher"] if "teacher_agreement" in changes else None,
            similarity_model=models["encoder"] if "min_similarity" in changes else None,
        )  # fmt: skip
        print(f"  {task}: {name}: {versions[name].rows('train'):,} rows", flush=True)
    frames = {name: version.to_pandas("train") for name, version in versions.items()}
    spec = get_task(task).spec
    texts = {(text,) for frame in frames.values() for text in frame[spec.text_columns[0]]}
    judge = load_teacher(models["judge"], spec).score(sorted(texts))
    originals = _judged(frames["none"], spec.text_columns[0], judge).query("variant == 0")
    return {
        "source rows": rows,
        "judge on the original rows": float((originals.judged == originals.label).mean()),
        "judge on the original rows by label": {
            name: float((own.judged == own.label).mean())
            for number, name in enumerate(spec.label.names)
            for own in [originals[originals.label == number]]
        },
        "settings": {
            name: asdict(_line(versions[name], _judged(frame, spec.text_columns[0], judge)))
            for name, frame in frames.items()
        },
    }


def _judged(frame: pd.DataFrame, column: str, judge: Scores) -> pd.DataFrame:
    """The rows with the judge's label of each and of its original."""
    frame = frame.assign(judged=[int(judge[(text,)].argmax()) for text in frame[column]])
    own = frame[frame.variant == 0].set_index("idx").judged
    return frame.assign(judged_original=frame.idx.map(own))


def _line(version: Version, judged: pd.DataFrame) -> Line:
    made = judged[judged.variant > 0]
    right = made.judged == made.label
    names, known = version.task.label.names, made.judged_original == made.label
    return Line(
        rows=len(made),
        kept=len(made) / ((len(judged) - len(made)) * VARIANTS),
        judge=float((made.judged == made.judged_original).mean()),
        gold=float(right.mean()),
        stays_right={
            name: float(right[known & (made.label == number)].mean())
            for number, name in enumerate(names)
        },
        replaced=version_stats(version).replacement_rate,
    )


def experiment(task: str, plan: Plan, encoder: str, quick: bool, work: Path) -> dict[str, Any]:
    """Fine-tune judge and teacher, then try every setting."""
    share = 10 if quick else 1
    models, scores = {"encoder": encoder}, {}
    for name, init, rows, steps in (
        ("judge", str(MLM), plan.judge, plan.steps[0]),
        ("teacher", encoder, plan.teacher, plan.steps[1]),
    ):
        folder = fine_tuned(task, cut(task, name, rows, work), init, steps // share)
        models[name] = str(folder)
        record = read_json(folder / TEACHER_RECORD, TeacherRecord)
        scores[name] = record.result.models[0].scores
    part = cut(task, "trial", plan.trial, work)
    found = trial(task, part, models, 400 // share, work / task / "trial")
    return {"plan": asdict(plan), "validation": scores, **found}


def main() -> None:
    """Run both tasks and print the table."""
    parser = arguments(__doc__, quick="a tenth of it: does it run?")
    parser.add_argument("--similarity-model", default=str(MLM), help="a sentence encoder's folder")
    parser.add_argument("--work", type=Path, help="keep models and versions here, and go on there")
    options = parser.parse_args()
    if not MLM.is_dir():
        print(f"skipped: real data and models are not at {SHARED.name}/ beside the checkout")
        return
    results: dict[str, Any] = {
        "machine": describe(),
        "masked LM": MLM.name,
        "sentence encoder": Path(options.similarity_model).name,
    }
    with tempfile.TemporaryDirectory() as scratch:
        for task, plan in PLANS.items():
            work = options.work or Path(scratch)
            found = experiment(task, plan, options.similarity_model, options.quick, work)
            results[task] = found
            print(f"\n{task}: judge right on {found['judge on the original rows']:.3f} originals")
            for name, line in found["settings"].items():
                print(
                    f"  {name:32} kept {line['kept']:.3f} · judge {line['judge']:.3f} · "
                    f"gold {line['gold']:.3f} · replaced {line['replaced']:.3f}"
                )
    keep(results, options.json)


if __name__ == "__main__":
    main()
