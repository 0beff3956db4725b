"""What was measured: models, scores, cost, retention; what is stored of each kind of run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from augment.contract import Version
from distill.evaluation.answer_times import EndToEnd
from distill.evaluation.classes import ClassReport
from distill.evaluation.collapse import Collapse
from distill.evaluation.intervals import Interval
from distill.evaluation.reliability import CalibrationReport
from distill.runs.records import Record

if TYPE_CHECKING:
    import pandas as pd

Scores = dict[str, dict[str, float]]
"""Split to metric to value; validation splits are kept apart."""


class Role(StrEnum):
    """What a model is in the table of a run: its name there, and what the name means."""

    explanation: str

    def __new__(cls, label: str, meaning: str) -> Self:
        """A member that equals its label."""
        role = str.__new__(cls, label)
        role._value_ = label
        role.explanation = f"{label} {meaning}"
        return role

    TEACHER = "teacher", "= the model that the student learns from"
    SECOND_TEACHER = "teacher 2", "and further ones = logits averaged with the teacher's"
    PLAIN = (
        "student, labels only",
        "= same shape and start, trained on the labels of the original rows",
    )
    DISTILLED = "student, distilled", "= taught by the teacher, as the recipe says"


class Latency(Record):
    """How fast a model answers on real rows; medians after a warm-up, tokenizing left out.

    Attributes:
        batch_1: Milliseconds for one sentence; the median is over different sentences.
        throughput_32: Sentences a second in batches of 32, padded to the longest of them.
        device: ``cpu`` or ``cuda``.
        threads: Threads that the model may use.
    """

    batch_1: float
    throughput_32: float
    device: str
    threads: int


class Judgment(Record):
    """What answers to labeled rows are worth.

    Attributes:
        scores: On every split that was asked for.
        collapse: What was seen on a split where the model has collapsed.
        classes: Split to its classes; of a regression there are none.
        intervals: Split to where 95% of the selection metric of resampled rows lie.
        resampled: Those scores on the first split, to compare pair by pair; not stored.
        calibration: How far probabilities can be believed, on the first split.
    """

    scores: Scores
    collapse: Collapse | None = None
    classes: dict[str, ClassReport] = Field(default_factory=dict)
    intervals: dict[str, Interval] = Field(default_factory=dict)
    resampled: tuple[float, ...] = Field(default=(), exclude=True, repr=False)
    calibration: CalibrationReport | None = None

    @property
    def found(self) -> dict[str, Any]:
        """What there is beside the scores: the rest has no key in a record."""
        names = ("collapse", "classes", "intervals", "resampled", "calibration")
        return {name: value for name in names if (value := getattr(self, name))}

    def joined(self, other: Judgment) -> Judgment:
        """With the same model's scores, classes and intervals on further splits."""
        more = {n: getattr(self, n) | getattr(other, n) for n in ("classes", "intervals")}
        found = {**self.found, **{name: value for name, value in more.items() if value}}
        return Judgment(scores=self.scores | other.scores, **found)


class Measurement(Record):
    """One row of the result table.

    Attributes:
        model: Its ``Role`` in a run; elsewhere what the user called it.
        scores: On every split that was asked for.
        encoder_parameters: Without the embedding tables.
        flops: Floating-point operations for a sentence, mean over the first split, no padding.
        file_bytes: Size of the weights on disk, as they are stored.
        max_length: Tokens a row was cut to.
        collapse: What was seen of its answers, where they hardly depend on the texts.
        classes: Split to its classes; of a regression there are none.
        intervals: As in ``Judgment``; likewise ``resampled`` and ``calibration``.
        end_to_end: From raw texts to answers: with one thread, and with all, where it was timed.
    """

    model: str
    scores: Scores
    parameters: int
    encoder_parameters: int
    flops: int
    file_bytes: int
    max_length: int
    latency: Latency
    collapse: Collapse | None = None
    classes: dict[str, ClassReport] = Field(default_factory=dict)
    intervals: dict[str, Interval] = Field(default_factory=dict)
    resampled: tuple[float, ...] = Field(default=(), exclude=True, repr=False)
    calibration: CalibrationReport | None = None
    end_to_end: tuple[EndToEnd, ...] = ()


class Selection(Record):
    """The metric and the split that select the best step, and that retention refers to."""

    metric: str
    split: str

    def of(self, scores: Scores) -> float:
        """The one score of many that counts."""
        return scores[self.split][self.metric]


class Baseline(Record):
    """What needs no network, on the same rows.

    Attributes:
        name: In the table.
        scores: As a model's.
        rows: That it learnt from.
        seconds: That it took.
        intervals: As a model's; likewise ``resampled``.
        file_bytes: Of all that it needs, its vocabulary included; None for a constant answer.
        end_to_end: From raw texts to answers, with one thread.
    """

    name: str
    scores: Scores
    rows: int
    seconds: float
    intervals: dict[str, Interval] = Field(default_factory=dict)
    resampled: tuple[float, ...] = Field(default=(), exclude=True, repr=False)

    file_bytes: int | None = None
    end_to_end: tuple[EndToEnd, ...] = ()

    def on(self, splits: Sequence[str]) -> Baseline:
        """The same on some of its splits, in their order."""
        scores, intervals = ({s: own[s] for s in splits} for own in (self.scores, self.intervals))
        return self.model_copy(update={"scores": scores, "intervals": intervals})


class Verdict(Record):
    """What a result means.

    Attributes:
        sentence: What was seen.
        hint: What to do about it, in lines.
    """

    sentence: str
    hint: str = ""


