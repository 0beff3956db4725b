"""Checkpoints in time: every other minute, and when Ctrl-C is pressed.

A checkpoint changes nothing of what is trained, so when it is made may depend on the clock.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from distill.processes import any_of

SECONDS = 120.0


class Keeper(TrainerCallback):
    """Saves when the last checkpoint is ``SECONDS`` old.

    The first Ctrl-C lets the step end, saves and stops; a second one stops at once.

    Attributes:
        stopped: Whether Ctrl-C ended the training.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._before: Any = None
        self._saved = 0.0

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock and listen for Ctrl-C."""
        self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._stop)

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a checkpoint when it is time."""
        self.stopped = any_of(self.stopped, args.device)
        late = time.monotonic() - self._saved >= SECONDS
        if self.stopped:
            control.should_training_stop = True
        if self.stopped or any_of(late, args.device):
            control.should_save = True

    @override
    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock again."""
        self._saved = time.monotonic()

    def close(self) -> None:
        """Leave Ctrl-C as it was found, also after an error."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
