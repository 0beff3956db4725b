"""How many variants the texts of a row get: N, or a number of the row's class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from augment.contract import Label, TaskSpec
from augment.contract.foreign import shown
from augment.recipes.schema import AugmentRecipe


@dataclass(frozen=True, slots=True)
class VariantsByClass:
    """How many variants of each text are drawn.

    Attributes:
        otherwise: For rows whose class has no number of its own, or that have no class.
        of_class: Class → its number.
    """

    otherwise: int
    of_class: Mapping[int, int]

    @classmethod
    def of(cls, recipe: AugmentRecipe, task: TaskSpec) -> VariantsByClass:
        """What a recipe says of classes that are known to be the task's.

        Args:
            recipe: With N, and maybe numbers of classes.
            task: Whose classes.
        """
        own = {task.label.names.index(name): n for name, n in recipe.variants_of.items()}
        return cls(recipe.variants, own)

    def of_row(self, value: int | float | None) -> int:
        """For a row with that label."""
        return self.otherwise if value is None else self.of_class.get(int(value), self.otherwise)

    def asked(self, rows: pa.Table, label: Label) -> NDArray[np.int64]:
        """For each of some source rows, shape (rows,)."""
        values = rows[label.column].to_pylist() if self.of_class else [None] * rows.num_rows
        return np.array([self.of_row(value) for value in values], dtype=np.int64)

    def named(self, label: Label) -> dict[str, int]:
        """Class name → its number, in the order of the classes."""
        return {label.names[at]: self.of_class[at] for at in sorted(self.of_class)}

    def counts(self, label: Label) -> dict[str, int]:
        """For a manifest: how many variants of a text each class gets; of its rows none is yet."""
        named = self.named(label)
        return {f"variants.{name}": n for name, n in named.items()} | {
            f"rows.augmented.{name}": 0 for name in named
        }

    def count(self, generated: Iterable[int | float | None], label: Label) -> Counter[str]:
        """For a manifest: the generated rows of each such class, of whose labels."""
        classes = (value for value in generated if value in self.of_class)
        return Counter(f"rows.augmented.{label.names[int(value or 0)]}" for value in classes)

    def line(self, label: Label) -> str:
        """The numbers in words; empty where every row has the same."""
        return " · ".join(f"{shown(name)} {n}" for name, n in self.named(label).items())
