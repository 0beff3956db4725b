"""Memory that batches of many lengths leave behind goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

EVERY = 50
"""Steps between two returns: after one, memory costs its first touch again."""


class GiveBack(TrainerCallback):
    """Returns free memory now and then."""

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Return it, where it is time."""
        if state.global_step % EVERY == 0:
            give_back()


def give_back() -> None:
    """Let glibc return what it holds free; elsewhere nothing happens.

    Every batch has a length of its own, so freed blocks seldom fit the next one: without this a
    stage of a few thousand steps holds several gigabytes that nothing uses.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
