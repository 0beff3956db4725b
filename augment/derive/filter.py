"""Gates on the rows of a version that is there already, without generating any anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from augment.contract import (
    LOGITS,
    Asset,
    Derivation,
    Version,
    arrow_schema,
    open_checked,
    rejected_schema,
)
from augment.derive.build import Rows, build, distinct_assets, parents_of, root_of, sources_of
from augment.derive.gates import Gates, rows_of
from augment.derive.groups import (
    Groups,
    Span,
    conformed,
    conformed_split,
    groups_of,
    read_spans,
    spans,
)
from augment.executor.models import Models
from augment.progress import Narrator
from augment.recipes.load import load_recipe
from augment.versions.manifest import Made
from augment.versions.rows import ChunkOutput


def filter_version(
    version: Version | str | Path,
    *,
    recipe: str,
    out: str | Path | None = None,
    teacher: str | Path | None = None,
    similarity_model: str | Path | None = None,
    device: str = "cpu",
    narrator: Narrator | None = None,
) -> Version:
    """Apply a recipe's gates to the rows of a version that are no source rows, as a new version.

    Args:
        version: Whose rows.
        recipe: A preset or a recipe file: its gates count. With ``teacher_logits`` those of all
            training rows are computed, and of rows without labels that were generated.
        out: The root of all versions; that of the version by default.
        teacher: Folder or hub name of a fine-tuned classifier, where the gates ask one.
        similarity_model: The same of a sentence encoder.
        device: Where these models run.
        narrator: Hears what is going on.

    Raises:
        Fault: Something is not usable; nothing half-written remains.

    Examples:
        >>> from augment import filter_version
        >>> first = "data/versions/reviews"
        >>> version = filter_version(first, recipe="official", out="data/filtered")
        >>> version.manifest.derivation.command
        'filter'
    """
    tell = narrator or Narrator()
    parent = open_checked(version)
    models = Models.named(teacher=teacher, similarity_model=similarity_model, device=device)
    gates = Gates.load(load_recipe(recipe, parent.task.name), models, parent)
    filtering = Filtering(parent, gates, *_judged(parent))
    if parent.manifest.teacher_logits and not filtering.keeps_logits:
        tell.say("logits", f"those of {parent.reference} are left out: they are another teacher's")
    root = root_of(parent) if out is None else Path(out)
    return build(filtering.made().draft(), filtering.rows(), root, tell)


def _judged(version: Version) -> tuple[Groups, Groups | None]:
    """The groups of the splits that have generated rows: training, and maybe unlabeled."""
    train, *others = (groups_of(version, split) for split in version.trained)
    generated = [groups for groups in others if groups.last.max(initial=0) > 0]
    return train, generated[0] if generated else None


@dataclass(frozen=True, slots=True)
class Filtering:
    """The rows of a version and what those that are no source rows must pass.

    Attributes:
        parent: The version.
        gates: What they must pass.
        train: Groups of the training split.
        unlabeled: Those of the unlabeled split, where it has generated rows.
    """

    parent: Version
    gates: Gates
    train: Groups
    unlabeled: Groups | None

    @property
    def keeps_logits(self) -> bool:
        """Whether rows carry logits: computed now, or kept where the teacher is the same."""
        return self.gates.recipe.teacher_logits or (
            self.parent.manifest.teacher_logits and self._same_teacher()
        )

    def _same_teacher(self) -> bool:
        asked = [asset.sha256 for asset in self.gates.assets() if asset.kind == "teacher"]
        known = self.parent.manifest.asset("teacher")
        return known is None or not asked or asked == [known.sha256]

    def _assets(self) -> tuple[Asset, ...]:
        """The teacher of the logits first."""
        own, inherited = self.gates.assets(), self.parent.manifest.assets
        computed = self.gates.recipe.teacher_logits
        return distinct_assets(own, inherited) if computed else distinct_assets(inherited, own)

    def made(self) -> Made:
        """What the new version is made from."""
        manifest = self.parent.manifest
        sources = sources_of(self.parent, soft_labels=manifest.soft_labels)
        return Made(
            task=self.parent.task,
            derivation=Derivation(command="filter", parents=parents_of([self.parent])),
            recipe=self.gates.described(),
            source=manifest.source,
            sources=tuple(sources[split] for split in self.parent.splits),
            assets=self._assets(),
            soft_labels=manifest.soft_labels,
            teacher_logits=self.keeps_logits,
            label_rule=manifest.label_rule,
            limit=manifest.limit,
            license=manifest.license,
            language=manifest.language,
        )

    def rows(self) -> Rows:
        """The rows of the new version."""
        schema = arrow_schema(
            self.parent.task,
            soft_labels=self.parent.manifest.soft_labels,
            teacher_logits=self.keeps_logits,
        )
        train = spans(np.diff(self.train.starts))
        others = spans(np.diff(self.unlabeled.starts)) if self.unlabeled else []

        def outputs(due: Sequence[int]) -> Generator[ChunkOutput]:
            first = [number for number in due if number < len(train)]
            yield from self._outputs(self.train, first, [train[n] for n in first], schema, "")
            if self.unlabeled:
                more = due[len(first) :]
                stretches = [others[number - len(train)] for number in more]
                yield from self._outputs(self.unlabeled, more, stretches, schema, "unlabeled.")

        made = {self.train.split, *([self.unlabeled.split] if self.unlabeled else [])}
        untouched = {
            split: conformed_split(self.parent, split, schema)
            for split in self.parent.splits
            if split not in made
        }
        return Rows(len(train), outputs, untouched, {}, unlabeled=len(others))

    def _outputs(
        self,
        groups: Groups,
        numbers: Sequence[int],
        stretches: Sequence[Span],
        schema: pa.Schema,
        counted_as: str,
    ) -> Generator[ChunkOutput]:
        tables = read_spans(self.parent, groups, stretches)
        for number, table in zip(numbers, tables, strict=True):
            output = self._passing(number, conformed(table, schema))
            counts = {f"{counted_as}{name}": count for name, count in output.counts.items()}
            yield replace(output, counts=counts)

    def _passing(self, number: int, table: pa.Table) -> ChunkOutput:
        """The rows of a stretch of groups that pass."""
        marked = self.gates.apply(rows_of(table, self.parent.task))
        passes = pa.array([not row.reason for row in marked], pa.bool_())
        kept = table.filter(passes)
        if self.gates.recipe.teacher_logits:
            at = kept.schema.get_field_index(LOGITS)
            logits = [row.logits for row in marked if not row.reason]
            field = kept.schema.field(LOGITS)
            kept = kept.set_column(at, field, pa.array(logits, field.type))
        counts = Counter(f"dropped.{row.reason}" for row in marked if row.reason)
        counts["rows.source"] = sum(row.variant == 0 for row in marked)
        counts["rows.augmented"] = kept.num_rows - counts["rows.source"]
        rejected = None
        if self.gates.recipe.keep_rejected:
            refused = conformed(table, rejected_schema(self.parent.task))
            at = refused.schema.get_field_index("reason")
            reasons = pa.array([row.reason for row in marked], pa.string())
            rejected = refused.set_column(at, "reason", reasons).filter(pc.invert(passes))
        return ChunkOutput(number, kept, dict(counts), rejected)
