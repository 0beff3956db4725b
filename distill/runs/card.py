"""The model card of a student, a teacher, an export or a trimmed model: ``README.md`` beside it.

A card says what lies on disk already, for readers of the folder and of the hub: it is part of no
seal and no digest, so that who made the model may write more into it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from augment.contract import Version
from augment.contract.files import write_text
from augment.contract.foreign import as_code, counted, front_matter, markdown_table
from distill.evaluation.answer_times import EndToEnd
from distill.evaluation.results import (
    EvaluationResult,
    GeneralResult,
    MeasuredOn,
    Measurement,
    Scores,
    metric_columns,
)
from distill.inference.probabilities import UNCALIBRATED
from distill.inference.settings import Calibration
from distill.runs.usage import Reader, export_usage, graph_usage, usage

CARD = "README.md"
_TAGS = ["augment-distill", "distillation"]
_TRANSFORMERS, _ONNX = {"library_name": "transformers"}, {"library_name": "onnx"}
"""What the hub says a model is opened with; of a folder inside it, nothing that it knows."""
_HUB_METRICS = {
    "macro_f1": "f1",
    "weighted_f1": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}


class Form(Protocol):
    """A row of the table of an export."""

    @property
    def form(self) -> str:
        """Its name, and its folder's."""

    @property
    def scores(self) -> Scores:
        """By split and metric."""

    @property
    def drop(self) -> float:
        """What of the selection metric is lost."""

    @property
    def answers_changed(self) -> int:
        """Rows with another answer."""

    @property
    def file_bytes(self) -> int:
        """Of its weights."""

    @property
    def end_to_end(self) -> tuple[EndToEnd, ...]:
        """From raw texts to answers."""


def write_card(folder: Path, card: str) -> None:
    """Put a card into a model's folder, unless one is there, which somebody may have changed.

    Raises:
        OutputUnwritable: It cannot be written to.
    """
    if not os.path.lexists(folder / CARD):
        write_text(folder / CARD, card)


def result_card(folder: Path, result: EvaluationResult, identity: Mapping[str, Any]) -> str:
    """The card of a distilled student or a teacher.

    Args:
        folder: Of the model.
        result: What was measured.
        identity: What it was made from, as ``run.json`` or ``teacher.json`` keeps it.
    """
    reader, made = Reader.of(folder), result.made
    student = "student" in identity
    what = "distilled student" if student else "teacher"
    title = f"{result.task}, {what}"
    sections = {
        "": f"A {what} for the task {as_code(result.task)}, made by augment-distill.\n",
        "Use": usage(reader),
        "Results": _results(result),
        "Made from": "".join(f"- {line}\n" for line in _made_from(result, identity)),
        "Labels": _labels(reader),
        "Calibration": _calibration(reader.calibration, made),
        "Size and speed": "".join(f"- {line}\n" for line in _costs(made)),
        "Recipe": _recipe(identity),
    }
    return _card(title, _head(title, result, reader, {made.model: made.scores}), sections)


def general_card(folder: Path, result: GeneralResult, identity: Mapping[str, Any]) -> str:
    """The card of a general student: an encoder that no task has tuned."""
    title = f"general student, {result.size}"
    losses = [(as_code(name), f"{loss:.4f}") for name, loss in sorted(result.held_out.items())]
    made = [
        f"an encoder, SHA-256 `{str(identity.get('teacher', ''))[:12]}`",
        f"a corpus of {counted(result.blocks.train, 'block')}; "
        f"{result.blocks.held_out:,} were held out",
        f"{counted(result.steps, 'step')}, about {counted(result.tokens, 'token')}",
    ]
    sections = {
        "": "An encoder distilled on raw text, without any task, made by augment-distill.\n",
        "Use": usage(Reader.of(folder)),
        "Made from": "".join(f"- {line}\n" for line in made),
        "Losses on held-out blocks": markdown_table(("loss", "value"), losses),
        "Recipe": _recipe(identity),
    }
    head = {**_TRANSFORMERS, "pipeline_tag": "feature-extraction", "tags": _TAGS}
    return _card(title, head, sections)


