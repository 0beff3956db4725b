"""What is seen on stderr while a run works: facts, a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from distill.processes import is_first

LINE_EVERY = 10.0


class Narrator:
    """Says on stderr what happens; ``quiet``, and all processes but the first, say nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(
            file=sys.stderr, quiet=quiet or not is_first(), highlight=False, soft_wrap=True
        )

    def say(self, label: str, text: str) -> None:
        """One fact: ``  teacher     12 x 768 · …``."""
        self.console.print(f"  {label:<11} {text}", markup=False)


class Gauge:
    """How far something is: a bar on a terminal, a line now and then elsewhere.

    Args:
        narrator: Where to.
        title: Such as ``stage 1/2``.
        first: The share that was done before this process began.
    """

    def __init__(self, narrator: Narrator, title: str, first: float = 0.0) -> None:
        self.narrator = narrator
        self.title = title
        self.began = time.monotonic()
        self._first = first
        self._spoke = 0.0
        self._bar: Progress | None = None
        console = narrator.console
        if console.is_terminal and not console.quiet:
            left = (
                TextColumn("  {task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*left, TimeRemainingColumn(), console=console)
            self._bar.add_task(title, total=None, note="")
            self._bar.start()

    def show(self, share: float | None, note: str) -> None:
        """Move the bar, or speak when the last line is ten seconds old.

        Args:
            share: 0 to 1, or nothing where nobody knows.
            note: What else to say.
        """
        now = time.monotonic()
        if self._bar is not None:
            total = None if share is None else 1.0
            self._bar.update(self._bar.task_ids[0], total=total, completed=share or 0, note=note)
        elif not self._spoke or now - self._spoke >= LINE_EVERY:
            self._spoke = now
            if share is not None and share > self._first:
                left = (1 - share) * (now - self.began) / (share - self._first)
                note = f"{note} · {span(left)} left"
            self.narrator.say(self.title, note)

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class StageProgress(TrainerCallback):
    """Shows a stage's steps, its last losses and the time left.

    Args:
        narrator: Where to.
        title: Such as ``stage 1/2  intermediate``.
        per_step: What a step handles, in ``unit``.
        unit: ``rows`` or ``tokens``.
    """

    def __init__(self, narrator: Narrator, title: str, per_step: float, unit: str = "rows") -> None:
        self.narrator = narrator
        self.title = title
        self.per_step = per_step
        self.unit = unit
        self.note = ""
        self._gauge: Gauge | None = None
        self._first = 0

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._first = state.global_step
        if self._first:
            self.narrator.say(
                "resuming", f"{self.title} at step {self._first} of {state.max_steps}"
            )
        self._gauge = Gauge(self.narrator, self.title, self._first / state.max_steps)

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Show the step, its last losses and the speed."""
        assert self._gauge is not None
        seconds = max(time.monotonic() - self._gauge.began, 1e-9)
        rate = (state.global_step - self._first) * self.per_step / seconds
        note = f"step {state.global_step:,}/{state.max_steps:,} · {self.note}{rate:,.0f} "
        self._gauge.show(state.global_step / state.max_steps, f"{note}{self.unit}/s")

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Keep the last losses for the next line."""
        if not logs or "train_runtime" in logs:
            return
        hidden = ("learning_rate", "grad_norm", "epoch", "loss")
        shown = [f"{k.removeprefix('eval_')} {v:.3f}" for k, v in logs.items() if k not in hidden]
        self.note = " · ".join(shown) + " · " if shown else ""

    @override
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Close the bar and sum up."""
        assert self._gauge is not None
        seconds = time.monotonic() - self._gauge.began
        self.close()
        self.narrator.say(self.title, f"{state.global_step} steps · {self.note}{span(seconds)}")

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._gauge is not None:
            self._gauge.close()


def span(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 05 s`` or ``1 h 12 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
