"""Damage to bytes: what hypothesis and the coverage-guided fuzzer do to good files."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

NASTY = (
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n", b'"', b"'", b",", b"\t", b";",
    b"\\", b"{", b"}", b"[", b"]", b"[" * 2000, b'{"a":' * 2000, b"null", b"true", b"NaN",
    b"-Infinity", b"1e400", b"-1", b"0", b"2", b"1.0", b"99999999999999999999", b"\xed\xa0\x80",
    b"\\ud800", b"\x1b[31m", b"[/url]", "\u202e".encode(), "表".encode(), b"../../../etc/passwd",
    b"A" * 5000, b"1 " * 3000, b"= ", b'"label"', b"sentence", b"[splits]", b"version https://git-lfs",
    b"\x1f\x8b\x08", b"PK\x03\x04", b"PAR1", b"SQLite format 3\0",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: at a share of the length, so many bytes become others."""

    at: float
    length: int
    new: bytes

    def apply(self, content: bytes) -> bytes:
        """The content with the change."""
        start = round(self.at * len(content))
        return content[:start] + self.new + content[start + self.length :]


@dataclass(frozen=True, slots=True)
class Copy:
    """A stretch of the file, once more at another place."""

    source: float
    length: int
    at: float

    def apply(self, content: bytes) -> bytes:
        """The content with the stretch twice."""
        start, end = round(self.source * len(content)), round(self.at * len(content))
        return content[:end] + content[start : start + self.length] + content[end:]


_SHARE = st.floats(0, 1)
_NEW = st.sampled_from(NASTY) | st.binary(max_size=8)
EDITS = st.builds(Edit, _SHARE, st.sampled_from((0, 0, 1, 2, 4, 9, 40, 10**6)), _NEW)
COPIES = st.builds(Copy, _SHARE, st.sampled_from((1, 4, 20, 80, 400)), _SHARE)
MUTATIONS = st.lists(EDITS | COPIES, min_size=1, max_size=4)
"""From one edit to four: a good file stays near to good, so that deep checks are reached."""


def mutated(content: bytes, changes: list[Edit | Copy]) -> bytes:
    """The content after all changes."""
    for change in changes:
        content = change.apply(content)
    return content
