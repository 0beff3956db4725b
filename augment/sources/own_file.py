"""A data file as it is → a task: what it was taken for, its splits, and a task file to look at.

OUT/tickets/tickets-8c1f2a/   tickets.toml, tickets-train.csv, tickets-validation.csv, …
OUT/tickets/v0001/            the version that is made from them

The folder's name holds a digest of the file and of what was said of it: a file that has changed
gets another folder, and a version of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from augment.contract import sha256_file
from augment.contract.data_files import listed, quoted
from augment.contract.foreign import counted, shown
from augment.contract.reading import guarded
from augment.contract.tables import KINDS, kind_of
from augment.errors import SourceInvalid, UsageError
from augment.sources.drafts import SPLIT_NAMES, Draft
from augment.sources.infer import FEW_CLASSES, LABEL_NAMES, draft_of
from augment.sources.splitting import parse_shares
from augment.sources.write_splits import WrittenSplits, put_files, split_file
from augment.tasks import Task, is_glue, load_task, parse_task

Say = Callable[[str, str], None]
"""Told what a line is about, and what it says."""
MOST_ROWS = 20_000
"""From so many rows on validation and test are as large as of these."""
_USUAL, _FEWER = "70/15/15", "80/20"
_PAIRS = (
    ("premise", "hypothesis"), ("question", "answer"), ("question", "sentence"),
    ("question", "context"), ("question", "passage"), ("query", "passage"), ("query", "document"),
    ("query", "title"), ("title", "body"), ("title", "text"), ("title", "content"),
    ("title", "description"), ("title", "abstract"), ("title", "review"), ("subject", "body"),
    ("subject", "message"), ("subject", "text"), ("summary", "description"), ("summary", "text"),
)  # fmt: skip
"""Names of columns that belong together, in their order."""
_PART = re.compile(r"-[0-9]+-of-0*([0-9]+)")


@dataclass(frozen=True, slots=True)
class Columns:
    """What a person says of a data file.

    Attributes:
        texts: The columns of its texts, one or two; found if left out.
        label: Likewise that of its label.
        split: Likewise the shares of its splits, such as ``80/20``.
    """

    texts: Sequence[str] = ()
    label: str | None = None
    split: str | None = None

    def refuse_elsewhere(self, task: str) -> None:
        """Check that nothing is said of a task that is no data file.

        Raises:
            UsageError: It is, or a data file has another source.
        """
        if names_file(task):
            raise UsageError("--source goes with a task; a data file is its own source.")
        if self.texts or self.label or self.split:
            raise UsageError(
                f"--text, --label and --split are of a data file, and {task} is none.",
                "A task says itself which columns are read.",
            )


def names_file(task: str) -> bool:
    """Whether a task's name is that of a data file instead."""
    if task.endswith(".toml") or is_glue(task):
        return False
    return os.path.isfile(task) or kind_of(Path(task)) in KINDS


def task_of_file(
    path: Path, own: Columns, out: Path, say: Say, *, skip_malformed: bool = False
) -> Task:
    """Draft the task of a file and make its splits, where it has none beside it.

    Args:
        path: The file.
        own: What is said of it.
        out: The root of all versions.
        say: Told what the file was taken for.
        skip_malformed: Leave malformed rows out, counted.

    Raises:
        UsageError: A column that is named is not there, or the shares are none.
        SourceMissing: The file is not there.
        SourceInvalid: It cannot be read, or may be meant in more than one way.
        OutputUnwritable: Something else lies where a file is to be written.
    """
    shares = own.split and parse_shares(own.split)
    draft = draft_of(path, texts=own.texts, label=own.label)
    refuse_doubts(draft, own)
    beside = {} if shares else splits_beside(path)
    for line in draft.lines():
        say(*line)
    if beside:
        return _named(draft, beside, out, say)
    folder = _folder(draft, out, own, skip_malformed)
    written = _split(draft, own, folder, skip_malformed=skip_malformed)
    for line in written.lines():
        say(*line)
    if not own.split and "test" not in written.rows:
        say("", "no test split: a class has too few different texts for three")
    say("task", f"{written.task} (to look at, or to change: augment run TASK)")
    return load_task(written.task)


