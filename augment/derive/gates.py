"""The gates of a recipe on rows that are there already, whoever made them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from augment.contract import SOFT_LABELS, Asset, TaskSpec, Version
from augment.executor.models import Models
from augment.filters.model_filters import SimilarityFilter, TeacherFilter
from augment.filters.rules import RuleFilter
from augment.recipes.schema import AugmentRecipe
from augment.sources.digests import row_digest
from augment.versions.rows import OutputRow, Texts

_KEYS = (
    "preset", "distinct", "leak_guard", "normalised_duplicates", "min_similarity",
    "teacher_agreement", "teacher_tolerance", "teacher_logits", "keep_rejected",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gates:
    """What rows must pass, with the models that are asked.

    Attributes:
        recipe: Its other keys, which say how rows are generated, decide nothing here.
    """

    recipe: AugmentRecipe
    rules: RuleFilter
    similarity: SimilarityFilter | None
    teacher: TeacherFilter | None

    @classmethod
    def load(cls, recipe: AugmentRecipe, models: Models, version: Version) -> Gates:
        """Load the models; the leak guard reads the validation and test rows of a version.

        Raises:
            UsageError: The recipe asks for a model that is not named, or the other way round.
            AssetInvalid: A model cannot be used.
        """
        models.refuse_unfit_gates(recipe)
        held_out = frozenset(held_out_digests(version)) if recipe.leak_guard else frozenset()
        return cls(
            recipe,
            RuleFilter(held_out),
            models.load_encoder(recipe),
            models.load_teacher(recipe, version.task),
        )

    def described(self) -> dict[str, Any]:
        """The keys of the recipe that count, for a manifest."""
        return self.recipe.model_dump(mode="json", include=set(_KEYS))

    def assets(self) -> tuple[Asset, ...]:
        """The models that are asked, for a manifest."""
        asked = {"teacher": self.teacher, "sentence_encoder": self.similarity}
        return tuple(
            Asset(kind=kind, name=Path(each.scorer.name).name, sha256=each.scorer.digest)
            for kind, each in asked.items()
            if each is not None
        )

    def apply(
        self, rows: Sequence[OutputRow], present: Iterable[OutputRow] = ()
    ) -> list[OutputRow]:
        """The rows in order, those that do not pass with a reason; source rows always pass.

        ``present`` are rows of the same source rows that are there already and stay.
        """
        marked = self._repeats(rows, present)
        for each in (self.rules, self.similarity, self.teacher):
            marked = each.apply(marked) if each is not None else marked
        return marked

    def _repeats(self, rows: Sequence[OutputRow], present: Iterable[OutputRow]) -> list[OutputRow]:
        """Refuse what equals its original or an earlier row of the same source row."""
        exact: set[tuple[int, Texts]] = set()
        loose: set[tuple[int, bytes]] = set()
        similar = self.recipe.normalised_duplicates
        for row in present:
            exact.add((row.idx, row.texts))
            loose.update([(row.idx, row_digest(row.texts))] * similar)
        found = []
        for row in rows:
            key, near = (row.idx, row.texts), (row.idx, row_digest(row.texts) if similar else b"")
            reason = ""
            if row.variant and self.recipe.distinct and row.texts == row.original:
                reason = "identity"
            elif row.variant and self.recipe.distinct and key in exact:
                reason = "duplicate"
            elif row.variant and similar and near in loose:
                reason = "normalised_duplicate"
            exact.add(key)
            loose.add(near)
            found.append(replace(row, reason=reason) if reason else row)
        return found


def held_out_digests(version: Version) -> Iterable[bytes]:
    """A digest of every validation and test row, as the leak guard compares them."""
    task = version.task
    for split in version.splits:
        if split in (*task.splits.validation, *task.splits.test):
            for batch in version.batches(split, list(task.text_columns)):
                columns = (batch[column].to_pylist() for column in task.text_columns)
                yield from map(row_digest, zip(*columns, strict=True))


def rows_of(table: pa.Table, task: TaskSpec) -> list[OutputRow]:
    """Whole groups of a version as records, without their edits."""
    texts = zip(*(table[column].to_pylist() for column in task.text_columns), strict=True)
    soft = table[SOFT_LABELS].to_pylist() if SOFT_LABELS in table.column_names else None
    columns = (table[name].to_pylist() for name in (task.label.column, "idx", "variant"))
    rows: list[OutputRow] = []
    source: OutputRow | None = None
    for at, (of_row, label, idx, variant) in enumerate(zip(texts, *columns, strict=True)):
        own = tuple(soft[at]) if soft and soft[at] is not None else None
        if variant == 0:
            row = source = OutputRow(idx, of_row, label, original=of_row, soft_labels=own)
        else:
            made_from = source if source is not None and source.idx == idx else None
            row = OutputRow(
                idx, of_row, label, variant=variant, soft_labels=own,
                original=() if made_from is None else made_from.texts,
                own_label=made_from is None or label != made_from.label,
            )  # fmt: skip
        rows.append(row)
    return rows
