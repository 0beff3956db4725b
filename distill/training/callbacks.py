"""What a stage is told while it trains: progress, clocks, deadlines, memory, checkpoints."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerState
from transformers import TrainerControl as Control
from typing_extensions import override

from augment.contract.files import disk_errors
from augment.contract.foreign import counted
from augment.contract.process import Interrupted, signals_heard
from distill.errors import ExtraMissing
from distill.runs.distributed import any_rank, is_main_process
from distill.runs.progress import Gauge, Narrator, span
from distill.training.selection import StepSelection


def open_board(folder: Path | None, done: int) -> TrainerCallback | None:
    """The Trainer's own log for TensorBoard; what it holds after so many steps is taken back.

    Raises:
        ExtraMissing: The package is not installed.
    """
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ExtraMissing(
            'log = "tensorboard" needs the package tensorboard, which is not installed.',
            'Install the extra: pip install "augment-distill[tensorboard]". Or set log = "none".',
        ) from error
    from transformers.integrations.integration_utils import TensorBoardCallback

    with disk_errors(folder):
        writer = SummaryWriter(str(folder), purge_step=done + 1 if done else None)
        callback: TrainerCallback = TensorBoardCallback(writer)  # type: ignore[no-untyped-call]
    return callback


EVERY = 50
"""Steps between two returns: after one, memory costs its first touch again."""


class ReleaseMemory(TrainerCallback):
    """Returns free memory now and then."""

    @override
    def on_step_end(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Return it, where it is time."""
        if state.global_step % EVERY == 0:
            release_memory()


def release_memory() -> None:
    """Let glibc return what it holds free; elsewhere nothing happens.

    Every batch has a length of its own, so freed blocks seldom fit the next one: without this a
    stage of a few thousand steps holds several gigabytes that nothing uses.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


LATE = 0.1


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
    def on_train_begin(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Start the clock; a resumed run has no deadline."""
        self._began = time.monotonic()
        self._told = state.global_step > 0

    @override
    def on_step_end(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Look ahead once a tenth is done."""
        if self._told or state.global_step * 10 < state.max_steps:
            return
        total = (time.monotonic() - self._began) * state.max_steps / state.global_step
        late = self._began + total - self.end
        if late > LATE * self.hours * 3600:
            self._told = True
            self.narrator.say(
                "late", f"steps are slower than they were at first: about {span(late)} too late"
            )


SECONDS = 120.0


class PeriodicCheckpoint(TrainerCallback):
    """Saves when the last checkpoint is ``SECONDS`` old.

    The first Ctrl-C, or SIGTERM, lets the step end, saves and stops; the same again stops at once.

    Attributes:
        stopped: Whether such a signal, here or in another process, ended the training.
        signal: The one that came to this process.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.signal: int = signal.SIGINT
        self._before: dict[int, Any] = {}
        self._saved = 0.0

    @override
    def on_train_begin(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Start the clock and listen for what stops a command."""
        self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for number in signals_heard():
                self._before[number] = signal.signal(number, self._stop)

    @override
    def on_step_end(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Ask for a checkpoint when it is time."""
        self.stopped = any_rank(self.stopped, args.device)
        late = time.monotonic() - self._saved >= SECONDS
        if self.stopped:
            control.should_training_stop = True
        if self.stopped or any_rank(late, args.device):
            control.should_save = True

    @override
    def on_save(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Start the clock again."""
        self._saved = time.monotonic()

    def close(self) -> None:
        """Leave the signals as they were found, also after an error."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if not self.stopped:
            self.stopped, self.signal = True, number
        elif number == self.signal:  # torchrun sends SIGTERM after Ctrl-C: no second request
            raise Interrupted(number)


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
    def on_train_begin(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._first = state.global_step
        if self._first:
            self.narrator.say(
                "resuming", f"{self.title} at step {self._first} of {state.max_steps}"
            )
        self._gauge = Gauge(self.narrator, self.title, self._first / state.max_steps)

    @override
    def on_step_end(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Show the step, its last losses and the speed."""
        assert self._gauge is not None
        seconds = max(time.monotonic() - self._gauge.began, 1e-9)
        rate = (state.global_step - self._first) * self.per_step / seconds
        note = f"step {state.global_step:,}/{state.max_steps:,} · {self.note}{rate:,.0f} "
        self._gauge.show(state.global_step / state.max_steps, f"{note}{self.unit}/s")

    @override
    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Keep the last losses for the next line."""
        if not logs or "train_runtime" in logs:
            return
        hidden = ("learning_rate", "grad_norm", "epoch", "loss")
        shown = [f"{k.removeprefix('eval_')} {v:.3f}" for k, v in logs.items() if k not in hidden]
        self.note = " · ".join(shown) + " · " if shown else ""

    @override
    def on_train_end(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Close the bar and sum up."""
        assert self._gauge is not None
        seconds = time.monotonic() - self._gauge.began
        self.close()
        self.narrator.say(
            self.title, f"{counted(state.global_step, 'step')} · {self.note}{span(seconds)}"
        )

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._gauge is not None:
            self._gauge.close()


class Patience(TrainerCallback):
    """Ends a stage whose score does not get better any more.

    What was logged decides, and checkpoints hold that: a resumed stage ends where an undisturbed
    one does.

    Args:
        selection: Knows the score, and since when there is no better one.
        evaluations: In a row without a better one.
    """

    def __init__(self, selection: StepSelection, evaluations: int) -> None:
        self.selection = selection
        self.evaluations = evaluations

    def over(self, state: TrainerState) -> bool:
        """Whether the stage has ended."""
        return self.selection.waited(state.log_history) >= self.evaluations

    @override
    def on_evaluate(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Look whether this is the end; the process that writes the checkpoint decides."""
        if any_rank(is_main_process() and self.over(state), args.device):
            control.should_training_stop = True


FEWEST, UNTIMED = 8, 3


class StepClock(TrainerCallback):
    """Times steps; stops when the time for that is over.

    Args:
        seconds: For all of them; ``FEWEST`` are done at any rate.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends: list[float] = []
        self._began = time.monotonic()

    @override
    def on_step_end(self, args: Any, state: TrainerState, control: Control, **_: Any) -> None:
        """Note the time."""
        self.ends.append(time.monotonic())
        late = len(self.ends) >= FEWEST and self.ends[-1] - self._began > self.seconds
        if any_rank(late, args.device):
            control.should_training_stop = True

    def step(self) -> float:
        """Mean seconds of a step, the first few left out."""
        return (self.ends[-1] - self.ends[UNTIMED - 1]) / (len(self.ends) - UNTIMED)
