"""A first draft of a task file from a data file's own columns, and why it is what it is."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augment.contract.data_files import Record, listed, quoted
from augment.contract.foreign import counted
from augment.contract.reading import guarded
from augment.contract.recipes import twice
from augment.contract.task import RESERVED_COLUMNS
from augment.errors import SourceInvalid, SourceMissing, UsageError
from augment.sources.columnar import SUFFIXES, open_records
from augment.sources.drafts import (
    NAME_IT,
    Draft,
    refused,
    split_doubts,
    task_name,
    with_second_file,
)
from augment.tasks import SoftLabelPlace

MAX_ROWS = 1000
"""Rows whose every column is looked at."""
MAX_LABELS = 100_000
"""Rows whose label is looked at: the classes of a sorted file come one after the other."""
MAX_CLASSES = 100
FEW_CLASSES = 20
LABEL_NAMES = ("label", "labels", "class", "category", "target", "score")
_ALPHABETIC = 0.5
_MOST_TEXTS = 2
_REPEATS = 10
"""Rows for each of its values from which on a column that tells the label is no text."""
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
                             "\uf900-\ufaff\U00020000-\U0003ffff]")  # fmt: skip
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese put no space between words."""

Values = Sequence[Any]


def sniff(path: Path) -> str:
    """A task file for a data file, to be looked over by a person; the reader has accepted it.

    Raises:
        SourceInvalid: As ``draft_of``.
    """
    return with_second_file(draft_of(path))


def draft_of(path: Path, *, texts: Sequence[str] = (), label: str | None = None) -> Draft:
    """What a data file can be taken for: which columns are read as what, and why.

    Args:
        path: The file.
        texts: The columns of its texts, one or two; found if left out.
        label: The column of its label; found if left out.

    Raises:
        UsageError: A column that is named is not there.
        SourceMissing: The file is not there.
        SourceInvalid: No column looks like a text or none like a label, or the draft would not be
            read back.
    """
    rows = _Rows.of(path)
    columns = _usable_columns([record.values for record in rows.head])
    if len(columns) == 1:
        raise SourceInvalid(
            f"{path.name} has but one column: {listed(columns)}.",
            "Texts and labels need a column each; if '|' parts them, begin a CSV with: sep=|",
        )
    _refuse_unknown(columns, texts, label, path.name)
    given = rows.labels(columns, label)
    how = f"named, {_variety(given[label])}" if label is not None else ""
    soft = _soft_label_columns(given, columns)
    others = {name: values for name, values in given.items() if name not in soft}
    found = [label] if label is not None else _find_labels(others, list(columns), path.name)
    label = found[0]
    worded = list(texts) or _find_texts(columns, label, path.name)
    read = tuple(worded[:_MOST_TEXTS])
    names = _class_names(given[label], label)
    counts = Counter(_spelled_label(value) for value in given[label])
    reasons = _reasons([record.values for record in rows.head], columns, read, label)
    reasons |= dict.fromkeys(soft & reasons.keys() - {label, *read}, "soft labels")
    reasons[label] = f"the label ({how or _why_label(label, given[label])})"
    draft = Draft(path, task_name(path.stem), read, label, tuple(names), counts, reasons)
    doubts = _label_doubts(draft, given[label])
    return replace(
        draft,
        about=tuple(_about(draft, rows, doubts)),
        rivals=_rivals(found),
        worded=tuple(worded),
        doubts=(*doubts, *split_doubts(columns)),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """A file's first rows, those that follow, and what was said of rows that are none so far."""

    head: Sequence[Record]
    rest: Iterator[Record]
    malformed: Sequence[str]

    @classmethod
    def of(cls, path: Path) -> _Rows:
        hint = f"Name a file: {', '.join(SUFFIXES)}"
        with guarded(path, SourceInvalid, "a file of rows", hint):
            if not path.exists():
                raise SourceMissing(f"{path} is not there.", hint)
        malformed: list[str] = []
        records = iter(open_records(path, malformed.append).records)
        head = list(itertools.islice(records, MAX_ROWS))
        if not head:
            problem = f" that can be read; the first: {malformed[0]}" if malformed else "."
            raise SourceInvalid(f"{path.name} has no rows{problem}")
        return cls(head, records, malformed)

    def labels(self, columns: Mapping[str, Values], label: str | None) -> dict[str, Values]:
        """What stands in each column that may be the label, in more rows than the first."""
        found = {
            name: list(values)
            for name, values in columns.items()
            if name == label or _may_be_label(name, values)
        }
        for record in itertools.islice(self.rest, MAX_LABELS):
            for name, values in found.items():
                values.append(record.values.get(name))
        return {name: _given(values) for name, values in found.items()}


def _label_doubts(draft: Draft, labels: Values) -> list[str]:
    """What speaks against the labels as they were read."""
    doubts = []
    if not draft.names and _are_whole(labels):
        doubts += ["The labels are decimals without a fraction: for classes write whole numbers."]
    if draft.label in draft.names or _is_number(draft.label):
        doubts.append(
            f"The label's column is called {draft.label!r}, as a label: is the first line a row? "
            "Then put a line with the columns' names before it."
        )
    return doubts


def _about(draft: Draft, rows: _Rows, doubts: Sequence[str]) -> Iterator[str]:
    """What the task file says of itself in its comments."""
    many = counted(len(rows.head), "row").replace(",", "")  # as drafts that lie on disks say it
    yield f"Drafted from {many} of {draft.path.name}; look it over."
    labeled = [own for own in rows.head if not is_missing(own.values.get(draft.label))]
    if bare := len(rows.head) - len(labeled):
        yield (
            f"Rows without a label: {bare} of {len(rows.head)}; --split puts such rows into a file "
            "of their own."
        )
    yield from doubts
    if problems := [*rows.malformed, *refused(draft, labeled)]:
        yield f"Rows that cannot be read as they are: {len(problems)}. {problems[0]}"


def _spelled_label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reasons(
    records: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Values],
    texts: Sequence[str],
    label: str,
) -> dict[str, str]:
    """Column → what it is taken for and why, in the file's order."""
    found = {}
    for name in dict.fromkeys(name for record in records for name in record):
        if name in texts:
            which = ("the first text of a pair", "its second text")[texts.index(name)]
            found[name] = f"{which if len(texts) > 1 else 'the text'} (it holds words)"
        else:
            found[name] = f"not read ({_why_not(name, records, columns, label)})"
    return found


