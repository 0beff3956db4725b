"""A classifier in the forms that it is served in, each measured again.

DIR/export.json                                   what was measured
DIR/trim.json                                     what was left out first, where that was asked
DIR/transformers/   config.json model.safetensors tokenizer.json tokenizer_config.json
DIR/onnx/           config.json model.onnx        tokenizer.json tokenizer_config.json
DIR/onnx-int8/      the same with 8-bit weights, whose answers do not depend on batch mates
DIR/onnx-small/     the same in half the bytes: six bits a weight, token vectors in pieces
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from augment.contract import TaskSpec, Version
from augment.contract.errors import PlaceUnusable
from augment.contract.files import check_output, commit_folder, new_place, sole_writer, write_json
from augment.contract.foreign import counted
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.scratch import scratch
from distill.data.versions import sample, tokenize_sample
from distill.errors import ModelInvalid, UsageError
from distill.evaluation.answer_times import EndToEnd
from distill.evaluation.compare import labeled_splits
from distill.evaluation.cost import Processor, measure_latency, weight_bytes
from distill.evaluation.end_to_end import measure_on_threads, texts_of
from distill.evaluation.evaluate import (
    batched_logits,
    calibrate,
    changed_answers,
    finite,
    scores_of,
)
from distill.evaluation.pytorch import torch_backend
from distill.evaluation.results import Latency, MeasuredOn, Scores, Selection
from distill.evaluation.target import EvaluationTarget, Logits, Row
from distill.inference.classifier import Backend
from distill.inference.forms import SMALL
from distill.inference.graph import open_graph
from distill.inference.probabilities import UNCALIBRATED
from distill.models.folders import folder_digest, save_clean, save_tokenizer
from distill.models.labels import label_settings
from distill.models.loading import Classifier, load_classifier, own_length
from distill.runs.card import forms_card, write_card
from distill.runs.progress import Narrator
from distill.runs.records import Record, read_json
from distill.serving.onnx import (
    PACKAGES,
    GraphSource,
    count_nodes,
    graph_logits,
    require_onnx,
    write_int8,
    write_onnx,
)
from distill.serving.trim import MIN_COUNT, TrimResult, fill_trimmed
from distill.serving.trim import RECORD as TRIM_RECORD

FORMS = ("transformers", "onnx", "onnx-int8", "onnx-small")
RECORD, GRAPH = "export.json", "model.onnx"
RANGE_ROWS = 128  # of training, that fix the ranges of int8
COUNTED_ROWS = 20_000  # of training, that say how much a token counts


class ExportedForm(Record):
    """One row of the table: a form, or the model that all were made from (``pytorch``).

    Attributes:
        form: Also its folder's name.
        scores: On every validation split.
        drop: The selection metric on the first split: PyTorch's minus this form's.
        logit_difference: The largest difference of a logit from PyTorch's, on any row.
        answers_changed: Rows whose class is another one than PyTorch's.
        file_bytes: Size of the weights on disk.
        latency: How fast it answers, on the CPU.
        end_to_end: From raw texts to answers: with one thread, and with all that may be used.
        nodes: Of a graph: how many there are of each operator.
    """

    form: str
    scores: Scores
    drop: float
    logit_difference: float
    answers_changed: int
    file_bytes: int
    latency: Latency
    end_to_end: tuple[EndToEnd, ...] = ()
    nodes: dict[str, int] = Field(default_factory=dict)


class _Exported(Record):
    """The first keys of ``export.json``."""

    model: str
    model_sha256: str


class ExportResult(MeasuredOn, _Exported):
    """``export.json``: what was exported, what it was measured on, and every form.

    Attributes:
        model: What the user called it.
        max_length: Tokens a row was cut to.
        libraries: Versions of the packages that wrote the forms.
        forms: ``pytorch`` first.
        processor: What they were checked and timed on.
    """

    max_length: int
    libraries: dict[str, str]
    forms: tuple[ExportedForm, ...]
    processor: Processor | None = None

    def card(self, folder: Path, only: str = "") -> str:
        """The model card of the export in a folder, or of one form of it alone."""
        name = self.processor.name if self.processor else ""
        return forms_card(folder, self, self.forms, name, self.model_sha256, only)


def export_model(
    model: str | os.PathLike[str],
    version: Version | str | Path,
    *,
    out: str | Path,
    forms: Sequence[str] = FORMS,
    trim: bool = False,
    trim_size: int | None = None,
    quiet: bool = False,
) -> ExportResult:
    """Write a classifier in several forms, and compare each with the original on validation.

    Args:
        model: Folder, run directory or hub name.
        version: A version or a reference to one.
        out: The new folder; it appears when everything in it is whole.
        forms: Which of ``FORMS``; all if left out.
        trim: Leave tokens out of the vocabulary first, as ``distill trim`` does; every form is
            then compared with the model that has them all.
        trim_size: How many tokens stay then; if left out, all that were seen.
        quiet: Say nothing on stderr.

    Raises:
        UsageError: ``out`` exists, a form is unknown, or nothing can be left out.
        ExtraMissing: ONNX is asked for and not installed.
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import export
        >>> found = export(
        ...     "runs/reviews", "data/versions/reviews", out="export", forms=["transformers"],
        ...     quiet=True,
        ... )
        >>> found.to_pandas().form.tolist()
        ['pytorch', 'transformers']
    """
    quiet_libraries()
    out = new_place(out)
    if unknown := [form for form in forms if form not in FORMS]:
        raise UsageError(f"there is no form {unknown[0]!r}.", f"Known: {', '.join(FORMS)}.")
    with sole_writer(out):
        if out.exists():
            raise UsageError(f"{out} exists.", "Choose another --out, or remove it.")
        check_output(out)
        opened, narrator = open_checked(version), Narrator(quiet=quiet)
        wanted = Trimming(trim_size) if trim or trim_size is not None else None
        return write_export(os.fspath(model), opened, out, forms, wanted, narrator)


@dataclass(frozen=True, slots=True)
class Trimming:
    """That tokens are left out first.

    Attributes:
        size: How many stay; None for all that were seen.
        most_lost: Of the selection metric: where it would lose more, or nothing can be left out,
            all tokens stay. None: they are left out in any case.
    """

    size: int | None = None
    most_lost: float | None = None


def write_export(
    model: str,
    opened: Version,
    out: Path,
    forms: Sequence[str],
    trimming: Trimming | None,
    narrator: Narrator,
    share: float = 1.0,
) -> ExportResult:
    """Write the folder of an export, which is not there yet, see ``export_model``.

    Args:
        model: Likewise.
        opened: The version.
        out: The folder.
        forms: Known ones.
        trimming: Of the vocabulary, if any.
        narrator: Is told what happens.
        share: Of the seconds that forms are usually timed for.
    """
    packages = ["torch", "transformers"]  # that write the forms
    if any(form.startswith("onnx") for form in forms):
        require_onnx()
        packages += PACKAGES
    classifier = load_classifier(model, opened.task)
    _state_labels(classifier, opened.task)
    length = own_length(classifier, opened.task)

    def fill(folder: Path) -> None:
        with scratch() as cache:
            splits = labeled_splits(opened, None, classifier, length, cache)
            if classifier.calibration == UNCALIBRATED:
                calibrate(classifier, opened.task, next(iter(splits.values())))
            targets = [EvaluationTarget("pytorch", classifier, splits, length)]
            source = targets[0]
            if trimming:
                source = _trim(source, opened, trimming, folder, cache, narrator)
            ordered = [form for form in FORMS if form in forms]
            targets += _write(ordered, folder, source, opened, narrator)
            written = set(folder.rglob("*"))
            narrator.say("measuring", f"{counted(len(targets), 'form')} on validation")
            result = ExportResult.on(
                opened,
                splits,
                model=model,
                model_sha256=folder_digest(model),
                max_length=length,
                libraries={name: installed(name) for name in packages},
                forms=tuple(_compare(targets, folder, opened, share)),
                processor=Processor.here(),
            )
        if written - set(folder.rglob("*")):
            raise PlaceUnusable(f"files of {out} were removed while it was made.", "Export again.")
        write_json(folder / RECORD, result.to_json())
        write_card(folder, result.card(folder))

    commit_folder(out, fill)
    return read_json(out / RECORD, ExportResult)


def _trim(
    source: EvaluationTarget,
    version: Version,
    trimming: Trimming,
    out: Path,
    cache: Path,
    narrator: Narrator,
) -> EvaluationTarget:
    """The model without tokens that the version does not hold; what that did is kept with it.

    The model as it is, where it may lose only so much and would lose more.
    """
    folder, most = cache / "trimmed", trimming.most_lost
    folder.mkdir()
    whole = source.classifier
    try:
        fill_trimmed(folder, whole.name, version, trimming.size, MIN_COUNT, narrator)
    except (UsageError, ModelInvalid) as fault:
        if most is None:
            raise
        narrator.say("untrimmed", fault.problem)
        return source
    lost = read_json(folder / TRIM_RECORD, TrimResult).scores
    if most is not None and lost is not None and lost.drop > most:
        metric = lost.selection.metric
        narrator.say("untrimmed", f"without rare tokens {metric} is {lost.drop:.3f} lower")
        return source
    shutil.copy(folder / TRIM_RECORD, out / TRIM_RECORD)
    classifier = load_classifier(str(folder), version.task)
    classifier.calibrate(whole.calibration)
    _state_labels(classifier, version.task)
    splits = labeled_splits(version, None, classifier, source.max_length, cache)
    return replace(source, classifier=classifier, splits=splits)


def _state_labels(classifier: Classifier, task: TaskSpec) -> None:
    """Let the config say what its readers go by: kind of problem, labels, columns of the texts.

    Labels have the task's names in the model's own order.
    """
    classifier.model.config.update(label_settings(task, classifier.order))
    classifier.name_texts(task.text_columns)


def _write(
    forms: Sequence[str], out: Path, source: EvaluationTarget, version: Version, narrator: Narrator
) -> Iterator[EvaluationTarget]:
    """Write forms, and open what was written."""
    classifier, length = source.classifier, source.max_length
    for form in forms:
        narrator.say("writing", form)
        (folder := out / form).mkdir(exist_ok=True)
        if form == "transformers":
            save_clean(classifier.model, classifier.tokenizer, folder, length)
            yield replace(source, name=form, classifier=load_classifier(str(folder), version.task))
            continue
        if form == "onnx":
            write_onnx(GraphSource(classifier, length), folder / GRAPH)
        elif not (folder / GRAPH).exists():
            _write_int8([own for own in forms if own in SMALL], out, source, version)
        classifier.model.config.save_pretrained(folder)
        save_tokenizer(classifier.tokenizer, folder, length, ready=True)
        yield replace(source, name=form, graph=graph_logits(folder / GRAPH, classifier))


def _write_int8(
    forms: Sequence[str], out: Path, source: EvaluationTarget, version: Version
) -> None:
    """Write all graphs of 8 bits: what training rows send through them is observed once."""
    graph, plain = GraphSource(source.classifier, source.max_length), out / "onnx" / GRAPH
    files: dict[Path, NDArray[np.float32] | None] = {}
    for form in forms:
        (out / form).mkdir(exist_ok=True)
        weights = _token_weights(version, source) if form == "onnx-small" else None
        files[out / form / GRAPH] = weights
    rows = _training_rows(version, source, RANGE_ROWS)
    write_int8(graph, rows, files, plain if plain.is_file() else None)


def _training_rows(version: Version, source: EvaluationTarget, most: int) -> list[Row]:
    """Some tokenized training rows; of a version without any, of those that are measured on."""
    train = version.task.splits.train
    known = train in version.splits and version.rows(train) > 0
    drawn = sample(version, train if known else next(iter(source.splits)), most)
    tokenizer = source.classifier.tokenizer
    return list(tokenize_sample(version.task, drawn, tokenizer, source.max_length))


def _token_weights(version: Version, source: EvaluationTarget) -> NDArray[np.float32]:
    """What each token counts for: the root of how often it is seen, shape (tokens,)."""
    rows = _training_rows(version, source, COUNTED_ROWS)
    seen = np.concatenate([row["input_ids"] for row in rows])
    tokens = source.classifier.model.config.vocab_size
    return np.sqrt(np.bincount(seen, minlength=tokens) + 1).astype(np.float32)


def _compare(
    targets: Sequence[EvaluationTarget], out: Path, version: Version, share: float
) -> Iterator[ExportedForm]:
    """Score every form and set it against the first."""
    task = version.task
    selection = Selection(metric=task.selection_metric, split=next(iter(targets[0].splits)))
    calibration = targets[0].classifier.calibration
    first_logits: dict[str, Logits] = {}
    best: float | None = None
    latencies = measure_latency(targets, share)
    speeds = zip(latencies, _times(targets, out, version, share), strict=True)
    for target, (latency, end_to_end) in zip(targets, speeds, strict=True):
        logits, scores = {}, {}
        for split, rows in target.splits.items():
            logits[split] = finite(target.name, batched_logits(target.logits, rows))
            scores[split] = scores_of(logits[split], rows, task, calibration)
        first_logits = first_logits or logits
        best = selection.of(scores) if best is None else best
        pairs = [(first_logits[split], logits[split]) for split in logits]
        yield ExportedForm(
            form=target.name,
            scores=scores,
            drop=best - selection.of(scores),
            logit_difference=max(float(np.abs(one - other).max()) for one, other in pairs),
            answers_changed=sum(changed_answers(a, b, task, calibration) for a, b in pairs),
            file_bytes=_file_bytes(target, out),
            latency=latency,
            end_to_end=end_to_end,
            **({"nodes": count_nodes(out / target.name / GRAPH)} if target.graph else {}),
        )


def _times(
    targets: Sequence[EvaluationTarget], out: Path, version: Version, share: float
) -> list[tuple[EndToEnd, ...]]:
    """From raw texts to answers, for each number of threads."""

    def opened(threads: int) -> list[Backend]:
        return [
            open_graph(out / target.name, target.name, threads)
            if target.graph
            else torch_backend(target.classifier, target.max_length)
            for target in targets
        ]

    return measure_on_threads(opened, texts_of(version, next(iter(targets[0].splits))), share)


def _file_bytes(target: EvaluationTarget, out: Path) -> int:
    if target.graph is None:
        return weight_bytes(target.classifier.model)
    return sum(file.stat().st_size for file in (out / target.name).glob(f"{GRAPH}*"))
