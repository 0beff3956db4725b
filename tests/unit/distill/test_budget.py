from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from distill.errors import UsageError
from distill.training.budget import Budget, Plan, Timing, plan_for_seconds, steps_for_tokens
from distill.training.callbacks import FEWEST, Deadline, StepClock


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hours": 1.0, "tokens": 10}, "exclude each other"),
        ({"hours": 0.0}, "--hours is 0.0"),
        ({"hours": float("nan")}, "--hours is nan"),
        ({"hours": float("inf")}, "--hours is inf"),
        ({"tokens": -3}, "--tokens is -3"),
    ],
)
def test_budgets_that_are_none(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Budget(**values)


def test_steps_come_nearest_to_the_tokens() -> None:
    assert [steps_for_tokens(n, 1000.0) for n in (1, 1499, 1501, 10_000)] == [1, 1, 2, 10]
    assert Plan(steps=7, evaluations=1, tokens_per_step=1000.4).tokens == 7003


def test_steps_and_evaluations_fit_the_seconds() -> None:
    plan = plan_for_seconds(3600, Timing(step=0.5, evaluation=2.0), 10, 1000.0)

    assert plan.evaluations == 10
    assert 0.97 * 3600 < plan.steps * 0.5 + 10 * 2.0 < 0.99 * 3600
    assert (plan.seconds_per_step, plan.tokens_per_step) == (0.5, 1000.0)


def test_evaluations_take_little_of_the_time() -> None:
    plan = plan_for_seconds(360, Timing(step=0.5, evaluation=5.0), 10, 1000.0)

    assert plan.evaluations == 3
    assert plan_for_seconds(36, Timing(step=0.5, evaluation=5.0), 10, 1000.0).evaluations == 1


def test_no_step_fits() -> None:
    with pytest.raises(UsageError, match=r"leaves 2 s to train in; a step takes 2\.00 s"):
        plan_for_seconds(2.0, Timing(step=2.0, evaluation=1.0), 3, 1.0)
    with pytest.raises(UsageError, match="leaves 0 s"):
        plan_for_seconds(-5.0, Timing(step=2.0, evaluation=0.0), 3, 1.0)


def test_the_clock_stops_when_its_time_is_over_and_leaves_the_first_steps_out() -> None:
    now = time.monotonic()
    clock, control = StepClock(seconds=0.0), SimpleNamespace(should_training_stop=False)
    here = SimpleNamespace(device="cpu")
    for count in range(1, FEWEST + 1):
        assert not control.should_training_stop
        clock.on_step_end(here, SimpleNamespace(global_step=count), control)

    assert control.should_training_stop
    clock.ends = [now, now + 9, now + 10, now + 12, now + 14]

    assert clock.step() == pytest.approx(2.0)


class Heard:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def say(self, label: str, text: str) -> None:
        self.lines.append((label, text))


def watch(seconds_a_step: float, first: int = 0) -> list[tuple[str, str]]:
    """Steps of a budget of 1,000 s for 1,000 steps; what was said."""
    heard, began = Heard(), time.monotonic()
    deadline = Deadline(heard, began + 1000, 1000 / 3600)
    deadline.on_train_begin(None, SimpleNamespace(global_step=first), None)
    for step in range(first + 1, 1001):
        deadline._began = time.monotonic() - step * seconds_a_step
        deadline.on_step_end(None, SimpleNamespace(global_step=step, max_steps=1000), None)
    return heard.lines


def test_lateness_is_told_once() -> None:
    [(label, text)] = watch(2.0)

    assert label == "late"
    assert "steps are slower than they were at first" in text


def test_a_steady_or_a_resumed_run_is_not_late() -> None:
    assert watch(1.0) == []
    assert watch(2.0, first=10) == []
