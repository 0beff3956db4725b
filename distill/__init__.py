"""Distil an encoder into a small one: on raw text, and for a task from a saved version of it."""

from __future__ import annotations

TYPE_CHECKING = False  # "typing" would take longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from distill.data.corpus import Source
    from distill.general import distill_general
    from distill.inference.classifier import Classifier
    from distill.pipeline import distill_task
    from distill.training.budget import Budget


__all__ = ["Budget", "Classifier", "Source", "distill_general", "distill_task"]
_PLACES = {
    "Budget": "distill.training.budget",
    "Classifier": "distill.inference.classifier",
    "Source": "distill.data.corpus",
    "distill_general": "distill.general",
    "distill_task": "distill.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import on first use: ``import distill`` loads neither torch nor transformers."""
    from importlib import import_module

    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'distill' has no attribute {name!r}")
