"""Gates and protected words: what is refused or kept, and why."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from augment.errors import RecipeInvalid
from augment.filters.rules import RuleFilter
from augment.recipes.load import load_recipe
from augment.sources.digests import normalized, row_digest
from augment.tokenization.protection import Protection
from augment.tokenization.words import Route, Word
from augment.versions.rows import OutputRow, Texts
from tests.unit.augment.test_replace import words_of


def routes(text: str, protection: Protection) -> dict[str, Route]:
    words = [
        *words_of(text),
        *(Word(m.start(), m.end(), m[0], (1,), Route.MASKED_LM) for m in re.finditer(r"\d+", text)),
    ]
    kept = protection.apply(text, tuple(sorted(words, key=lambda word: word.start)))
    return {text[word.start : word.end]: word.route for word in kept}


@pytest.mark.parametrize(
    ("protection", "expected"),
    [
        (Protection(), set()),
        (Protection(numbers=True), {"12"}),
        (Protection(negations=True), {"Never"}),
        (Protection(words=frozenset({"tea"})), {"Tea"}),
        (Protection(patterns=(re.compile(r"Mr \w+"),)), {"Mr", "Smith"}),
    ],
)
def test_protected_words(protection: Protection, expected: set[str]) -> None:
    chosen = routes("Never sell Mr Smith 12 cups of Tea", protection)

    assert {word for word, route in chosen.items() if route is Route.PROTECTED} == expected


def rows_of(original: Texts, *generated: Texts, idx: int = 0) -> list[OutputRow]:
    """A source row and rows that were generated from it."""
    return [
        OutputRow(idx, texts, 1, original, variant=i)
        for i, texts in enumerate((original, *generated))
    ]


def reasons(rule: RuleFilter, rows: list[OutputRow]) -> list[str]:
    """Those of the generated rows."""
    return [row.reason for row in rule.apply(rows) if row.variant]


def test_the_leak_guard_ignores_case_and_spaces() -> None:
    rule = RuleFilter(held_out=frozenset({row_digest(["A  fine film ."])}))
    rows = rows_of(("a good film .",), ("A fine film .",), ("a fine  FILM .",), ("a film .",))

    assert reasons(rule, rows) == ["leak", "leak", ""]


def test_a_source_row_always_passes() -> None:
    rule = RuleFilter(held_out=frozenset({row_digest(["a film"])}), normalised_duplicates=True)
    rows = rows_of(("a film",))

    assert rule.apply(rows) == rows


def test_pairs_leak_as_pairs_only() -> None:
    rule = RuleFilter(held_out=frozenset({row_digest(["one", "two"])}))
    rows = rows_of(("x", "two"), ("one", "two"), ("one", "three"))

    assert reasons(rule, rows) == ["leak", ""]


def test_normalised_duplicates() -> None:
    rows = rows_of(("a film",), ("A Film",), ("a dog",), ("A  DOG",), ("a cat",))
    other = rows_of(("a bird",), ("a dog",), idx=1)
    repeated = ["normalised_duplicate", "", "normalised_duplicate", ""]

    assert reasons(RuleFilter(normalised_duplicates=True), [*rows, *other]) == [*repeated, ""]
    assert reasons(RuleFilter(), rows) == [""] * 4
    assert normalized("  A \t Film ") == "a film"


def test_a_reason_stays() -> None:
    """What is refused already is no earlier row that another could repeat."""
    refused = replace(rows_of(("a film",), ("A  dog",))[1], reason="duplicate")
    rows = [*rows_of(("a film",)), refused, *rows_of(("a film",), ("a dog",))[1:]]

    assert reasons(RuleFilter(normalised_duplicates=True), rows) == ["duplicate", ""]


def test_a_pattern_that_does_not_compile(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('protect_patterns = ["(" ]\n')

    with pytest.raises(RecipeInvalid, match="no regular expression"):
        load_recipe(str(path), "sst2")
