"""What is compared at the paper's size: arms, the grid of teachers, and their recipes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from benchmarks.arms import FIXED, STEPS, TRIALS
from benchmarks.equal_steps import with_sections
from distill.ablation import Arm as Ablation
from distill.ablation import arm_recipe
from distill.recipes.load import DistillRecipe, load_recipe
from distill.recipes.mixtures import Part

Start = Literal["general", "tuned", "narrowed", "random"]
Shares = dict[str, int] | str
AUGMENTED: Shares = {"original": 1, "augmented": 3}
GRID = {
    "cola": ((3, 2e-5), (3, 5e-5)),
    "sst2": ((1, 2e-5), (1, 5e-5)),
    "mrpc": ((4, 2e-5), (4, 5e-5)),
    "stsb": ((4, 2e-5), (4, 5e-5)),
}
"""Epochs and rates of the teachers of a task: one is an hour or two of a core's time."""
BATCH = 32
TOKENS = 15_000_000
"""Of general distillation."""
ROWS: dict[Part, int] = {"original": 1, "augmented": 1, "unlabeled": 0}


@dataclass(frozen=True, slots=True)
class Arm:
    """How a student is made, and what it is compared with.

    Attributes:
        name: In the results.
        meaning: In a sentence.
        against: The arm that it is compared with, at equal steps, batches and evaluations
            (but for ``times``); none of what others are compared with.
        control: Name of the arm that is the same on original rows, repeated for as many steps;
            none where it draws from these itself.
        data: Of both stages; nothing: what the recipe says.
        start: ``general``: general distillation of the untuned encoder from its narrowed layers;
            ``tuned``: of the tuned teacher; ``narrowed``: the tuned teacher's layers; ``random``.
        recipe: Its rates, losses and weights.
        changes: Of the recipe, by section.
        times: So many times the steps.
        tokens: The share of the tokens of general distillation.
        seeds: How many.
        plain: Whether the same student is trained on labels only as well, in as many steps.
    """

    name: str
    meaning: str
    against: str = "whole"
    control: str = ""
    data: Shares | None = field(default_factory=lambda: AUGMENTED)
    start: Start = "general"
    recipe: Literal["quick", "paper"] = "quick"
    changes: dict[str, Any] = field(default_factory=dict)
    times: float = 1.0
    tokens: float = 1.0
    seeds: int = 1
    plain: bool = False

    @property
    def sides(self) -> tuple[str, ...]:
        """The arms that it is compared with."""
        return tuple(dict.fromkeys(name for name in (self.control, self.against) if name))


def _change(trial: Ablation) -> Arm:
    return Arm(trial.name, trial.meaning, changes=trial.changes)


_TRIED = ("dropout", "hidden-1", "slower-first", "labels-mixed-in")
MAIN = (
    Arm("whole", "augmented rows three of four, both stages, general distillation",
        against="", control="repeated", seeds=3, plain=True),
    Arm("repeated", "original rows alone, repeated for as many steps", against="",
        data="original", seeds=3),
    Arm("other-texts", "texts of the other tasks, without labels, three of four",
        control="repeated", data={"original": 1, "unlabeled": 3}),
    Arm("both", "augmented rows and texts of other tasks", control="repeated",
        data={"original": 1, "augmented": 1, "unlabeled": 2}),
    Arm("paper", "the paper's rates, losses and weights", data=None, recipe="paper"),
    Arm("narrowed", "no general distillation: the tuned teacher's layers, made narrower",
        start="narrowed", plain=True),
    Arm("tuned", "general distillation of the tuned teacher", start="tuned"),
    Arm("random", "no general distillation: random weights", start="random", plain=True),
)  # fmt: skip
CHANGES = (
    *(_change(trial) for trial in TRIALS if trial.name in _TRIED),
    Arm("temperature-2", "temperature 2 in stage 2", changes={"prediction": {"temperature": 2.0}}),
    Arm("twice", "twice the steps of both stages", times=2.0),
    Arm("top", "mapped to the teacher's top layers", changes={"layers": "top"}),
    Arm("tokens-tenth", "a tenth of the tokens of general distillation", tokens=0.1),
    Arm("tokens-third", "a third of the tokens of general distillation", tokens=1 / 3),
)


def controlled(arms: Sequence[Arm]) -> Iterator[Arm]:
    """Every arm, and after it the same on original rows alone, where no arm is that already."""
    for arm in arms:
        if arm.data == "original" or arm.control:
            yield arm
            continue
        own = replace(arm, control=f"{arm.name}-repeated")
        yield own
        yield replace(
            own, name=own.control, meaning=f"{own.name}, on original rows alone",
            control="", against="repeated", data="original", plain=False,
        )  # fmt: skip


USUAL = tuple(controlled(MAIN))
"""What is trained unless other arms are named."""
ARMS = {arm.name: arm for arm in (*USUAL, *controlled(CHANGES))}


@dataclass(frozen=True, slots=True)
class Steps:
    """Optimizer steps of stage 1 and stage 2; labels only has as many as both."""

    first: int
    second: int

    @classmethod
    def of(cls, task: str, times: float) -> Steps:
        """Of a task, so many times those of the campaign on a smaller teacher."""
        own = STEPS[task]
        return cls(max(1, round(own.first * times)), max(1, round(own.second * times)))

    @property
    def all(self) -> int:
        """Of both stages."""
        return self.first + self.second


def student_recipe(task: str, arm: Arm, seed: int, times: float) -> DistillRecipe:
    """An arm's recipe: equal steps, batches and evaluations whatever rows and rates are."""
    steps = Steps.of(task, times * arm.times)
    same = {"batch_size": BATCH, "epochs": 100_000.0}
    late = {**same, "patience": None, "evaluations": 8, "keep": "best"}
    if arm.recipe == "quick":  # its own rates are for fewer rows and steps
        late["learning_rate"] = FIXED["learning_rate"]
        same = {**same, "learning_rate": 5e-4}
    data = {} if arm.data is None else {"data": arm.data}
    parts = {
        "intermediate": {**same, **data, "max_steps": steps.first},
        "prediction": {**late, **data, "max_steps": steps.second},
        "plain": {**late, "max_steps": steps.all, "data": "original"},
    }
    settled = with_sections(load_recipe(arm.recipe, task), parts)
    return arm_recipe(Ablation(arm.name, arm.meaning, arm.changes, {}), settled, seed, ROWS)


def teacher_steps(epochs: float, rows: int, times: float) -> int:
    """Of a point of the grid, on so many rows."""
    return max(2, round(epochs * rows / BATCH * times))


def teacher_recipe(task: str, rate: float, steps: int) -> DistillRecipe:
    """Of a point of the grid."""
    own = {
        "epochs": 100_000.0, "learning_rate": rate, "batch_size": BATCH, "head_factor": 1.0,
        "max_steps": steps, "patience": None, "keep": "best", "evaluations": 8,
    }  # fmt: skip
    return with_sections(load_recipe("quick", task), {"teacher": own})
