"""What to change in a recipe whose model learnt too little, as TOML that can be pasted."""

from __future__ import annotations

import json
from dataclasses import asdict

from distill.recipes.auto import Numbers, numbers
from distill.recipes.schema import Optimization
from distill.training.schedule import total_steps

FAR = 4
"""Times the usual rate, or a part of it, from which on a rate is suspected."""
LONGER = 3


def advice(task: str, section: str, training: Optimization, rows: int) -> str:
    """A sentence, then lines for the end of any recipe, or for a file of their own.

    They ask for what the number of rows calls for (``auto``); a model that had as much gets longer
    training at half the rate.

    Args:
        task: Name of the task, whose overrides they are.
        section: Of the recipe, such as ``teacher``.
        training: Its numbers.
        rows: That were trained on.
    """
    steps = total_steps(rows, training)
    usual = numbers(section, rows)
    wanted = _steps(training, usual, rows)
    rate = training.learning_rate / usual.learning_rate
    if steps < wanted:
        values = dict.fromkeys(asdict(usual), '"auto"')
    else:
        fitting = 1 / FAR <= rate <= FAR
        times = LONGER if fitting else 1
        longer = Numbers(
            epochs=times * training.epochs,
            max_steps=times * steps,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate / 2 if fitting else usual.learning_rate,
            head_factor=training.head_factor,
        )
        values = {
            name: f"{value:g}" if isinstance(value, float) else str(value)
            for name, value in asdict(longer).items()
        }
        wanted = _steps(training, longer, rows)
    more = f"{wanted:,} steps in place of {steps:,}" if wanted > steps else "the usual rate"
    table = f"[task.{task if '.' not in task else json.dumps(task)}.{section}]"
    return "\n".join(
        [
            f"To give it {more}, put these lines at the end of its recipe, or in a file of their "
            "own, and repeat with --recipe FILE and another --out:",
            table,
            *(f"{name} = {value}" for name, value in values.items()),
        ]
    )


def _steps(training: Optimization, changes: Numbers, rows: int) -> int:
    return total_steps(rows, training.model_copy(update=asdict(changes)))
