"""How many steps fit a budget of tokens, of hours, or the recipe's epochs.

A wall-clock budget becomes a fixed number of steps before the first one: what a step costs is
measured (``timing``) and divided into the time that is left. So warm-up and decay end with the last
step, and a resumed run ends with the very weights of an undisturbed one, which no schedule that
looks at the clock could promise.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from distill.errors import UsageInvalid
from distill.progress import Narrator, span

RESERVE = 0.02
EVALUATING = 0.05
LATE = 0.1


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent; with neither, the recipe's epochs.

    Attributes:
        hours: Wall-clock time from the start of the command.
        tokens: Pieces trained on, padding not counted, repeated ones counted again.

    Raises:
        UsageInvalid: Both are given, or one that is not greater than 0.
    """

    hours: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.hours is not None and self.tokens is not None:
            raise UsageInvalid("--hours and --tokens exclude each other.", "Give one of them.")
        for name, value in (("--hours", self.hours), ("--tokens", self.tokens)):
            if value is not None and not 0 < value < math.inf:
                raise UsageInvalid(f"{name} is {value}; it must be greater than 0.")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a step and of an evaluation."""

    step: float
    evaluation: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before the first step and kept with the run.

    Attributes:
        steps: Optimiser steps in all.
        evaluations: On held-out blocks, the last step included.
        tokens_per_step: Mean pieces of a batch, padding not counted.
        seconds_per_step: As measured for a wall-clock budget, or nothing.
    """

    steps: int
    evaluations: int
    tokens_per_step: float
    seconds_per_step: float | None = None

    @property
    def tokens(self) -> int:
        """Pieces trained on in all, about."""
        return round(self.steps * self.tokens_per_step)


def steps_for_tokens(tokens: int, per_step: float) -> int:
    """Steps that come nearest to a token budget, at least one."""
    return max(1, round(tokens / per_step))


def plan_for_seconds(
    seconds: float, timing: Timing, evaluations: int, tokens_per_step: float
) -> Plan:
    """The steps that fit the time left.

    Args:
        seconds: Left; ``RESERVE`` of it is for checkpoints.
        timing: What a step and an evaluation take.
        evaluations: Wanted; there are fewer where they took more than ``EVALUATING`` of the time.
        tokens_per_step: See ``Plan``.

    Raises:
        UsageInvalid: No step fits.
    """
    left = seconds * (1 - RESERVE)
    fitting = int(left * EVALUATING / max(timing.evaluation, 1e-9))
    count = max(1, min(evaluations, fitting))
    steps = int((left - count * timing.evaluation) / timing.step)
    if steps < 1:
        raise UsageInvalid(
            f"--hours leaves {max(seconds, 0.0):.0f} s to train in; a step takes "
            f"{timing.step:.2f} s, an evaluation {timing.evaluation:.2f} s.",
            "Give more hours; the tokenised corpus is kept and is not made again.",
        )
    return Plan(steps, count, tokens_per_step, timing.step)


class Deadline(TrainerCallback):
    """Says once when the steps take longer than the budget; they are all done nevertheless.

    Args:
        narrator: Where to.
        end: On the monotonic clock.
        hours: The budget.
    """

    def __init__(self, narrator: Narrator, end: float, hours: float) -> None:
        self.narrator = narrator
        self.end = end
        self.hours = hours
        self._began = 0.0
        self._told = False

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock; a resumed run has no deadline."""
        self._began = time.monotonic()
        self._told = state.global_step > 0

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look ahead once a tenth is done."""
        if self._told or state.global_step * 10 < state.max_steps:
            return
        whole = (time.monotonic() - self._began) * state.max_steps / state.global_step
        late = self._began + whole - self.end
        if late > LATE * self.hours * 3600:
            self._told = True
            self.narrator.say(
                "late", f"steps are slower than they were at first: about {span(late)} too late"
            )
