"""What a version says of itself: its manifest before any row is made, and its data set card."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from typing import Any

from augment.contract import (
    CONTRACT,
    Asset,
    Derivation,
    Manifest,
    SourceSplit,
    TaskSpec,
    identity,
)
from augment.contract.foreign import shown
from augment.contract.manifest import LabelRule
from augment.errors import AssetChanged
from augment.recipes.schema import ALGORITHM, AugmentRecipe
from augment.sources.examples import source_split
from augment.sources.read import Source
from augment.versions.rows import has_soft_labels

LIBRARIES = ("augment-distill", "torch", "transformers", "tokenizers", "pyarrow", "numpy", "gensim")

_LOGITS_NOTE = (
    "`teacher_logits` are those of the asset `teacher` in manifest.json, in the order of the\n"
    "labels and rounded to multiples of 1/256; null in the splits that are not augmented.\n\n"
)
_SOFT_NOTE = (
    "`soft_labels` are distributions that came with the rows, in the order of the labels; null\n"
    "where a row has none. Generated rows have that of their original.\n\n"
)
_UNLABELED_NOTE = "The rows of the split `{split}` have no label: it is null.\n\n"
_REJECTED_NOTE = (
    "`rejected/` holds generated rows that were refused, with their reason: no data.\n\n"
)


def card(manifest: Manifest) -> str:
    """The card as Markdown with the YAML head that names the files of each split."""
    task = manifest.task
    stored = [name for name in task.splits.names if any(f.split == name for f in manifest.files)]
    kind = "text-classification" if task.label.kind == "classification" else "sentence-similarity"
    files = "".join(f'  - split: "{name}"\n    path: "data/{name}-*.parquet"\n' for name in stored)
    rows = "\n".join(
        f"| {split} | {sum(f.rows for f in manifest.files if f.split == split):,} |"
        for split in stored
    )
    unlabeled = task.splits.unlabeled in stored
    notes = _origin(manifest)
    notes += _UNLABELED_NOTE.format(split=task.splits.unlabeled) * unlabeled
    notes += _SOFT_NOTE * manifest.soft_labels + _LOGITS_NOTE * manifest.teacher_logits
    notes += _REJECTED_NOTE * bool(manifest.rejected)
    counts = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(manifest.counts.items()))
    recipe = "\n".join(f"- `{key}` = {as_code(value)}" for key, value in manifest.recipe.items())
    return (
        f"---\npretty_name: {task.name} augmented\ntask_categories:\n- {kind}\n"
        f'configs:\n- config_name: "{manifest.config_name}"\n  data_files:\n{files}---\n\n'
        f"# {task.name} {manifest.version}, augmented\n\n"
        f"Made by augment-distill from {as_code(manifest.source)}; id `{manifest.id[:12]}`.\n"
        "Rows with `variant` 0 are the originals; the others carry their `edits` as character\n"
        "offsets into the original text. Validation and test splits are untouched.\n\n"
        f"{notes}"
        f"| split | rows |\n|---|--:|\n{rows}\n\n"
        f"## Recipe\n\n{recipe}\n\n"
        f"## Counts\n\n| what | count |\n|---|--:|\n{counts}\n"
    )


def _origin(manifest: Manifest) -> str:
    """Which versions and rows a derived version was made of."""
    if (made := manifest.derivation) is None:
        return ""
    parents = (f"- version {as_code(each.reference)}, id `{each.id[:12]}`" for each in made.parents)
    added = (
        f"- {each.rows:,} rows by the generator {as_code(each.generator)}: {as_code(each.name)}"
        for each in made.added
    )
    how = "write_version" if made.command == "write" else f"augment {made.command}"
    says = f"Made by `{how}`; the column `generator` says what made a row.\n"
    return "\n".join([says, *parents, *added]) + "\n\n"


def as_code(value: object) -> str:
    """A value as Markdown code, whatever is in it: on one line, fenced by backticks enough."""
    text = shown(value)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " * (longest > 0)
    return f"{fence}{space}{text}{space}{fence}"


@dataclass(frozen=True, slots=True)
class Assets:
    """What a process makes rows with.

    Attributes:
        files: Models, vectors and word lists by digest.
        libraries: Versions of ``LIBRARIES``.
    """

    files: tuple[Asset, ...]
    libraries: dict[str, str]

    @classmethod
    def of(cls, files: Iterable[Asset]) -> Assets:
        """These files and the libraries of this process."""
        return cls(tuple(files), {name: library_version(name) for name in LIBRARIES})

    def refuse_other(self, worker: Assets) -> None:
        """Check what a worker has.

        Raises:
            AssetChanged: It is not this.
        """
        digests = {asset.kind: asset.sha256 for asset in worker.files}
        for asset in self.files:
            if (digest := digests.get(asset.kind, "nothing")) != asset.sha256:
                raise AssetChanged(
                    f"the {asset.kind.replace('_', ' ')} {asset.name} is not what the run began "
                    f"with: expected {asset.sha256[:12]}, a worker found {digest[:12]}.",
                    "Leave models alone while a run is at work, and have the same files on every "
                    "node; then run the same command again.",
                )
        for name, version in self.libraries.items():
            if worker.libraries[name] != version:
                raise AssetChanged(
                    f"a worker has {name} {worker.libraries[name]}, the run began with {version}.",
                    "Install the same versions on every node.",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a version is made from, without its rows.

    Attributes:
        task: Its task.
        recipe: That made the rows, or the gates; nothing where there was none.
        source: Name of where the rows come from.
        sources: The source rows of each split.
        assets: Models and vectors that took part, in its parents too.
        soft_labels: Whether rows carry distributions.
        teacher_logits: Whether rows carry the logits of the asset ``teacher``.
        derivation: From which versions or rows, and how, where ``augment run`` did not make it.
        limit: How many training rows were asked for; information only: the rows tell.
    """

    task: TaskSpec
    recipe: dict[str, Any]
    source: str
    sources: tuple[SourceSplit, ...]
    assets: tuple[Asset, ...]
    soft_labels: bool
    teacher_logits: bool
    derivation: Derivation | None = None
    label_rule: LabelRule | None = None
    limit: int | None = None

    def draft(self) -> Manifest:
        """The manifest without files, counts and its final name; the id is final."""
        return Manifest(
            contract=CONTRACT,
            algorithm=ALGORITHM,
            id=identity(
                algorithm=ALGORITHM,
                task=self.task,
                recipe=self.recipe,
                sources=self.sources,
                assets=self.assets,
                derivation=self.derivation,
            ),
            version="v0001",
            task=self.task,
            recipe=self.recipe,
            source=self.source,
            limit=self.limit,
            sources=self.sources,
            assets=self.assets,
            label_rule=self.label_rule,
            derivation=self.derivation,
            soft_labels=self.soft_labels,
            teacher_logits=self.teacher_logits,
            files=(),
            counts={},
            libraries=Assets.of(()).libraries,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def draft_manifest(
    data: Source, task: TaskSpec, recipe: AugmentRecipe, assets: Assets, limit: int | None
) -> Manifest:
    """The manifest of a run without files, counts and its final name; the id is final."""
    made = Made(
        task=task,
        recipe=recipe.model_dump(mode="json"),
        source=data.name,
        sources=tuple(source_split(name, table) for name, table in data.splits.items()),
        assets=assets.files,
        soft_labels=any(map(has_soft_labels, data.splits.values())),
        teacher_logits=recipe.teacher_logits,
        label_rule="positions" if data.label_rule == "positions" else None,
        limit=limit,
    )
    return made.draft()
