"""A classifier in the forms that it is served in, each measured again.

DIR/export.json                                   what was measured
DIR/transformers/   config.json model.safetensors tokenizer.json tokenizer_config.json
DIR/onnx/           config.json model.onnx        tokenizer.json tokenizer_config.json
DIR/onnx-int8/      the same with 8-bit weights
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.contract import TaskSpec, Version
from augment.contract.files import commit_folder, write_json
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.errors import UsageError
from distill.evaluation.compare import labeled_splits
from distill.evaluation.cost import Answer, Latency, TimedModel, time_answers, weight_bytes
from distill.evaluation.evaluate import Scores, Splits, answers, collect, scores_of
from distill.evaluation.results import measured_on
from distill.models.folders import folder_digest, save_clean, save_tokenizer
from distill.models.loading import Classifier, load_classifier, own_length
from distill.progress import Narrator
from distill.serving.onnx import PACKAGES, graph_answers, quantize, require_onnx, write_onnx

FORMS = ("transformers", "onnx", "onnx-int8")
RECORD, GRAPH = "export.json", "model.onnx"

Logits = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Exported:
    """One row of the table: a form, or the model that all were made from (``pytorch``).

    Attributes:
        form: Also its folder's name.
        scores: Split to metric to value.
        drop: The selection metric on the first split: PyTorch's minus this form's.
        logit_difference: The largest difference of a logit from PyTorch's, on any row.
        answers_changed: Rows whose class is another one than PyTorch's.
        file_bytes: Size of the weights on disk.
        latency: How fast it answers, on the CPU.
    """

    form: str
    scores: Scores
    drop: float
    logit_difference: float
    answers_changed: int
    file_bytes: int
    latency: Latency


@dataclass(frozen=True, slots=True)
class _Made:
    """A form that was written."""

    form: str
    answer: Answer
    file_bytes: int


def export_model(
    model: str,
    version: Version | str | Path,
    *,
    out: str | Path,
    forms: Sequence[str] = FORMS,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write a classifier in several forms, and compare each with the original on validation.

    Args:
        model: Folder, run directory or hub name.
        version: A version or a reference to one.
        out: The new folder; it appears when everything in it is whole.
        forms: Which of ``FORMS``.
        quiet: Say nothing on stderr.

    Returns:
        What ``export.json`` holds.

    Raises:
        UsageError: ``out`` exists, or a form is unknown.
        ExtraMissing: ONNX is asked for and not installed.
        Fault: With a sentence that says what to do.
    """
    quiet_libraries()
    out, narrator = Path(out), Narrator(quiet=quiet)
    if out.exists():
        raise UsageError(f"{out} exists.", "Choose another --out, or remove it.")
    if unknown := [form for form in forms if form not in FORMS]:
        raise UsageError(f"there is no form {unknown[0]!r}.", f"Known: {', '.join(FORMS)}.")
    if any(form.startswith("onnx") for form in forms):
        require_onnx()
    opened = open_checked(version)
    classifier = load_classifier(model, opened.task)
    length = own_length(classifier, opened.task)
    result: dict[str, Any] = {}

    def fill(folder: Path) -> None:
        made = [_Made("pytorch", answers(classifier), weight_bytes(classifier.model))]
        for form in FORMS:
            if form in forms:
                narrator.say("writing", form)
                made.append(_write(form, folder / form, classifier, length, opened.task))
        narrator.say("measuring", f"{len(made)} forms on validation")
        with tempfile.TemporaryDirectory(prefix="distill-") as cache:
            splits = labeled_splits(opened, None, classifier, length, Path(cache))
            rows = _compare(made, opened.task, splits)
            result.update(_record(opened, splits, model, length, rows))
        write_json(folder / RECORD, result)

    commit_folder(out, fill)
    return result


def _write(form: str, folder: Path, classifier: Classifier, length: int, task: TaskSpec) -> _Made:
    """Write a form, and open what was written."""
    folder.mkdir()
    if form == "transformers":
        save_clean(classifier.model, classifier.tokenizer, folder, length)
        again = load_classifier(str(folder), task)
        return _Made(form, answers(again), weight_bytes(again.model))
    _write_graph(form, folder, classifier)
    size = sum(written.stat().st_size for written in folder.iterdir())
    classifier.model.config.save_pretrained(folder)
    save_tokenizer(classifier.tokenizer, folder, length, ready=True)
    return _Made(form, graph_answers(folder / GRAPH, classifier), size)


def _write_graph(form: str, folder: Path, classifier: Classifier) -> None:
    """Write ``model.onnx``; int8 is made from the float32 graph beside it, where there is one."""
    if form == "onnx":
        write_onnx(classifier, folder / GRAPH)
        return
    with tempfile.TemporaryDirectory(prefix="distill-") as place:
        source = folder.with_name("onnx") / GRAPH
        if not source.is_file():
            source = Path(place) / GRAPH
            write_onnx(classifier, source)
        quantize(source, folder / GRAPH)


def _compare(made: Sequence[_Made], task: TaskSpec, splits: Splits) -> list[Exported]:
    """Score every form and set it against the first."""
    first = next(iter(splits))
    timed = time_answers([TimedModel(one.answer, splits[first], "cpu") for one in made])
    logits = [{split: collect(one.answer, rows) for split, rows in splits.items()} for one in made]
    scores = [
        {split: scores_of(own[split], rows, task) for split, rows in splits.items()}
        for own in logits
    ]
    best = scores[0][first][task.selection_metric]
    return [
        Exported(
            form=one.form,
            scores=found,
            drop=best - found[first][task.selection_metric],
            logit_difference=_furthest(logits[0], own),
            answers_changed=_changed(logits[0], own),
            file_bytes=one.file_bytes,
            latency=latency,
        )
        for one, own, found, latency in zip(made, logits, scores, timed, strict=True)
    ]


def _furthest(one: Logits, other: Logits) -> float:
    return max(float(np.abs(one[split] - other[split]).max()) for split in one)


def _changed(one: Logits, other: Logits) -> int:
    return sum(int((one[s].argmax(-1) != other[s].argmax(-1)).sum()) for s in one)


def _record(
    version: Version, splits: Splits, model: str, length: int, rows: list[Exported]
) -> dict[str, Any]:
    names = (
        "torch",
        "transformers",
        *(PACKAGES if any(row.form.startswith("onnx") for row in rows) else ()),
    )
    return {
        "model": model,
        "model_sha256": folder_digest(model),
        **measured_on(version, splits),
        "max_length": length,
        "libraries": {name: installed(name) for name in names},
        "forms": [dataclasses.asdict(row) for row in rows],
    }
