"""What needs no language model: the best constant answer, and TF-IDF with a linear model.

Whoever does not beat them has learnt nothing worth its cost.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import UNLABELED, TaskSpec, Version
from distill.data.versions import batches, count_split
from distill.evaluation.evaluate import judge_answers
from distill.evaluation.metrics import Array, constant_answer
from distill.evaluation.results import Baseline
from distill.runs.directory import reuse
from distill.runs.records import Origin, Record, digest_of, read_json, write_sealed_json

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

MOST_ROWS = 20_000
MANY_ROWS = 2_000
"""Among more rows, what stands in one of them alone is left out."""
WORDS = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
"""Words, and each sign of scripts that set no blanks between them."""
INVERSE_DECAY = 10.0


@dataclass(frozen=True, slots=True)
class _Rows:
    """Texts, column by column, and labels."""

    texts: tuple[list[str], ...]
    labels: Array


class _Kept(Record):
    """A baseline with what is left out of results."""

    baseline: Baseline
    resampled: tuple[float, ...]

    @property
    def restored(self) -> Baseline:
        return self.baseline.model_copy(update={"resampled": self.resampled})


def find_baselines(version: Version, splits: Sequence[str], cache: Path) -> tuple[Baseline, ...]:
    """Fit them on the original rows, at most 20,000 of those, and score them.

    Args:
        version: Its training rows are learnt from.
        splits: With labels, to score on; the first one selects the constant answer.
        cache: The folder where what was measured is kept for later calls.
    """
    made_from = digest_of(version.manifest.id, list(splits))
    file = cache / f"baselines-{made_from[:16]}.json"
    origin = Origin(made_from=made_from, part="baselines and their resampled scores")
    if not reuse(file, origin):
        measured = _measure(version, splits)
        kept = [_Kept(baseline=own, resampled=own.resampled).to_json() for own in measured]
        write_sealed_json(file, origin, kept)
    return tuple(own.restored for own in read_json(file, list[_Kept]))


def _measure(version: Version, splits: Sequence[str]) -> Iterator[Baseline]:
    task, classes = version.task, len(version.task.label.names)
    known = {split: _read(version, split) for split in splits}
    labels = {split: rows.labels for split, rows in known.items()}

    def measured(name: str, answers: Mapping[str, Array], rows: int, began: float) -> Baseline:
        seconds, judged = round(time.monotonic() - began, 2), judge_answers(answers, labels, task)
        found = {"intervals": judged.intervals, "resampled": judged.resampled}
        return Baseline(name=name, scores=judged.scores, rows=rows, seconds=seconds, **found)

    if classes:
        best = constant_answer(task.selection_metric, labels[splits[0]], classes)
        constant = {split: np.full(len(own), best) for split, own in labels.items()}
        yield measured(f"always {task.label.names[best]!r}", constant, 0, time.monotonic())
    began = time.monotonic()
    train = _read(version, task.splits.train, original=True)
    if answers := _linear(task, train, known):
        name = f"TF-IDF + {'logistic' if classes else 'ridge'} regression"
        yield measured(name, answers, len(train.labels), began)


def _read(version: Version, split: str, *, original: bool = False) -> _Rows:
    """The labeled rows of a split; of the original ones some, drawn with one seed."""
    task, first, parts = version.task, 0, []
    total = count_split(version, split).original if original else 0
    drawn = np.random.default_rng(0).choice(total, min(total, MOST_ROWS), replace=False)
    places = np.sort(drawn)
    for batch in batches(version, split):
        if not original:
            parts.append(batch)
            continue
        rows = batch.filter(pc.field("variant") == 0)
        within = (places >= first) & (places < first + len(rows))
        parts.append(rows.take(pa.array(places[within] - first)))
        first += len(rows)
    table = pa.Table.from_batches(parts)
    labels = table[task.label.column]
    table = table.filter(pc.is_valid(labels))
    if task.label.names or split in task.splits.test:
        table = table.filter(pc.field(task.label.column) != UNLABELED)
    texts = tuple(table[name].to_pylist() for name in task.text_columns)
    return _Rows(texts, table[task.label.column].to_numpy())


def _linear(task: TaskSpec, train: _Rows, known: Mapping[str, _Rows]) -> dict[str, Array]:
    """Answers of a linear model on words and pairs of words; none where it has nothing to learn."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    words = _words(train)
    if not words or len(np.unique(train.labels)) < 2:
        return {}
    # liblinear: other solvers go through BLAS, whose threads wait for each other on a busy machine
    model = OneVsRestClassifier(LogisticRegression(C=INVERSE_DECAY, solver="liblinear"))
    if task.label.kind == "regression":
        model = Ridge()
    with warnings.catch_warnings(action="ignore"):  # that it might go on: it is near enough
        model.fit(_features(words, train), train.labels)
    return {split: model.predict(_features(words, rows)) for split, rows in known.items()}


def _words(train: _Rows) -> dict[int, TfidfVectorizer]:
    """What counts words, for each text column that has some."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = {}
    for column, texts in enumerate(train.texts):
        counter = TfidfVectorizer(
            token_pattern=WORDS,
            ngram_range=(1, 2),
            sublinear_tf=True,
            min_df=1 if len(texts) <= MANY_ROWS else 2,
        )
        with suppress(ValueError):  # no text has a word
            made[column] = counter.fit(texts)
    return made


def _features(words: Mapping[int, TfidfVectorizer], rows: _Rows) -> Any:
    """Sparse, shape (rows, features); the same word in the other text is another feature."""
    from scipy.sparse import hstack

    return hstack([own.transform(rows.texts[column]) for column, own in words.items()], "csr")
