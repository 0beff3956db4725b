"""Measure one model on a version, outside of any run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from augment.contract import Version
from distill.bench import device, open_checked, quiet_libraries, result_of
from distill.dataset import labelled, resolve_length, tokenise_split, tokenise_validation
from distill.errors import DataInvalid
from distill.evaluate import measure
from distill.models import load_classifier
from distill.students import check_length


def evaluate_model(
    model: str, version: Version | str | Path, *, split: str | None = None
) -> dict[str, Any]:
    """Score, weigh and time a classifier.

    Args:
        model: Folder or hub name.
        version: A version or a reference to one.
        split: A labelled split; all validation splits, each by itself, if left out.

    Returns:
        The result as JSON values, see ``report``.

    Raises:
        DataInvalid: The split has no labels.
        Fault: With a sentence that says what to do.
    """
    quiet_libraries()
    opened = open_checked(version)
    classifier = load_classifier(model, opened.task)
    nn.Module.to(classifier.model, device())
    length = resolve_length("auto", opened.task)
    check_length(length, model, classifier.model.config)
    with tempfile.TemporaryDirectory(prefix="distill-") as folder:
        settings = (opened, classifier.tokenizer, length, Path(folder))
        if split is None:
            splits = tokenise_validation(*settings)
        else:
            rows = tokenise_split(opened, split, *settings[1:])
            splits = {split: labelled(rows, opened.task, split)}
            if not len(splits[split]):
                raise DataInvalid(
                    f"{opened.reference}: split {split!r} has no labels to compare with.",
                    f"Choose another: {', '.join(opened.task.splits.validation)}.",
                )
        name = Path(model).name or model
        return result_of(opened, splits, measure({name: classifier}, opened.task, splits))
