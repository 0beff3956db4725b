"""What was measured, as a run keeps it and as a table: models, scores, cost, retention."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.contract import Version
from distill.evaluation.evaluate import Measurement, Splits
from distill.run_directory import STUDENT

if TYPE_CHECKING:
    import pandas as pd


def result_of(
    version: Version, splits: Splits, models: list[Measurement], **more: Any
) -> dict[str, Any]:
    """Measurements as JSON values, see ``report``."""
    measured = [dataclasses.asdict(model) for model in models]
    return {**measured_on(version, splits), "models": measured, **more}


def measured_on(version: Version, splits: Splits) -> dict[str, Any]:
    """What measurements were made on, as JSON values; the first split's metric selects."""
    return {
        "version": version.reference,
        "version_id": version.manifest.id,
        "task": version.task.name,
        "selection": {"metric": version.task.selection_metric, "split": next(iter(splits))},
        "rows": {split: len(rows) for split, rows in splits.items()},
    }


Cells = list[str]
EXPLANATIONS = {
    "teacher": "teacher = the model that the student learns from",
    "teacher 2": "teacher 2 and further ones = logits averaged with the teacher's",
    "student, labels only": (
        "student, labels only = same shape and start, trained on the labels of the original rows"
    ),
    "student, distilled": "student, distilled = taught by the teacher, as the recipe says",
}


def frame(result: dict[str, Any]) -> pd.DataFrame:
    """The table as numbers, units in the column names; batch 32 is in sentences a second."""
    import pandas as pd

    return pd.DataFrame([_numbers(result, model) for model in result["models"]])


def _numbers(result: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    retained = retention(result, model)
    return {
        "model": model["model"],
        **dict(metric_columns(model)),
        **({} if teacher_of(result) is None else {"retention %": retained}),
        "parameters": model["parameters"],
        "without embeddings": model["encoder_parameters"],
        "MFLOPs": model["flops"] / 1e6,
        "batch 1 ms": model["latency"]["batch_1"],
        "batch 32 per s": model["latency"]["throughput_32"],
        "file MB": model["file_bytes"] / 1e6,
    }


def retention(result: dict[str, Any], model: dict[str, Any]) -> float | None:
    """The selection metric on the first split, in percent of the teacher's."""
    teacher = teacher_of(result)
    if teacher is None:
        return None
    split, metric = result["selection"]["split"], result["selection"]["metric"]
    best, own = teacher["scores"][split][metric], model["scores"][split][metric]
    return None if best <= 0 else 100 * own / best


def teacher_of(result: dict[str, Any]) -> dict[str, Any] | None:
    """The measured model that retention refers to."""
    return next((m for m in result["models"] if m["model"] == result.get("baseline")), None)


def metric_columns(model: dict[str, Any]) -> list[tuple[str, float]]:
    """Metric columns; with several splits each column names its own."""
    several = len(model["scores"]) > 1
    return [
        (f"{metric} {split.removeprefix('validation_')}" if several else metric, value)
        for split, metrics in model["scores"].items()
        for metric, value in metrics.items()
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        path: Its directory.
        result: What was measured, as JSON values.
    """

    path: Path
    result: dict[str, Any]

    @property
    def student(self) -> Path:
        """The distilled student: a plain transformers folder."""
        return self.path / STUDENT

    def table(self) -> pd.DataFrame:
        """Teacher and students, one row each: scores, retention, parameters, latency."""
        return frame(self.result)
