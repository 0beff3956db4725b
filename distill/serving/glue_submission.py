"""GLUE's submission: its files, their format, zips and folders of them, each checked."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.contract import TaskSpec
from augment.contract.files import write_file, write_text
from augment.contract.foreign import counted
from augment.contract.reading import guarded
from distill.errors import DataInvalid, UsageError
from distill.runs.records import Record

HEADER = "index\tprediction"
DIAGNOSTIC = "AX.tsv"
LOWEST, HIGHEST = 0.0, 5.0
MOST_FAULTS = 3


@dataclass(frozen=True, slots=True)
class SubmissionFile:
    """One file of a submission as GLUE wants it.

    Attributes:
        task: The task's name in a version; the diagnostic set belongs to MNLI.
        split: The split that it answers.
        rows: Lines without the header.
        words: Label name in the data to word in the file; empty where the answer is a score.
    """

    name: str
    task: str
    split: str
    rows: int
    words: Mapping[str, str]


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _numbers(*names: str) -> dict[str, str]:
    return {name: str(number) for number, name in enumerate(names)}


_THREE = _same("entailment", "neutral", "contradiction")
_TWO = _same("entailment", "not_entailment")
SUBMISSION_FILES = {
    file.name: file
    for file in (
        SubmissionFile("CoLA.tsv", "cola", "test", 1063, _numbers("unacceptable", "acceptable")),
        SubmissionFile("SST-2.tsv", "sst2", "test", 1821, _numbers("negative", "positive")),
        SubmissionFile("MRPC.tsv", "mrpc", "test", 1725, _numbers("not_equivalent", "equivalent")),
        SubmissionFile("STS-B.tsv", "stsb", "test", 1379, {}),
        SubmissionFile("QQP.tsv", "qqp", "test", 390_965, _numbers("not_duplicate", "duplicate")),
        SubmissionFile("MNLI-m.tsv", "mnli", "test_matched", 9796, _THREE),
        SubmissionFile("MNLI-mm.tsv", "mnli", "test_mismatched", 9847, _THREE),
        SubmissionFile("QNLI.tsv", "qnli", "test", 5463, _TWO),
        SubmissionFile("RTE.tsv", "rte", "test", 3000, _TWO),
        SubmissionFile("WNLI.tsv", "wnli", "test", 146, _numbers("not_entailment", "entailment")),
        SubmissionFile(DIAGNOSTIC, "mnli", "diagnostic", 1104, _THREE),
    )
}


def submission_file(task: TaskSpec, split: str) -> SubmissionFile:
    """The file that answers a split.

    Raises:
        UsageError: The task is not GLUE's, has other labels, or the split is not asked for.
    """
    files = {(file.task, file.split): file for file in SUBMISSION_FILES.values()}
    file = files.get((task.name, split))
    hint = "Write a table of predictions instead: --out predictions.csv"
    if file is None:
        raise UsageError(f"GLUE's submission has no file for split {split!r} of {task.name}.", hint)
    if set(file.words) != set(task.label.names):
        raise UsageError(
            f"{task.name} has the labels {', '.join(task.label.names) or 'of a score'}; "
            f"GLUE's {file.name} has {', '.join(file.words) or 'a score'}.",
            hint,
        )
    return file


def render(
    file: SubmissionFile, index: Sequence[int], predictions: Sequence[str] | Sequence[float]
) -> str:
    """A file's text for label names of the data, or scores, which are cut to 0 to 5."""
    if file.words:
        words = [file.words[str(label)] for label in predictions]
    else:
        words = [f"{min(max(float(score), LOWEST), HIGHEST):.3f}" for score in predictions]
    lines = [f"{number}\t{word}\n" for number, word in zip(index, words, strict=True)]
    return f"{HEADER}\n{''.join(lines)}"


def faults(file: SubmissionFile, text: str) -> list[str]:
    """What is wrong with a file, three sentences at most; nothing where all is right."""
    lines = text.split("\n")
    if not text.endswith("\n") or text.endswith("\n\n"):
        return ["must end with one line break"]
    header, *rows = lines[:-1]
    wrong = [] if header == HEADER else [f"the header is {header[:40]!r}, not {HEADER!r}"]
    if len(rows) != file.rows:
        wrong.append(f"has {counted(len(rows), 'row')}, GLUE's has {file.rows:,}")
    for at, row in enumerate(rows):
        number, _, prediction = row.partition("\t")
        if number != str(at):
            wrong.append(f"line {at + 2}: index {number[:20]!r}, not {at}")
        elif not _is_prediction(file, prediction):
            wrong.append(f"line {at + 2}: {prediction[:20]!r} is no answer")
        if len(wrong) >= MOST_FAULTS:
            break
    return wrong


