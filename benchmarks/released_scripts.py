"""TinyBERT's released ``task_distill.py`` beside this package: score and wall time of both.

    python -m benchmarks.released_scripts FOLDER --version cola --teacher T --start S --json FILE

FOLDER is a checkout of the authors' code with ``task_distill.py`` in it (their repository's folder
``TinyBERT``), which you fetch yourself; nothing of it is kept here. Both sides have the same
teacher (a BERT), the same start (a checkpoint such as a general student), the same training rows,
and the same steps and batches; theirs has the rates of its documentation, ours those of the recipes
that are named. Their script runs in a temporary copy, in a process of its own, and as it is but for
what would stop it: ``CHANGES`` and ``STUBS`` of ``benchmarks.released_copy``. Scores are those of
the best evaluated step on the version's first validation split, by the metric that their script
selects by (of MRPC accuracy); where the version has a test split
with labels, its score stands beside it, and chose nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from augment import write_version
from augment.contract import Version, open_version
from augment.contract.errors import Fault, UsageError
from benchmarks.machine import arguments, describe, keep
from benchmarks.released_copy import (
    BATCH,
    FORMATS,
    SCRIPT,
    bert_folder,
    lower_cases,
    patched,
    write_rows,
)
from distill.data.batching import evenly_spread
from distill.evaluation.compare import evaluate_models
from distill.evaluation.results import Role
from distill.models.folders import folder_digest
from distill.models.limits import resolve_length
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe, load_recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """What both sides do.

    Attributes:
        rows: Training rows, a multiple of the batch.
        first: Epochs of stage 1.
        second: Epochs of stage 2.
        rates: Of their two stages.
        evaluations: Of stage 2.
        head: Whether ``HEAD`` is left out of their copy.
        seed: Of both.
    """

    rows: int
    first: int
    second: int
    rates: tuple[float, float] = (5e-5, 3e-5)
    evaluations: int = 8
    head: bool = False
    seed: int = 42

    def steps(self, epochs: int) -> int:
        """Optimizer steps of so many epochs."""
        return self.rows // BATCH * epochs


@dataclass(frozen=True, slots=True)
class Side:
    """What one side came to.

    Attributes:
        name: Of the side.
        score: Of the best evaluated step on the first validation split, by the side's own account
            and the metric that their script selects by.
        seconds: By the clock, of each stage; starting and reading rows included.
        measured: Scores of the kept student by this package, split by split.
        steps: Of both stages.
    """

    name: str
    score: float
    seconds: tuple[float, ...]
    measured: dict[str, dict[str, float]]
    steps: tuple[int, int]


def theirs(
    copy: Path, version: Version, teacher: Path, start: Path, plan: Plan, work: Path
) -> Side:
    """Both of their stages, each a call of the script."""
    task, length = version.task, resolve_length("auto", version.task)
    form, rows = FORMATS[task.name], work / "rows"
    rows.mkdir()
    write_rows(version.to_pandas("train"), task, rows / "train_aug.tsv")
    write_rows(version.to_pandas(task.splits.validation[0]), task, rows / "dev.tsv")
    guide, student = bert_folder(teacher, work / "teacher"), bert_folder(start, work / "start")
    same = [
        "--teacher_model", guide, "--task_name", form.name, "--data_dir", rows, "--aug_train",
        "--max_seq_length", length, "--train_batch_size", BATCH, "--seed", plan.seed,
        *(["--do_lower_case"] if lower_cases(teacher) else []),
        *([] if torch.cuda.is_available() else ["--no_cuda"]),
    ]  # fmt: skip
    first, second = plan.steps(plan.first), plan.steps(plan.second)
    calls = (
        # it saves where one more than a step's number is a multiple of this: at the last one
        ["--student_model", student, "--output_dir", work / "first", "--learning_rate",
         plan.rates[0], "--num_train_epochs", plan.first, "--eval_step", first + 1],
        ["--student_model", work / "first", "--output_dir", work / "second", "--learning_rate",
         plan.rates[1], "--num_train_epochs", plan.second, "--pred_distill",
         "--eval_step", max(1, (second + 1) // plan.evaluations)],
    )  # fmt: skip
    seconds = tuple(call(copy, [*same, *own]) for own in calls)
    found = (work / "second" / "eval_results.txt").read_text(encoding="utf-8")
    scores = re.findall(rf"(?m)^{form.metric} = (\S+)$", found)
    measured = {} if plan.head else answers_of(work / "second", start, version, work / "kept")
    return Side("released scripts", max(map(float, scores)), seconds, measured, (first, second))


def call(copy: Path, words: Sequence[object]) -> float:
    """Seconds of a call of their script."""
    began, rest = time.monotonic(), filter(None, [os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)], cwd=copy, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), *rest])},
    )  # fmt: skip
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-6:])
        raise UsageError(
            f"their script ended with {done.returncode}:\n{last}", "See what stops it."
        )
    return round(time.monotonic() - began, 1)


def answers_of(
    kept: Path, start: Path, version: Version, place: Path
) -> dict[str, dict[str, float]]:
    """What this package finds their student to score: the same rows, read by another code."""
    shutil.copytree(start, place)
    config = json.loads((start / "config.json").read_text(encoding="utf-8"))
    names = version.task.label.names
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": dict(enumerate(names or ("score",))),
        "label2id": {name: at for at, name in enumerate(names or ("score",))},
    }
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = load_file(kept / "model.safetensors")
    own = {name: value for name, value in weights.items() if not name.startswith("fit_dense")}
    save_file(own, place / "model.safetensors", metadata={"format": "pt"})
    return evaluate_models(place, version).models[0].scores


def ours(name: str, version: Version, teacher: Path, start: Path, plan: Plan, work: Path) -> Side:
    """Both stages by a recipe of this package, on the same rows and steps."""
    began = time.monotonic()
    run = distill_task(
        version, teacher=teacher, student=str(start), out=work / name, plain=False, quiet=True,
        recipe=recipe_of(name, version.task.name, plan), allow_weak_teacher=True,
    )  # fmt: skip
    (model,) = [own for own in run.result.models if own.model == Role.DISTILLED]
    score = model.scores[run.result.selection.split][FORMATS[version.task.name].ours]
    seconds = (round(time.monotonic() - began, 1),)
    steps = plan.steps(plan.first), plan.steps(plan.second)
    return Side(f"recipe {name}", score, seconds, model.scores, steps)


def recipe_of(name: str, task: str, plan: Plan) -> DistillRecipe:
    """A shipped recipe with the plan's epochs, batches and evaluations."""
    settled = load_recipe(name, task).model_dump() | {"seed": plan.seed}
    epochs = {"intermediate": plan.first, "prediction": plan.second}
    for part, count in epochs.items():
        steps = plan.steps(count)
        own = {"epochs": float(count), "max_steps": steps, "batch_size": BATCH, "data": "original"}
        if settled[part]["learning_rate"] == "auto":
            own["learning_rate"] = {"intermediate": 5e-4, "prediction": 1e-4}[part]
        settled[part] |= own
    settled["prediction"] |= {"evaluations": plan.evaluations, "keep": "best", "patience": None}
    return DistillRecipe.model_validate(settled)


