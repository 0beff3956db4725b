"""The fenced blocks of a page, and the commands of a block.

A comment right above a fence says why it is not run: ``<!-- not run: needs four GPUs -->``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

COMMANDS = ("bash", "console")
RUN = (*COMMANDS, "python")
PARSED = ("toml", "json")
SHOWN = ("text", "csv")
_FENCE = re.compile(r"^( *)```(\S*) *$")
_REASON = re.compile(r"^<!-- not run: (.+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file it stands in, from the root of the checkout.
        line: Of its first line of content.
        language: What stands behind the fence.
        reason: Why it is not run; None where it is.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README and everything under docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order."""
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    reason, lines = None, page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if opened and fence and not fence[2]:
            first, indent, language = opened
            code = "\n".join(text.removeprefix(indent) for text in lines[first - 1 : number - 1])
            name = page.relative_to(ROOT).as_posix()
            found.append(Block(name, first, language, code, reason))
            opened = reason = None
        elif not opened and fence:
            opened = (number + 1, fence[1], fence[2])
        elif not opened and (told := _REASON.match(line.strip())):
            reason = told[1]
        elif not opened and line.strip():
            reason = None
    assert not opened, f"{page}: a fence is never closed"
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a block; of ``console`` only what follows a prompt."""
    code = re.sub(r"\\\n\s*", "", block.code)
    for line in code.splitlines():
        if block.language == "console" and not line.startswith("$ "):
            continue
        if words := shlex.split(line.removeprefix("$ "), comments=True):
            yield words