def _is_prediction(file: SubmissionFile, text: str) -> bool:
    if file.words:
        return text in file.words.values()
    return bool(re.fullmatch(r"[0-9](\.[0-9]+)?", text)) and float(text) <= HIGHEST


MOST_BYTES = 64 * 2**20
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def read_submission(place: Path) -> dict[str, str]:
    """The files of a zip or folder, by name; none where it is not there.

    Raises:
        DataInvalid: It is no zip, or holds what belongs to no submission.
    """
    if not os.path.exists(place):
        return {}
    return _from_folder(place) if place.is_dir() else _from_zip(place)


_WHAT, _HINT = "a GLUE submission", "Choose another file, or remove it."


def _from_folder(place: Path) -> dict[str, str]:
    contents = {}
    for path in sorted(place.glob("*.tsv")):
        with guarded(path, DataInvalid, _WHAT, _HINT):
            _refuse_strangers(place, path.name, path.stat().st_size)
            contents[path.name] = path.read_bytes().decode("utf-8")
    return contents


def _from_zip(place: Path) -> dict[str, str]:
    contents = {}
    with guarded(place, DataInvalid, _WHAT, _HINT), zipfile.ZipFile(place) as archive:
        for entry in archive.infolist():
            if entry.filename in contents:
                raise DataInvalid(
                    f"{place} holds {entry.filename} twice.", "Write it anew: distill predict"
                )
            _refuse_strangers(place, entry.filename, entry.file_size)
            contents[entry.filename] = archive.read(entry).decode("utf-8")
    return contents


def _refuse_strangers(place: Path, name: str, size: int) -> None:
    """Before anything is read: a name outside the list, or more than any file of it can have."""
    if size > MOST_BYTES:
        raise DataInvalid(
            f"{place}: {name[:60]!r} has {counted(size, 'byte')}; a file of a "
            f"submission has fewer.",
            "Write it anew: distill predict",
        )
    if name not in SUBMISSION_FILES:
        raise DataInvalid(
            f"{place} holds {name[:60]!r}, which is no file of a GLUE submission.",
            f"Its files are {', '.join(SUBMISSION_FILES)}.",
        )


def write_submission(place: Path, files: Mapping[str, str]) -> None:
    """Write a zip, or files into a folder: each whole or not at all; same files, same bytes."""
    if place.suffix == ".zip":
        write_file(place, lambda partial: _to_zip(partial, files))
        return
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_text(place / name, text)


def _to_zip(path: Path, files: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in SUBMISSION_FILES:
            if name in files:
                entry = zipfile.ZipInfo(name, ZIP_EPOCH)
                archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED)


class CheckedFile(Record):
    """A file of a submission that is there: its rows, and what is wrong with it."""

    file: str
    rows: int
    faults: tuple[str, ...]


class Submission(Record):
    """A submission, compared with the site's format.

    Attributes:
        files: Those that are there.
        missing: The names of the others.
        written: The names of those that were just written, where some were.
    """

    place: str
    files: tuple[CheckedFile, ...]
    missing: tuple[str, ...]
    written: tuple[str, ...] | None = None


def check_submission(place: str | Path) -> Submission:
    """Compare a submission with the site's format.

    Raises:
        DataInvalid: Nothing is there, or it cannot be read.

    Examples:
        >>> from distill import check_submission
        >>> checked = check_submission("glue")
        >>> checked.files[0].file, len(checked.files[0].faults) > 0
        ('SST-2.tsv', True)
    """
    place = Path(place)
    texts = read_submission(place)
    if not texts:
        raise DataInvalid(
            f"{place} holds no file of a GLUE submission.", "Make one: distill predict … --out"
        )
    files = [
        CheckedFile(
            file=name,
            rows=max(0, texts[name].count("\n") - 1),
            faults=tuple(faults(SUBMISSION_FILES[name], texts[name])),
        )
        for name in SUBMISSION_FILES
        if name in texts
    ]
    missing = tuple(name for name in SUBMISSION_FILES if name not in texts)
    return Submission(place=str(place), files=tuple(files), missing=missing)
