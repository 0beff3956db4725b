"""The manifest of a version before any row is made."""

from __future__ import annotations

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
from augment.contract.manifest import LabelRule
from augment.errors import AssetChanged
from augment.recipes.schema import ALGORITHM, AugmentRecipe
from augment.sources.examples import source_split
from augment.sources.read import Source
from augment.versions.rows import has_soft_labels

LIBRARIES = ("augment-distill", "torch", "transformers", "tokenizers", "pyarrow", "numpy", "gensim")


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
        license: Of the source, where it says; likewise ``language``.
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
    license: str | None = None
    language: tuple[str, ...] = ()

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
            license=self.license,
            language=self.language,
        )


def draft_manifest(
    data: Source, task: TaskSpec, recipe: AugmentRecipe, assets: Assets, limit: int | None
) -> Manifest:
    """The manifest of a run without files, counts and its final name; the id is final."""
    made = Made(
        task=task,
        recipe=recipe.identifying(),
        source=data.name,
        sources=tuple(source_split(name, table) for name, table in data.splits.items()),
        assets=assets.files,
        soft_labels=any(map(has_soft_labels, data.splits.values())),
        teacher_logits=recipe.teacher_logits,
        label_rule="positions" if data.label_rule == "positions" else None,
        limit=limit,
        license=data.terms.license,
        language=data.terms.language,
    )
    return made.draft()
