"""Expand text data sets by word replacement into versioned Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augment.contract import Version, open_version

if TYPE_CHECKING:
    from augment.pipeline import augment_task


__all__ = ["Version", "augment_task", "open_version"]


def __getattr__(name: str) -> Any:
    """Import the pipeline on first use, so that the contract stays light."""
    if name == "augment_task":
        from augment.pipeline import augment_task

        return augment_task
    raise AttributeError(f"module 'augment' has no attribute {name!r}")
