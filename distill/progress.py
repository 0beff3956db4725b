"""What is seen on stderr while a run works: facts, a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

LINE_EVERY = 10.0


class Narrator:
    """Says on stderr what happens; ``quiet`` says nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, label: str, text: str) -> None:
        """One fact: ``  teacher     12 x 768 · …``."""
        self.console.print(f"  {label:<11} {text}", markup=False)


class StageProgress(TrainerCallback):
    """Shows a stage's steps, its last losses and the time left.

    Args:
        narrator: Where to.
        title: Such as ``stage 1/2  intermediate``.
        batch_size: Rows a step.
    """

    def __init__(self, narrator: Narrator, title: str, batch_size: int) -> None:
        self.narrator = narrator
        self.title = title
        self.batch_size = batch_size
        self.note = ""
        self._bar: Progress | None = None
        self._began = self._spoke = 0.0
        self._first = 0

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._began = self._spoke = time.monotonic()
        self._first = state.global_step
        console = self.narrator.console
        if self._first:
            self.narrator.say(
                "resuming", f"{self.title} at step {self._first} of {state.max_steps}"
            )
        if console.is_terminal and not console.quiet:
            left = (
                TextColumn("  {task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*left, TimeRemainingColumn(), console=console)
            self._bar.add_task(self.title, total=state.max_steps, note="")
            self._bar.start()

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the bar, or speak when the last line is ten seconds old."""
        now = time.monotonic()
        done = state.global_step - self._first
        rate = done * self.batch_size / max(now - self._began, 1e-9)
        note = f"step {state.global_step}/{state.max_steps} · {self.note}{rate:.0f} rows/s"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.global_step, note=note)
        elif now - self._spoke >= LINE_EVERY or done == 1:
            self._spoke = now
            left = (state.max_steps - state.global_step) * (now - self._began) / done
            self.narrator.say(self.title, f"{note} · {span(left)} left")

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
        self.close()
        seconds = time.monotonic() - self._began
        self.narrator.say(self.title, f"{state.global_step} steps · {self.note}{span(seconds)}")

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def span(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 05 s`` or ``1 h 12 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