def _variety(labels: Values) -> str:
    return (
        f"{counted(len(set(map(str, labels))), 'different value')} in {counted(len(labels), 'row')}"
    )


def _why_label(name: str, labels: Values) -> str:
    called = "it is called so, " * (name.strip().casefold() in LABEL_NAMES)
    return f"{called}{_variety(labels)}"


def _refuse_unknown(
    columns: Mapping[str, Values], texts: Sequence[str], label: str | None, file: str
) -> None:
    """Check columns that a person has named.

    Raises:
        UsageError: One cannot be used, stands twice, or they are too many.
    """
    named = [*texts, *([] if label is None else [label])]
    if (again := twice(named)) is not None:
        raise UsageError(f"the column {quoted(again)} is named twice.")
    if len(texts) > _MOST_TEXTS:
        raise UsageError(f"--text-column stands {len(texts)} times; a row has one text or a pair.")
    for name in named:
        if not _given(columns.get(name, ())):
            raise UsageError(
                f"{file} has no column {quoted(name)} of texts or numbers. "
                f"Found: {listed(columns)}.",
                f"Names that cannot be used: {', '.join(RESERVED_COLUMNS)}.",
            )


def _why_not(
    name: str, records: Sequence[Mapping[str, Any]], columns: Mapping[str, Values], label: str
) -> str:
    """Why a column is neither text nor label."""
    if name not in columns:
        return "a name that versions use themselves" if name.strip() else "it has no name"
    values = _given(columns[name])
    if not values:
        nested = bool(_given(record.get(name) for record in records))
        return "its values are no plain texts or numbers" if nested else "empty"
    if _says_the_same(columns[name], columns[label]):
        return "it tells the label"
    if not _is_alphabetic(values):
        return "numbers, keys or dates"
    few = len(set(values)) <= FEW_CLASSES
    return (
        f"if it is the {'label: --label-column' if few else 'text: --text-column'} {quoted(name)}"
    )


def _usable_columns(records: Sequence[dict[str, Any]]) -> dict[str, Values]:
    """Values by column; without what no task file can name; nothing where values nest."""
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    return {
        name: values if all(map(_is_flat, _given(values))) else [None] * len(values)
        for name, values in columns.items()
        if name.strip() and name not in RESERVED_COLUMNS
    }


