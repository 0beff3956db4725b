"""GLUE's nine tasks as data, and custom tasks from a TOML file.

Columns, label names and their order are those of the GLUE data sets as the hub serves them.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path
from typing import Any

from augment.contract import Label, Splits, TaskSpec
from augment.contract.reading import guarded
from augment.contract.recipes import faults, parse_toml, refuse, twice
from augment.contract.task import METRICS_OF
from augment.errors import RecipeInvalid, SourceMissing

_ONE_TEST = Splits(test=("test",))
_MNLI_SPLITS = Splits(
    validation=("validation_matched", "validation_mismatched"),
    test=("test_matched", "test_mismatched"),
)


@dataclass(frozen=True, slots=True)
class Task:
    """A task and, for custom ones, where its splits lie.

    Attributes:
        spec: What travels in the manifest.
        files: Split name → file name relative to the source folder; empty for GLUE tasks.
        folder: The folder of the task file: the default source of a custom task.
    """

    spec: TaskSpec
    files: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None


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
        )
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
    key = name.lower().replace("-", "").replace("_", "")
    if key not in GLUE:
        raise RecipeInvalid(
            f"{name!r} is no GLUE task; known: {', '.join(GLUE)}.",
            "For your own data give a task file: augment init DATA > my-task.toml",
        )
    return GLUE[key]


def load_task(path: Path) -> Task:
    """Read a custom task.

    The file has ``name``, ``text_columns``, ``metrics``, ``selection_metric``, a table ``[label]``
    (``column``, ``kind``, ``names``) and a table ``[splits]`` of split name = file name, where
    ``train`` and ``validation`` (or ``validation_*``) are needed and ``test`` is optional.

    Raises:
        SourceMissing: No file is there.
        RecipeInvalid: It is not TOML or does not describe a task; every fault is named.
    """
    with guarded(path, RecipeInvalid, "a task file", "Write one: augment init DATA > my-task.toml"):
        if not path.exists():
            raise SourceMissing(
                f"{path} is not there.", "Write one: augment init DATA > my-task.toml"
            )
        content = path.read_bytes()
    return parse_task(content, str(path), path.parent)


def parse_task(content: bytes, where: str, folder: Path) -> Task:
    """A custom task from the bytes of its file, called ``where``, whose data lie in a folder.

    Raises:
        RecipeInvalid: As ``load_task``.
    """
    raw = parse_toml(content, where)
    files = raw.get("splits", {})
    if not isinstance(files, dict) or not all(isinstance(v, str) for v in files.values()):
        raise RecipeInvalid(f"{where}: [splits] must be a table of split name = file name.")
    splits: dict[str, Any] = {"train": "train"}
    for kind in ("validation", "test"):
        splits[kind] = [name for name in files if name.startswith(kind)]
    described = {**raw, "splits": splits}
    found = faults(TaskSpec, described)
    refuse(where, found or _meant_otherwise(TaskSpec.model_validate(described), files))
    if not splits["validation"] or "train" not in files:
        raise RecipeInvalid(
            f"{where}: [splits] names {', '.join(files) or 'nothing'}; "
            "'train' and 'validation' are needed."
        )
    return Task(TaskSpec.model_validate(described), dict(files), folder)


def _as_seen(name: str) -> str:
    """A name without case, extra blanks and characters that are not seen."""
    visible = (c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    return " ".join("".join(visible).split()).casefold()


def _meant_otherwise(spec: TaskSpec, files: dict[str, str]) -> dict[str, str]:
    """What no manifest forbids, but a person hardly means: by key path."""
    found: dict[str, str] = {}
    names = spec.label.names
    if not all(map(str.strip, names)):
        found["label.names"] = "a class needs a name that is not blank"
    elif alike := twice(map(_as_seen, names)):
        shown = [name for name in names if _as_seen(name) == alike]
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
            found[f"splits.{split}"] = "must be train, or begin with validation or test"
    if file := twice(map(normpath, files.values())):
        found["splits"] = f"the file {file!r} stands twice; each split needs its own"
    return found
