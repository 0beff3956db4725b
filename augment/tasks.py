"""GLUE's nine tasks as data, and custom tasks from a TOML file.

Columns, label names and their order are those of the GLUE data sets as the hub serves them.
"""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os.path import normpath
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from augment.contract import UNLABELED_SPLIT, Label, Splits, TaskSpec
from augment.contract.data_files import quoted
from augment.contract.manifest import LanguageCode, LicenseId
from augment.contract.reading import guarded
from augment.contract.recipes import faults, parse_toml, refuse, twice
from augment.contract.task import METRICS_OF, StrictRecord
from augment.errors import RecipeInvalid, SourceMissing

_ONE_TEST = Splits(test=("test",))
_MNLI_SPLITS = Splits(
    validation=("validation_matched", "validation_mismatched"),
    test=("test_matched", "test_mismatched"),
)


NAME = "{name}"


class SoftLabelPlace(StrictRecord):
    """Where the distribution stands in the rows: the table ``[soft_labels]`` of a task file.

    Attributes:
        columns: The name of a class's own column, with ``{name}`` for the class.
        column: The column of a list, an object or one class name.
        form: What the numbers are.
    """

    columns: str = Field(default=f"p_{NAME}", pattern=r"^[^{}]*\{name\}[^{}]*$")
    column: str = Field(default="soft_labels", min_length=1)
    form: Literal["probabilities", "logits"] = "probabilities"

    @property
    def is_named(self) -> bool:
        """Whether the task file says anything of it, so that a source without it is a mistake."""
        return bool(self.model_fields_set)

    @property
    def one_each(self) -> bool:
        """Whether columns of single classes are looked for."""
        return "columns" in self.model_fields_set or "column" not in self.model_fields_set

    @property
    def in_one(self) -> bool:
        """Whether the column of whole distributions is looked for."""
        return "column" in self.model_fields_set or "columns" not in self.model_fields_set

    def __str__(self) -> str:
        named = [quoted(self.columns)] * self.one_each + [quoted(self.column)] * self.in_one
        return " or ".join(named)


