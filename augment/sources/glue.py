"""GLUE's own TSV files: every quirk of theirs lives here.

Fields are separated by tabs and never quoted; a double quote is text. MRPC's files start with a
byte-order mark, CoLA's train and dev files have no header, test files have no labels, and MNLI
has two dev and two test files.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa

from augment.contract import TaskSpec
from augment.contract.data_files import DataFile
from augment.contract.delimited import open_unquoted
from augment.errors import SourceInvalid
from augment.sources.examples import Columns, SourceTableBuilder

_HINT = "For your own data give a task file: augment init DATA --split 70/15/15"
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
_COLA_WITHOUT_HEADER = ("source", "label", "star", "sentence")


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
    bare = task.name == "cola" and rows.needs_labels
    file = DataFile(path, SourceInvalid, rows.malformed)
    table = open_unquoted(file, _COLA_WITHOUT_HEADER if bare else ())
    rows.require(path.name, table.columns or (), columns)
    for record in table.records:
        rows.add_record(record.location, record.values, columns)
    rows.files.append(path)
    return rows.build(path.name)
