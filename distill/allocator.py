"""Memory that batches of many lengths leave behind goes back to the system."""

from __future__ import annotations

import ctypes
import sys


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
