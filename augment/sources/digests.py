"""When two rows are the same to the leak guard: but for case and spaces."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_SPACES = re.compile(r"\s+")


def normalized(text: str) -> str:
    """A text without case and with single spaces: how near duplicates and leaks are compared."""
    return _SPACES.sub(" ", text).strip().lower()


def row_digest(texts: Iterable[str]) -> bytes:
    """16 bytes for the normalized texts of a row."""
    joined = "\x1f".join(normalized(text) for text in texts)
    return hashlib.blake2b(joined.encode(), digest_size=16).digest()
