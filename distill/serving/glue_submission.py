"""GLUE's submission: its files, their format, zips and folders of them, each checked."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.contract import TaskSpec
from augment.contract.files import write_file, write_text
from distill.errors import DataInvalid, UsageError

HEADER = "index\tprediction"
DIAGNOSTIC = "AX.tsv"
LOWEST, HIGHEST = 0.0, 5.0
MOST_FAULTS = 3


@dataclass(frozen=True, slots=True)
class SubmissionFile:
    """One file of a submission.

    Attributes:
        file: Its name.
        task: The task's name in a version; the diagnostic set belongs to MNLI.
        split: The split that it answers.
        rows: Lines without the header.
        words: Label name in the data to word in the file; empty where the answer is a score.
    """

    file: str
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
    sheet.file: sheet
    for sheet in (
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
    found = [
        sheet
        for sheet in SUBMISSION_FILES.values()
        if (sheet.task, sheet.split) == (task.name, split)
    ]
    hint = "Write a table of predictions instead: --out predictions.csv"
    if not found:
        raise UsageError(f"GLUE's submission has no file for split {split!r} of {task.name}.", hint)
    if set(found[0].words) != set(task.label.names):
        raise UsageError(
            f"{task.name} has the labels {', '.join(task.label.names) or 'of a score'}; "
            f"GLUE's {found[0].file} has {', '.join(found[0].words) or 'a score'}.",
            hint,
        )
    return found[0]


def render(
    sheet: SubmissionFile, index: Sequence[int], answers: Sequence[str] | Sequence[float]
) -> str:
    """A file's text.

    Args:
        sheet: Which file.
        index: The number of each row, in the order of the file.
        answers: Label names of the data, or scores, which are cut to 0 to 5.
    """
    if sheet.words:
        words = [sheet.words[str(answer)] for answer in answers]
    else:
        words = [f"{min(max(float(score), LOWEST), HIGHEST):.3f}" for score in answers]
    lines = [f"{number}\t{word}\n" for number, word in zip(index, words, strict=True)]
    return f"{HEADER}\n{''.join(lines)}"


def faults(sheet: SubmissionFile, text: str) -> list[str]:
    """What is wrong with a file, three sentences at most; nothing where all is right."""
    lines = text.split("\n")
    if not text.endswith("\n") or text.endswith("\n\n"):
        return ["must end with one line break"]
    header, *rows = lines[:-1]
    found = [] if header == HEADER else [f"the header is {header[:40]!r}, not {HEADER!r}"]
    if len(rows) != sheet.rows:
        found.append(f"has {len(rows):,} rows, GLUE's has {sheet.rows:,}")
    for at, row in enumerate(rows):
        number, _, answer = row.partition("\t")
        if number != str(at):
            found.append(f"line {at + 2}: index {number[:20]!r}, not {at}")
        elif not _is_answer(sheet, answer):
            found.append(f"line {at + 2}: {answer[:20]!r} is no answer")
        if len(found) >= MOST_FAULTS:
            break
    return found


def _is_answer(sheet: SubmissionFile, answer: str) -> bool:
    if sheet.words:
        return answer in sheet.words.values()
    return bool(re.fullmatch(r"[0-9](\.[0-9]+)?", answer)) and float(answer) <= HIGHEST


MOST_BYTES = 64 * 2**20
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def read_submission(place: Path) -> dict[str, str]:
    """The files of a zip or folder, by name; none where it is not there.

    Raises:
        DataInvalid: It is no zip, or holds what belongs to no submission.
    """
    if not place.exists():
        return {}
    try:
        found = _from_folder(place) if place.is_dir() else _from_zip(place)
        return {name: content.decode("utf-8") for name, content in found.items()}
    except (zipfile.BadZipFile, UnicodeDecodeError, EOFError, RuntimeError) as error:
        raise DataInvalid(
            f"{place} is no readable submission: {error}.", "Choose another file, or remove it."
        ) from error


def _from_folder(place: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(place.glob("*.tsv")):
        _refuse_strangers(place, path.name, path.stat().st_size)
        found[path.name] = path.read_bytes()
    return found


def _from_zip(place: Path) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(place) as archive:
        for entry in archive.infolist():
            _refuse_strangers(place, entry.filename, entry.file_size)
            found[entry.filename] = archive.read(entry)
    return found


def _refuse_strangers(place: Path, name: str, size: int) -> None:
    """Before anything is read: a name outside the list, or more than any file of it can have."""
    if name not in SUBMISSION_FILES or size > MOST_BYTES:
        raise DataInvalid(
            f"{place} holds {name[:60]!r}, which is no file of a GLUE submission.",
            f"Its files are {', '.join(SUBMISSION_FILES)}.",
        )


def write_submission(place: Path, files: Mapping[str, str]) -> None:
    """Write a zip, or files into a folder: each whole or not at all; same files, same bytes."""
    if place.suffix == ".zip":
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, lambda partial: _to_zip(partial, files))
        return
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_text(place / name, text)


def _to_zip(path: Path, files: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in SUBMISSION_FILES:
            if name in files:
                entry = zipfile.ZipInfo(name, LONG_AGO)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, files[name])


def check_submission(place: Path) -> dict[str, Any]:
    """Compare a submission with the site's format.

    Returns:
        ``files``: for each that is there its ``file``, ``rows`` and ``faults``; ``missing``: the
        names of the others.

    Raises:
        DataInvalid: Nothing is there, or it cannot be read.
    """
    found = read_submission(place)
    if not found:
        raise DataInvalid(
            f"{place} holds no file of a GLUE submission.", "Make one: distill predict … --out"
        )
    sheets = [SUBMISSION_FILES[name] for name in SUBMISSION_FILES if name in found]
    return {
        "place": str(place),
        "files": [
            {
                "file": sheet.file,
                "rows": max(0, found[sheet.file].count("\n") - 1),
                "faults": faults(sheet, found[sheet.file]),
            }
            for sheet in sheets
        ],
        "missing": [name for name in SUBMISSION_FILES if name not in found],
    }