def same_rows(version: Version, rows: int, folder: Path) -> tuple[Version, int]:
    """Training rows at even distances, variants included: at most so many, whole batches.

    The task's metric is the one that their script selects by, so that both sides select alike.
    """
    if version.task.name not in FORMATS:
        raise UsageError(
            f"expected one of {', '.join(FORMATS)}, found {version.task.name}.",
            "Their script knows GLUE's tasks by their files alone.",
        )
    selects = {"selection_metric": FORMATS[version.task.name].ours}
    task = version.task.model_copy(update=selects)
    frame = version.to_pandas(task.splits.train)
    count = min(rows, len(frame)) // BATCH * BATCH
    if not count:
        raise UsageError(f"{len(frame)} rows are no batch of {BATCH}.", "Take a larger version.")
    kept = [*task.text_columns, task.label.column]
    splits = {task.splits.train: frame.iloc[evenly_spread(len(frame), count)][kept]}
    for split in (*task.splits.validation, *task.splits.test):
        if split in version.splits:
            splits[split] = version.to_pandas(split)[kept]
    return write_version(task, splits, out=folder), count


def sides(
    folder: Path, version: Version, teacher: Path, start: Path, plan: Plan, recipes: Sequence[str]
) -> Iterator[tuple[Side, list[str]]]:
    """Theirs, then ours by each recipe, on ``same_rows``; beside it what was changed."""
    width = AutoConfig.from_pretrained(teacher).hidden_size
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        changes = patched(folder, work / "code", width, head=plan.head)
        yield theirs(work / "code", version, teacher, start, plan, work), changes
        for name in recipes:
            yield ours(name, version, teacher, start, plan, work), []


@contextmanager
def said() -> Iterator[None]:
    """A fault within is a sentence, and the end."""
    try:
        yield
    except Fault as fault:
        sys.exit(f"{fault.problem}\n{fault.hint}")


def main(words: Sequence[str] | None = None) -> None:
    """Run both sides; print and keep what they came to."""
    parser = arguments(__doc__, threads=True)
    parser.add_argument("folder", type=Path, help="with the authors' task_distill.py")
    parser.add_argument("--version", required=True, help="an augmented version of a GLUE task")
    parser.add_argument("--teacher", type=Path, required=True, help="a BERT tuned on the task")
    parser.add_argument("--start", type=Path, required=True, help="checkpoint of the student")
    parser.add_argument("--rows", type=int, default=32_000, help="the most training rows")
    parser.add_argument("--epochs", nargs=2, type=int, default=[3, 3], help="of both stages")
    parser.add_argument("--rates", nargs=2, type=float, default=[5e-5, 3e-5], help="of theirs")
    parser.add_argument("--recipes", nargs="+", default=["paper", "quick"], help="of ours")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--as-released", action="store_true", help="leave its classifier as it is")
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place, said():
        version, rows = same_rows(open_version(options.version), options.rows, Path(place))
        first, second = options.epochs
        plan = Plan(
            rows, first, second, tuple(options.rates), head=options.as_released, seed=options.seed
        )
        found, changes = [], []
        for side, changed in sides(
            options.folder, version, options.teacher, options.start, plan, options.recipes
        ):
            found.append(asdict(side))
            changes += changed
            print(found[-1], flush=True)
    results = {
        "machine": describe(), "task": version.task.name,
        "metric": FORMATS[version.task.name].ours, "plan": asdict(plan), "changes": changes,
        "teacher": {"name": options.teacher.name, "digest": folder_digest(str(options.teacher))},
        "start": {"name": options.start.name, "digest": folder_digest(str(options.start))},
        "sides": found,
    }  # fmt: skip
    keep(results, options.json)


if __name__ == "__main__":
    main()
