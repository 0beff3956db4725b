"""Names of others in Markdown and YAML: whatever is in them, they stay names where they stand."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from augment.contract.foreign import as_code, front_matter, markdown_table, shown

SIGNS = st.text(st.sampled_from("|\\`<>&*_~[]()!#:;-+=$@./\n\r\t \u202e\u200f\xa0🙂שa1w"))
NAMES = SIGNS | st.text()
NASTY = (
    "x|" * 3000, "a|b", "\\|", "a\\", "`|`", "``", "`", " a ", "  ", "", " | ", "|  |", "&#124;",
    "<b>|", "www.x.y|", "http://x|y", "\\`|\\`", "*a*|_b_", "~~a~~|", ":---|", "🙂|\u202e",
)  # fmt: skip
INSIDE = {"inline", "text", "text_special", "code_inline"}


def rendered(text: str) -> list[Token]:
    """As a hub reads it, tables and all: tokens, those within lines behind their line."""
    found = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return [own for token in found for own in (token, *(token.children or ()))]


def seen(line: Token) -> str:
    """What a person reads in a line."""
    return "".join(own.content for own in line.children or ())


def check(names: list[str]) -> None:
    rows = [(as_code(name), str(at), "–") for at, name in enumerate(names)]
    tokens = rendered(f"before\n\n{markdown_table(('name', 'a', 'b'), rows)}\nafter\n")
    cells = [seen(own) for own in tokens if own.type == "inline"]

    named = [(shown(name) or " ", str(at), "–") for at, name in enumerate(names)]
    assert cells == ["before", "name", "a", "b", *(cell for row in named for cell in row), "after"]
    assert {own.type for own in tokens if not own.type.endswith(("_open", "_close"))} <= INSIDE
    assert sum(own.type == "table_open" for own in tokens) == 1


def test_each_nasty_name_keeps_its_cell() -> None:
    check([*NASTY])


@settings(max_examples=100, deadline=None)
@given(st.lists(NAMES, max_size=4))
def test_any_name_keeps_its_cell(names: list[str]) -> None:
    check(names)


@settings(max_examples=100, deadline=None)
@given(NAMES)
@example(" a ")
def test_any_name_stays_one_in_a_sentence_and_in_a_list(name: str) -> None:
    tokens = rendered(f"made of {as_code(name)}, as said\n\n- version {as_code(name)}, id\n")
    lines = [seen(own) for own in tokens if own.type == "inline"]

    whole = shown(name) or " "
    assert lines == [f"made of {whole}, as said", f"version {whole}, id"]


SCALARS = (
    NAMES
    | st.integers()
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), SCALARS | st.lists(SCALARS)))
@example({"a": 1e-05, "b": [1e16, -2e-300, 0.5]})
def test_a_head_keeps_every_value_and_its_kind(values: dict[str, Any]) -> None:
    """The hub shows a score of 1e-05 as a number only if its reader of YAML sees one."""

    def told(value: Any) -> Any:
        return shown(value) if isinstance(value, str) else value

    head = front_matter(values)
    read = yaml.safe_load(head.removeprefix("---\n").removesuffix("---\n")) or {}
    expected = {
        key: [told(own) for own in value] if isinstance(value, list) else told(value)
        for key, value in values.items()
    }
    assert read == expected
    assert repr(read) == repr(expected)  # 1 is not 1.0, nor True
