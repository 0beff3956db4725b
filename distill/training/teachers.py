"""What a run learns from: its teachers, where they work, with what they score; or an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from augment.contract import TaskSpec
from distill.data.versions import TokenizedSplits
from distill.evaluation.evaluate import predict, scores_of
from distill.evaluation.results import Judgment, Role, Scores
from distill.models.loading import Classifier, Encoder
from distill.training.kept_labels import KeptLabels


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher that was found fit to teach.

    Attributes:
        name: In the result table, see ``teacher_name``.
        classifier: Frozen, in evaluation mode.
        tokens: The version in its tokenization.
        judged: Its answers on validation.
    """

    name: str
    classifier: Classifier
    tokens: TokenizedSplits
    judged: Judgment


@dataclass(frozen=True, slots=True)
class Guides:
    """What a student learns from, found fit for it.

    Attributes:
        teachers: Stage 1 learns from the first, stage 2 from the mean of all; none where the
            soft labels of the rows teach.
        encoder: What stage 1 learns from in a teacher's place, if there is one.
        kept: The version's soft labels, where stage 2 learns from them.
    """

    teachers: tuple[Teacher, ...]
    encoder: Encoder | None = None
    kept: KeptLabels | None = None

    @property
    def model(self) -> Classifier | Encoder | None:
        """Gives a student its vocabulary and layers."""
        return self.teachers[0].classifier if self.teachers else self.encoder

    @property
    def network(self) -> PreTrainedModel | None:
        """What states and attention are compared with."""
        return self.model.model if self.model else None


def teacher_name(index: int) -> str:
    """What a teacher is called in tables, by its place among several."""
    return Role.TEACHER if index == 0 else f"{Role.TEACHER} {index + 1}"


def averaged_scores(teachers: Sequence[Teacher], task: TaskSpec) -> Scores:
    """What the mean of several teachers' logits scores on every validation split."""
    scores = {}
    for split, rows in teachers[0].tokens.validation.items():
        logits = [predict(t.classifier, t.tokens.validation[split]) for t in teachers]
        scores[split] = scores_of(np.mean(logits, axis=0), rows, task)
    return scores
