"""Pages: all text of others is shown, none of it acts, and what is there can be read."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from augment.contract import UsageError
from augment.contract.page import (
    Cell,
    Column,
    Section,
    code,
    facts,
    folded,
    html,
    marked,
    note,
    number,
    page,
    table,
    write_page,
)

NASTY = "</script><script>alert(1)</script>\x1b[31m\u202e\ud800 & \"'"


def test_one_function_escapes_and_makes_controls_visible() -> None:
    shown = html(NASTY)

    assert not re.search("[<>\"'\x1b\u202e\ud800]", shown)
    assert r"\x1b[31m\u202e\ud800 &amp;" in shown
    assert html(shown) is shown


def test_long_texts_are_cut() -> None:
    assert len(html("a" * 10**6)) < 700


@pytest.mark.parametrize(
    "part",
    [
        table(NASTY, [Column(NASTY, NASTY, choice=True)], [[Cell(NASTY, foreign=True)]]),
        table("empty", [Column("a")], []),
        facts({NASTY: NASTY}),
        note(NASTY),
        code(NASTY),
        folded(NASTY, note(NASTY)),
        marked("a b c", [edit(2, 3, "b", NASTY)]) if (edit := lambda s, e, b, a: {
            "start": s, "end": e, "before": b, "after": a, "source": NASTY}) else note(""),
    ],
)  # fmt: skip
def test_every_part_takes_any_text(part: str) -> None:
    assert "<script" not in part
    assert not set(part) & {"\x1b", "\u202e", "\ud800"}
    part.encode()


def test_edits_are_marked_where_they_stand() -> None:
    edits = [
        {"start": 0, "end": 1, "before": "a", "after": "x", "source": "vectors"},
        {"start": 4, "end": 5, "before": "c", "after": "y", "source": "masked_lm"},
    ]

    text = re.sub("<[^>]+>", "|", marked("a b c", edits))

    assert text == "|a| |x| b |c| |y|"


class Outline(HTMLParser):
    """The tags of a page, and those that were not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_fetches_nothing_and_is_well_formed() -> None:
    rows = [[Cell("a"), number(0.25)], [Cell(NASTY, foreign=True), number(None)]]
    parts = (table("one", [Column("x"), Column("n", number=True)], rows, filters=True),)
    outline = Outline()
    text = page(NASTY, NASTY, [Section(NASTY, parts), Section("empty", ())])

    outline.feed(text)

    assert not outline.open
    assert text.count("<script>") == 1
    policies = [own.get("content") or "" for tag, own in outline.tags if tag == "meta"]
    assert any("default-src 'none'" in own and "script-src 'sha256-" in own for own in policies)
    assert not re.search(r'(src|href)="(?!#|data:,")', text)
    assert {own.get("scope") for tag, own in outline.tags if tag == "th"} == {"col", "row"}


@pytest.mark.parametrize("name", ["page.txt", "page", "page.csv"])
def test_only_a_page_is_written_over(tmp_path: Path, name: str) -> None:
    """Which is said before any work is done for it."""
    with pytest.raises(UsageError, match=r"no name of a page"):
        write_page(tmp_path / name, lambda: pytest.fail("made"))


def test_a_page_is_written_over(tmp_path: Path) -> None:
    place = write_page(tmp_path / "new" / "page.html", lambda: "one")
    write_page(place, lambda: "two")

    assert place.read_text() == "two"
    assert [*place.parent.iterdir()] == [place]
