"""A copy of the authors' code that runs today, and rows and models as its script reads them."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer

from augment.contract import TaskSpec
from augment.contract.errors import UsageError

SCRIPT, BATCH = "task_distill.py", 32


@dataclass(frozen=True, slots=True)
class Change:
    """A line that stops the script, or makes the two sides another task.

    Attributes:
        file: Under its folder.
        old: What stands there; a pattern, so that none of their lines stands here.
        new: What stands there in the copy.
        why: In a sentence.
    """

    file: str
    old: str
    new: str
    why: str


MODELING, FILES = "transformer/modeling.py", "transformer/file_utils.py"
CHANGES = (
    Change(
        MODELING, r"fit_size=768", "fit_size={width}",
        "The width of the teacher is written into the student's projection.",
    ),
    Change(
        MODELING, r"torch\.load\(([^,()]+), [^()]*\)",
        r"__import__('safetensors.torch').torch.load_file(\1)",
        "Weights are read without running code, and as teachers and students are stored today.",
    ),
    Change(
        SCRIPT, r"torch\.save\((\w+)\.state_dict\(\), (\w+)\)",
        r"__import__('safetensors.torch').torch.save_file("
        r"{{k: v.contiguous() for k, v in \1.state_dict().items()}}, \2)",
        "The same, written.",
    ),
    Change(
        FILES, r"(?m)^WEIGHTS_NAME = .*$", 'WEIGHTS_NAME = "model.safetensors"',
        "The same, by its name.",
    ),
)  # fmt: skip
HEAD = Change(
    MODELING, r"torch\.relu\((\w+)\)", r"\1",
    "Its classifier reads the positive part of the pooled state; with that, a teacher that was "
    "tuned without it answers otherwise, and the teachers would not be the same.",
)  # fmt: skip
STUBS = {
    "boto3": "",
    "requests": "",
    "botocore": "",
    "botocore.exceptions": "class ClientError(Exception):\n    pass\n",
}
"""Imports for downloads that never happen; made where they are not installed."""


@dataclass(frozen=True, slots=True)
class Format:
    """How their script reads a task's rows.

    Attributes:
        name: What it calls the task.
        metric: What it selects by; ``ours``: what that is called here.
        texts: Columns of the texts.
        label: Column of the label.
        columns: In all.
        header: Whether the first line is skipped.
    """

    name: str
    metric: str
    ours: str
    texts: tuple[int, ...]
    label: int
    columns: int
    header: bool = True


FORMATS = {
    "cola": Format("cola", "mcc", "matthews", (3,), 1, 4, header=False),
    "sst2": Format("sst-2", "acc", "accuracy", (0,), 1, 2),
    "mrpc": Format("mrpc", "acc", "accuracy", (3, 4), 0, 5),
    "stsb": Format("sts-b", "corr", "pearson_spearman", (7, 8), 9, 10),
}


def patched(folder: Path, copy: Path, width: int, *, head: bool = False) -> list[str]:
    """Their folder, copied, with what stops it taken out.

    Returns:
        What was changed and why, a sentence each.

    Raises:
        UsageError: It is not that folder, or a line is not there that has to be changed.
    """
    if not (folder / SCRIPT).is_file():
        raise UsageError(
            f"expected {SCRIPT} in {folder}, found none.",
            "Fetch the authors' code and name its folder TinyBERT.",
        )
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".git", "*.png"))
    said = []
    for change in (*CHANGES, *(() if head else (HEAD,))):
        file = copy / change.file
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        new = change.new.replace("{width}", str(width)).replace("{{", "{").replace("}}", "}")
        text, count = re.subn(change.old, new, text)
        if not count:
            raise UsageError(
                f"expected {change.old!r} in {change.file}, found nothing like it: "
                "the script is of another release.",
                "Take the release that the pattern was written for, or change CHANGES.",
            )
        file.write_text(text, encoding="utf-8")
        said.append(f"{change.file}, {count} x: {change.why}")
    missing = [name for name in STUBS if importlib.util.find_spec(name.partition(".")[0]) is None]
    for name in missing:
        place = copy / f"{name.replace('.', '/')}.py"
        if any(other.startswith(f"{name}.") for other in STUBS):
            place = copy / name / "__init__.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(STUBS[name], encoding="utf-8")
    return [*said, *(f"{name}: not installed, an empty one stands for it" for name in missing)]


def write_rows(frame: pd.DataFrame, task: TaskSpec, file: Path) -> None:
    """Rows of a version as their script reads them: tabs, nothing quoted."""
    form = FORMATS[task.name]
    lines = [[""] * form.columns] if form.header else []
    for row in frame.to_dict("records"):
        cells = [""] * form.columns
        for at, name in zip(form.texts, task.text_columns, strict=True):
            cells[at] = " ".join(str(row[name]).split())
        cells[form.label] = str(row[task.label.column])
        lines.append(cells)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(
            stream, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
        )
        writer.writerows(lines)


def bert_folder(model: Path, place: Path) -> Path:
    """A model as their script opens it: config, safetensors, one token a line."""
    config = AutoConfig.from_pretrained(model)
    if config.model_type != "bert":
        raise UsageError(
            f"expected a BERT at {model}, found {config.model_type}.",
            "Their script knows no other family.",
        )
    place.mkdir()
    shutil.copy(model / "config.json", place / "config.json")
    weights = {
        name if name.startswith(("bert.", "classifier.")) else f"bert.{name}": value
        for name, value in load_file(model / "model.safetensors").items()
        if not name.startswith("cls.")
    }  # of an encoder alone their loader would take nothing, and say it in its log
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    vocabulary = AutoTokenizer.from_pretrained(model).get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    (place / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return place


def lower_cases(model: Path) -> bool:
    """Whether a model's tokenizer does."""
    return AutoTokenizer.from_pretrained(model).tokenize("A") != ["A"]
