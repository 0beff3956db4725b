"""What to change in a recipe whose model learnt too little, as TOML that can be pasted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment.contract import Fault
from augment.contract.foreign import counted
from distill.recipes.auto import Numbers, numbers
from distill.recipes.schema import Optimization, Training
from distill.runs.records import TEACHER_RECORD, read_json
from distill.training.schedule import total_steps

FAR = 4
"""Times the usual rate, or a part of it, from which on a rate is suspected."""
LONGER = 3


def advice(
    task: str,
    section: str,
    training: Optimization | None,
    rows: int,
    *,
    in_minutes: bool = False,
) -> str:
    """A sentence, then lines for the end of any recipe, or for a file of their own.

    They ask for what the number of rows calls for (``auto``); a model that had as much gets longer
    training at half the rate.

    Args:
        task: Name of the task, whose overrides they are.
        section: Of the recipe, such as ``teacher``.
        training: Its numbers; None where nobody knows how the model was trained.
        rows: That were trained on, or would be.
        in_minutes: Whether ``--minutes`` chose the steps; more of them are all that helps then.
    """
    usual = numbers(section, rows)
    if training is None:
        values = _AUTO
        more = (
            f"the {counted(_steps(Optimization(), usual, rows), 'step')} that "
            f"{counted(rows, 'row', 'call')} for"
        )
    else:
        values, more = _changes(training, usual, rows)
    if in_minutes:
        return f"To give it {more}, give more --minutes, and another --out."
    return _lines(f"To give it {more}", task, section, values)


def rare_advice(task: str, section: str) -> str:
    """Lines as those of ``advice``, for a model that hardly ever finds a class."""
    even = {"sampling": '"balanced"'}
    return _lines("To show it every class equally often", task, section, even)


def _lines(aim: str, task: str, section: str, values: Mapping[str, str]) -> str:
    command = "distill teacher" if section == "teacher" else "distill run"
    return "\n".join(
        [
            f"{aim}, put these lines at the end of its recipe, or in a file of their "
            f"own, and repeat {command} with --recipe FILE and another --out:",
            f"[task.{task if '.' not in task else json.dumps(task)}.{section}]",
            *(f"{name} = {value}" for name, value in values.items()),
        ]
    )


def teacher_advice(folder: str, version: str, task: str, rows: int) -> str:
    """What to do about a teacher that has learnt too little.

    Args:
        folder: Its name; how ``distill teacher`` made it stands there.
        version: Where the versions of the task are.
        task: Its name.
        rows: That a teacher is trained on.
    """
    with suppress(Fault, ValidationError, KeyError, TypeError):
        record = read_json(Path(folder) / TEACHER_RECORD, dict[str, Any])
        made = Training.model_validate(record["identity"]["recipe"]["teacher"], strict=False)
        return advice(task, "teacher", made.numbers, rows)
    first = f"Fine-tune it: distill teacher {version} --init {folder} --out {folder}-{task}"
    return f"{first}\n{advice(task, 'teacher', None, rows)}"


_AUTO = dict.fromkeys(asdict(numbers("teacher", 1)), '"auto"')


def _changes(training: Optimization, usual: Numbers, rows: int) -> tuple[dict[str, str], str]:
    """New values by key, and what they give in words."""
    steps, wanted = total_steps(rows, training), _steps(training, usual, rows)
    if steps < wanted:
        return _AUTO, f"{counted(wanted, 'step')} in place of {steps:,}"
    fitting = 1 / FAR <= training.learning_rate / usual.learning_rate <= FAR
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
    more = (
        f"{counted(_steps(training, longer, rows), 'step')} in place of {steps:,} at half the rate"
    )
    return values, more if fitting else "the usual rate"


def _steps(training: Optimization, changes: Numbers, rows: int) -> int:
    return total_steps(rows, training.model_copy(update=asdict(changes)))
