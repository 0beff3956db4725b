"""What a run has to do: the chunks of the splits that are augmented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from augment.contract import TaskSpec
from augment.executor.base import Chunk, Engine
from augment.recipes.schema import AugmentRecipe


def augmented_splits(task: TaskSpec, recipe: AugmentRecipe) -> tuple[str, ...]:
    """The splits that a recipe augments: the training split and, if asked, the unlabeled one."""
    more = task.splits.unlabeled if recipe.augment_unlabeled else None
    return (task.splits.train, *filter(None, [more]))


@dataclass(frozen=True, slots=True)
class Work:
    """The chunks of a run, numbered through.

    Attributes:
        training: Those of the training split.
        unlabeled: Those of rows without labels, where the recipe augments them.
    """

    training: list[Chunk]
    unlabeled: list[Chunk]

    @classmethod
    def of(
        cls, splits: Mapping[str, pa.Table], task: TaskSpec, recipe: AugmentRecipe, engine: Engine
    ) -> Work:
        """What a recipe augments of a source."""
        train, *others = augmented_splits(task, recipe)
        training = engine.chunks(splits[train])
        more = [chunk for split in others for chunk in engine.chunks(splits[split], len(training))]
        return cls(training, more)

    @property
    def chunks(self) -> list[Chunk]:
        """All of them."""
        return [*self.training, *self.unlabeled]

    def counts(self, chunk: int, counted: Mapping[str, int]) -> Mapping[str, int]:
        """What a chunk has counted; of rows without labels under names of their own."""
        is_training = chunk < len(self.training)
        return counted if is_training else {f"unlabeled.{key}": n for key, n in counted.items()}
