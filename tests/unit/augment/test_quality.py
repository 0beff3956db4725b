"""Gates and protected words: what is refused or kept, and why."""

from __future__ import annotations

import re

import pytest

from augment.errors import RecipeInvalid
from augment.filters.rules import RuleFilters, normalized, row_digest
from augment.recipes.load import load_recipe
from augment.tokenization.protection import Protection
from augment.tokenization.words import Route, Word
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
    found = routes("Never sell Mr Smith 12 cups of Tea", protection)

    assert {word for word, route in found.items() if route is Route.PROTECTED} == expected


def test_the_leak_guard_ignores_case_and_spaces() -> None:
    gates = RuleFilters(held_out=frozenset({row_digest(["A  fine film ."])}))
    reasons = gates.reasons(
        ["a good film ."], [["A fine film ."], ["a fine  FILM ."], ["a film ."]]
    )

    assert reasons == ["leak", "leak", ""]


def test_pairs_leak_as_pairs_only() -> None:
    gates = RuleFilters(held_out=frozenset({row_digest(["one", "two"])}))

    assert gates.reasons(["x", "two"], [["one", "two"], ["one", "three"]]) == ["leak", ""]


def test_normalised_duplicates() -> None:
    gates = RuleFilters(normalised_duplicates=True)
    rows = [["A Film"], ["a dog"], ["A  DOG"], ["a cat"]]

    assert gates.reasons(["a film"], rows) == [
        "normalised_duplicate",
        "",
        "normalised_duplicate",
        "",
    ]
    assert RuleFilters().reasons(["a film"], rows) == [""] * 4
    assert normalized("  A \t Film ") == "a film"


def test_a_pattern_that_does_not_compile(tmp_path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('protect_patterns = ["(" ]\n')

    with pytest.raises(RecipeInvalid, match="no regular expression"):
        load_recipe(str(path), "sst2")
