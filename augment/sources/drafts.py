"""What a data file was taken for, in words and as a task file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from augment.contract import Fault
from augment.contract.data_files import Record, listed
from augment.contract.foreign import counted, shown
from augment.contract.task import SAFE_NAME
from augment.errors import RowMalformed, SourceInvalid
from augment.sources.examples import Columns, SourceTableBuilder
from augment.tasks import GLUE, parse_task

NAME_IT = "Write the task file by hand: data/sample/reviews/reviews.toml is an example."

UNEVEN = 2.0
"""With so many times the rows of the smallest class in the largest, classes are uneven."""
_SHOWN = 20
"""Classes whose rows are told of."""
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""What people call a split, in files and in columns."""
_SPLIT_COLUMNS = ("split", "set", "subset", "fold", "partition")


@dataclass(frozen=True, slots=True)
class Draft:
    """What a data file was taken for.

    Attributes:
        path: The file.
        name: The task's name.
        texts: The columns that hold texts.
        label: The column of the label.
        names: The classes; none where the label is a number to predict.
        counts: Rows of each class among those that were looked at.
        reasons: Column → what it was taken for, and why.
        about: What a person should know of the file.
        rivals: Other columns that may be the label as well.
        worded: All columns that hold texts.
        doubts: Why the label or the rows may be meant otherwise.
    """

    path: Path
    name: str
    texts: tuple[str, ...]
    label: str
    names: tuple[str, ...]
    counts: Mapping[str, int]
    reasons: Mapping[str, str]
    about: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    worded: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What the label is."""
        return "classification" if self.names else "regression"

    @property
    def unevenness(self) -> float:
        """How many times the rows of the smallest class the largest has."""
        counts = [self.counts.get(name, 0) for name in self.names] or [1]
        return max(counts) / max(min(counts), 1)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those proposed; the first one selects."""
        if not self.names:
            return ("pearson",)
        return ("macro_f1", "accuracy") if self.unevenness >= UNEVEN else ("accuracy",)

    def lines(self) -> list[tuple[str, str]]:
        """What was found, in words: what each line is about, and what it says."""
        found = [("columns", f"{listed([column])}: {why}") for column, why in self.reasons.items()]
        if self.names:
            counts = sorted(self.names, key=lambda name: -self.counts.get(name, 0))
            shares = (f"{listed([name])} {self.counts.get(name, 0):,}" for name in counts[:_SHOWN])
            more = len(counts) - _SHOWN
            tail = f" · … {more:,} more" * (more > 0)
            found.append((counted(len(counts), "class"), " · ".join(shares) + tail))
        return [*found, ("metric", self._why_metric())]

    def _why_metric(self) -> str:
        if not self.names:
            return "pearson: the label is a number"
        times = f"the largest class has {self.unevenness:.1f} times the rows of the smallest"
        if self.unevenness < UNEVEN:
            return f"accuracy: classes are even ({times})"
        return f"macro_f1, in which every class counts alike: {times}"

    def toml(self, splits: Mapping[str, str | list[str]], about: Sequence[str] = ()) -> str:
        """The task file with these files of splits."""
        described = {"column": self.label, "kind": self.kind}
        draft = tomlkit.document()
        draft["name"] = self.name
        draft["text_columns"] = list(self.texts)
        draft["metrics"], draft["selection_metric"] = list(self.metrics), self.metrics[0]
        draft["label"] = described | ({"names": list(self.names)} if self.names else {})
        draft["splits"] = dict(splits)
        notes = "".join(f"# {shown(line)}\n" for line in (*self.about, *about))
        return notes + tomlkit.dumps(draft)


def with_second_file(draft: Draft) -> str:
    """The task file whose validation split is a file that a person is to make."""
    path, other = draft.path, f"validation{draft.path.suffix}"
    splits: dict[str, str | list[str]] = {
        "train": path.name,
        "validation": other if other != path.name else f"dev{path.suffix}",
    }
    make = "validation: a second file with the same columns; --split makes it from this one."
    return draft.toml(splits, [make])


def split_doubts(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Whether a column says in which split a row is, which nobody reads."""
    known = {name for names in SPLIT_NAMES.values() for name in names}
    said = [
        name
        for name, values in columns.items()
        if name.strip().casefold() in _SPLIT_COLUMNS
        and {str(value).strip().casefold() for value in values if value is not None} <= known
    ]
    return [
        f"The column {name!r} names splits: write the rows of each into a file of its own, called "
        "train, validation and test, or take the column out."
        for name in said
    ]


def task_name(stem: str) -> str:
    """A task name for a file name of any script."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_.-]+", "-", plain).strip("-._")[:64].rstrip("-._")
    if not re.match(SAFE_NAME, name):
        return "my-task"
    return f"my-{name}" if name in GLUE else name


def refused(draft: Draft, labeled: Sequence[Record]) -> list[str]:
    """What the reader says of the rows that it refuses, given the draft.

    Args:
        draft: What the file was taken for.
        labeled: Its first rows that have a label.

    Raises:
        SourceInvalid: It refuses the draft, reads another one, or refuses all rows.
    """
    path, wanted = draft.path, (*draft.texts, draft.label)
    try:
        content = with_second_file(draft).encode()
        task = parse_task(content, f"the draft for {path.name}", path.parent)
    except (UnicodeEncodeError, Fault) as error:
        reason = error.hint if isinstance(error, Fault) and error.hint else str(error)
        raise SourceInvalid(
            f"{path.name} cannot be described as it is: {reason}",
            f"Rename its columns or classes. {NAME_IT}",
        ) from error
    columns = Columns(tuple(wanted[:-1]), wanted[-1])
    read = (*task.spec.text_columns, task.spec.label.column)
    if read != wanted or task.spec.label.names != draft.names:
        raise SourceInvalid(f"{path.name} cannot be described as it is.", NAME_IT)
    problems: list[str] = []
    rows = SourceTableBuilder(task.spec, task.spec.splits.train)
    for record in labeled:
        try:
            rows.add_record(record.location, record.values, columns)
        except RowMalformed as error:
            problems.append(error.problem)
    if problems and len(problems) == len(labeled):
        raise SourceInvalid(f"{path.name}: no row can be read. The first: {problems[0]}", NAME_IT)
    if labeled:
        rows.build(path.name)
    return problems
