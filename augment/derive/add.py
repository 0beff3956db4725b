"""Rows that another tool made, with or without a label or a source row, into a new version.

With ``idx`` a row belongs to that source row and has its label, unless it brings one of its own.
With a label alone it is a new training row, with neither a row of the unlabeled split.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augment.contract import WORD_REPLACEMENT, UsageError, Version, open_checked
from augment.contract.foreign import shown
from augment.contract.task import SAFE_NAME
from augment.derive.addition import Addition
from augment.derive.build import build, root_of
from augment.derive.gates import Gates
from augment.derive.groups import Numbers, groups_of
from augment.errors import RowMalformed
from augment.executor.models import Models
from augment.progress import Narrator
from augment.recipes.load import load_recipe
from augment.sources.examples import SourceRow, whole
from augment.sources.labels import short
from augment.sources.row_files import read_rows


def add_rows(
    version: Version | str | Path,
    rows: str | Path,
    *,
    generator: str,
    out: str | Path | None = None,
    recipe: str = "official",
    teacher: str | Path | None = None,
    similarity_model: str | Path | None = None,
    device: str = "cpu",
    skip_malformed: bool = False,
    narrator: Narrator | None = None,
) -> Version:
    """Add rows that another tool made to a version, as a new one.

    Args:
        version: What they are added to.
        rows: A CSV, TSV, JSON or Parquet file.
        generator: What made them, for the rows' column of that name.
        out: The root of all versions; that of the version by default.
        recipe: A preset or a recipe file: its gates count.
        teacher: Folder or hub name of a fine-tuned classifier, where the gates ask one.
        similarity_model: The same of a sentence encoder.
        device: Where these models run.
        skip_malformed: Leave malformed rows out, counted.
        narrator: Hears what is going on.

    Raises:
        Fault: Something is not usable; nothing half-written remains.

    Examples:
        >>> from augment import add_rows
        >>> more = add_rows(
        ...     "data/versions/reviews", "more.jsonl", generator="paraphrase", out="data/more"
        ... )
        >>> more.manifest.counts["added.paraphrase"]
        1
    """
    tell = narrator or Narrator()
    check_generator(generator)
    parent = open_checked(version)
    plan = load_recipe(recipe, parent.task.name)
    if plan.teacher_logits:
        raise UsageError(
            "rows are added without logits, but the recipe has teacher_logits = true.",
            "Add them first, then let augment filter compute the logits of all rows.",
        )
    models = Models.named(teacher=teacher, similarity_model=similarity_model, device=device)
    gates = Gates.load(plan, models, parent)
    groups = groups_of(parent, parent.task.splits.train)
    screen = SourceRows(np.sort(groups.idx[: groups.sourced]), parent.reference, skip_malformed)
    given = read_rows(
        [rows], parent.task, f"rows of {generator}", skip_malformed=skip_malformed, screen=screen
    )
    for warning in given.warnings:
        tell.say("warning", warning)
    if parent.manifest.teacher_logits:
        tell.say("logits", f"those of {parent.reference} are left out: the new rows have none")
    skipped = given.skipped + Counter({"idx_unknown": screen.unknown})
    addition = Addition.of(parent, given.table, generator, gates, groups)
    made = addition.made(shown(Path(rows).name))
    for line in addition.lines():
        tell.say("rows", line)
    root = root_of(parent) if out is None else Path(out)
    built = build(made.draft(), addition.rows(made, skipped), root, tell)
    counts = built.manifest.counts
    if not counts.get(f"added.{generator}") and not counts.get("unlabeled.added"):
        tell.say("warning", f"no row of {generator} passed: {built.reference} has none of them")
    return built


@dataclass(slots=True)
class SourceRows:
    """Refuses a row that names a source row which is not there.

    Attributes:
        numbers: Of those that are there, increasing.
        reference: Of their version.
        skip: Whether such rows are counted instead.
        unknown: How many there were.
    """

    numbers: Numbers
    reference: str
    skip: bool
    unknown: int = 0

    def refuses(self, row: SourceRow) -> bool:
        """Whether a row is left out.

        Raises:
            RowMalformed: Instead, unless such rows are skipped.
        """
        told = whole(row.record.get("idx"))
        if told is None or told == "":
            return False
        if row.idx is not None:
            at = int(np.searchsorted(self.numbers, row.idx))
            if at < len(self.numbers) and self.numbers[at] == row.idx:
                return False
        if not self.skip:
            raise RowMalformed(
                f"{row.location} has idx {short(told)}, which is no source row of "
                f"{self.reference}.",
                "idx is the number of the training row that a row was made from, a whole number; "
                "leave it empty for new rows, or leave such rows out, counted: --skip-malformed",
            )
        self.unknown += 1
        return True


def check_generator(name: str) -> None:
    """Refuse a name that could not stand in a column, a count or a sentence.

    Raises:
        UsageError: It is none.
    """
    if not re.fullmatch(SAFE_NAME, name) or name == WORD_REPLACEMENT:
        taken = " is what augment run makes" if name == WORD_REPLACEMENT else " is no name"
        raise UsageError(
            f"--source {shown(name, limit=80)}{taken}; it says what made the rows.",
            "Give at most 64 letters, digits, dots, dashes or underscores, such as paraphrase.",
        )
