"""Several processes under ``torchrun``: which of them writes, and how their means are joined.

Every process runs the whole program. What lands on disk is made by the first and read by all; the
rest is accelerate's and PyTorch's. Alone, all of this does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import PartialState
    from torch import Tensor


LONGEST_WAIT = timedelta(days=7)
"""Others wait while the first tokenizes or asks the teacher; torchrun ends them where it dies."""


def device() -> torch.device:
    """The accelerator, where there is one."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found or torch.device("cpu")


def _state() -> PartialState:
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available(), timeout=LONGEST_WAIT)


def world_size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process is the one that writes and speaks."""
    return world_size() == 1 or bool(_state().is_main_process)


def main_process_first() -> AbstractContextManager[None]:
    """A block that the first process ends before the others begin it."""
    if world_size() == 1:
        return nullcontext()
    turn: AbstractContextManager[None] = _state().main_process_first()
    return turn


def barrier() -> None:
    """Go on when every process has come to this point."""
    if world_size() > 1:
        _state().wait_for_everyone()


def on_main_process(do: Callable[[], object]) -> None:
    """Let the first process do something; all go on when it is done.

    It begins at once, and may end before the others have come here.
    """
    if is_main_process():
        do()
    barrier()


def gradient_scale(real: Callable[[], Tensor]) -> Tensor | float:
    """What a mean over real things counts for, where processes average their gradients.

    Each process divides its sum by its own count; times this, all of them divide by the same one,
    and the gradient is that of the mean over the things of all.

    Args:
        real: Gives 1 for each thing of this process's part of the batch that is real, and 0 for
            the others; asked only where it matters.

    Returns:
        A float32 scalar; 1 for a process alone and where no gradient is computed.
    """
    if world_size() == 1:
        return 1.0
    from accelerate.utils import reduce

    if not torch.is_grad_enabled():
        return 1.0
    count = real().sum().float()
    mean: Tensor = reduce(count, reduction="mean")
    return count / mean.clamp(min=1 / world_size())  # where nothing is real, 0 and not NaN


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in one of the processes."""
    if world_size() == 1:
        return flag
    from accelerate.utils import reduce

    total: Tensor = reduce(torch.tensor(float(flag), device=device), reduction="sum")
    return bool(total > 0)