def forms_card(
    folder: Path,
    measured: MeasuredOn,
    forms: Sequence[Form],
    processor: str,
    sha256: str,
    only: str = "",
) -> str:
    """The card of an export: every form with its size and speed.

    Args:
        folder: Of the export.
        measured: On which version and rows.
        forms: The first is what all were made from.
        processor: That they were timed on.
        sha256: Of the model that was exported.
        only: The form whose folder alone the card is for; of the whole export if left out.
    """
    written = [own for own in forms if (folder / own.form).is_dir() and only in ("", own.form)]
    reader = Reader.of(folder / written[0].form)
    names = [own.form for own in written]
    graphs = any(name.startswith("onnx") for name in names)
    if only:
        block, where = graph_usage(reader) if graphs else usage(reader), f"the form `{only}`"
    else:
        block, where = export_usage(reader, names), "the forms that it is served in"
    title = f"{measured.task}, {f'exported as {only}' if only else 'exported'}"
    heads = ("form", measured.selection.metric, "lost", "answers changed", "MB")
    shown_forms = [forms[0], *written]
    sections = {
        "": f"A model for the task {as_code(measured.task)} in {where}, made by augment-distill.\n",
        "Use": block,
        "Forms": markdown_table(
            (*heads, "ms a text", "texts a second"), [_form_line(f, measured) for f in shown_forms]
        )
        + f"\n`{forms[0].form}` is the model before. From raw text to label with one thread, on "
        f"{as_code(processor or 'an unknown processor')}; scores on {_rows(measured)}.\n",
        "Made from": f"- version {as_code(measured.version)}, id `{measured.version_id[:12]}`\n"
        f"- model, SHA-256 `{sha256[:12]}`\n",
        "Labels": _labels(reader),
        "Calibration": _calibration(reader.calibration),
    }
    library = _ONNX if graphs else _TRANSFORMERS if only else {}
    scores = {own.form: own.scores for own in written}
    return _card(title, _head(title, measured, reader, scores, library), sections)


def trimmed_card(folder: Path, version: Version, trimmed: Any) -> str:
    """The card of a model with a smaller vocabulary.

    Args:
        folder: Of the model.
        version: Whose tokens it has.
        trimmed: What that did, a ``TrimResult``.
    """
    reader, was, now = Reader.of(folder), trimmed.before, trimmed.after
    scores: Scores = trimmed.scores.after if trimmed.scores else {}
    made_from = (
        f"- version {as_code(trimmed.version)}, id `{trimmed.version_id[:12]}`\n"
        f"- model, SHA-256 `{trimmed.model_sha256[:12]}`\n"
        f"- {now.tokens:,} of {counted(was.tokens, 'token')}; weights of "
        f"{now.weight_bytes / 1e6:,.1f} MB, "
        f"{was.weight_bytes / 1e6:,.1f} MB before\n"
    )
    title = f"{version.task.name}, trimmed"
    sections = {
        "": "A model without the tokens that its task does not need, made by augment-distill.\n",
        "Use": usage(reader),
        "Made from": made_from,
        "Results": "".join(f"- {name}: {_cell(x)}\n" for name, x in metric_columns(scores)),
        "Labels": _labels(reader),
        "Calibration": _calibration(reader.calibration),
    }
    if not scores:
        return _card(title, {**_TRANSFORMERS, "tags": _TAGS}, sections)
    measured = MeasuredOn.on(version, {split: range(version.rows(split)) for split in scores})
    return _card(title, _head(title, measured, reader, {"trimmed": scores}), sections)


def _card(title: str, head: Mapping[str, Any], sections: Mapping[str, str]) -> str:
    parts = [
        f"## {name}\n\n{text}" if name else text for name, text in sections.items() if text.strip()
    ]
    return f"{front_matter(head)}\n# {title}\n\n" + "\n".join(parts)


