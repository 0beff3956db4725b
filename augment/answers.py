"""A worker in another process: chunk in, answer out, whatever happens; and who reads the answer."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from augment.contract import Fault
from augment.errors import AugmentError
from augment.work import Work, Worked, Worker

T = TypeVar("T")


class Answering:
    """A worker that loads its models when the first chunk comes, and never dies of an exception."""

    def __init__(self, work: Work, loaded: Worker | Fault | None = None) -> None:
        """Take what is needed.

        Args:
            work: What to load, and the threads to have.
            loaded: The models, or why there are none, where that is known already.
        """
        self._work = work
        self._loaded = loaded

    def answer(self, rows: bytes) -> Worked | Fault:
        """What becomes of a packed chunk."""
        if self._loaded is None:
            self._loaded = attempt(lambda: Worker.load(self._work))
        if isinstance(self._loaded, Fault):
            return self._loaded
        self._work.set_threads()
        return attempt(partial(self._loaded.run_packed, rows))


def attempt(what: Callable[[], T]) -> T | Fault:
    """What a worker has to tell, whatever happens."""
    try:
        return what()
    except Fault as fault:
        return fault
    except Exception as error:
        return AugmentError(f"a worker failed: {error!r}", traceback.format_exc())


def rows_of(answer: object) -> Worked:
    """What a worker made of a chunk.

    Raises:
        Fault: What it tells instead.
    """
    if isinstance(answer, Fault):
        raise answer
    assert isinstance(answer, Worked)
    return answer
