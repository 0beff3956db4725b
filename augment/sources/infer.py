"""A first draft of a task file from a data file's own columns."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from augment.errors import SourceInvalid, SourceMissing
from augment.sources.columnar import SUFFIXES, read_records
from augment.sources.examples import refuse_row

MAX_ROWS = 1000
MAX_CLASSES = 100


def sniff(path: Path) -> str:
    """A task file for a CSV, JSONL or Parquet file, to be looked over by a person.

    Raises:
        SourceMissing: The file is not there.
        SourceInvalid: No column looks like a text, or none like a label.
    """
    if not path.is_file():
        raise SourceMissing(f"{path} is not there.", f"Name a file: {', '.join(SUFFIXES)}")
    records = [record for _, record in itertools.islice(read_records(path, refuse_row), MAX_ROWS)]
    if not records:
        raise SourceInvalid(f"{path.name} has no rows.")
    columns = {name: [record.get(name) for record in records] for name in records[0]}
    label = _label(columns)
    texts = [name for name, values in columns.items() if name != label and _is_text(values)][:2]
    if not texts:
        raise SourceInvalid(f"{path.name} has no text column. Found: {', '.join(columns)}.")
    names = _names(columns[label])
    listed = ", ".join(f'"{name}"' for name in names)
    kind, metric = ("classification", "accuracy") if names else ("regression", "pearson")
    shown = ", ".join(f'"{name}"' for name in texts)
    return (
        f"# Drafted from {len(records)} rows of {path.name}; look it over.\n"
        f'name = "{path.stem.lower()}"\n'
        f"text_columns = [{shown}]\n"
        f'metrics = ["{metric}"]\nselection_metric = "{metric}"\n\n'
        f'[label]\ncolumn = "{label}"\nkind = "{kind}"\n'
        + (f"names = [{listed}]\n" if names else "")
        + f'\n[splits]\ntrain = "{path.name}"\n'
        f'validation = "validation{path.suffix}"  # a second file with the same columns\n'
    )


def _label(columns: dict[str, list[Any]]) -> str:
    for name in ("label", "labels", "class", "category", "target", "score"):
        if name in columns:
            return name
    few = [name for name, values in columns.items() if 2 <= len(set(map(str, values))) <= 20]
    if not few:
        raise SourceInvalid(
            f"no column looks like a label. Found: {', '.join(columns)}.",
            "Call it 'label', or write the task file by hand.",
        )
    return few[-1]


def _is_text(values: list[Any]) -> bool:
    words = [len(value.split()) for value in values if isinstance(value, str)]
    return len(words) == len(values) and sum(words) > len(values)


def _names(values: list[Any]) -> list[str]:
    """Class names for few distinct values; empty where the label is a number to predict."""
    distinct = sorted(set(map(str, values)), key=_numbers_by_value)
    fractions = any("." in value or "e" in value for value in distinct)
    scores = fractions and all(map(_is_number, distinct))
    return [] if scores or len(distinct) > MAX_CLASSES else distinct


def _numbers_by_value(text: str) -> tuple[float, str]:
    return (float(text) if _is_number(text) else 0.0, text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
