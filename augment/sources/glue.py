"""GLUE's own TSV files: every quirk of theirs lives here.

Fields are separated by tabs and never quoted; a double quote is text. MRPC's files start with a
byte-order mark, CoLA's train and dev files have no header, test files have no labels, and MNLI
has two dev and two test files.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa

from augment.contract import TaskSpec
from augment.errors import RowMalformed, SourceInvalid
from augment.sources.columnar import decoded_lines
from augment.sources.examples import MAX_CHARACTERS, Columns, SourceTableBuilder, refuse_twice

MAX_LINE_BYTES = 8 * MAX_CHARACTERS

_HINT = "For your own data give a task file: augment init DATA > my-task.toml"
_columns = partial(Columns, idx="index", hint=_HINT)
_SENTENCES = ("sentence1", "sentence2")
COLUMNS: dict[str, Columns] = {
    "cola": _columns(("sentence",), "label"),
    "sst2": _columns(("sentence",), "label"),
    "mrpc": _columns(("#1 String", "#2 String"), "Quality"),
    "stsb": _columns(_SENTENCES, "score"),
    "qqp": _columns(("question1", "question2"), "is_duplicate"),
    "mnli": _columns(_SENTENCES, "gold_label"),
    "qnli": _columns(("question", "sentence"), "label"),
    "rte": _columns(_SENTENCES, "label"),
    "wnli": _columns(_SENTENCES, "label"),
}
_COLA_WITHOUT_HEADER = ["source", "label", "star", "sentence"]


def tsv_file(folder: Path, split: str) -> Path:
    """The file of a split: ``validation_matched`` lies in ``dev_matched.tsv``."""
    return folder / f"{split.replace('validation', 'dev')}.tsv"


def read_tsv(path: Path, task: TaskSpec, rows: SourceTableBuilder) -> pa.Table:
    """Read one file of a GLUE task.

    Raises:
        SourceInvalid: The file is empty or lacks a column.
        RowMalformed: A row has another number of fields than the header, or a bad label.
    """
    columns = COLUMNS[task.name]
    lines = decoded_lines(path, _lines(path), rows.malformed)
    first = next(lines, None)
    if first is None:
        raise SourceInvalid(f"{path.name} is empty.", "Expected a GLUE file with rows.")
    header = _fields(first[1])
    if task.name == "cola" and not rows.is_test:
        header, lines = _COLA_WITHOUT_HEADER, chain([first], lines)
    refuse_twice(path.name, header)
    columns.require(path.name, header, labeled=not rows.is_test)
    for number, line in lines:
        location, fields = f"{path.name} line {number}", _fields(line)
        if len(fields) == len(header):
            rows.add(columns.row(location, dict(zip(header, fields, strict=True))))
        else:
            rows.malformed(f"{location} has {len(fields)} fields; {len(header)} are expected.")
    return rows.build(path.name)


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a bounded size; only a newline ends one, whatever else Unicode calls a break."""
    with path.open("rb") as stream:
        for number, line in enumerate(iter(partial(stream.readline, MAX_LINE_BYTES), b""), start=1):
            if len(line) == MAX_LINE_BYTES:
                raise RowMalformed(f"{path.name} line {number} is over {MAX_LINE_BYTES:,} bytes.")
            yield line


def _fields(line: str) -> list[str]:
    return line.removesuffix("\n").removesuffix("\r").split("\t")
