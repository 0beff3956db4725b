"""What a person sees while a command works; of several processes the first one speaks."""

from __future__ import annotations

from augment.contract import terminal
from augment.contract.foreign import span
from augment.contract.terminal import Gauge
from distill.runs.distributed import is_main_process

__all__ = ["Gauge", "Narrator", "short", "span"]


class Narrator(terminal.Narrator):
    """Says on stderr what happens; ``quiet``, and all processes but the first, say nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet or not is_main_process())


def short(count: int) -> str:
    """A count, such as ``14.4 M`` or ``1.2 G``."""
    for factor, letter in ((1e9, "G"), (1e6, "M")):
        if count >= factor / 10:
            return f"{count / factor:.1f} {letter}"
    return f"{count:,}"
