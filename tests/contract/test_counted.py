"""Counts beside their nouns: one of a thing is never ``1 things``."""

import ast
import re
from collections.abc import Iterator

import numpy as np
import pytest

from augment.contract.foreign import counted, sized
from tests.conftest import ROOT

NOUNS = """
    arms attentions bins blocks bytes characters chunks classes columns documents edits
    epochs evaluations examples faults fields files forms heads hours labels layers minutes
    nodes numbers originals parts positions processes rows runs samples scores seconds seeds
    sets sources splits states steps tables tensors texts threads tokens variants versions
    words LMs models masks
"""
NO_ADJECTIVE = "has|have|holds|in|of|the|these"
BESIDE = re.compile(rf" (?:(?!(?:{NO_ADJECTIVE}) )[a-z-]+ ){{0,2}}?(?:{'|'.join(NOUNS.split())})\b")
SAID_ELSEWHERE = {
    "row_files.py": "rows",  # what a file was made from, which is compared and not shown
}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (counted(1, "row"), "1 row"),
        (counted(0, "row"), "0 rows"),
        (counted(1000, "hidden layer"), "1,000 hidden layers"),
        (counted(2, "class"), "2 classes"),
        (counted(2, "entry"), "2 entries"),
        (counted(2, "day"), "2 days"),
        (counted(1.0, "minute"), "1 minute"),
        (counted(1.5, "minute"), "1.5 minutes"),
        (counted(30.0, "minute"), "30 minutes"),
        (counted(np.int64(12345678), "row"), "12,345,678 rows"),
        (counted(1, "row", "are"), "1 row is"),
        (counted(3, "row", "are"), "3 rows are"),
        (counted(1, "row", "have"), "1 row has"),
        (counted(1, "row", "were"), "1 row was"),
        (counted(1, "row", "equal"), "1 row equals"),
    ],
)
def test_words(said: str, expected: str) -> None:
    assert said == expected


def uncounted(source: str) -> Iterator[tuple[int, str]]:
    """Values that are whole numbers by their format, and the plural that stands after them."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant)):
                continue
            spec = ast.unparse(value.format_spec)[2:-1] if value.format_spec else ""
            called = ast.unparse(value.value)
            found = BESIDE.match(str(text.value))
            if found and spec in ("", ",", "g") and not named(called):
                yield value.lineno, f"{{{called}}}{found[0]}"


def named(expression: str) -> bool:
    """Whether what stands before a plural is a name or a constant, and no count."""
    return bool(
        re.match(r"counted\(|quoted\(|listed\(|shown\(|', '\.join|' or '\.join", expression)
        or re.fullmatch(r"[A-Z_]+|(\w+\.)*(part|name|names|data|model|made|metric)", expression)
        or expression.startswith(("folder", "uneven"))
    )


def test_every_count_is_said_by_one_function() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for package in ("augment", "distill")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, what in uncounted(path.read_text("utf-8"))
        if not what.endswith(SAID_ELSEWHERE.get(path.name, "nothing"))
    ]
    assert not found, 'say counted(count, "row") in place of:\n' + "\n".join(found)


def test_the_check_sees_what_it_is_for() -> None:
    seen = (
        'f"{n:,} rows", f"all {len(x)} badly formed rows are", f"{counted(n, 1)} of 2 rows", '
        'f"{ROWS} rows", f"{share:.0%} of the rows"'
    )
    assert [what for _, what in uncounted(f"n = [{seen}]")] == [
        "{n} rows",
        "{len(x)} badly formed rows",
    ]


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (40, "40 bytes"), (12_345, "12 kB"), (1e5, "0.1 MB"), (1.2e9, "1.2 GB")],
)
def test_a_size_is_said_in_its_own_unit(count: float, said: str) -> None:
    assert sized(count) == said
