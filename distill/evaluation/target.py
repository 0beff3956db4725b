"""A classifier that is measured: rows in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray

from distill.data.batching import Collator, model_inputs
from distill.evaluation.results import Judgment
from distill.models.loading import Classifier

Row = dict[str, Any]
Logits = NDArray[np.float32]
LogitsFunction = Callable[[Sequence[Row]], Logits]
"""Tokenized rows to logits of shape (rows, classes), in the order of the data's labels."""
Splits = Mapping[str, datasets.Dataset]


@dataclass(frozen=True, slots=True)
class EvaluationTarget:
    """A classifier to be measured.

    Attributes:
        name: In the table, such as ``Role.DISTILLED``.
        splits: Split name to its labeled rows in the classifier's own tokens.
        max_length: Tokens a row was cut to.
        judged: Where that is known already, but for the tests.
        graph: What answers in the classifier's place, where it was exported.
        tests: Labeled test rows by split: they are scored beside the splits, and choose nothing.
    """

    name: str
    classifier: Classifier
    splits: Splits
    max_length: int
    judged: Judgment | None = None
    graph: LogitsFunction | None = None
    tests: Splits = field(default_factory=dict)

    @property
    def rows(self) -> datasets.Dataset:
        """The first split, on which cost is measured."""
        return next(iter(self.splits.values()))

    def logits(self, rows: Sequence[Row]) -> Logits:
        """Logits of a batch, see ``LogitsFunction``."""
        return self.graph(rows) if self.graph else classifier_logits(self.classifier, rows)


def classifier_logits(classifier: Classifier, rows: Sequence[Row]) -> Logits:
    """A classifier's logits of a batch in float32, see ``LogitsFunction``."""
    inputs = model_inputs(Collator(classifier.tokenizer.pad_token_id)(rows))
    device = classifier.model.device
    placed = {name: tensor.to(device) for name, tensor in inputs.items()}
    with torch.inference_mode():
        logits: Logits = classifier.logits(placed).float().cpu().numpy()
    return logits
