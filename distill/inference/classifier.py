"""Raw texts in, labels and probabilities out.

    classifier = Classifier.load("export")
    classifier.predict(["an unfussily clever train ride"])        # ["positive"]
    classifier.predict_proba(["an unfussily clever train ride"])  # float32, (texts, labels)

A graph that ``distill export`` wrote needs numpy, tokenizers and onnxruntime; neither torch nor
transformers is loaded for it. Threads may share a classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distill.errors import ExtraMissing, ModelNotFound, UsageError
from distill.inference.forms import chosen_form, is_export, is_graph
from distill.inference.graph import open_graph
from distill.inference.head import Head, Logits
from distill.inference.probabilities import most_probable, probabilities
from distill.inference.texts import WINDOW_TEXTS, Text, as_texts, is_pandas, windows

BATCH = 32
_MOST = 1_000_000
WASTE = 8
"""At most one in so many tokens of a batch is padding."""
_PYTORCH = "distill.evaluation.pytorch"
"""Answers for models that are no graphs; a layer above, so that nothing of torch is loaded here."""
_PROBES = {1: "a word", 2: ("a word", "another")}


class Backend(Protocol):
    """What computes: a graph, or a PyTorch model."""

    @property
    def head(self) -> Head:
        """What the logits mean."""

    def encode(self, texts: Sequence[Text]) -> Sequence[Any]:
        """Texts as encodings, whose ``len`` is their number of tokens."""

    def run(self, rows: Sequence[Any]) -> Logits:
        """The logits of a batch of encodings, shape (rows, labels)."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """A text classifier (or a regression) that answers raw texts.

    ``texts`` is everywhere a list of texts, a list of pairs of texts, a pandas Series, or a
    DataFrame with the text columns of the task (or nothing else); answers come in its order, those
    of pandas with its index.

    Attributes:
        backend: What computes.

    Examples:
        >>> from distill import Classifier
        >>> classifier = Classifier.load("runs/reviews")
        >>> classifier.predict_proba(["The breakfast was lovely.", "The soup was cold."]).shape
        (2, 2)
    """

    backend: Backend

    @classmethod
    def load(cls, folder: str | Path, *, form: str | None = None, threads: int = 1) -> Classifier:
        """Load a classifier.

        Args:
            folder: What ``distill export`` wrote or the folder of a form in it; a run directory,
                a transformers folder or a hub name, for which PyTorch is needed.
            form: Of an export: ``onnx-small``, ``onnx-int8``, ``onnx`` or ``transformers``. If left
                out, the first of these that is there and lost at most half a point on validation.
            threads: CPU threads of one answer of a graph; PyTorch has its own setting.

        Raises:
            ModelInvalid: It is no classifier, or damaged, or was written by a newer version.
            UsageError: The form is not there.
            ExtraMissing: What it needs is not installed.
        """
        _require_count("threads", threads)
        name, place = str(folder), Path(folder).expanduser()
        if is_export(place) and not is_graph(place):
            place = chosen_form(place, form)
            name = str(place)
        elif form is not None:
            raise UsageError(f"{name} is no export with several forms.", "Leave the form out.")
        backend = open_graph(place, name, threads) if is_graph(place) else _pytorch(name)
        probe: Any = _PROBES[len(backend.head.settings.text_columns) or 1]
        backend.run(backend.encode([probe]))  # what cannot compute says so at once
        return cls(backend)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each column of ``predict_proba``; empty for a regression."""
        return self.backend.head.labels

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns of the task, two for pairs; empty where the model does not say."""
        return self.backend.head.settings.text_columns

    def predict(
        self, texts: Any, *, batch_size: int = BATCH, abstain_below: float | None = None
    ) -> Any:
        """The label of each text, or its score for a regression.

        Args:
            texts: See the class.
            batch_size: Texts that are computed at once, at most.
            abstain_below: Instead of a label whose probability is lower comes None.

        Returns:
            A list; for pandas a Series.

        Raises:
            DataInvalid: A row is no text, or not of the kind that the model reads.
            UsageError: A regression has no confidence to abstain by.
        """
        rows = as_texts(texts, self.backend.head)
        answers = self._answers(self._logits(rows, batch_size), abstain_below)
        if not is_pandas(texts):
            return answers
        import pandas as pd

        return pd.Series(answers, index=texts.index, name="prediction")

    def predict_proba(self, texts: Any, *, batch_size: int = BATCH) -> Any:
        """The probability of each label, calibrated where the model is.

        Returns:
            float32 of shape (texts, labels); for pandas a DataFrame with the labels as columns.

        Raises:
            DataInvalid: As ``predict``.
            UsageError: A regression has no probabilities.
        """
        if not self.labels:
            raise UsageError(
                f"{self.backend.head.name} gives a score, no probabilities.", "Use predict."
            )
        found = self.probabilities(self._logits(as_texts(texts, self.backend.head), batch_size))
        if not is_pandas(texts):
            return found
        import pandas as pd

        return pd.DataFrame(found, index=texts.index, columns=list(self.labels))

    def logits(self, texts: Any, *, batch_size: int = BATCH) -> Logits:
        """What the model computes, before calibration; float32 of shape (texts, labels)."""
        return self._logits(as_texts(texts, self.backend.head), batch_size)

    def probabilities(self, logits: Logits) -> Logits:
        """Calibrated probabilities from logits of shape (texts, labels)."""
        calibration = self.backend.head.settings.calibration
        return probabilities(logits, calibration).astype(np.float32)

    def _answers(self, logits: Logits, abstain_below: float | None) -> list[Any]:
        if abstain_below is not None and not _is_number(abstain_below):
            raise UsageError(f"abstain_below is {abstain_below!r}; a number is expected.")
        if not self.labels:
            if abstain_below is not None:
                raise UsageError(
                    f"{self.backend.head.name} gives a score, which has no confidence.",
                    "Leave abstain_below out.",
                )
            return [float(score) for score in logits[:, 0]]
        return self.named(logits, abstain_below)

    def named(self, logits: Logits, abstain_below: float | None) -> list[str | None]:
        """The most probable label of each row, or None where it is less probable than asked for."""
        best = most_probable(logits, self.backend.head.settings.calibration)
        if abstain_below is None:
            return [self.labels[at] for at in best]
        sure = self.probabilities(logits).max(axis=-1) >= abstain_below
        return [self.labels[at] if enough else None for at, enough in zip(best, sure, strict=True)]

    def _logits(self, texts: Sequence[Text], batch_size: int) -> Logits:
        _require_count("batch_size", batch_size)
        if len(texts) == 1:
            return self.backend.run(self.backend.encode(texts))
        logits = np.empty((len(texts), self.backend.head.width), np.float32)
        start = 0
        for window in windows(texts, max(WINDOW_TEXTS, batch_size)):
            rows = self.backend.encode(window)
            for batch in like_lengths([len(row) for row in rows], batch_size):
                found = self.backend.run([rows[at] for at in batch])
                logits[[start + at for at in batch]] = found
            start += len(window)
        return logits


def _require_count(name: str, value: object) -> None:
    if type(value) is not int or not 1 <= value <= _MOST:
        raise UsageError(f"{name} is {value!r}; a whole number from 1 is expected.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not np.isnan(value)


def like_lengths(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """The rows by length, in batches; in none is more padding than one token in ``WASTE``."""
    batch: list[int] = []
    tokens = 0
    for at in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[at]
        padding = length * (len(batch) + 1) - tokens - length
        if batch and (len(batch) == batch_size or WASTE * padding > tokens + length):
            yield batch
            batch, tokens = [], 0
        batch.append(at)
        tokens += length
    if batch:
        yield batch


def _pytorch(name: str) -> Backend:
    try:
        module = import_module(_PYTORCH)
    except ImportError as error:
        if not Path(name).expanduser().exists():
            raise ModelNotFound(
                f"there is no model folder {name}.",
                "Check the name. A name of the hub needs PyTorch, which is not installed.",
            ) from error
        raise ExtraMissing(
            f"{name} is no exported graph, and needs PyTorch and transformers: {error.name} is not "
            "installed.",
            "Name the folder of an ONNX form, or install augment-distill with its dependencies.",
        ) from error
    backend: Backend = module.open_model(name)
    return backend
