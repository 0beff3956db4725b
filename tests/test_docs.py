"""What docstrings cite of docs/method.md is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
METHOD = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")


def test_cited_sections_and_departures_exist() -> None:
    sources = [path for name in ("augment", "distill") for path in (ROOT / name).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    cited = set(re.findall(r"docs/method\.md,\s+(section|departure) (\d+(?:\.\d+)?)", text))
    sections = re.findall(r"^##+ (\d+(?:\.\d+)?) ", METHOD, re.MULTILINE)
    departures = re.findall(r"^\*\*(\d+)\. ", METHOD, re.MULTILINE)

    assert cited
    assert cited <= {("section", n) for n in sections} | {("departure", n) for n in departures}
    assert departures == [str(n) for n in range(1, len(departures) + 1)]