class Terms(StrictRecord):
    """Under which license the rows are and in which languages, in the words of the hub's cards.

    Attributes:
        license: Such as ``cc-by-4.0``; None where nobody says.
        language: Codes such as ``en``.
    """

    license: LicenseId | None = None
    language: tuple[LanguageCode, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A task and, for custom ones, where its splits lie.

    Attributes:
        spec: What travels in the manifest.
        files: Split name → file name relative to the source folder; empty for GLUE tasks.
        folder: The folder of the task file: the default source of a custom task.
        soft_labels: Where the rows of the source have distributions over the classes.
        unlabeled: Names of files of rows without labels, as the task file has them.
        more_unlabeled: Such files wherever they lie, as the user has named them.
        terms: The license of the rows and their languages, as the task file says.
    """

    spec: TaskSpec
    files: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    soft_labels: SoftLabelPlace = field(default_factory=SoftLabelPlace)
    unlabeled: tuple[str, ...] = ()
    more_unlabeled: tuple[str, ...] = ()
    terms: Terms = field(default_factory=Terms)

    def with_unlabeled(self, sources: Sequence[str | Path] | str | Path = ()) -> Task:
        """The same with a split for rows without labels, of these files and hub data sets too."""
        given = (sources,) if isinstance(sources, str | Path) else sources
        splits = self.spec.splits.model_copy(update={"unlabeled": UNLABELED_SPLIT})
        spec = self.spec.model_copy(update={"splits": splits})
        return replace(self, spec=spec, more_unlabeled=(*self.more_unlabeled, *map(str, given)))


def _glue(
    name: str,
    columns: tuple[str, ...],
    labels: tuple[str, ...],
    metrics: tuple[str, ...],
    splits: Splits = _ONE_TEST,
) -> Task:
    """One of GLUE's tasks; the last metric selects the best checkpoint."""
    label = Label(names=labels) if labels else Label(kind="regression")
    return Task(
        TaskSpec(
            name=name,
            text_columns=columns,
            label=label,
            metrics=metrics,
            selection_metric=metrics[-1],
            splits=splits,
        ),
        terms=Terms(language=("en",)),
    )


_PAIR = ("sentence1", "sentence2")
_ENTAILED = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")
_ACCURACY_F1 = ("accuracy", "f1")
GLUE: dict[str, Task] = {
    task.spec.name: task
    for task in (
        _glue("cola", ("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
        _glue("sst2", ("sentence",), ("negative", "positive"), ("accuracy",)),
        _glue("mrpc", _PAIR, ("not_equivalent", "equivalent"), _ACCURACY_F1),
        _glue("stsb", _PAIR, (), ("pearson", "spearman", "pearson_spearman")),
        _glue("qqp", ("question1", "question2"), ("not_duplicate", "duplicate"), _ACCURACY_F1),
        _glue("mnli", ("premise", "hypothesis"), _NLI, ("accuracy",), _MNLI_SPLITS),
        _glue("qnli", ("question", "sentence"), _ENTAILED, ("accuracy",)),
        _glue("rte", _PAIR, _ENTAILED, ("accuracy",)),
        _glue("wnli", _PAIR, ("not_entailment", "entailment"), ("accuracy",)),
    )
}


def get_task(name: str) -> Task:
    """A GLUE task by name, or a custom task by the path of its TOML file.

    Raises:
        SourceMissing: The task file is not there.
        RecipeInvalid: The name is unknown, or the file has faults.
    """
    if name.endswith(".toml"):
        return load_task(Path(name))
    if not is_glue(name):
        raise RecipeInvalid(f"{name!r} is no GLUE task; known: {', '.join(GLUE)}.", _meant(name))
    return GLUE[_key(name)]


def is_glue(name: str) -> bool:
    """Whether a name is that of a GLUE task, however it is spelled."""
    return _key(name) in GLUE


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _meant(name: str) -> str:
    """What to do about a name that is no task: it may be a data file, or lack its ending."""
    if os.path.isfile(f"{name}.toml"):  # asks without raising, whatever the name
        return f"The task file of that name ends in .toml: {shlex.quote(name)}.toml"
    if os.path.isdir(name):
        return "It is a folder: name the file of training rows in it, or a task file."
    data = shlex.quote(name) if os.path.isfile(name) else "DATA"
    return f"Make a task file of your own data and its splits: augment init {data} --split 70/15/15"


def load_task(path: Path) -> Task:
    """Read a custom task.

    The file has ``name``, ``text_columns``, ``metrics``, ``selection_metric``, a table ``[label]``
    (``column``, ``kind``, ``names``) and a table ``[splits]`` of split name = file name, where
    ``train`` and ``validation`` (or ``validation_*``) are needed, ``test`` is optional and
    ``unlabeled`` may be several files. ``[soft_labels]`` says where distributions stand;
    ``license`` and ``language`` are for the card of the version.

    Raises:
        SourceMissing: No file is there.
        RecipeInvalid: It is not TOML or does not describe a task; every fault is named.
    """
    make = "Make one of your data and its splits: augment init DATA --split 70/15/15"
    with guarded(path, RecipeInvalid, "a task file", make):
        if not path.exists():
            raise SourceMissing(f"{path} is not there.", make)
        content = path.read_bytes()
    return parse_task(content, str(path), path.parent)


def parse_task(content: bytes, where: str, folder: Path) -> Task:
    """A custom task from the bytes of its file, called ``where``, whose data lie in a folder.

    Raises:
        RecipeInvalid: As ``load_task``.
    """
    raw = parse_toml(content, where)
    files = raw.pop("splits", {})
    unlabeled = _without_labels(files, where)
    if not isinstance(files, dict) or not all(isinstance(v, str) for v in files.values()):
        raise RecipeInvalid(f"{where}: [splits] must be a table of split name = file name.")
    splits: dict[str, Any] = {"train": "train"}
    for kind in ("validation", "test"):
        splits[kind] = [name for name in files if name.startswith(kind)]
    if unlabeled:
        splits["unlabeled"] = UNLABELED_SPLIT
    place = raw.pop("soft_labels", {})
    terms = {key: raw.pop(key) for key in Terms.model_fields if key in raw}
    if isinstance(language := terms.get("language"), str):
        terms["language"] = (language,)
    described = {**raw, "splits": splits}
    found = faults(TaskSpec, described)
    found |= {f"soft_labels.{key}": what for key, what in faults(SoftLabelPlace, place).items()}
    found |= faults(Terms, terms)
    every = [*files.values(), *unlabeled]
    refuse(where, found or _meant_otherwise(TaskSpec.model_validate(described), files, every))
    if not splits["validation"] or "train" not in files:
        raise RecipeInvalid(
            f"{where}: [splits] names {', '.join(files) or 'nothing'}; "
            "'train' and 'validation' are needed."
        )
    spec, soft = TaskSpec.model_validate(described), SoftLabelPlace.model_validate(place)
    told = Terms.model_validate(terms)
    return Task(spec, dict(files), folder, soft, unlabeled, terms=told)


def check_spec(spec: TaskSpec) -> None:
    """Check a task that a program made, as a task file is checked.

    Raises:
        RecipeInvalid: It has faults; every one is named.
    """
    refuse("the task", faults(TaskSpec, spec.model_dump()) or _meant_otherwise(spec, {}, ()))


def _without_labels(files: Any, where: str) -> tuple[str, ...]:
    """The files of ``[splits] unlabeled``, one or a list; they are taken out of the table."""
    named = files.pop(UNLABELED_SPLIT, ()) if isinstance(files, dict) else ()
    named = (named,) if isinstance(named, str) else named
    if not isinstance(named, list | tuple) or not all(isinstance(each, str) for each in named):
        raise RecipeInvalid(
            f"{where}: [splits] {UNLABELED_SPLIT} must be a file or a list of them."
        )
    return tuple(named)


def as_seen(name: str) -> str:
    """A name without case, extra blanks and characters that are not seen."""
    visible = (c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    return " ".join("".join(visible).split()).casefold()


def _meant_otherwise(spec: TaskSpec, files: dict[str, str], every: Sequence[str]) -> dict[str, str]:
    """What no manifest forbids, but a person hardly means: by key path."""
    found: dict[str, str] = {}
    names = spec.label.names
    if not all(map(str.strip, names)):
        found["label.names"] = "a class needs a name that is not blank"
    elif alike := twice(map(as_seen, names)):
        shown = [name for name in names if as_seen(name) == alike]
        found["label.names"] = f"{' and '.join(map(repr, shown))} differ in case or blanks alone"
    fitting = METRICS_OF[spec.label.kind]
    if metric := twice(spec.metrics):
        found["metrics"] = f"{metric!r} stands twice"
    elif odd := [metric for metric in spec.metrics if metric not in fitting]:
        kind = f"of a {spec.label.kind} are expected"
        found["metrics"] = f"{', '.join(fitting)} {kind}, found {odd[0]!r}"
    if not all((*spec.text_columns, spec.label.column)):
        found["text_columns"] = "a column needs a name"
    if taken := spec.reserved():
        found["text_columns"] = f"column names {taken} are reserved"
    for split in files:
        if split not in spec.splits.names:
            found[f"splits.{split}"] = "must be train, unlabeled, or begin with validation or test"
    if file := twice(map(normpath, every)):
        found["splits"] = f"the file {file!r} stands twice; each split needs its own"
    return found
