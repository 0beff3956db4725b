"""A first draft of a task file from a data file's own columns."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from augment.contract import Fault
from augment.contract.data_files import Record, listed
from augment.contract.foreign import shown
from augment.contract.reading import guarded
from augment.contract.task import RESERVED_COLUMNS, SAFE_NAME
from augment.errors import RowMalformed, SourceInvalid, SourceMissing
from augment.sources.columnar import SUFFIXES, open_records
from augment.sources.examples import Columns, SourceTableBuilder
from augment.tasks import GLUE, parse_task

MAX_ROWS = 1000
"""Rows whose every column is looked at."""
MAX_LABELS = 100_000
"""Rows whose label is looked at: the classes of a sorted file come one after the other."""
MAX_CLASSES = 100
FEW_CLASSES = 20
LABEL_NAMES = ("label", "labels", "class", "category", "target", "score")
_ALPHABETIC = 0.5
_REPEATS = 10
"""Rows for each of its values from which on a column that tells the label is no text."""
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
                             "\uf900-\ufaff\U00020000-\U0003ffff]")  # fmt: skip
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese put no space between words."""
_NAME_IT = "Write the task file by hand: data/sample/reviews/reviews.toml is an example."

Values = Sequence[Any]


def sniff(path: Path) -> str:
    """A task file for a data file, to be looked over by a person; the reader has accepted it.

    Raises:
        SourceMissing: The file is not there.
        SourceInvalid: No column looks like a text or none like a label, or the draft would not be
            read back.
    """
    hint = f"Name a file: {', '.join(SUFFIXES)}"
    with guarded(path, SourceInvalid, "a file of rows", hint):
        if not path.exists():
            raise SourceMissing(f"{path} is not there.", hint)
    malformed: list[str] = []
    records = open_records(path, malformed.append).records
    head = list(itertools.islice(records, MAX_ROWS))
    if not head:
        problem = f" that can be read; the first: {malformed[0]}" if malformed else "."
        raise SourceInvalid(f"{path.name} has no rows{problem}")
    columns = _usable_columns([record.values for record in head])
    if len(columns) == 1:
        raise SourceInvalid(
            f"{path.name} has but one column: {listed(columns)}.",
            "Texts and labels need a column each; if '|' parts them, begin a CSV with: sep=|",
        )
    labels = {name: list(values) for name, values in columns.items() if _may_be_label(name, values)}
    for record in itertools.islice(records, MAX_LABELS):
        for name, values in labels.items():
            values.append(record.values.get(name))
    given: dict[str, Values] = {name: _given(values) for name, values in labels.items()}
    label = _find_label(given, list(columns), path.name)
    texts = _find_texts(columns, label, path.name)
    names = _class_names(_given(labels[label]), label)
    draft = _compose(path, texts, label, names)
    problems = [*malformed, *_refused(draft, head, path, (*texts, label), names)]
    about = [f"Drafted from {len(head)} rows of {path.name}; look it over."]
    if not names and _are_whole(_given(labels[label])):
        about.append("The labels are decimals without a fraction: for classes write whole numbers.")
    if label in names or _is_number(label):
        about.append(
            f"The label's column is called {label!r}, as a label: is the first line a row? Then "
            "put a line with the columns' names before it."
        )
    if problems:
        about.append(f"Rows that cannot be read as they are: {len(problems)}. {problems[0]}")
    return "".join(f"# {shown(line)}\n" for line in about) + draft


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
    return [value for value in values if not _is_missing(value)]


def _is_missing(value: Any) -> bool:
    nan = isinstance(value, float) and math.isnan(value)
    return value is None or nan or (isinstance(value, str) and not value.strip())


def _may_be_label(name: str, values: Values) -> bool:
    few = len(set(map(str, _given(values)))) <= FEW_CLASSES
    return few or name.strip().casefold() in LABEL_NAMES


def _find_label(labels: dict[str, Values], columns: list[str], file: str) -> str:
    """The column that is called so; else the last one with few values that repeat."""
    distinct = {name: len(set(map(str, values))) for name, values in labels.items()}
    called = [name for known in LABEL_NAMES for name in labels if name.strip().casefold() == known]
    repeating = [name for name, values in labels.items() if distinct[name] < len(values)]
    short = [name for name in repeating if not _is_wordy(labels[name])]
    for name in called or (short or repeating)[::-1]:
        if distinct[name] > 1:
            return name
    raise SourceInvalid(
        f"{file}: no column looks like a label: two or more texts or numbers that repeat"
        f"{f'; not so {called[0]!r}' if called else ''}. Found: {listed(columns)}.",
        f"Call the label's column 'label'. {_NAME_IT}",
    )


