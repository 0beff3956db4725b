"""The checks of ``distill doctor``: each looks at one thing and says what it saw."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from augment.contract import OutputUnwritable, TaskSpec, Version
from augment.contract.files import nearest
from augment.contract.version import open_checked
from distill.data.versions import count_split, labeled, sample, tokenize_sample
from distill.doctor.calibrate import Plan, calibrate, try_on
from distill.doctor.forecast import Forecast, Rows, forecast
from distill.errors import DataInvalid, ModelInvalid, WeakTeacher
from distill.evaluation.evaluate import majority_baseline, predict, scores_of
from distill.models.bf16 import uses_bfloat16
from distill.models.limits import check_length
from distill.models.loading import Classifier, describe, open_classifier
from distill.pipeline import CHANCE_MARGIN
from distill.progress import span
from distill.recipes.load import DistillRecipe, load_recipe
from distill.stages.layer_mapping import arrows
from distill.training.soft_labels import holds_answers

MOST_ROWS, MOST_SCORED, MOST_CALIBRATED = 50_000, 512, 4_096
MANY_CUT, MANY_UNKNOWN, MUCH = 0.01, 0.02, 0.8
FEW_CLASSES = 6
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding(Generic[T]):
    """What a check saw.

    Attributes:
        value: For later checks.
        finding: A sentence.
        doubt: What to think about, where something is not as it should be.
    """

    value: T
    finding: str
    doubt: str = ""


def version(reference: Version | str | Path) -> Finding[Version]:
    """It opens, and every file has its digest."""
    opened = open_checked(reference)
    rows = " · ".join(f"{split} {opened.rows(split):,}" for split in opened.splits)
    if not any(split in opened.splits for split in opened.task.splits.validation):
        raise DataInvalid(
            f"{opened.reference} has no validation split: nothing could be measured.",
            "Make a version whose source has one.",
        )
    doubt = "" if opened.task.splits.test else "It has no test split: distill predict needs one."
    return Finding(opened, f"{opened.reference} · {rows} rows · every digest right", doubt)


def recipe(source: str | Path, opened: Version) -> Finding[DistillRecipe]:
    """It has no faults."""
    settings = load_recipe(source, opened.task.name)
    return Finding(settings, f"{source} for {opened.task.name}")


def teacher(name: str, opened: Version) -> Finding[Classifier]:
    """It opens, and is a classifier for the task's labels."""
    guide = open_classifier(name, opened.task)
    return Finding(guide, f"{name} · {describe(guide.model)}")


def labels(opened: Version, guide: Classifier) -> Finding[None]:
    """Names and their order, and whether every class has rows."""
    task = opened.task
    if task.label.kind == "regression":
        return Finding(None, "one score for each row")
    train = count_split(opened, task.splits.train)
    names, counts = task.label.names, train.classes
    shown = " · ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
    if len(names) > FEW_CLASSES:
        shown = f"{len(names)} classes, {counts.min():,} to {counts.max():,} rows each"
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    doubts = [guide.notice] if guide.notice else []
    doubts += [f"No training row has the label {', '.join(empty)}."] if empty else []
    return Finding(None, f"{shown} in training", " ".join(doubts))


def tokenizer(opened: Version, guide: Classifier) -> Finding[pa.Table]:
    """It knows the words of the data; the rows looked at come back."""
    rows = sample(opened, opened.task.splits.train, MOST_ROWS)
    reader = guide.tokenizer
    if reader.pad_token_id is None:
        raise ModelInvalid(f"the tokenizer of {guide.name} has no padding piece.")
    pieces = tokenize_sample(opened.task, rows, reader)["input_ids"]
    total = sum(map(len, pieces))
    unknown = sum(ids.count(reader.unk_token_id) for ids in pieces) / total
    finding = f"{len(reader):,} pieces · {unknown:.2%} of the data's are unknown to it"
    doubt = "The teacher's vocabulary hardly fits this data." if unknown > MANY_UNKNOWN else ""
    return Finding(rows, finding, doubt)