class MeasuredOn(Record):
    """What measurements were made on: a version, its digest, and the rows of each split."""

    version: str
    version_id: str
    task: str
    selection: Selection
    rows: dict[str, int]

    @classmethod
    def on(cls, version: Version, splits: Mapping[str, Sized], **measured: Any) -> Self:
        """A record of what was measured on some splits of a version; the first one selects."""
        return cls(
            version=version.reference,
            version_id=version.manifest.id,
            task=version.task.name,
            selection=Selection(metric=version.task.selection_metric, split=next(iter(splits))),
            rows={split: len(rows) for split, rows in splits.items()},
            **measured,
        )


class SoftLabelUse(Record):
    """What stage 2 learnt from the soft labels that a version keeps.

    Attributes:
        rows: Training rows with a soft label.
        labels: Rows without one that were taught by their label.
        left_out: Rows with neither.
        compared: Original rows with a soft label and a label.
        scores: What the soft labels score on those, by the task's metrics; none without such rows.
        guessing: What guessing scores on them by the selection metric.
    """

    rows: int
    labels: int
    left_out: int
    compared: int
    scores: dict[str, float]
    guessing: float


class EvaluationResult(MeasuredOn):
    """The result of a run, of an evaluation or of a teacher's fine-tuning.

    Attributes:
        models: In the order of the table.
        baseline: Name of the model that retention refers to, where there is one.
        averaged: What the mean of several teachers' logits scores.
        soft_labels: What was learnt from the version's, where something was.
        folder: Where a new teacher lies.
        tests: The test splits among the scores: on them nothing was chosen.
        baselines: What needs no language model, beside the models.
        verdicts: Which model has collapsed, or loses to what is simpler.
    """

    models: tuple[Measurement, ...]
    baseline: str | None = None
    averaged: Scores | None = None
    soft_labels: SoftLabelUse | None = None
    folder: str | None = None
    tests: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def made(self) -> Measurement:
        """The model that it is about: the distilled student of a run, else the first one."""
        return next((own for own in self.models if own.model == Role.DISTILLED), self.models[0])

    def selected_scores(self) -> dict[str, float]:
        """Each model's score by the selection metric on the first split."""
        return {model.model: self.selection.of(model.scores) for model in self.models}

    def _facts(self) -> str:
        scores = " · ".join(f"{name} {score:.3f}" for name, score in self.selected_scores().items())
        return f"{self.version}, {self.selection.metric} on {self.selection.split}: {scores}"

    def retention(self, model: Measurement | Baseline) -> float | None:
        """The selection metric on the first split, in percent of the baseline's."""
        best = self.selected_scores().get(self.baseline or "", 0.0)
        return None if best <= 0 else 100 * self.selection.of(model.scores) / best

    def table(self) -> pd.DataFrame:
        """The models as rows, units in the column names; batch 32 is in sentences a second."""
        import pandas as pd

        return pd.DataFrame([self._numbers(model) for model in self.models])

    def to_pandas(self) -> pd.DataFrame:
        """The same as ``table``."""
        return self.table()

    def _numbers(self, model: Measurement) -> dict[str, Any]:
        return {
            "model": model.model,
            **dict(metric_columns(model.scores)),
            **({"retention %": self.retention(model)} if self.baseline else {}),
            "parameters": model.parameters,
            "without embeddings": model.encoder_parameters,
            "MFLOPs": model.flops / 1e6,
            "batch 1 ms": model.latency.batch_1,
            "batch 32 per s": model.latency.throughput_32,
            "file MB": model.file_bytes / 1e6,
            **self._interval(model),
        }

    def _interval(self, model: Measurement) -> dict[str, float]:
        found = model.intervals.get(self.selection.split)
        return {"95% low": found.low, "95% high": found.high} if found else {}


class CorpusCounts(Record):
    """What became of a corpus; but for its name, see ``data.packing.CorpusCounts``."""

    name: str
    blocks: int
    tokens: int
    empty: int
    damaged: int
    short: int
    short_tokens: int


class BlockCounts(Record):
    """Blocks of a corpus that were trained on, and that were measured on."""

    train: int
    held_out: int


class GeneralResult(Record):
    """The result of a general distillation.

    Attributes:
        student: Its folder.
        size: Its sizes in words.
        teacher: What the user called it.
        tokens: Trained on, about.
        held_out: The last losses on the blocks held out, by name.
        projections: How many are kept with the student.
    """

    student: str
    size: str
    teacher: str
    corpus: CorpusCounts
    blocks: BlockCounts
    steps: int
    tokens: int
    epochs: float
    held_out: dict[str, float]
    projections: int


def metric_columns(scores: Scores) -> list[tuple[str, float]]:
    """Names and values of the metric columns; with several splits each column names its own."""
    several = len(scores) > 1
    return [
        (f"{metric} {split.removeprefix('validation_')}" if several else metric, value)
        for split, metrics in scores.items()
        for metric, value in metrics.items()
    ]


class TeacherRecord(Record):
    """``teacher.json``: what a teacher was made from and how good it is."""

    identity: dict[str, Any]
    result: EvaluationResult


class AblationLine(Record):
    """One arm's outcome.

    Attributes:
        meaning: What it leaves out.
        scores: The selection metric on the first validation split, one for each seed.
        deviation: Their standard deviation (n - 1), or nothing for a single seed.
        retention: The mean in percent of the teacher's score.
        paper: TinyBERT4's figure for this task, in percent, where the paper has one.
    """

    arm: str
    meaning: str
    scores: tuple[float, ...]
    mean: float
    deviation: float | None
    retention: float
    paper: float | None


class AblationResult(Record):
    """The table of an ablation: scores by the selection metric on the first validation split."""

    version: str
    task: str
    metric: str
    split: str
    seeds: tuple[int, ...]
    teacher: float
    arms: tuple[AblationLine, ...]