def _find_texts(columns: dict[str, Values], label: str, file: str) -> list[str]:
    """The first two columns with several words; else the one with the most different words."""
    others = {
        name: _given(values)
        for name, values in columns.items()
        if name != label and not _says_the_same(values, columns[label])
    }
    worded = {name: values for name, values in others.items() if _is_alphabetic(values)}
    wordy = [name for name, values in worded.items() if _is_wordy(values)]
    if wordy:
        return wordy[:2]
    distinct = {name: len(set(values)) for name, values in worded.items()}
    if best := max(distinct, key=distinct.__getitem__, default=None):
        return [best]
    raise SourceInvalid(
        f"{file} has no text column beside the label {label!r}. Found: {listed(columns)}.",
        f"Names that cannot be used: {', '.join(RESERVED_COLUMNS)}. {_NAME_IT}",
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
    numbers = all(_is_number(value) for value in values)
    fractions = any(isinstance(v, float) or "." in str(v) or "e" in str(v) for v in values)
    if numbers and (fractions or len(spelled) > MAX_CLASSES):
        return []
    unique = not numbers and len(spelled) == len(values) > _REPEATS
    if unique or len(spelled) > max(MAX_CLASSES, len(values) // 2):
        raise SourceInvalid(
            f"the column {column!r} has {len(spelled):,} different texts in {len(values):,} rows: "
            "too many for classes.",
            f"Call the label's column 'label'. {_NAME_IT}",
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


def _compose(path: Path, texts: Sequence[str], label: str, names: Sequence[str]) -> str:
    """The draft as TOML."""
    kind, metric = ("classification", "accuracy") if names else ("regression", "pearson")
    described = {"column": label, "kind": kind} | ({"names": list(names)} if names else {})
    other = f"validation{path.suffix}"
    draft = tomlkit.document()
    draft["name"] = _safe_name(path.stem)
    draft["text_columns"] = list(texts)
    draft["metrics"], draft["selection_metric"] = [metric], metric
    draft["label"] = described
    draft["splits"] = {
        "train": path.name,
        "validation": other if other != path.name else f"dev{path.suffix}",
    }
    splits: Any = draft["splits"]
    splits["validation"].comment("a second file with the same columns")
    return tomlkit.dumps(draft)


def _safe_name(stem: str) -> str:
    """A task name for a file name of any script."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_.-]+", "-", plain).strip("-._")[:64].rstrip("-._")
    if not re.match(SAFE_NAME, name):
        return "my-task"
    return f"my-{name}" if name in GLUE else name


def _refused(
    draft: str, head: Sequence[Record], path: Path, wanted: Sequence[str], names: Sequence[str]
) -> list[str]:
    """What the reader says of the rows that it refuses, given the draft.

    Raises:
        SourceInvalid: It refuses the draft, reads another one, or refuses all rows.
    """
    try:
        task = parse_task(draft.encode(), f"the draft for {path.name}", path.parent)
    except (UnicodeEncodeError, Fault) as error:
        reason = error.hint if isinstance(error, Fault) and error.hint else str(error)
        raise SourceInvalid(
            f"{path.name} cannot be described as it is: {reason}",
            f"Rename its columns or classes. {_NAME_IT}",
        ) from error
    columns = Columns(tuple(wanted[:-1]), wanted[-1])
    read = (*task.spec.text_columns, task.spec.label.column)
    if read != tuple(wanted) or task.spec.label.names != tuple(names):
        raise SourceInvalid(f"{path.name} cannot be described as it is.", _NAME_IT)
    problems: list[str] = []
    rows = SourceTableBuilder(task.spec, task.spec.splits.train)
    for record in head:
        try:
            rows.add_record(record.location, record.values, columns)
        except RowMalformed as error:
            problems.append(error.problem)
    if len(problems) == len(head):
        raise SourceInvalid(f"{path.name}: no row can be read. The first: {problems[0]}", _NAME_IT)
    rows.build(path.name)
    return problems