def lengths(opened: Version, guide: Classifier, rows: pa.Table, length: int) -> Finding[None]:
    """How many rows are cut."""
    check_length(length, guide.name, guide.model.config)
    found = _lengths(opened.task, rows, guide)
    cut = int((found > length).sum())
    share, total = cut / len(found), opened.rows(opened.task.splits.train)
    about = "" if len(found) == total else f"about, {len(found):,} looked at; "
    finding = (
        f"{round(share * total):,} of {total:,} training rows are cut to {length} pieces "
        f"({about}{share:.2%}, the longest has {found.max():,})"
    )
    for split in opened.task.splits.validation:
        if split in opened.splits:
            theirs = _lengths(opened.task, sample(opened, split, MOST_ROWS), guide)
            finding += f"; {int((theirs > length).sum()):,} of {len(theirs):,} of {split}"
    enough = -(-int(np.quantile(found, 1 - MANY_CUT)) // 8) * 8
    doubt = f"max_length = {enough} in the recipe would cut 1% of them." if share > MANY_CUT else ""
    return Finding(None, finding, doubt)


def _lengths(task: TaskSpec, rows: pa.Table, guide: Classifier) -> NDArray[np.int64]:
    return np.asarray(tokenize_sample(task, rows, guide.tokenizer)["length"], dtype=np.int64)


def score(opened: Version, guide: Classifier, length: int) -> Finding[None]:
    """The teacher knows the task."""
    task = opened.task
    split = next(name for name in task.splits.validation if name in opened.splits)
    total = opened.rows(split)
    some = sample(opened, split, MOST_SCORED)
    rows = labeled(tokenize_sample(task, some, guide.tokenizer, length), task, split)
    if not len(rows):
        raise DataInvalid(f"{opened.reference}: split {split!r} has no labels.")
    own = scores_of(predict(guide, rows), rows, task)[task.selection_metric]
    blind = majority_baseline(task, rows)
    where = f"{split} ({len(rows):,} of {total:,} rows)" if len(rows) < total else split
    finding = f"{task.selection_metric} {own:.3f} on {where}; guessing scores {blind:.3f}"
    if own <= blind + CHANCE_MARGIN:
        raise WeakTeacher(
            f"{finding}. The teacher looks untuned.",
            f"Fine-tune it first: distill teacher {opened.path.parent} --init {guide.name} --out …",
        )
    return Finding(None, finding)


def student(plan: Plan, rows: pa.Table) -> Finding[int]:
    """It can be built and set against the teacher; its number of parameters comes back."""
    built = try_on(plan, rows.slice(0, 8))
    size = sum(weight.numel() for weight in built.model.parameters())
    words = f"{describe(built.model)} · {built.origin}"
    layers = f" · layers {arrows(built.mapping)}" if built.mapping else ""
    return Finding(size, words + layers)


def time(plan: Plan, rows: pa.Table, student_parameters: int) -> Finding[Forecast]:
    """How long the run takes, from a few real steps of every stage."""
    opened, task = plan.version, plan.version.task
    train = count_split(opened, task.splits.train)
    stored = [opened.rows(split) for split in task.splits.validation if split in opened.splits]
    answered = holds_answers(opened, plan.teacher)
    counted = Rows(train.rows, train.original, sum(stored), stored[0], answered)
    every = -(-len(rows) // MOST_CALIBRATED)
    pace = calibrate(plan, rows.take(pa.array(range(0, len(rows), every))))
    found = forecast(plan.recipe, counted, pace, student_parameters)
    parts = [
        f"{part.name} {f'{part.steps:,} steps ' if part.steps else ''}{span(part.seconds)}"
        for part in found.parts
    ]
    precision = "bfloat16" if uses_bfloat16(plan.recipe.precision) else "float32"
    device, threads = plan.teacher.model.device.type, torch.get_num_threads()
    machine = f"{device}, {threads} thread{'s' if threads > 1 else ''}, {precision}"
    return Finding(found, f"about {span(found.seconds)} ({machine}): {' · '.join(parts)}")


def memory(found: Forecast) -> Finding[None]:
    """Whether it fits."""
    total = _memory()
    finding = f"peak {_gigabytes(found.memory_bytes)} in these steps, of {_gigabytes(total)}"
    doubt = "A smaller batch_size needs less." if found.memory_bytes > MUCH * total else ""
    return Finding(None, finding, doubt)


def disk(found: Forecast, out: Path) -> Finding[None]:
    """Whether it fits.

    Raises:
        OutputUnwritable: It does not.
    """
    free = shutil.disk_usage(nearest(out)).free
    finding = f"needs about {_gigabytes(found.disk_bytes)} at {out}, {_gigabytes(free)} are free"
    if found.disk_bytes > free:
        raise OutputUnwritable(finding, "Free some space, or choose another --out.")
    return Finding(None, finding, "That is tight." if found.disk_bytes > MUCH * free else "")


def _memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
