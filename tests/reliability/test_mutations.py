"""Good files are read, and a few damaged ones of every kind: an answer or a sentence.

``make soak`` tries hundreds of each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.mutations import damage
from tests.reliability.parsers import PARSERS, Parser

EXAMPLES = 12


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_the_good_file_is_read(parser: Parser, tmp_path: Path) -> None:
    parser.prepare(tmp_path)
    parser.read(tmp_path)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_damaged_file_gives_an_answer_or_a_sentence(parser: Parser, tmp_path: Path) -> None:
    ended = damage(parser, tmp_path, EXAMPLES // 3 if parser.slow else EXAMPLES)
    assert sum(ended.values()) >= 4
