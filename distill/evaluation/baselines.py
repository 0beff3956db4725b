"""What needs no network: the best constant answer, and a linear model on words or on embeddings.

Whoever does not beat them has learnt nothing worth its cost.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import UNLABELED, TaskSpec, Version
from distill.data.versions import batches, count_split
from distill.evaluation.end_to_end import measure_end_to_end, texts_of
from distill.evaluation.evaluate import judge_answers
from distill.evaluation.metrics import Array, constant_answer
from distill.evaluation.results import Baseline
from distill.evaluation.static_embeddings import StaticEmbeddings, TokenTable
from distill.inference.head import Head, Logits
from distill.inference.settings import ServingSettings
from distill.inference.texts import Text
from distill.runs.directory import reuse
from distill.runs.records import Origin, Record, digest_of, read_json, write_sealed_json

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

MOST_ROWS = 20_000
ROWS_AT_ONCE = 10_000
MANY_ROWS = 2_000
"""Among more rows, what stands in one of them alone is left out."""
WORDS = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
"""Words, and each sign of scripts that set no blanks between them."""
INVERSE_DECAY = 10.0
MOST_WORK = 100_000_000
"""Rows by dimensions by classes of a linear model on embeddings: about ten seconds."""
MOST_FITTED = 3_000_000
"""Rows by classes of a linear model on words: about twenty seconds, too."""
FEWEST_OF_A_CLASS = 10
"""Rows, on average, without which nothing is learnt of hundreds of classes."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Texts, column by column, and labels."""

    texts: tuple[list[str], ...]
    labels: Array

    def some(self, most: int) -> _Rows:
        """At most so many rows, drawn with one seed."""
        total = len(self.labels)
        places = np.sort(np.random.default_rng(0).choice(total, min(total, most), replace=False))
        return _Rows(
            tuple([own[at] for at in places.tolist()] for own in self.texts), self.labels[places]
        )


class _Kept(Record):
    """A baseline with what is left out of results."""

    baseline: Baseline
    resampled: tuple[float, ...]

    @property
    def restored(self) -> Baseline:
        return self.baseline.model_copy(update={"resampled": self.resampled})


