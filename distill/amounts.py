"""Large numbers as people read them."""

from __future__ import annotations


def short(count: int) -> str:
    """A count, such as ``14.4 M`` or ``1.2 G``."""
    for factor, letter in ((1e9, "G"), (1e6, "M")):
        if count >= factor / 10:
            return f"{count / factor:.1f} {letter}"
    return f"{count:,}"


def megabytes(size: int) -> str:
    """A file size, such as ``57.4 MB``."""
    return f"{size / 1e6:.1f} MB"
