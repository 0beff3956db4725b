"""GLUE's own TSV files: every quirk of theirs lives here.

Fields are separated by tabs and never quoted; a double quote is text. MRPC's files start with a
byte-order mark, CoLA's train and dev files have no header, test files have no labels, and MNLI
has two dev and two test files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from augment.contract import TaskSpec
from augment.errors import RowMalformed, SourceInvalid
from augment.sources.examples import MAX_CHARACTERS, SourceRow, SourceTableBuilder, row_number

MAX_LINE_BYTES = 8 * MAX_CHARACTERS


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a task's files hold its texts and its label."""

    texts: tuple[str, ...]
    label: str
    columns_without_header: tuple[str, ...] = ()


_SENTENCES = ("sentence1", "sentence2")
LAYOUTS: dict[str, Layout] = {
    "cola": Layout(("sentence",), "label", ("source", "label", "star", "sentence")),
    "sst2": Layout(("sentence",), "label"),
    "mrpc": Layout(("#1 String", "#2 String"), "Quality"),
    "stsb": Layout(_SENTENCES, "score"),
    "qqp": Layout(("question1", "question2"), "is_duplicate"),
    "mnli": Layout(_SENTENCES, "gold_label"),
    "qnli": Layout(("question", "sentence"), "label"),
    "rte": Layout(_SENTENCES, "label"),
    "wnli": Layout(_SENTENCES, "label"),
}


def tsv_file(folder: Path, split: str) -> Path:
    """The file of a split: ``validation_matched`` lies in ``dev_matched.tsv``."""
    return folder / f"{split.replace('validation', 'dev')}.tsv"


def read_tsv(path: Path, task: TaskSpec, rows: SourceTableBuilder) -> pa.Table:
    """Read one file of a GLUE task.

    Raises:
        SourceInvalid: The file is empty or lacks a column.
        RowMalformed: A row has another number of fields than the header, or a bad label.
    """
    layout = LAYOUTS[task.name]
    lines = _lines(path, rows)
    header, first = _header(path, lines, layout, is_test=rows.split in task.splits.test)
    text_at = [_column(path, header, name) for name in layout.texts]
    unlabeled = rows.split in task.splits.test and layout.label not in header
    label_at = None if unlabeled else _column(path, header, layout.label)
    idx_at = header.index("index") if "index" in header else None
    for number, line in [*first, *lines]:
        place, fields = f"{path.name} line {number}", line.split("\t")
        if len(fields) != len(header):
            rows.malformed(f"{place} has {len(fields)} fields; {len(header)} are expected.")
            continue
        rows.add(
            SourceRow(
                place=place,
                texts=tuple(fields[i] for i in text_at),
                label=None if label_at is None else fields[label_at],
                idx=row_number(fields[idx_at]) if idx_at is not None else None,
            )
        )
    return rows.build(path.name)


def _lines(path: Path, rows: SourceTableBuilder) -> Iterator[tuple[int, str]]:
    """Numbered lines; only a newline ends a line, whatever else Unicode calls a line break."""
    with path.open("rb") as stream:
        number = 0
        while raw := stream.readline(MAX_LINE_BYTES):
            number += 1
            if len(raw) == MAX_LINE_BYTES:
                raise RowMalformed(f"{path.name} line {number} is over {MAX_LINE_BYTES:,} bytes.")
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                rows.malformed(f"{path.name} line {number} is not UTF-8.")
                continue
            yield number, text.removesuffix("\n").removesuffix("\r")


def _header(
    path: Path, lines: Iterator[tuple[int, str]], layout: Layout, *, is_test: bool
) -> tuple[list[str], list[tuple[int, str]]]:
    """The column names, and the first line where it is a row already (CoLA's train and dev)."""
    number, line = next(lines, (0, ""))
    if not number:
        raise SourceInvalid(f"{path.name} is empty.", "Expected a GLUE file with rows.")
    if layout.columns_without_header and not is_test:
        return list(layout.columns_without_header), [(number, line)]
    return line.split("\t"), []


def _column(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise SourceInvalid(
            f"{path.name} has no column {name!r}. Found: {', '.join(header)[:200]}.",
            "For your own data give a task file: augment init DATA > my-task.toml",
        )
    return header.index(name)
