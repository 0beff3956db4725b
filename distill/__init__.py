"""Distil a fine-tuned encoder into a small one, from a saved version of augmented text."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.pipeline import distill_task

__all__ = ["distill_task"]


def __getattr__(name: str) -> Any:
    """Import the pipeline on first use: ``import distill`` loads neither torch nor transformers."""
    if name == "distill_task":
        from distill.pipeline import distill_task

        return distill_task
    raise AttributeError(f"module 'distill' has no attribute {name!r}")
