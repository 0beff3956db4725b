"""The checks of ``distill doctor``: each looks at one thing and says what it saw."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from augment.contract import OutputUnwritable, TaskSpec, Version
from augment.contract.files import check_output, nearest
from augment.contract.foreign import counted, sized
from augment.contract.version import open_checked
from distill.data.row_sets import check_parts, count_taught
from distill.data.unknown import MANY_UNKNOWN, unknown_share
from distill.data.versions import count_split, labeled, sample, sample_drawn, tokenize_sample
from distill.diagnosis.calibrate import STAGES, StageName, Timings, Trial
from distill.diagnosis.forecast import Forecast, Rows, make_forecast
from distill.errors import DataInvalid, ModelInvalid, WeakTeacher
from distill.evaluation.evaluate import fitness, judge
from distill.models.bf16 import slow_format, uses_bfloat16
from distill.models.guides import GuideSpec, LoadedGuides, load_guides
from distill.models.limits import check_length
from distill.models.loading import Classifier, Encoder, describe
from distill.pipeline import describe_student, intermediate_stage, prediction_stage
from distill.recipes.auto import recipe_for
from distill.recipes.load import DistillRecipe
from distill.recipes.mixtures import count_parts
from distill.runs.directory import RUN
from distill.runs.distributed import device
from distill.runs.progress import span
from distill.training.advice import teacher_advice
from distill.training.kept_labels import keep_labels
from distill.training.teacher_logits import holds_logits

MOST_ROWS, MOST_SCORED = 50_000, 512
MANY_CUT = 0.01
"""A share of rows that are cut which is worth a warning."""
TIGHT = 0.8
"""The share of the memory, or of the free disk, from which on a run is a tight fit."""
FEW_CLASSES = 6
Reader = Classifier | Encoder
"""What a run reads the rows with: a teacher, an encoder, or the student itself."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """One line of the diagnosis.

    Attributes:
        finding: What was seen.
        hint: What to do about it.
        status: ``skipped`` where an error before it stands in the way.
        exit_code: Of an error; otherwise 0.
        value: For later checks.
    """

    finding: str
    hint: str = ""
    status: Literal["ok", "warning", "error", "skipped"] = "ok"
    exit_code: int = 0
    value: T | None = None


def seen(value: T, finding: str, doubt: str = "") -> Check[T]:
    """What a check saw; a doubt says what to think about, and makes it a warning."""
    return Check(finding, doubt, "warning" if doubt else "ok", value=value)


def check_version(reference: Version | str | Path) -> Check[Version]:
    """It opens, and every file has its digest."""
    opened = open_checked(reference)
    rows = " · ".join(f"{split} {counted(opened.rows(split), 'row')}" for split in opened.splits)
    if not any(split in opened.splits for split in opened.task.splits.validation):
        raise DataInvalid(
            f"{opened.reference} has no validation split: nothing could be measured.",
            "Make a version whose source has one.",
        )
    doubt = "" if opened.task.splits.test else "It has no test split: distill predict needs one."
    return seen(opened, f"{opened.reference} · {rows} · every digest right", doubt)


def check_recipe(
    source: str | Path, opened: Version, guides: GuideSpec | None, *, plain: bool
) -> Check[DistillRecipe]:
    """It has no faults, a run from these guides can follow it, and the version has its rows."""
    taught = count_taught(opened) if guides and not guides.teachers else None
    settings = recipe_for(opened, source, taught=taught)
    settings = guides.settle(settings, opened.task) if guides else settings
    drawn = settings.drawn
    stages = {name: drawn[name] for name in drawn if plain or name != "plain"}
    check_parts(opened, stages, taught)
    return seen(settings, f"{source} for {opened.task.name}")


def check_guides(spec: GuideSpec, opened: Version) -> Check[LoadedGuides]:
    """The teacher is a classifier for the task's labels; or an encoder opens, where one is named.

    Raises:
        ModelInvalid: One cannot be used.
    """
    guides = load_guides(spec, opened.task, 0)
    model = guides.model
    if model is None:
        return seen(guides, "none: the soft labels of the version teach")
    nn.Module.to(model.model, device())
    words = f"{model.name} · {describe(model.model)}"
    return seen(guides, words if spec.teachers else f"none; encoder {words}")


def check_soft_labels(opened: Version, spec: GuideSpec, recipe: DistillRecipe) -> Check[None]:
    """They are there and whole, and agree with the labels, where stage 2 learns from them.

    Raises:
        DataInvalid: They are not.
        WeakTeacher: They do not.
    """
    if not spec.reads_soft_labels(recipe):
        there = opened.manifest.soft_labels
        return seen(None, "not used by this recipe" if there else "the version has none")
    kept = keep_labels(opened, recipe.prediction.draws_from, fill=not spec.teachers)
    kept.check_worth()
    return seen(None, " · ".join(kept.sentences()))


def check_labels(opened: Version, guides: LoadedGuides) -> Check[None]:
    """Names and their order, and whether every class has rows."""
    task = opened.task
    if task.label.kind == "regression":
        return seen(None, "one score for each row")
    train = count_split(opened, task.splits.train)
    names, counts = task.label.names, train.classes
    shown = " · ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
    if len(names) > FEW_CLASSES:
        shown = (
            f"{counted(len(names), 'class')}, {counts.min():,} to "
            f"{counted(counts.max(), 'row')} each"
        )
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    doubts = [own.notice for own in guides.teachers if own.notice]
    doubts += [f"No training row has the label {', '.join(empty)}."] if empty else []
    return seen(None, f"{shown} in training", " ".join(doubts))


def check_tokenizer(opened: Version, reading: Reader, *, unlabeled: bool) -> Check[pa.Table]:
    """It knows the words of the data; the rows looked at come back."""
    rows = sample_drawn(opened, MOST_ROWS, unlabeled=unlabeled)
    reader = reading.tokenizer
    if reader.pad_token_id is None:
        raise ModelInvalid(f"the tokenizer of {reading.name} has no padding token.")
    tokens = tokenize_sample(opened.task, rows, reader)["input_ids"]
    unknown = unknown_share(tokens, reader)
    finding = f"{counted(len(reader), 'token')} · {unknown:.2%} of the data's are unknown to it"
    doubt = f"The vocabulary of {reading.name} hardly fits this data."
    doubt = doubt if unknown > MANY_UNKNOWN else ""
    return seen(rows, finding, doubt)


def check_lengths(opened: Version, teacher: Reader, rows: pa.Table, length: int) -> Check[None]:
    """How many rows are cut."""
    check_length(length, teacher.name, teacher.model.config)
    lengths = _lengths(opened.task, rows, teacher)
    cut = int((lengths > length).sum())
    share, total = cut / len(lengths), opened.rows(opened.task.splits.train)
    if rows[opened.task.label.column].null_count:
        total += count_parts(opened)["unlabeled"]
    about = "" if len(lengths) == total else f"about, {len(lengths):,} looked at; "
    finding = (
        f"{round(share * total):,} of {counted(total, 'training row')} are cut to "
        f"{counted(length, 'token')} "
        f"({about}{share:.2%}, the longest has {lengths.max():,})"
    )
    for split in opened.task.splits.validation:
        if split in opened.splits:
            others = _lengths(opened.task, sample(opened, split, MOST_ROWS), teacher)
            finding += f"; {int((others > length).sum()):,} of {len(others):,} of {split}"
    enough = -(-int(np.quantile(lengths, 1 - MANY_CUT)) // 8) * 8
    doubt = f"max_length = {enough} in the recipe would cut 1% of them." if share > MANY_CUT else ""
    return seen(None, finding, doubt)


def _lengths(task: TaskSpec, rows: pa.Table, teacher: Reader) -> NDArray[np.int64]:
    return np.asarray(tokenize_sample(task, rows, teacher.tokenizer)["length"], dtype=np.int64)


def check_score(opened: Version, teacher: Classifier, length: int) -> Check[None]:
    """The teacher knows the task."""
    task = opened.task
    split = next(name for name in task.splits.validation if name in opened.splits)
    total = opened.rows(split)
    some = sample(opened, split, MOST_SCORED)
    rows = labeled(tokenize_sample(task, some, teacher.tokenizer, length), task, split)
    if not len(rows):
        raise DataInvalid(f"{opened.reference}: split {split!r} has no labels.")
    splits = {split: rows}
    judged = judge(teacher, task, splits, intervals=False)
    found = fitness(judged, task, splits)
    if found.weakness:
        originals = count_split(opened, task.splits.train).original
        raise WeakTeacher(
            f"the teacher {found.weakness}",
            teacher_advice(teacher.name, str(opened.path.parent), task.name, originals),
        )
    where = f"{split} ({len(rows):,} of {counted(total, 'row')})" if len(rows) < total else split
    finding = f"{task.selection_metric} {found.score:.3f} on {where}"
    doubt = f"It {judged.collapse.sentence}." if judged.collapse else ""
    return seen(None, f"{finding}; guessing scores {found.guess:.3f}", doubt)


def check_student(trial: Trial) -> Check[Trial]:
    """It can be set against the teacher."""
    intermediate_stage(trial.context, trial.student, trial.guides)
    prediction_stage(trial.context, trial.student, trial.student.model, trial.guides)
    return seen(trial, describe_student(trial.student))


def count_rows(trial: Trial) -> Rows:
    """How many rows the run has, from the manifest of its version."""
    version, recipe = trial.context.version, trial.context.recipe
    task, teachers = version.task, trial.guides.teachers
    rows = count_parts(version)
    stored = [version.rows(split) for split in task.splits.validation if split in version.splits]
    return Rows(
        augmented=rows["original"] + rows["augmented"],
        original=rows["original"],
        validation=sum(stored),
        selecting=stored[0],
        answered=all(holds_logits(version, own.classifier) for own in teachers),
        unlabeled=rows["unlabeled"] if recipe.draws_unlabeled else 0,
        taught=None if teachers else count_taught(version),
    )


def check_time(
    trial: Trial, stages: Sequence[StageName], calibrate: Callable[..., Timings]
) -> Check[Forecast]:
    """How long the run takes, from a few real steps of every stage."""
    recipe, rows = trial.context.recipe, count_rows(trial)
    parameters = sum(weight.numel() for weight in trial.student.model.parameters())
    forecast = make_forecast(recipe, rows, calibrate(trial, stages), parameters)
    parts = [
        f"{part.name} {counted(part.steps, 'step') + ' ' if part.steps else ''}{span(part.seconds)}"
        for part in forecast.parts
    ]
    precision = "bfloat16" if uses_bfloat16(recipe.precision) else "float32"
    place, threads = device().type, torch.get_num_threads()
    machine = f"{place}, {counted(threads, 'thread')}, {precision}"
    doubt = slow_format(recipe.precision)
    early = any(STAGES[stage](recipe).patience for stage in stages)  # ends before its last step
    most = f"{'at most' if early else 'about'} {span(forecast.seconds)}"
    finding = f"{most} ({machine}): {' · '.join(parts)}"
    if kept := forecast.states:
        saved = span(max(0.0, kept.saved - kept.seconds))
        finding += f"; the teacher's states take {sized(kept.bytes)} and save about {saved}"
    return seen(forecast, finding, doubt)


def check_memory(forecast: Forecast) -> Check[None]:
    """Whether it fits."""
    total = _memory()
    finding = f"peak {sized(forecast.memory_bytes)} in these steps, of {sized(total)}"
    doubt = "A smaller batch_size needs less." if forecast.memory_bytes > TIGHT * total else ""
    return seen(None, finding, doubt)


def check_disk(forecast: Forecast, out: Path) -> Check[None]:
    """Whether it fits.

    Raises:
        OutputUnwritable: It does not.
    """
    check_output(out / RUN)
    free = shutil.disk_usage(nearest(out)).free
    finding = f"needs about {sized(forecast.disk_bytes)} at {out}, {sized(free)} are free"
    if forecast.disk_bytes > free:
        raise OutputUnwritable(finding, "Free some space, or choose another --out.")
    return seen(None, finding, "That is tight." if forecast.disk_bytes > TIGHT * free else "")


def _memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
