"""Answers to raw texts: a few at once, or those of a table, whose own columns are carried over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from augment.contract import Version
from augment.contract.files import check_output, new_place, sole_writer, write_file
from augment.contract.foreign import counted
from augment.contract.tables import kind_of
from augment.contract.terminal import Gauge, Narrator
from distill.data.scratch import scratch
from distill.errors import UsageError
from distill.inference.classifier import Classifier
from distill.inference.graph import GraphModel
from distill.inference.texts import USUAL, Text, as_texts, is_pandas
from distill.runs.records import Record
from distill.serving.rows import KINDS, STDIN, InputRow, input_file, open_rows, refuse
from distill.serving.writers import Values, check_kind, open_writer

if TYPE_CHECKING:
    import pandas as pd

    from distill.serving.glue_submission import Submission
    from distill.serving.predict import PredictionTable

DIGITS = 6
"""Decimals of probabilities and scores; more than float32 holds would be noise."""


class Answer(Record):
    """The answer to a text.

    Attributes:
        text: The texts of the row, two for a pair.
        prediction: A label, or a score; None where the model abstains.
        confidence: The probability of the label; None for a score.
        probabilities: Of each label; none for a score.
    """

    text: tuple[str, ...]
    prediction: str | float | None
    confidence: float | None
    probabilities: dict[str, float]


class Answers(Record):
    """What was asked, and what a model said."""

    model: str
    answers: tuple[Answer, ...]


class AnsweredFile(Record):
    """A table of answers that was written.

    Attributes:
        place: Its file.
        rows: In it, in the order of the input's.
        left_out: Malformed rows of the input.
        abstained: Rows without a prediction, as the model is not sure enough.
        columns: Those that were added to the input's own.
        renamed: Those of them whose usual name the input has already.
        rows_per_second: From reading to writing.
    """

    place: str
    rows: int
    left_out: int
    abstained: int
    columns: tuple[str, ...]
    renamed: tuple[str, ...]
    rows_per_second: float


def predict(
    model: str | os.PathLike[str] | Classifier,
    data: Any,
    *,
    out: str | Path | None = None,
    text_columns: Sequence[str] | str = (),
    abstain_below: float | None = None,
    skip_malformed: bool = False,
    form: str | None = None,
    split: str = "test",
    diagnostic: str | Path | None = None,
    threads: int | None = None,
    quiet: bool = True,
) -> Answers | pd.DataFrame | AnsweredFile | PredictionTable | Submission:
    """Answer texts, the rows of a table, or those of a version.

    Args:
        model: What ``Classifier.load`` takes, or a classifier that is loaded.
        data: A list of texts, or of pairs of them; a pandas Series or DataFrame, or a
            ``datasets.Dataset``; the path of a file; a version or a reference to one.
        out: A table to write: .csv, .tsv, .jsonl, .parquet. Of a version also ``FILE.zip`` or a
            folder: GLUE's submission. Without it, answers to rows come as a data frame.
        text_columns: One, or two for pairs; if left out, those of the model's data, or the only
            one with text, or ``text``.
        abstain_below: Give no label where its probability is lower.
        skip_malformed: Leave rows of a file out that cannot be read, and count them.
        form: Of an export, see ``Classifier.load``.
        split: Of a version; ``test`` also means ``test_matched`` and ``test_mismatched``.
        diagnostic: GLUE's diagnostic set, for a model of MNLI.
        threads: CPU threads; all of them if left out.
        quiet: Say nothing on stderr.

    Returns:
        For texts ``Answers``; for rows a data frame with the columns of the input, then
        ``prediction``, ``confidence`` and ``p_LABEL``; with ``out`` a record of what was written.

    Raises:
        UsageError: The arguments do not go together.
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import predict
        >>> predict("runs/reviews", ["The soup was cold."]).to_pandas().columns[1]
        'prediction'
    """
    columns = (text_columns,) if isinstance(text_columns, str) else tuple(text_columns)
    is_place = isinstance(data, str | os.PathLike)
    is_file = is_place and (os.path.isfile(data) or kind_of(Path(data)) in KINDS)
    if isinstance(data, Version) or (is_place and not is_file):
        return _of_version(model, data, out, split, diagnostic, quiet=quiet)
    opened = model
    if not isinstance(opened, Classifier):
        opened = open_model(os.fspath(opened), form, threads)
    if is_place:
        options: dict[str, Any] = {"text_columns": columns, "abstain_below": abstain_below}
        options |= {"skip_malformed": skip_malformed, "quiet": quiet}
        place = os.fspath(data)
        if out is not None:
            return answer_file(opened, place, out=out, **options)
        return _as_frame(lambda table: answer_file(opened, place, out=table, **options))
    if out is not None:
        raise UsageError("out is for the rows of a file or a version.", "Write the frame yourself.")
    if type(data).__module__.partition(".")[0] == "datasets" and hasattr(data, "to_pandas"):
        data = data.to_pandas()
    if is_pandas(data):
        return _of_frame(opened, data, columns, abstain_below)
    return answer_texts(opened, as_texts(data, opened.backend.head), abstain_below=abstain_below)


def _of_version(
    model: str | os.PathLike[str] | Classifier,
    version: Version | str | Path,
    out: str | Path | None,
    split: str,
    diagnostic: str | Path | None,
    *,
    quiet: bool,
) -> pd.DataFrame | PredictionTable | Submission:
    from distill.serving.predict import write_predictions

    if isinstance(model, Classifier):
        raise UsageError(
            "rows of a version are answered by a model that is named.", "Give its folder."
        )
    answer = partial(
        write_predictions,
        model,
        version,
        split=split,
        diagnostic=diagnostic,
        quiet=quiet,
    )
    return _as_frame(lambda table: answer(out=table)) if out is None else answer(out=out)


def _as_frame(write: Callable[[Path], object]) -> pd.DataFrame:
    """What is written as a table, as a data frame."""
    import pandas as pd

    with scratch() as folder:
        write(folder / "answers.parquet")
        return pd.read_parquet(folder / "answers.parquet")


def _of_frame(
    classifier: Classifier,
    data: Any,
    columns: Sequence[str],
    abstain_below: float | None,
) -> pd.DataFrame:
    """A frame, or a column as one, with the answers to its rows."""
    import pandas as pd

    _require_labels(classifier, abstain_below)
    frame = data if hasattr(data, "columns") else data.to_frame(data.name or USUAL)
    if missing := [name for name in columns if name not in frame.columns]:
        there = ", ".join(map(str, frame.columns))
        raise UsageError(f"the frame has no column {missing[0]!r}; there are {there}.")
    texts = as_texts(frame[list(columns)] if columns else frame, classifier.backend.head)
    names = _free_names(_columns(classifier), [str(name) for name in frame.columns])
    answers = _answer(classifier, texts, names, abstain_below) if texts else []
    own = pd.DataFrame(answers, index=frame.index, columns=list(names.values()))
    found: pd.DataFrame = pd.concat([frame, own], axis=1)
    return found


def open_model(model: str, form: str | None, threads: int | None) -> Classifier:
    """Load a classifier that may use so many CPU threads; all of them if left out."""
    every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    classifier = Classifier.load(model, form=form, threads=threads or every or 1)
    if threads and not isinstance(classifier.backend, GraphModel):
        import torch

        torch.set_num_threads(threads)
    return classifier


def paired(texts: Sequence[str], second: Sequence[str]) -> list[Text]:
    """Texts, or each with the second one of its pair.

    Raises:
        UsageError: There are second texts, but not as many.
    """
    if not second:
        return list(texts)
    if len(second) != len(texts):
        raise UsageError(
            f"--text is given {len(texts)} times, --text-b {len(second)} times.",
            "Each --text-b is the second text of the pair that a --text begins.",
        )
    return list(zip(texts, second, strict=True))


def answer_texts(
    classifier: Classifier, texts: Sequence[Text], *, abstain_below: float | None = None
) -> Answers:
    """Answer some texts.

    Raises:
        DataInvalid: They are not what the model reads.
        UsageError: A score has no confidence to abstain by.
    """
    _require_labels(classifier, abstain_below)
    names = {name: name for name in _columns(classifier)}
    given = [(text,) if isinstance(text, str) else text for text in texts]
    rows = _answer(classifier, texts, names, abstain_below)
    answers = [
        Answer(
            text=text,
            prediction=row["prediction"],
            confidence=row.get("confidence"),
            probabilities={label: row[f"p_{label}"] for label in classifier.labels},
        )
        for text, row in zip(given, rows, strict=True)
    ]
    return Answers(model=classifier.backend.head.name, answers=tuple(answers))


def answer_file(
    classifier: Classifier,
    source: str,
    *,
    out: str | Path,
    text_columns: Sequence[str] = (),
    abstain_below: float | None = None,
    skip_malformed: bool = False,
    stdin_kind: str = "txt",
    quiet: bool = False,
) -> AnsweredFile:
    """Answer the rows of a file, and write them with the answers, as they come.

    Args:
        classifier: Answers.
        source: A text file with a row a line, CSV, TSV, JSON or Parquet; ``-`` is stdin.
        out: The new table; its ending says its kind. It appears when it is whole.
        text_columns: One, or two for pairs; if left out, those of the model's data, or the only
            one with text, or ``text``.
        abstain_below: Rows whose label is less probable get none.
        skip_malformed: Leave rows out that cannot be read, and count them.
        stdin_kind: What comes from stdin.
        quiet: Say nothing on stderr.

    Raises:
        UsageError: The places or columns do not go together, or are not known.
        DataInvalid: The input cannot be read, with file and row.
        OutputUnwritable: The table cannot be written; nothing is left behind.
    """
    place, narrator = new_place(out), Narrator(quiet=quiet)
    check_kind(place)
    _refuse_itself(source, place)
    _require_labels(classifier, abstain_below)
    tally = _Tally()
    malformed = tally.leave_out if skip_malformed else refuse
    check_output(place)
    with sole_writer(place), input_file(source, stdin_kind, malformed) as file:
        rows = open_rows(file, classifier.backend.head, text_columns)
        tally.left_out = 0  # JSON was read once for its keys
        names = _free_names(_columns(classifier), rows.schema.names)

        def answer(window: Sequence[InputRow]) -> list[Values]:
            texts = [row.text for row in window]
            return _answer(classifier, texts, names, abstain_below)

        def fill(partial: Path) -> None:
            schema = _with_answers(rows.schema, names)
            with (
                open_writer(partial, place.suffix.lower(), schema) as writer,
                closing(Gauge(narrator, "predict")) as gauge,
            ):
                for window in rows.windows:
                    answers = answer(window)
                    writer.write([r.values | own for r, own in zip(window, answers, strict=True)])
                    tally.rows += len(window)
                    tally.abstained += sum(own[names["prediction"]] is None for own in answers)
                    share = min(1.0, window[-1].bytes_read / max(rows.size, 1))
                    gauge.show(share, f"{counted(tally.rows, 'row')} · {tally.speed:,.0f} a second")
            if not tally.rows:
                file.refuse("holds no rows that can be answered.")

        write_file(place, fill)
    return AnsweredFile(
        place=str(place),
        rows=tally.rows,
        left_out=tally.left_out,
        abstained=tally.abstained,
        columns=tuple(names.values()),
        renamed=tuple(name for column, name in names.items() if name != column),
        rows_per_second=round(tally.speed, 1),
    )


@dataclass(slots=True)
class _Tally:
    """What was done so far."""

    began: float = field(default_factory=time.monotonic)
    rows: int = 0
    left_out: int = 0
    abstained: int = 0

    @property
    def speed(self) -> float:
        """Rows a second."""
        return self.rows / max(time.monotonic() - self.began, 1e-9)

    def leave_out(self, _problem: str) -> None:
        """Count a malformed row."""
        self.left_out += 1


def _refuse_itself(source: str, out: Path) -> None:
    with suppress(OSError):  # one of them is not there
        if source != STDIN and os.path.samefile(Path(source).expanduser(), out):
            raise UsageError(f"{out} is the input.", "Choose another --out.")


def _require_labels(classifier: Classifier, abstain_below: float | None) -> None:
    if abstain_below is not None and not classifier.labels:
        raise UsageError(
            f"{classifier.backend.head.name} gives a score, which has no confidence.",
            "Leave --abstain-below out.",
        )


def _columns(classifier: Classifier) -> list[str]:
    """What an answer consists of."""
    labels = classifier.labels
    return ["prediction", *(["confidence"] if labels else []), *(f"p_{name}" for name in labels)]


def _free_names(columns: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """A name for each column of ours: the input's own keep theirs, so ours get a number behind."""
    found: dict[str, str] = {}
    for column in columns:
        tries = chain([column], (f"{column}_{number}" for number in count(2)))
        used = {*taken, *found.values(), *(other for other in columns if other != column)}
        found[column] = next(name for name in tries if name not in used)
    return found


def _with_answers(schema: pa.Schema, names: Mapping[str, str]) -> pa.Schema:
    for column, name in names.items():
        named = column == "prediction" and len(names) > 1
        schema = schema.append(pa.field(name, pa.string() if named else pa.float64()))
    return schema


def _answer(
    classifier: Classifier,
    texts: Sequence[Text],
    names: Mapping[str, str],
    abstain_below: float | None,
) -> list[Values]:
    """The columns of each row's answer, under their names."""
    logits = classifier.logits(texts)
    prediction = names["prediction"]
    if not classifier.labels:
        return [{prediction: round(float(score), DIGITS)} for score in logits[:, 0]]
    shares = classifier.probabilities(logits)
    columns = list(names.values())[1:]
    rows = zip(classifier.named(logits, abstain_below), shares.tolist(), strict=True)
    return [
        {prediction: label}
        | {name: round(p, DIGITS) for name, p in zip(columns, [max(own), *own], strict=True)}
        for label, own in rows
    ]
