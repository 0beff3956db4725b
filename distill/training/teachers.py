"""The teachers of a run, where they work, with what they score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augment.contract import TaskSpec
from distill.data.versions import TokenizedSplits
from distill.evaluation.evaluate import predict, scores_of
from distill.evaluation.results import Role, Scores
from distill.models.loading import Classifier


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher that was found fit to teach.

    Attributes:
        name: In the result table, see ``teacher_name``.
        classifier: Frozen, in evaluation mode.
        tokens: The version in its tokenization.
        scores: On validation.
    """

    name: str
    classifier: Classifier
    tokens: TokenizedSplits
    scores: Scores


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
