"""One half of a validation split chooses the step of a stage, the other half is reported.

``recorded`` keeps what a model answers to both halves at every evaluation. From these answers come,
without training anything again, the score of the step that the first half chooses on the second,
and, the usual way, that of the step that both choose on both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from augment.contract import TaskSpec
from distill.evaluation.calibration import fit_calibration
from distill.evaluation.evaluate import answers_of, predict, scores_of
from distill.evaluation.metrics import Array, score
from distill.inference.probabilities import UNCALIBRATED
from distill.inference.settings import Calibration
from distill.models.loading import Classifier, eval_mode
from distill.training import context
from distill.training.selection import StepSelection

CHOOSES, REPORTED = "validation", "test"
"""Splits of the version: the product chooses by the first, and scores the second at the end."""


@contextmanager
def recorded(place: Path) -> Iterator[None]:
    """Within, every evaluation of a stage leaves its answers in a folder."""

    class Both(context.Validation):
        """Scores as ever, and keeps the logits of both halves."""

        def __call__(self, student: PreTrainedModel, done: float) -> dict[str, float]:
            own, tokenizer = self.context, self.context.tokenizer
            classifier = Classifier("student", eval_mode(student), tokenizer)
            first, second = own.tokens.validation[CHOOSES], own.tests(tokenizer)[REPORTED]
            rows = {CHOOSES: first, REPORTED: second}
            logits = {half: predict(classifier, each) for half, each in rows.items()}
            labels = {f"{half}_labels": np.asarray(each["labels"]) for half, each in rows.items()}
            place.mkdir(parents=True, exist_ok=True)
            file = place / f"{self.stage}-{done:.6f}.npz"
            with (partial := file.with_suffix(".part")).open("wb") as stream:
                np.savez(stream, **logits, **labels)
            os.replace(partial, file)
            return scores_of(logits[CHOOSES], first, own.version.task, classifier.calibration)

    with mock.patch.object(context, "Validation", Both):
        yield


@dataclass(frozen=True)
class Evaluated:
    """A step of a stage.

    Attributes:
        done: The share of the stage's steps that it stands after.
        logits: Half to logits, shape (rows, classes).
        labels: Half to labels, shape (rows,).
    """

    done: float
    logits: dict[str, NDArray[np.float32]]
    labels: dict[str, Array]

    def answers(self, halves: Sequence[str], task: TaskSpec, own: Calibration) -> Array:
        """Class numbers or scores of the rows of some halves."""
        return np.concatenate([answers_of(self.logits[half], task, own) for half in halves])

    def score(
        self, halves: Sequence[str], task: TaskSpec, own: Calibration = UNCALIBRATED
    ) -> float:
        """By the selection metric."""
        labels = np.concatenate([self.labels[half] for half in halves])
        metric, answers = task.selection_metric, self.answers(halves, task, own)
        return score((metric,), answers, labels, len(task.label.names))[metric]


@dataclass(frozen=True)
class Course:
    """All evaluations of a stage in order, and their task; of them the best is kept."""

    evaluations: tuple[Evaluated, ...]
    task: TaskSpec

    @classmethod
    def read(cls, place: Path, stage: str, task: TaskSpec) -> Course:
        """What ``recorded`` left of a stage; empty where there is nothing."""
        found = []
        for file in place.glob(f"{stage}-*.npz"):
            with np.load(file, allow_pickle=False) as kept:
                halves = (CHOOSES, REPORTED)
                logits = {half: kept[half] for half in halves}
                labels = {half: kept[f"{half}_labels"] for half in halves}
            done = float(file.stem.removeprefix(f"{stage}-"))
            found.append(Evaluated(done, logits, labels))
        return cls(tuple(sorted(found, key=lambda own: own.done)), task)

    def chosen(self, halves: Sequence[str]) -> Evaluated:
        """The step that some rows choose, by the product's own rule."""
        metric, first = self.task.selection_metric, self.evaluations[0]
        rows = sum(len(first.labels[half]) for half in halves)
        rule = StepSelection(metric, rows)
        log = [
            {"step": float(at), f"eval_{metric}": own.score(halves, self.task)}
            for at, own in enumerate(self.evaluations)
        ]
        kept = rule.kept(log)
        assert kept is not None
        return self.evaluations[kept.step]

    @cached_property
    def by_half(self) -> Evaluated:
        """The step that the first half chooses."""
        return self.chosen([CHOOSES])

    @cached_property
    def calibration(self) -> Calibration:
        """What the first half makes of that step's probabilities, as the product fits it."""
        if not self.task.label.names:
            return UNCALIBRATED
        own, metric = self.by_half, self.task.selection_metric
        return fit_calibration(own.logits[CHOOSES], own.labels[CHOOSES], metric).calibration

    @property
    def answers(self) -> Array:
        """Of that step to the other half."""
        return self.by_half.answers([REPORTED], self.task, UNCALIBRATED)

    @property
    def labels(self) -> Array:
        """Of the other half."""
        return self.by_half.labels[REPORTED]

    def scores(self, steps: int) -> dict[str, Any]:
        """Both ways, of a stage of so many steps.

        Returns:
            ``half``: chosen by one half, scored on the other; ``calibrated``: likewise, with the
            calibration that the first half gives; ``usual``: chosen by both and scored on both.
        """
        half, usual = self.by_half, self.chosen([CHOOSES, REPORTED])
        return {
            "half": round(half.score([REPORTED], self.task), 4),
            "half_step": round(half.done * steps),
            "calibrated": round(half.score([REPORTED], self.task, self.calibration), 4),
            "usual": round(usual.score([CHOOSES, REPORTED], self.task), 4),
            "usual_step": round(usual.done * steps),
        }

    def curve(self, steps: int) -> list[list[float]]:
        """Step and score of all rows at every evaluation."""
        both = [CHOOSES, REPORTED]
        return [
            [round(own.done * steps), round(own.score(both, self.task), 4)]
            for own in self.evaluations
        ]
