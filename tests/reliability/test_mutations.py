"""Damaged files of every kind: an answer or a sentence, never another error, in bounded time.

``RELIABILITY_EXAMPLES`` is the number of mutations of each parser; the soak run sets it high and
collects ``RELIABILITY_COUNTS``, a line a parser.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings

from augment.contract import Fault
from tests.reliability.mutations import MUTATIONS, Copy, Edit, mutated
from tests.reliability.parsers import PARSERS, Parser

EXAMPLES = int(os.environ.get("RELIABILITY_EXAMPLES", "16"))
SLOWEST = 20.0
"""Seconds, on a machine that does other things as well."""


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_the_good_file_is_read(parser: Parser, tmp_path: Path) -> None:
    parser.prepare(tmp_path)
    parser.read(tmp_path)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_damaged_file_gives_an_answer_or_a_sentence(parser: Parser, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    parser.prepare(good)
    content, ended = (good / parser.file).read_bytes(), Counter[str]()

    @seed(1)
    @settings(
        max_examples=EXAMPLES // 3 if parser.slow else EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(MUTATIONS)
    def damaged(changes: list[Edit | Copy]) -> None:
        place = tmp_path / "damaged"
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

    damaged()
    if counts := os.environ.get("RELIABILITY_COUNTS"):
        with Path(counts).open("a", encoding="utf-8") as stream:
            stream.write(f"{parser.name}\t{ended['read']}\t{ended['refused']}\n")
