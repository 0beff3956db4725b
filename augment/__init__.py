"""Expand text data sets by word replacement into versioned Parquet."""

from __future__ import annotations

TYPE_CHECKING = False  # "typing" would take longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from augment.contract import Version, open_version
    from augment.derive.write import write_version
    from augment.pipeline import augment_task


__all__ = ["Version", "augment_task", "open_version", "write_version"]
_PLACES = {
    "Version": "augment.contract.version",
    "augment_task": "augment.pipeline",
    "open_version": "augment.contract.version",
    "write_version": "augment.derive.write",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a command listens for Ctrl-C before anything else is loaded."""
    from importlib import import_module

    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'augment' has no attribute {name!r}")