@dataclass(frozen=True, slots=True)
class _Linear:
    """A linear model of texts.

    Attributes:
        name: In the table.
        features: Texts, column by column, to features of shape (rows, dimensions).
        model: Of scikit-learn, fitted.
        feature_bytes: What the features need on disk.
    """

    name: str
    features: Callable[[Sequence[Sequence[str]]], Any]
    model: Any
    feature_bytes: int

    def answers(self, texts: Sequence[Sequence[str]]) -> Array:
        """Class numbers or scores, shape (rows,); features of some rows at a time."""
        parts = [
            self.model.predict(self.features([own[at : at + ROWS_AT_ONCE] for own in texts]))
            for at in range(0, len(texts[0]), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    @property
    def file_bytes(self) -> int:
        """Of features and weights."""
        parts = getattr(self.model, "estimators_", [self.model])
        return self.feature_bytes + sum(np.asarray(own.coef_).nbytes for own in parts)


@dataclass(frozen=True, slots=True)
class _Timed:
    """A linear model as ``distill.Classifier`` asks its models, to be timed as they are."""

    linear: _Linear
    head: Head

    def encode(self, texts: Sequence[Text]) -> Sequence[Text]:
        """As they are: words are looked for in many texts at once."""
        return texts

    def run(self, rows: Sequence[Text]) -> Logits:
        """1 for the answer."""
        pairs = [(row,) if isinstance(row, str) else row for row in rows]
        found = self.linear.answers([*zip(*pairs, strict=True)])
        if not self.head.labels:
            return found[:, None].astype(np.float32)
        return np.eye(self.head.width, dtype=np.float32)[found.astype(np.int64)]


def find_baselines(
    version: Version, splits: Sequence[str], cache: Path, table: TokenTable | None = None
) -> tuple[Baseline, ...]:
    """Fit them on the original rows, at most 20,000 of those, and score them.

    Args:
        version: Its training rows are learnt from.
        splits: With labels, to score on; the first one selects the constant answer.
        cache: The folder where what was measured is kept for later calls.
        table: Of the model that is distilled or tuned; without one its baseline is left out.
    """
    made_from = digest_of(version.manifest.id, list(splits), table.digest if table else "")
    file = cache / f"baselines-{made_from[:16]}.json"
    origin = Origin(made_from=made_from, part="baselines and their resampled scores")
    if not reuse(file, origin):
        measured = _measure(version, splits, table)
        kept = [_Kept(baseline=own, resampled=own.resampled).to_json() for own in measured]
        write_sealed_json(file, origin, kept)
    return tuple(own.restored for own in read_json(file, list[_Kept]))


def _measure(
    version: Version, splits: Sequence[str], table: TokenTable | None
) -> Iterator[Baseline]:
    task, classes = version.task, len(version.task.label.names)
    known = {split: _read(version, split) for split in splits}
    labels = {split: rows.labels for split, rows in known.items()}

    def measured(name: str, answers: Mapping[str, Array], **more: Any) -> Baseline:
        judged = judge_answers(answers, labels, task)
        found = {"intervals": judged.intervals, "resampled": judged.resampled}
        return Baseline(name=name, scores=judged.scores, **more, **found)

    if classes:
        best = constant_answer(task.selection_metric, labels[splits[0]], classes)
        constant = {split: np.full(len(own), best) for split, own in labels.items()}
        yield measured(f"always {task.label.names[best]!r}", constant, rows=0, seconds=0.0)
    train = _read(version, task.splits.train, original=True)
    texts = texts_of(version, splits[0])
    for fit in (_tf_idf, partial(_static, table=table)):
        began = time.monotonic()
        if fitted := fit(task, train):
            linear, rows = fitted
            answers = {split: linear.answers(own.texts) for split, own in known.items()}
            seconds = round(time.monotonic() - began, 2)
            head = Head(linear.name, task.label.names, ServingSettings())
            yield measured(
                linear.name,
                answers,
                rows=rows,
                seconds=seconds,
                file_bytes=linear.file_bytes,
                end_to_end=tuple(measure_end_to_end([_Timed(linear, head)], texts, threads=1)),
            )


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


def _tf_idf(task: TaskSpec, train: _Rows) -> tuple[_Linear, int] | None:
    """A linear model on words and pairs of words, on as many rows as take seconds; and these.

    None where there are no words.
    """
    some = _some(task, train, MOST_FITTED)
    words = _words(some) if some else {}
    if some is None or not words:
        return None
    terms = (term for own in words.values() for term in own.vocabulary_)
    size = sum(len(term.encode()) for term in terms) + sum(o.idf_.nbytes for o in words.values())
    return _fit("TF-IDF", task, partial(_features, words), some, size)


def _static(
    task: TaskSpec, train: _Rows, *, table: TokenTable | None
) -> tuple[_Linear, int] | None:
    """A linear model on the mean of token embeddings, on as many rows as take seconds."""
    if table is None:
        return None
    dimensions = table.values.shape[1] * (4 if len(task.text_columns) > 1 else 1)
    some = _some(task, train, MOST_WORK // dimensions)
    if some is None:
        return None
    features = StaticEmbeddings.fit(table, some.texts)
    return _fit("token embeddings", task, features, some, table.file_bytes)


def _some(task: TaskSpec, train: _Rows, work: int) -> _Rows | None:
    """As many rows as a product of rows and classes allows; none if they are few of each class."""
    problems = len(task.label.names) if len(task.label.names) > 2 else 1
    most = work // problems
    return None if most < FEWEST_OF_A_CLASS * problems else train.some(most)


def _fit(
    name: str, task: TaskSpec, features: Callable[..., Any], train: _Rows, size: int
) -> tuple[_Linear, int] | None:
    """Fit the linear model; none where there is nothing to tell apart."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    if len(np.unique(train.labels)) < 2:
        return None
    # liblinear: other solvers go through BLAS, whose threads wait for each other on a busy machine
    model = OneVsRestClassifier(LogisticRegression(C=INVERSE_DECAY, solver="liblinear"))
    if task.label.kind == "regression":
        model = Ridge()
    with warnings.catch_warnings(action="ignore"):  # that it might go on: it is near enough
        model.fit(features(train.texts), train.labels)
    kind = "ridge" if task.label.kind == "regression" else "logistic"
    return _Linear(f"{name} + {kind} regression", features, model, size), len(train.labels)


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


def _features(words: Mapping[int, TfidfVectorizer], texts: Sequence[Sequence[str]]) -> Any:
    """Sparse, shape (rows, features); the same word in the other text is another feature."""
    from scipy.sparse import hstack

    return hstack([own.transform(texts[column]) for column, own in words.items()], "csr")
