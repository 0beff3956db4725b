"""Lists of versions and previews: whole in a pipe, and whole words on a narrow terminal."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from augment.analysis.preview import TextPreview, WordView
from augment.cli import output
from augment.contract.terminal import open_console

NAME = "tickets-of-the-support-desk@v0001"
SOURCE = "/home/somebody/tickets-of-2026.csv"


def version() -> Any:
    manifest = SimpleNamespace(
        id="fc33c2e1", recipe={"preset": "official"}, derivation=None, source=SOURCE,
        created="2026-11-30T11:01:00",
    )  # fmt: skip
    splits = SimpleNamespace(train="train", unlabeled=None)
    return SimpleNamespace(
        reference=NAME, manifest=manifest, task=SimpleNamespace(splits=splits),
        splits=("train",), rows=lambda _: 3093,
    )  # fmt: skip


def printed(monkeypatch: pytest.MonkeyPatch, capsys: Any, width: int, *, show: Any) -> list[str]:
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value) if width else monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", str(width or 80))
    monkeypatch.setattr(output, "stdout", open_console())
    show()
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("width", [0, 60, 80, 120])
def test_versions_are_named_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(
        monkeypatch, capsys, width, show=lambda: output.show_versions([version(), version()])
    )

    assert sum(line.startswith(NAME) for line in lines) == 2
    assert all("…" not in line for line in lines)
    assert max(map(len, lines)) <= (width or 200)
    assert any(SOURCE in line for line in lines) == (width in (0, 120))
    assert any("too narrow for" in line for line in lines) == (width in (60, 80))


@pytest.mark.parametrize("width", [0, 60, 80, 120])
def test_candidates_are_not_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates = tuple((f"candidate{at}", 0.5) for at in range(6))
    words = (WordView("film", "masked_lm", candidates), WordView("drags", "vectors", ()))
    view = TextPreview("film drags", words, ())
    lines = printed(
        monkeypatch, capsys, width, show=lambda: output.show_preview(view, variants=1, top=6)
    )

    assert max(map(len, lines)) <= (width or 200)
    words_seen = " ".join(lines).split()
    assert all(name in words_seen for name, _ in candidates)
    assert ["drags", "vectors", "none"] in [line.split() for line in lines]
    assert width or any(line.count("candidate") == 6 for line in lines)
