"""What a student learns from, as the user names it: teachers, or the soft labels of the rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from typing import Any

from augment.contract import TaskSpec
from augment.contract.recipes import twice
from distill.errors import UsageError
from distill.models.folders import folder_digest
from distill.models.loading import Classifier, Encoder, load_classifier, load_encoder
from distill.models.seeding import seeded
from distill.models.students import CheckpointSpec, Init, StudentSpec, parse_student
from distill.recipes.load import DistillRecipe

LABELS = "labels"
"""What stands in a teacher's place where the soft labels of the rows teach."""


@dataclass(frozen=True, slots=True)
class GuideSpec:
    """What a student learns from.

    Attributes:
        teachers: Folders or hub names of classifiers; none where the rows' soft labels teach.
        encoder: Stands in for a teacher in stage 1 there, and gives vocabulary and layers.
    """

    teachers: tuple[str, ...]
    encoder: str | None = None

    @property
    def model(self) -> str | None:
        """The model that gives a student its vocabulary and layers, if there is one."""
        return self.teachers[0] if self.teachers else self.encoder

    @property
    def folder(self) -> str | None:
        """Where the first teacher lies, if it is a folder."""
        first = Path(self.teachers[0]) if self.teachers else None
        return str(first.resolve()) if first and first.is_dir() else None

    def identity(self) -> dict[str, Any]:
        """What decides a student's weights, as ``run.json`` keeps it."""
        if not self.teachers:
            encoder = folder_digest(self.encoder) if self.encoder else None
            return {"teacher": LABELS, "encoder": encoder}
        digests = [folder_digest(teacher) for teacher in self.teachers]
        return {"teacher": digests[0] if len(digests) == 1 else digests}

    def student(self, name: str, init: Init) -> StudentSpec:
        """What a user's words for a student mean, see ``parse_student``.

        Raises:
            UsageError: It needs a model to take its vocabulary from, and there is none.
        """
        spec = parse_student(name, init, self.model)
        if self.model is None and not (isinstance(spec, CheckpointSpec) and spec.reads):
            raise UsageError(
                f"the student {name} has no vocabulary of its own, and there is no teacher model "
                "to take it from.",
                "Name an encoder that gives it: --encoder google-bert/bert-base-uncased\n"
                "Or a checkpoint with its tokenizer as --student.",
            )
        return spec

    def reads_soft_labels(self, recipe: DistillRecipe) -> bool:
        """Whether stage 2 learns from the version's soft labels, alone or beside a teacher."""
        stage = recipe.prediction
        return stage.weights.logits > 0 and (not self.teachers or stage.teacher_weight < 1)

    def settle(self, recipe: DistillRecipe, task: TaskSpec) -> DistillRecipe:
        """The recipe as a run from this follows it: without a model there is no stage 1.

        Raises:
            UsageError: It asks of soft labels what only a model's logits or states can give.
        """
        stage, classes = recipe.prediction, task.label.names
        if self.reads_soft_labels(recipe) and stage.loss == "mse" and classes:
            raise UsageError(
                'loss = "mse" in [prediction] compares logits, and soft labels are probabilities.',
                'Set it to "soft_cross_entropy" or "kl".',
            )
        if self.teachers:
            return recipe
        if not stage.weights.logits:
            raise UsageError(
                "the recipe gives the soft labels no weight: [prediction.weights] logits is 0.",
                "Set it above 0. To learn from labels alone, look at the labels-only student.",
            )
        if self.encoder is not None:
            return recipe
        if stage.matches_states:
            raise UsageError(
                "the recipe compares hidden states with a model's ([prediction.weights] patient "
                "or cosine), and there is none.",
                "Name an encoder: --encoder MODEL. Or set both to 0.",
            )
        left_out = recipe.intermediate.model_copy(update={"enabled": False})
        return recipe.model_copy(update={"intermediate": left_out})


def parse_guides(
    teacher: str | Path | Sequence[str | Path], encoder: str | Path | None = None
) -> GuideSpec:
    """What a user's words for teachers mean: ``labels`` is the rows' own; ``./labels`` a folder.

    Raises:
        UsageError: None or the same one is named, or what excludes each other.
    """
    given = [teacher] if isinstance(teacher, str | Path) else list(teacher)
    names = [model_name(one) if isinstance(one, Path) else one for one in given]
    if not names:
        raise UsageError(
            "no teacher is named.",
            "Name a fine-tuned classifier, or labels: --teacher. Or an encoder that becomes one: "
            "--teacher-init",
        )
    if LABELS in names and len(names) > 1:
        raise UsageError(
            "--teacher labels stands alone: the rows' soft labels teach, and no model does.",
            "To learn from both, name the models alone and set teacher_weight below 1 in the "
            "recipe's [prediction]. A folder of that name is ./labels",
        )
    if repeated := twice(map(normpath, names)):
        raise UsageError(
            f"the teacher {repeated} is named twice: it would count double.",
            "Name each teacher once.",
        )
    if names == [LABELS]:
        return GuideSpec((), None if encoder is None else str(encoder))
    if encoder is not None:
        raise UsageError(
            "--encoder goes with --teacher labels: stage 1 learns from the teacher that is named.",
            "Leave --encoder out. A folder called labels is ./labels",
        )
    return GuideSpec(tuple(names))


def model_name(folder: Path) -> str:
    """A folder as it is named where ``labels`` would mean something else."""
    return os.path.join(".", folder) if str(folder) == LABELS else str(folder)


@dataclass(frozen=True, slots=True)
class LoadedGuides:
    """The models of a ``GuideSpec``, frozen, in evaluation mode."""

    spec: GuideSpec
    teachers: tuple[Classifier, ...]
    encoder: Encoder | None

    @property
    def model(self) -> Classifier | Encoder | None:
        """See ``GuideSpec.model``."""
        return self.teachers[0] if self.teachers else self.encoder


def load_guides(spec: GuideSpec, task: TaskSpec, seed: int) -> LoadedGuides:
    """Load the models; an encoder without a pooler gets a random one, the same for a seed.

    Raises:
        ModelInvalid: One cannot be used, or has no head for this task.
    """
    teachers = tuple(load_classifier(name, task) for name in spec.teachers)
    name = spec.encoder
    encoder = None if name is None else seeded(seed, lambda: load_encoder(name))
    return LoadedGuides(spec, teachers, encoder)
