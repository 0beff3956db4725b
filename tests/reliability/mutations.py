"""Damaged files of every kind: each parser answers or raises a fault, in bounded time.

python -m tests.reliability.mutations --examples 300 --json FILE
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from augment.contract import Fault
from tests.reliability.parsers import PARSERS, Parser

SLOWEST = 20.0
"""Seconds, on a machine that does other things as well."""

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


def damage(parser: Parser, folder: Path, examples: int) -> Counter[str]:
    """Feed a parser with damaged files; how many were read, and how many refused.

    Raises:
        Exception: Whatever the parser raised that is no fault.
    """
    good, place, ended = folder / "good", folder / "damaged", Counter[str]()
    good.mkdir()
    parser.prepare(good)
    content = (good / parser.file).read_bytes()

    @seed(1)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(MUTATIONS)
    def one(changes: list[Edit | Copy]) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        (place / parser.file).write_bytes(mutated(content, changes))
        began = time.monotonic()
        try:
            parser.read(place)
            ended["read"] += 1
        except Fault:
            ended["refused"] += 1
        assert time.monotonic() - began < SLOWEST

    one()
    return ended


def main() -> None:
    """Damage the files of all parsers, and keep the counts."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--examples", type=int, default=300, help="for each parser")
    options.add_argument("--json", type=Path, help="where the counts are kept")
    given_options = options.parse_args()
    counts, survivors = {}, {}
    for parser in PARSERS:
        with tempfile.TemporaryDirectory(prefix="damage-") as folder:
            try:
                counts[parser.name] = dict(damage(parser, Path(folder), given_options.examples))
            except Exception as error:
                survivors[parser.name] = repr(error)
        print(parser.name, counts.get(parser.name) or survivors[parser.name], flush=True)
    tried = sum(sum(ended.values()) for ended in counts.values())
    print(f"{tried} damaged files, {len(survivors)} parsers broken")
    if given_options.json:
        kept = {"files": tried, "survivors": survivors, "parsers": counts}
        given_options.json.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(bool(survivors))


if __name__ == "__main__":
    main()
