"""What ``auto`` stands for: steps, rates and batches by stage and number of rows.

What a few hundred rows need, the passes of a large set do not give: docs/small-sets.md has what was
measured. From ``LARGE`` rows on, the numbers are those of a large set.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from augment.contract import Version
from distill.recipes.load import DistillRecipe, load_recipe
from distill.recipes.mixtures import Data, parts_of
from distill.recipes.schema import Training

LARGE, SMALL = 8_000, 2_000
SMALL_BATCH, LARGE_BATCH = 16, 32
WIDTH = 384
"""Of the encoder that the rates of small sets were measured with."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the numbers depend on.

    Attributes:
        original: Training rows of the source.
        augmented: Training rows, those that were generated included.
        unlabeled: Rows without labels.
        width: Of the encoder that becomes the teacher: wide ones bear lower rates.
    """

    original: int
    augmented: int
    unlabeled: int = 0
    width: int = WIDTH

    @classmethod
    def of(cls, version: Version, width: int = WIDTH) -> Facts:
        """Those of a version, from its manifest alone."""
        train = version.task.splits.train
        read = {source.split: source.rows for source in version.manifest.sources}
        blind = version.task.splits.unlabeled
        return cls(
            original=read[train],
            augmented=version.rows(train),
            unlabeled=version.rows(blind) if blind in version.splits else 0,
            width=width,
        )

    def rows(self, data: Data) -> int:
        """How many rows a stage draws from; where there are none it is refused later."""
        parts = {
            "original": self.original,
            "augmented": self.augmented - self.original,
            "unlabeled": self.unlabeled,
        }
        return max(1, sum(parts[part] for part in parts_of(data)))


@dataclass(frozen=True, slots=True)
class Rule:
    """The numbers of a stage.

    Attributes:
        epochs: Of a large set.
        most_steps: Of a large set.
        least_steps: Which a small set is passed more often for.
        most_epochs: That is not done beyond them.
        small_rate: Of the smallest sets.
        large_rate: Of large sets.
    """

    epochs: float
    most_steps: int
    least_steps: int
    most_epochs: float
    small_rate: float
    large_rate: float


RULES = {
    "teacher": Rule(3.0, 2000, 400, 15.0, 1e-4, 5e-5),
    "intermediate": Rule(5.0, 2000, 1000, 40.0, 5e-4, 5e-4),
    "prediction": Rule(3.0, 1000, 750, 30.0, 1e-4, 1e-4),
    "plain": Rule(8.0, 1500, 600, 20.0, 1e-4, 1e-4),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What ``auto`` stands for in a section of a recipe; its fields are those of ``Training``."""

    epochs: float
    max_steps: int
    batch_size: int
    learning_rate: float


def numbers(stage: str, rows: int, *, batch_size: int | None = None, width: int = WIDTH) -> Numbers:
    """What a stage is trained with on so many rows.

    Args:
        stage: A section of the recipe, one of ``RULES``.
        rows: That it draws from.
        batch_size: Where the recipe names one.
        width: Of the encoder that is fine-tuned as the teacher.
    """
    rule = RULES[stage]
    batch = batch_size or (SMALL_BATCH if rows < SMALL else LARGE_BATCH)
    wanted = rule.least_steps / math.ceil(rows / batch)
    largeness = min(1.0, max(0.0, math.log(rows / SMALL) / math.log(LARGE / SMALL)))
    small_rate = rule.small_rate * (WIDTH / width if stage == "teacher" else 1.0)
    rate = small_rate * (rule.large_rate / small_rate) ** largeness
    return Numbers(
        epochs=max(rule.epochs, min(rule.most_epochs, round(wanted, 1))),
        max_steps=rule.most_steps,
        batch_size=batch,
        learning_rate=float(f"{rate:.2g}"),
    )


def resolve(recipe: DistillRecipe, facts: Facts) -> DistillRecipe:
    """The recipe with a number wherever it says ``auto`` for steps, a batch or a rate."""
    sections: dict[str, Training] = {}
    for stage in RULES:
        section: Training = getattr(recipe, stage)
        named = section.batch_size if section.batch_size != "auto" else None
        rows = facts.rows(section.draws_from)
        found = asdict(numbers(stage, rows, batch_size=named, width=facts.width))
        auto = {name: value for name, value in found.items() if getattr(section, name) == "auto"}
        sections[stage] = section.model_copy(update=auto)
    return recipe.model_copy(update=sections)


def recipe_for(
    version: Version, source: str | Path | DistillRecipe, width: int = WIDTH
) -> DistillRecipe:
    """Load a recipe for a version's task, every number known.

    Args:
        version: That is trained on.
        source: A shipped recipe, a TOML file, or a recipe.
        width: Of the encoder that is fine-tuned as the teacher.
    """
    return resolve(load_recipe(source, version.task.name), Facts.of(version, width))
