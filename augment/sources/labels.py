"""Labels as they stand in files: one rule a column, decided once for all splits of a task.

A class stands in a column by its name or by its position in the task's list, never by both. Where a
class name looks like a number, the column holds names; elsewhere its first label decides. Text and
whole numbers spell a class, each in one way; nothing is rounded, stripped or guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from reprlib import Repr
from typing import Any

import numpy as np

from augment.contract import UNLABELED, Label
from augment.contract.data_files import listed, quoted
from augment.contract.manifest import LabelRule

_WHOLE = re.compile(r"0|[1-9][0-9]*")
_SCORE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
LARGEST_SCORE = float(np.finfo(np.float32).max)
_REPR = Repr()
_REPR.maxlevel = 3
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = 8
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 90


class ClassName(str):
    """A class by the name that the file's own list of classes gives it: never a position."""

    __slots__ = ()


class LabelUnreadable(ValueError):
    """A label is none of the task's; the text goes on after ``train.csv line 3``."""


@dataclass(slots=True)
class LabelReader:
    """Reads the labels of all splits of a task.

    Attributes:
        label: The task's.
        rule: How classes are read; None until that is decided, and for a regression.
    """

    label: Label
    rule: LabelRule | None = None
    _decided_by: str = ""

    def __post_init__(self) -> None:
        if any(map(_looks_like_number, self.label.names)):
            self.rule = "names"

    def read(self, value: Any, location: str, *, may_be_unlabeled: bool) -> int | float:
        """The class of a label, or the score; ``UNLABELED`` for none, where that may be.

        Raises:
            LabelUnreadable: It is none of the task's, or read by another rule than the first.
        """
        missing = self.is_missing(value)
        if missing and may_be_unlabeled:
            return UNLABELED
        if value is None or value == "":
            raise LabelUnreadable("has no label.")
        if self.label.kind == "regression":
            return _score(value)
        rules: tuple[LabelRule, ...] = (self.rule,) if self.rule else ("names", "positions")
        for rule in rules:
            found = self._class_by(rule, value)
            if found is not None:
                if self.rule is None:
                    self.rule, self._decided_by = rule, f"{location} has {value!r}"
                return found
        raise LabelUnreadable(self._expected(value, missing))

    def is_missing(self, value: Any) -> bool:
        """Whether a label says that there is none: nothing, or -1."""
        return value is None or value == "" or self._says_unlabeled(value)

    def known_class(self, value: Any) -> int | None:
        """The class of a label by the rule as it stands; nothing is decided by it."""
        return self._class_by(self.rule, value) if self.rule else None

    def resembles_a_class(self, value: Any) -> bool:
        """Whether a label that is none would be one if it were read loosely."""
        if value is None:
            return False
        text = str(value).strip().casefold()
        if text in (name.strip().casefold() for name in self.label.names):
            return True
        if isinstance(value, bool):
            return True
        number = _number(text)
        return number.is_integer() and (
            0 <= number < len(self.label.names) or number in map(_number, self.label.names)
        )

    def _says_unlabeled(self, value: Any) -> bool:
        """-1, in every format, unless a class is called so; a score may be spelled -1.0."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return False
        if self.label.kind == "regression":
            return _number(str(value)) == UNLABELED
        text = "" if isinstance(value, float) else str(value)
        return text == str(UNLABELED) and text not in self.label.names

    def _class_by(self, rule: LabelRule, value: Any) -> int | None:
        names = self.label.names
        if rule == "names":
            return class_called(names, value)
        spelled = str(value) if type(value) in (int, str) else ""
        position = int(spelled) if _WHOLE.fullmatch(spelled) and len(spelled) < 19 else -1
        return position if 0 <= position < len(names) else None

    def _expected(self, value: Any, missing: bool) -> str:
        names, last = listed(self.label.names), len(self.label.names) - 1
        wanted = {
            None: f"the task knows {names} (or 0 to {last})",
            "names": f"one of the names {names} is expected",
            "positions": f"a position, 0 to {last}, is expected ({names})",
        }[self.rule]
        because = f", as {self._decided_by}" if self._decided_by else ""
        kind = "" if isinstance(value, str | int) else f" ({type(value).__name__})"
        kind = " (unlabeled)" if missing else kind
        if isinstance(value, float):
            kind = " (a decimal; classes are texts or whole numbers)"
        return f"has label {short(value)}{kind}; {wanted}{because}."


def class_called(names: Sequence[str], value: Any) -> int | None:
    """The position of the class that a value names, or None."""
    return next((names.index(s) for s in _spellings(value) if s in names), None)


def _spellings(value: Any) -> tuple[str, ...]:
    """How a value is written as a name: true and false as JSON or as Python writes them."""
    if isinstance(value, bool):
        return (str(value), str(value).lower())
    return (str(value),) if isinstance(value, str) or type(value) is int else ()


def _score(value: Any) -> float:
    number = read_number(value)
    if not abs(number) <= LARGEST_SCORE:
        raise LabelUnreadable(f"has score {short(value)}; a finite number is expected.")
    return number


def read_number(value: Any) -> float:
    """A number as a file has it, in text or not; NaN for anything else."""
    if isinstance(value, str):
        return _number(value) if _SCORE.fullmatch(value.strip(" ")) else math.nan
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return _number(value) if is_number else math.nan


def _number(value: Any) -> float:
    """A number, or NaN."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _looks_like_number(name: str) -> bool:
    return not math.isnan(_number(name))


def short(value: Any) -> str:
    """A value for a message, of a long or deep one the beginning."""
    shown = quoted(str(value)) if isinstance(value, str) else _REPR.repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"