def _head(
    title: str,
    measured: MeasuredOn,
    reader: Reader,
    scores: Mapping[str, Scores],
    library: Mapping[str, str] = _TRANSFORMERS,
) -> dict[str, Any]:
    """What the hub reads: the task, and the results as its ``model-index``."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=measured.task,
            dataset_name=measured.version,
            dataset_split=split,
            dataset_revision=measured.version_id,
            metric_type=_HUB_METRICS.get(metric, metric),
            metric_name=f"{metric} ({name})" if len(scores) > 1 else metric,
            metric_value=value,
        )
        for name, own in scores.items()
        for split, metrics in own.items()
        for metric, value in metrics.items()
        if math.isfinite(value)
    ]
    data: Any = ModelCardData(model_name=title, eval_results=results or None)
    kind = {"pipeline_tag": "text-classification"} if reader.answers else {}
    return {
        **library,
        **kind,
        "tags": _TAGS,
        "metrics": sorted({each.metric_type for each in results}),
        **data.to_dict(),
    }


def _results(result: EvaluationResult) -> str:
    names = [name for name, _ in metric_columns(result.made.scores)]
    lines = []
    rivals = {own.model: own.scores for own in result.models}
    rivals |= {own.name: own.scores for own in result.baselines}
    for label, scores in rivals.items():
        values = dict(metric_columns(scores))
        lines.append((as_code(label), *(_cell(values.get(name)) for name in names)))
    kept = result.retention(result.made)
    retained = f" It keeps {kept:.1f}% of its teacher's {result.selection.metric}." if kept else ""
    shown = markdown_table(("model", *names), lines)
    return f"{shown}\nOn {_rows(result)}.{retained if result.baseline else ''}\n"


def _rows(measured: MeasuredOn) -> str:
    return " and ".join(
        f"{counted(rows, 'row')} of `{split}`" for split, rows in measured.rows.items()
    )


def _cell(value: float | None) -> str:
    return f"{value:.4f}" if value is not None and math.isfinite(value) else "–"


def _made_from(result: EvaluationResult, identity: Mapping[str, Any]) -> Iterator[str]:
    yield f"version {as_code(result.version)}, id `{result.version_id[:12]}`"
    teachers = identity.get("teacher", [])
    for each in teachers if isinstance(teachers, list) else [teachers]:
        if each == "labels":
            yield "teacher: the soft labels of the version's rows"
        else:
            yield f"teacher: a classifier, SHA-256 `{str(each)[:12]}`"
    for key in ("encoder", "init"):
        if len(digest := str(identity.get(key) or "")) == 64:
            yield f"{key}: a model, SHA-256 `{digest[:12]}`"
    if student := identity.get("student"):
        start = "" if len(str(student)) == 64 else f", start: {as_code(identity.get('init'))}"
        yield f"student: {as_code(str(student)[:40])}{start}"


def _labels(reader: Reader) -> str:
    return "".join(f"{at}. {as_code(name)}\n" for at, name in enumerate(reader.labels))


def _calibration(calibration: Calibration, made: Measurement | None = None) -> str:
    if calibration == UNCALIBRATED:
        return ""
    bias = f" and a bias per label, {as_code(list(calibration.bias))}" if calibration.bias else ""
    says = f"Probabilities are `softmax(logits / {calibration.temperature:.4g}"
    says += f" + bias)`{bias}" if calibration.bias else ")`"
    report = made.calibration if made else None
    if report is None or report.after is None:
        return f"{says}.\n"
    return (
        f"{says}; calibration error {report.before.ece:.3f} before, {report.after.ece:.3f} after, "
        f"on `{report.split}`.\n"
    )


def _costs(made: Measurement) -> Iterator[str]:
    latency = made.latency
    yield f"{made.parameters:,} parameters, {made.encoder_parameters:,} without embeddings"
    yield f"weights of {made.file_bytes / 1e6:,.1f} MB"
    yield (
        f"{latency.batch_1:.2f} ms a text, {latency.throughput_32:,.0f} texts a second in batches "
        f"of 32, tokenizing left out ({latency.device}, {counted(latency.threads, 'thread')})"
    )
    yield f"reads the first {counted(made.max_length, 'token')} of a text"


def _recipe(identity: Mapping[str, Any]) -> str:
    """As JSON in pure ASCII, whose lines never begin as a fence does."""
    return f"```json\n{json.dumps(identity.get('recipe', {}), indent=1)}\n```\n"


def _form_line(own: Form, measured: MeasuredOn) -> tuple[str, ...]:
    score = _cell(measured.selection.of(own.scores))
    times = next((each for each in own.end_to_end if each.threads == 1), None)
    speed = (f"{times.batch_1:.2f}", f"{times.throughput_32:,.0f}") if times else ("–", "–")
    size = f"{own.file_bytes / 1e6:,.1f}"
    return (f"`{own.form}`", score, f"{own.drop:+.4f}", f"{own.answers_changed:,}", size, *speed)
