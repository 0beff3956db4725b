"""What ``auto`` stands for: steps, rates and batches by stage, number of rows and of classes.

A few hundred rows need more passes and a faster head than many do: docs/small-sets.md has what was
measured.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from augment.contract import RecipeInvalid, TaskSpec, Version
from distill.recipes.load import DistillRecipe, load_recipe
from distill.recipes.mixtures import Data, count_parts, parts_of
from distill.recipes.schema import Labeled, Training

FEW, SMALL, LARGE = 250, 4_000, 8_000
"""Rows: up to the first, epochs do not grow; above the second, a set is no small one any more."""
SMALL_BATCH, LARGE_BATCH = 16, 32
MOST_NAMES = 20
FEW_CLASSES, MANY_CLASSES = 5, 20
"""A teacher's rate on few rows doubles between them: each class has fewer rows to be found by."""
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
        taught: Rows without labels that stage 2 learns from; all of them if left out.
        classes: That are told apart; 0 of a regression.
    """

    original: int
    augmented: int
    unlabeled: int = 0
    width: int = WIDTH
    taught: int | None = None
    classes: int = 2

    @classmethod
    def of(cls, version: Version, width: int = WIDTH, taught: int | None = None) -> Facts:
        """Those of a version, from its manifest alone."""
        rows = count_parts(version)
        return cls(
            original=rows["original"],
            augmented=rows["original"] + rows["augmented"],
            unlabeled=rows["unlabeled"],
            width=width,
            taught=taught,
            classes=len(version.task.label.names),
        )

    def rows(self, stage: str, data: Data) -> int:
        """How many rows a stage draws from; where there are none it is refused later."""
        blind = self.unlabeled
        if stage == "prediction" and self.taught is not None:
            blind = self.taught
        parts = {
            "original": self.original,
            "augmented": self.augmented - self.original,
            "unlabeled": blind,
        }
        return max(1, sum(parts[part] for part in parts_of(data)))


@dataclass(frozen=True, slots=True)
class Rule:
    """The numbers of a stage, for few rows and for many; between them they change evenly in powers.

    Attributes:
        epochs: Of ``FEW`` rows and of ``LARGE`` sets.
        rates: Of small and of large sets.
        head: The head's rate over that of the rest on small sets; 1 on large ones.
        most_steps: Whatever the rows.
    """

    epochs: tuple[float, float]
    rates: tuple[float, float]
    head: float
    most_steps: int


RULES = {
    "teacher": Rule(epochs=(16, 3), rates=(1e-4, 5e-5), head=3, most_steps=2000),
    "intermediate": Rule(epochs=(40, 5), rates=(5e-4, 5e-4), head=1, most_steps=2000),
    "prediction": Rule(epochs=(30, 3), rates=(1e-4, 1e-4), head=1, most_steps=1000),
    "plain": Rule(epochs=(24, 8), rates=(1e-4, 1e-4), head=1, most_steps=1500),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What ``auto`` stands for in a section of a recipe; its fields are those of ``Training``."""

    epochs: float
    max_steps: int
    batch_size: int
    learning_rate: float
    head_factor: float


def numbers(
    stage: str,
    rows: int,
    *,
    batch_size: int | None = None,
    width: int = WIDTH,
    classes: int = 2,
) -> Numbers:
    """What a stage is trained with on so many rows.

    Args:
        stage: A section of the recipe, one of ``RULES``.
        rows: That it draws from.
        batch_size: Where the recipe names one.
        width: Of the encoder that is fine-tuned as the teacher.
        classes: That the teacher tells apart; 0 of a regression.
    """
    rule = RULES[stage]
    few, many = rule.rates
    if stage == "teacher":
        several = _share(max(1, classes), FEW_CLASSES, MANY_CLASSES)
        few *= WIDTH / width * _between(1.0, 2.0, several)
    large = _share(rows, SMALL, LARGE)
    return Numbers(
        epochs=round(_between(*rule.epochs, _share(rows, FEW, LARGE)), 1),
        max_steps=rule.most_steps,
        batch_size=batch_size or (SMALL_BATCH if rows <= SMALL else LARGE_BATCH),
        learning_rate=float(f"{_between(few, many, large):.2g}"),
        head_factor=float(f"{_between(rule.head, 1.0, large):.2g}"),
    )


def _share(rows: int, few: int, many: int) -> float:
    """Where a number of rows lies between two others, on a scale of powers: 0 to 1."""
    return min(1.0, max(0.0, math.log(rows / few) / math.log(many / few)))


def _between(start: float, end: float, share: float) -> float:
    """The number so far between two others, on a scale of powers."""
    return float(start * (end / start) ** share)


def resolve(recipe: DistillRecipe, facts: Facts) -> DistillRecipe:
    """The recipe with a number wherever it says ``auto`` for steps, a batch or a rate."""
    sections: dict[str, Training] = {}
    for stage in RULES:
        section: Training = getattr(recipe, stage)
        named = section.batch_size if section.batch_size != "auto" else None
        rows = facts.rows(stage, section.draws_from)
        own = numbers(stage, rows, batch_size=named, width=facts.width, classes=facts.classes)
        found = asdict(own)
        auto = {name: value for name, value in found.items() if getattr(section, name) == "auto"}
        sections[stage] = section.model_copy(update=auto)
    return recipe.model_copy(update=sections)


def recipe_for(
    version: Version,
    source: str | Path | DistillRecipe,
    width: int = WIDTH,
    *,
    taught: int | None = None,
) -> DistillRecipe:
    """Load a recipe for a version's task, every number known.

    Args:
        version: That is trained on.
        source: A shipped recipe, a TOML file, or a recipe.
        width: Of the encoder that is fine-tuned as the teacher.
        taught: See ``Facts``.
    """
    recipe = load_recipe(source, version.task.name)
    check_classes(recipe, version.task)
    return resolve(recipe, Facts.of(version, width, taught))


def check_classes(recipe: DistillRecipe, task: TaskSpec) -> None:
    """See that what a recipe says of classes is of those of the task.

    Raises:
        RecipeInvalid: It weighs a class that the task has not, or those of a regression.
    """
    names = task.label.names
    for stage in ("teacher", "prediction", "plain"):
        section: Labeled = getattr(recipe, stage)
        uneven = [key for key in ("class_weights", "sampling") if key in section.model_dump()]
        if uneven and not names:
            raise RecipeInvalid(
                f"{uneven[0]} of [{stage}] is for classes, and {task.name} has scores.",
                "Leave it out of the recipe.",
            )
        weighed = section.class_weights if isinstance(section.class_weights, dict) else {}
        if unknown := [name for name in weighed if name not in names]:
            raise RecipeInvalid(
                f"class_weights of [{stage}] names {unknown[0]!r}, which is no class of "
                f"{task.name}.",
                f"Its classes: {', '.join(names[:MOST_NAMES])}{', …' * (len(names) > MOST_NAMES)}.",
            )
