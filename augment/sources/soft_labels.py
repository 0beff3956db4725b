"""Soft labels as they stand in files: a distribution a row, matched by class name and checked.

    p_negative,p_positive              one column a class; an empty cell is one of the rest
    "soft_labels": [0.2, 0.8]          a list in the order of the task's classes
    "soft_labels": {"positive": 0.8}   classes by name; the k best, the rest is shared evenly
    "soft_labels": "positive"          one class, certain

Each may hold logits instead of probabilities. Of a regression it is one score. Nothing is rounded,
stripped or guessed: a distribution that is none is refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from augment.contract import Label
from augment.contract.data_files import listed, quoted
from augment.contract.foreign import counted
from augment.contract.reading import parse_json
from augment.sources.labels import LARGEST_SCORE, class_called, read_number, short
from augment.tasks import NAME, SoftLabelPlace, as_seen

_TOLERANCE = 0.01
"""How far a distribution's sum may lie from 1 to be taken for rounding."""
_LONGEST = 1 << 20

Distribution = tuple[float, ...]
Reason = Literal["class", "length", "number", "sum"]


class SoftLabelsUnreadable(ValueError):
    """No distribution over the task's classes; the text goes on after ``train.csv line 3``.

    Attributes:
        reason: What is wrong: another class, number of classes, number or sum than expected.
        hint: What to do.
    """

    def __init__(self, reason: Reason, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.reason, self.hint = reason, hint


@dataclass(slots=True)
class SoftLabelReader:
    """Reads the distributions of the rows of a task.

    Attributes:
        label: The task's.
        place: Where they stand.
        others: Columns that hold something else, whatever they are called: texts, label.
        rows: Distributions that were read.
        completed: Those of them that named the best classes alone.
    """

    label: Label
    place: SoftLabelPlace = field(default_factory=SoftLabelPlace)
    others: frozenset[str] = frozenset()
    rows: int = 0
    completed: int = 0
    _columns: tuple[str, ...] = ()
    _seen: tuple[str, ...] | None = None
    _found: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        begin, end = self.place.columns.split(NAME)
        if self.place.one_each and self.label.kind == "classification":
            self._columns = tuple(f"{begin}{name}{end}" for name in self.label.names)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every column that may hold some of it."""
        return (*self._columns, *[self.place.column] * self.place.in_one)

    def find(self, present: Collection[str]) -> tuple[str, ...]:
        """The columns that hold the distribution, in the order of the classes; empty for none.

        Raises:
            SoftLabelsUnreadable: Some classes have a column and others not, a column is of a class
                that the task does not have, or the distribution stands there twice.
        """
        columns = self._one_each(present)
        in_one = self.place.in_one and self.place.column in present
        if in_one and columns and self.place.column not in self.others:
            raise SoftLabelsUnreadable(
                "class",
                f"has soft labels twice: {quoted(columns[0])} and {quoted(self.place.column)}.",
                "Say which counts in the task file: [soft_labels] column = … or columns = …",
            )
        if columns or not in_one or self.place.column in self.others:
            return columns
        return (self.place.column,)

    def read(self, record: Mapping[str, Any]) -> Distribution | None:
        """The distribution of a record: probabilities in the order of the classes; None for none.

        Raises:
            SoftLabelsUnreadable: There is one, but it cannot be used.
        """
        keys = tuple(record)
        if keys != self._seen:
            self._seen, self._found = None, self.find(keys)
            self._seen = keys
        if not self._found:
            return None
        if self._found == (self.place.column,):
            found = self._of_value(record[self.place.column])
        else:
            found = self._of_named([record[column] for column in self._found])
        self.rows += found is not None
        return found

    def _one_each(self, present: Collection[str]) -> tuple[str, ...]:
        there = {name for name in self._columns if name in present} - self.others
        begin, end = self.place.columns.split(NAME)
        known = {as_seen(column) for column in self._columns}
        expected = {*self._columns, *self.others, self.place.column}
        odd = [
            name
            for name in present
            if name not in expected
            and (begin or end)  # else every column could be a class
            and ((name.startswith(begin) and name.endswith(end)) or as_seen(name) in known)
        ]
        if not there and not any(as_seen(name) in known for name in odd):
            return ()
        classes = listed(self.label.names)
        if odd:
            raise SoftLabelsUnreadable(
                "class",
                f"has the column {quoted(odd[0])} beside soft labels, but the task has the classes "
                f"{classes}.",
                "Call each column as its class is called, or say in the task file which columns "
                f'they are: [soft_labels] columns = "{self.place.columns}"',
            )
        if len(there) < len(self._columns):
            lacking = next(name for name in self._columns if name not in there)
            raise SoftLabelsUnreadable(
                "length",
                f"has no column {quoted(lacking)} beside {quoted(min(there))}: soft labels need "
                f"one for each of the classes {classes}.",
                "Add it; where it is empty, the class shares what the others leave.",
            )
        return self._columns

    def _of_value(self, value: Any) -> Distribution | None:
        """A distribution that stands in one value."""
        if _is_blank(value):
            return None
        if self.label.kind == "regression":
            one = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
            return (_finite(one, "the score"),)
        if (certain := class_called(self.label.names, value)) is not None:
            return tuple(float(at == certain) for at in range(len(self.label.names)))
        if isinstance(value, str):
            value = self._parsed(value)
        if isinstance(value, Mapping):
            return self._of_object(list(value.items()))
        if isinstance(value, list | tuple):
            if value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
                return self._of_object(value)  # a map of Parquet
            return self._of_list(value)
        raise SoftLabelsUnreadable(
            "class",
            f"has soft labels {short(value)}; a list, {{class: number}} or one of the classes "
            f"{listed(self.label.names)} is expected.",
        )

    def _parsed(self, text: str) -> Any:
        """What a text holds: JSON, as CSV has it."""
        if text.lstrip()[:1] in ("[", "{") and len(text) <= _LONGEST:
            try:
                return parse_json(text)
            except ValueError as error:
                problem = f"has soft labels {short(text)}, which are not JSON: {error}."
                raise SoftLabelsUnreadable("number", problem) from error
        raise SoftLabelsUnreadable(
            "class",
            f"has soft labels {short(text)}, which is none of the classes "
            f"{listed(self.label.names)}.",
            "Write the class as the task file's label.names have it.",
        )

    def _of_list(self, values: Sequence[Any]) -> Distribution:
        if len(values) != len(self.label.names):
            raise SoftLabelsUnreadable(
                "length",
                f"has {counted(len(values), 'soft label')}; {len(self.label.names)} "
                f"are expected, one for "
                f"each of the classes {listed(self.label.names)} in this order.",
                'Write the best alone as an object: {"class": probability}',
            )
        if any(value is None for value in values):
            raise SoftLabelsUnreadable("number", "has soft labels with a gap (null) in the list.")
        return self._of_named(values) or ()

    def _of_object(self, pairs: Sequence[tuple[Any, Any]]) -> Distribution | None:
        named: dict[int, Any] = {}
        for name, value in pairs:
            at = class_called(self.label.names, name)
            if at is None:
                raise SoftLabelsUnreadable(
                    "class",
                    f"has soft labels of the class {short(name)}; the task has the classes "
                    f"{listed(self.label.names)}.",
                    "Write the class as the task file's label.names have it.",
                )
            if at in named:
                raise SoftLabelsUnreadable("class", f"has soft labels of {short(name)} twice.")
            named[at] = value
        if not named:
            raise SoftLabelsUnreadable("length", "has soft labels that name no class.")
        return self._of_named([named.get(at) for at in range(len(self.label.names))])

    def _of_named(self, values: Sequence[Any]) -> Distribution | None:
        """Numbers in the order of the classes, None or empty for those that are not named."""
        numbers = [
            None if _is_blank(value) else _finite(value, f"the class {short(name)}")
            for name, value in zip(self.label.names, values, strict=True)
        ]
        given = [number for number in numbers if number is not None]
        if not given:
            return None
        if self.place.form == "logits":
            return self._softmax(given)
        return self._completed(numbers, given)

    def _softmax(self, logits: Sequence[float]) -> Distribution:
        if len(logits) < len(self.label.names):
            raise SoftLabelsUnreadable(
                "length", (f"has logits of {len(logits)} of "
f"{counted(len(self.label.names), 'class')}."),
                "Logits are needed of all; of the best alone give probabilities.",
            )  # fmt: skip
        most = max(logits)
        powers = [math.exp(logit - most) for logit in logits]
        total = math.fsum(powers)
        return tuple(power / total for power in powers)

    def _completed(self, numbers: Sequence[float | None], given: Sequence[float]) -> Distribution:
        """Probabilities that sum to one; what the given ones leave is shared by the others."""
        for name, number in zip(self.label.names, numbers, strict=True):
            if number is not None and not 0 <= number <= 1 + _TOLERANCE:
                raise SoftLabelsUnreadable(
                    "number",
                    f"has the probability {number:.6g} for the class {quoted(name)}; 0 to 1 is "
                    "expected.",
                    "Percent must be divided by 100; if these are logits, say so in the task "
                    'file: [soft_labels] form = "logits"',
                )
        total, rest = math.fsum(given), len(numbers) - len(given)
        if total > 1 + _TOLERANCE or (not rest and total < 1 - _TOLERANCE):
            raise SoftLabelsUnreadable(
                "sum",
                f"has probabilities that sum to {total:.6g}; 1 is expected.",
                "Give all classes, or the best alone as an object; the rest is shared evenly.",
            )
        self.completed += bool(rest)
        share = max(0.0, 1 - total) / rest if rest else 0.0
        whole = [share if number is None else number for number in numbers]
        total = math.fsum(whole)
        return tuple(number / total for number in whole)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _finite(value: Any, of: str) -> float:
    """A number as a file has it."""
    number = read_number(value)
    if not abs(number) <= LARGEST_SCORE:
        raise SoftLabelsUnreadable(
            "number", f"has {short(value)} as the soft label of {of}; a finite number is expected."
        )
    return number
