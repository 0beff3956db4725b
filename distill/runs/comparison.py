"""Runs side by side: recipes, scores on the same rows, and the rows whose answer changed sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from augment.contract import Version
from augment.contract.models import quiet_libraries
from augment.contract.recipes import twice
from augment.contract.version import open_checked
from distill.data.scratch import scratch
from distill.data.versions import batches
from distill.errors import DataInvalid, UsageError
from distill.evaluation.compare import labeled_splits
from distill.evaluation.evaluate import answers_of, judge_answers, predict
from distill.evaluation.intervals import Interval, gap, interval
from distill.evaluation.metrics import Array
from distill.evaluation.results import Judgment
from distill.models.loading import open_classifier, own_length
from distill.runs.listing import Run, open_run
from distill.runs.records import Record, flatten


class RecipeKey(Record):
    """A key of the recipe that has not the same value in all runs.

    Attributes:
        key: Its path, such as ``prediction.temperature``.
        values: One for each run; nothing where there is no such key.
    """

    key: str
    values: tuple[str | float | int | bool | list[float] | list[str] | None, ...]


class ComparedRun(Record):
    """A run and what its student scores.

    Attributes:
        run: Its directory.
        score: By the selection metric.
        interval: Where 95% of the scores of resampled rows lie.
    """

    run: str
    score: float
    interval: Interval


class ChangedRow(Record):
    """A row that one of two runs answers as it is labeled, and the other does not."""

    idx: int
    texts: tuple[str, ...]
    label: str
    before: str
    after: str


class Lead(Record):
    """How far a run is from the first one, on the same resampled rows.

    Attributes:
        run: Its directory.
        difference: Of the scores; above 0 where this run is better.
        interval: Where 95% of the differences lie: if 0 is outside, the runs differ.
        gained: Rows that only this run answers as they are labeled.
        lost: Rows that only the first one does.
        rows: Both of them; none of a regression.
    """

    run: str
    difference: float
    interval: Interval
    gained: int
    lost: int
    rows: tuple[ChangedRow, ...]

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval.low > 0 or self.interval.high < 0

    @property
    def sentence(self) -> str:
        """How far it is ahead of the first run, or behind it, and how sure that is."""
        return gap(self.difference, self.interval, "run 1")


class Comparison(Record):
    """Runs side by side; the first one is what the others are compared with."""

    task: str
    version: str
    metric: str
    split: str
    rows: int
    runs: tuple[ComparedRun, ...]
    recipe: tuple[RecipeKey, ...]
    leads: tuple[Lead, ...]


def compare_runs(
    runs: Sequence[str | Path],
    *,
    version: Version | str | Path | None = None,
    split: str | None = None,
) -> Comparison:
    """Answer the same rows with the students of several runs, and compare them with the first.

    Args:
        runs: Directories of finished runs, or folders of teachers, on one version.
        version: That version, where it does not lie where it lay when a run was made.
        split: A labeled split; a test split with labels if there is one, else the one that
            selected, if left out.

    Raises:
        UsageError: They are not of one version, or one is named twice.
        DataInvalid: A run is unfinished or damaged, or nobody knows where the version is.
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import compare
        >>> found = compare(["runs/reviews", "models/teacher"])
        >>> found.split
        'validation'
    """
    opened = [open_run(run) for run in runs]
    _check(opened)
    data = _find_version(opened, version)
    first = opened[0].result
    chosen = split or next(iter(first.tests), first.selection.split)
    labels, idx, answers = _answers(opened, data, chosen)
    judged = [judge_answers({chosen: own}, {chosen: labels}, data.task) for own in answers]
    metric, names = data.task.selection_metric, data.task.label.names
    scores = [own.scores[chosen][metric] for own in judged]
    changed = [_changed(labels, answers[0], own) for own in answers[1:]] if names else []
    texts = _texts(data, chosen, {int(idx[at]) for own in changed for at in np.flatnonzero(own)})

    def lead(at: int) -> Lead:
        sides = changed[at - 1] if names else np.zeros(len(labels), bool)
        gained = sides & (answers[at] == labels)
        rows = tuple(
            ChangedRow(
                idx=int(idx[row]),
                texts=texts[int(idx[row])],
                label=names[int(labels[row])],
                before=names[int(answers[0][row])],
                after=names[int(answers[at][row])],
            )
            for row in np.flatnonzero(sides)
        )
        return Lead(
            run=str(opened[at].path),
            difference=scores[at] - scores[0],
            interval=_difference(judged[at], judged[0]),
            gained=int(gained.sum()),
            lost=int((sides & ~gained).sum()),
            rows=rows,
        )

    return Comparison(
        task=data.task.name,
        version=data.reference,
        metric=metric,
        split=chosen,
        rows=len(labels),
        runs=tuple(
            ComparedRun(run=str(run.path), score=score, interval=own.intervals[chosen])
            for run, score, own in zip(opened, scores, judged, strict=True)
        ),
        recipe=differing_keys(opened),
        leads=tuple(lead(at) for at in range(1, len(opened))),
    )


def differing_keys(runs: Sequence[Run]) -> tuple[RecipeKey, ...]:
    """The keys of recipe, teacher and student that are not the same in all runs. PURE."""
    made_of = [flatten({k: v for k, v in run.identity.items() if k != "version"}) for run in runs]
    keys = dict.fromkeys(key for own in made_of for key in own)
    rows = {key: tuple(own.get(key) for own in made_of) for key in keys}
    return tuple(
        RecipeKey(key=key.removeprefix("recipe."), values=values)
        for key, values in rows.items()
        if any(value != values[0] for value in values)
    )


def _check(runs: Sequence[Run]) -> None:
    """See that runs can be compared at all."""
    if len(runs) < 2:
        raise UsageError("one run has nothing to be compared with.", "Name two runs or more.")
    if again := twice(str(run.path.resolve()) for run in runs):
        raise UsageError(f"{again} is named twice.", "Name each run once.")
    first, *others = (run.result for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        if other.task != first.task:
            raise UsageError(
                f"{runs[0].path} is of the task {first.task}, {run.path} of {other.task}: "
                "their scores are of other rows.",
                "Compare runs of one task.",
            )
        if other.version_id != first.version_id:
            raise UsageError(
                f"{runs[0].path} was trained on {first.version} ({first.version_id[:6]}), "
                f"{run.path} on {other.version} ({other.version_id[:6]}).",
                f"To score both on one version: distill evaluate {runs[0].path} {run.path} VERSION",
            )


def _find_version(runs: Sequence[Run], named: Version | str | Path | None) -> Version:
    """The version that the runs were made on.

    Raises:
        UsageError: Another one was named.
        DataInvalid: Nobody knows where it lies.
    """
    reference = runs[0].result.version
    if named is not None:
        found = open_checked(named)
        if found.manifest.id != runs[0].version_id:
            raise UsageError(
                f"{found.path} is another version than {reference}, which the runs were made on.",
                "Name that one, or leave --version out.",
            )
        return found
    known = [run.version_path for run in runs if run.version_path]
    for place in known:
        if place.is_dir():
            found = open_checked(place)
            if found.manifest.id == runs[0].version_id:
                return found
    lay = f"is not at {known[0]} any more" if known else "lies nobody knows where"
    raise DataInvalid(f"{reference}, whose rows are answered, {lay}.", "Name it: --version VERSION")


def _answers(runs: Sequence[Run], version: Version, split: str) -> tuple[Array, Array, list[Array]]:
    """Labels and ``idx`` of a split's rows, and each run's answers, shape (rows,)."""
    quiet_libraries()
    answers = []
    with scratch() as folder:
        for run in runs:
            classifier = open_classifier(str(run.student), version.task)
            length = own_length(classifier, version.task)
            rows = labeled_splits(version, split, classifier, length, folder)[split]
            answers.append(
                answers_of(predict(classifier, rows), version.task, classifier.calibration)
            )
        return np.asarray(rows["labels"]), np.asarray(rows["idx"]), answers


def _changed(labels: Array, before: Array, after: Array) -> Array:
    """Which rows one answers as they are labeled and the other does not. PURE."""
    return np.asarray((before == labels) != (after == labels))


def _difference(own: Judgment, first: Judgment) -> Interval:
    return interval(np.asarray(own.resampled) - np.asarray(first.resampled))


def _texts(version: Version, split: str, wanted: set[int]) -> dict[int, tuple[str, ...]]:
    """The texts of some original rows by ``idx``."""
    found = {}
    for batch in batches(version, split) if wanted else ():
        for row in batch.to_pylist():
            if row["variant"] == 0 and row["idx"] in wanted:
                found[row["idx"]] = tuple(row[name] for name in version.task.text_columns)
    return found