def _is_flat(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _given(values: Iterable[Any]) -> list[Any]:
    """The values that are there."""
    return [value for value in values if not is_missing(value)]


def is_missing(value: Any) -> bool:
    """Whether a cell of a file holds nothing."""
    nan = isinstance(value, float) and math.isnan(value)
    return value is None or nan or (isinstance(value, str) and not value.strip())


def _may_be_label(name: str, values: Values) -> bool:
    few = len(set(map(str, _given(values)))) <= FEW_CLASSES
    return few or name.strip().casefold() in LABEL_NAMES


def _soft_label_columns(labels: Mapping[str, Values], present: Collection[str]) -> set[str]:
    """What holds distributions: columns of probabilities, one for each value that another has."""
    place = SoftLabelPlace()
    for values in labels.values():
        of_classes = {place.columns.format(name=spelled) for spelled in map(_spelled_label, values)}
        if of_classes and of_classes <= set(present):
            return {*of_classes, place.column}
    return {place.column}


def _find_labels(labels: dict[str, Values], columns: list[str], file: str) -> list[str]:
    """Columns that may be the label: those called so, else few values that repeat, the last first.

    Raises:
        SourceInvalid: None may.
    """
    distinct = {name: len(set(map(str, values))) for name, values in labels.items()}
    called = [name for known in LABEL_NAMES for name in labels if name.strip().casefold() == known]
    repeating = [name for name, values in labels.items() if distinct[name] < len(values)]
    short = [name for name in repeating if not _is_wordy(labels[name])]
    if found := [name for name in called or (short or repeating)[::-1] if distinct[name] > 1]:
        return found
    raise SourceInvalid(
        f"{file}: no column looks like a label: two or more texts or numbers that repeat"
        f"{f'; not so {called[0]!r}' if called else ''}. Found: {listed(columns)}.",
        f"Name the label's column: --label-column NAME. {NAME_IT}",
    )


def _rivals(found: Sequence[str]) -> tuple[str, ...]:
    """Columns that may be the label as well as the first: not where that is called so outright."""
    return () if found[0].strip().casefold() in LABEL_NAMES[:2] else tuple(found[1:])


def _find_texts(columns: dict[str, Values], label: str, file: str) -> list[str]:
    """The columns with several words; else the one with the most different words.

    Columns of few values that repeat are taken only where there is no other.
    """
    others = {
        name: _given(values)
        for name, values in columns.items()
        if name != label and not _says_the_same(values, columns[label])
    }
    worded = {name: values for name, values in others.items() if _is_alphabetic(values)}
    wordy = [name for name, values in worded.items() if _is_wordy(values)]
    distinct = {name: len(set(values)) for name, values in worded.items()}
    various = [n for n in wordy if distinct[n] > FEW_CLASSES or 2 * distinct[n] > len(worded[n])]
    if wordy:
        return various or wordy
    if best := max(distinct, key=distinct.__getitem__, default=None):
        return [best]
    raise SourceInvalid(
        f"{file} has no text column beside the label {label!r}. Found: {listed(columns)}.",
        f"Names that cannot be used: {', '.join(RESERVED_COLUMNS)}. {NAME_IT}",
    )


def _says_the_same(values: Values, labels: Values) -> bool:
    """Whether a column tells the label: few values, each with one label."""
    pairs = {(str(value), str(label)) for value, label in zip(values, labels, strict=True)}
    told, classes = len({value for value, _ in pairs}), len({label for _, label in pairs})
    return told == len(pairs) < len(labels) and told <= max(classes, len(labels) // _REPEATS)


def _is_alphabetic(values: Values) -> bool:
    """Texts that are letters for the most part: no dates, numbers or keys."""
    if not values or not all(isinstance(value, str) for value in values):
        return False
    characters = [c for value in values for c in value[:200] if not c.isspace()]
    return sum(map(_is_of_a_word, characters)) > _ALPHABETIC * len(characters)


def _is_of_a_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def _is_wordy(values: Values) -> bool:
    """Whether there is more than one word a value, on average."""
    words = (len(v.split()) + len(_WITHOUT_SPACES.findall(v)) for v in values if isinstance(v, str))
    return sum(words) > len(values)


def _class_names(values: Values, column: str) -> list[str]:
    """Class names for few distinct values; empty where the label is a number to predict.

    Raises:
        SourceInvalid: They are too many, or differ in case or blanks alone.
    """
    if all(isinstance(value, bool) for value in values):
        return ["false", "true"]
    spelled = {str(value) for value in values if isinstance(value, str | int)}
    if len(set(map(str, values))) == 1:
        raise SourceInvalid(
            f"the column {quoted(column)} has one value in all {counted(len(values), 'row')}.",
            f"Name another label: --label-column NAME. {NAME_IT}",
        )
    numbers = all(_is_number(value) for value in values)
    fractions = any(isinstance(v, float) or "." in str(v) or "e" in str(v) for v in values)
    if numbers and (fractions or len(spelled) > MAX_CLASSES):
        return []
    unique = not numbers and len(spelled) == len(values) > _REPEATS
    if unique or len(spelled) > max(MAX_CLASSES, len(values) // 2):
        raise SourceInvalid(
            f"the column {column!r} has {counted(len(spelled), 'different text')} "
            f"in {counted(len(values), 'row')}: "
            "too many for classes.",
            f"Name another column: --label-column NAME. {NAME_IT}",
        )
    return sorted(spelled, key=_numbers_by_value)


def _are_whole(numbers: Values) -> bool:
    return len(set(numbers)) <= FEW_CLASSES and all(float(each).is_integer() for each in numbers)


def _numbers_by_value(text: str) -> tuple[float, str]:
    return (float(text) if _is_number(text) else 0.0, text)


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False