def refuse_doubts(draft: Draft, own: Columns) -> None:
    """Check that a file can be meant in one way alone.

    Raises:
        SourceInvalid: It may be meant otherwise.
    """
    file = draft.path.name
    if draft.rivals and own.label is None:
        raise SourceInvalid(
            f"{file}: the label may be {listed([draft.label, *draft.rivals])}.",
            f"Name it: --label {_word(draft.label)}",
        )
    if len(draft.worded) > 1 and not own.texts and not _are_pair(draft.worded):
        first, second = draft.worded[:2]
        raise SourceInvalid(
            f"{file} has {counted(len(draft.worded), 'column')} of texts: {listed(draft.worded)}.",
            f"Name the one that is read: --text {_word(first)}\n"
            f"Or two, which are read as a pair: --text {_word(first)} --text {_word(second)}",
        )
    doubts = list(draft.doubts)
    whole = all(re.fullmatch("-?[0-9]+", name) for name in draft.names)
    if whole and len(draft.names) > FEW_CLASSES and _uncalled(draft.label):
        doubts.append(
            f"The column {quoted(draft.label)} has "
            f"{counted(len(draft.names), 'different whole number')}: are "
            "they classes, or a number to predict? Classes need a column called label; for a "
            "number write 1.0 in the place of 1."
        )
    if doubts:
        raise SourceInvalid(f"{file} may be meant in two ways. {doubts[0]}", _by_hand(draft.path))


def _uncalled(label: str) -> bool:
    return label.strip().casefold() not in LABEL_NAMES[:4]


def _word(name: str) -> str:
    return shlex.quote(shown(name))


def _by_hand(path: Path) -> str:
    name = _word(path.name)
    return f"Or look a draft of the task file over first: augment init {name} --split {_USUAL}"


def _are_pair(columns: Sequence[str]) -> bool:
    """Whether two columns are called as the two texts of a pair are."""
    if len(columns) != 2:
        return False
    first, second = (name.strip().casefold() for name in columns)
    stems = {re.sub("[-_ ]?[12ab]$", "", name) for name in (first, second)}
    return (first, second) in _PAIRS or (len(stems) == 1 and first < second)


def splits_beside(path: Path) -> dict[str, Path]:
    """Split → its file, where a file of training rows is called so and validation is beside it.

    Raises:
        SourceInvalid: Nobody knows which file is meant, or the file is one part of several.
    """
    known = "|".join(SPLIT_NAMES["train"])
    called = re.fullmatch(rf"(.*[-_.])?({known})([-_.].*)?", path.stem, re.IGNORECASE)
    if called is None:
        return {}
    part = _PART.search(path.stem)
    if part and int(part[1]) > 1:
        raise SourceInvalid(
            f"{path.name} is one of {counted(int(part[1]), 'part')} of a split.",
            "Name their folder: augment run TASK --source FOLDER",
        )
    before, after = called[1] or "", called[3] or ""
    found = {"train": path}
    there: dict[str, Path] = {}
    with suppress(OSError):  # of a folder that cannot be listed nothing else is read
        there = {file.name.casefold(): file for file in path.parent.iterdir() if file.is_file()}
    for split in ("validation", "test"):
        names = [f"{before}{name}{after}{path.suffix}".casefold() for name in SPLIT_NAMES[split]]
        files = [there[name] for name in names if name in there]
        if len(files) > 1:
            raise SourceInvalid(
                f"{listed([file.name for file in files])} may both be the split {split!r}.",
                "Leave the one that is meant there.",
            )
        if files:
            found[split] = files[0]
    return found if "validation" in found else {}


def _named(draft: Draft, beside: dict[str, Path], out: Path, say: Say) -> Task:
    """The task of files that are there; its own file names them, and is all that is written."""
    folder = draft.path.parent
    source = shlex.quote(str(folder))
    toml = draft.toml(
        {split: path.name for split, path in beside.items()},
        [f"The files lie elsewhere: augment run FILE.toml --source {source}"],
    ).encode()
    task = parse_task(toml, f"the draft for {draft.path.name}", folder)
    digest = hashlib.sha256(toml).hexdigest()
    place = out / draft.name / f"{draft.name}-{digest[:6]}" / f"{draft.name}.toml"
    put_files(place, lambda aside: (aside / place.name).write_bytes(toml))
    say("splits", "as the files beside it: " + listed([path.name for path in beside.values()]))
    say("task", f"{place} (to look at, or to change: augment run TASK --source {source})")
    return task


def _folder(draft: Draft, out: Path, own: Columns, skip_malformed: bool) -> Path:
    """Where splits and task file go: by what decides them."""
    with guarded(draft.path, SourceInvalid, "a file of rows"):
        content = sha256_file(draft.path)
    said = (content, draft.texts, draft.label, own.split, skip_malformed)
    digest = hashlib.sha256(repr(said).encode()).hexdigest()
    return out / draft.name / f"{draft.name}-{digest[:6]}"


def _split(draft: Draft, own: Columns, folder: Path, *, skip_malformed: bool) -> WrittenSplits:
    """Write the splits: as is asked; else with a test split, where no class is too small for it."""

    def write(shares: str) -> WrittenSplits:
        return split_file(draft, parse_shares(shares), out=folder, skip_malformed=skip_malformed)

    if own.split:
        return write(own.split)
    rows = sum(draft.counts.values())
    part = 15 if rows <= MOST_ROWS else max(1, 15 * MOST_ROWS // rows)
    try:
        return write(f"{100 - 2 * part}/{part}/{part}")
    except SourceInvalid:
        return write(_FEWER)
