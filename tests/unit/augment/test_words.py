"""Words: offsets, routes, casing; the text is never touched."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.model import MaskedLM
from augment.tokenization.base import ModelTokenizer, is_plain
from augment.tokenization.words import Route, assign_routes, match_case


@pytest.fixture(scope="module")
def tokenizer(mlm_dir: Path) -> ModelTokenizer:
    lm: MaskedLM = load_masked_lm(str(mlm_dir))
    return lm.tokenizer


@pytest.mark.parametrize(
    ("before", "candidate", "expected"),
    [
        ("good", "great", "great"),
        ("Good", "great", "Great"),
        ("GOOD", "great", "GREAT"),
        ("A", "every", "Every"),
        ("iPhone", "radio", "radio"),
        ("good", "Paris", "Paris"),
        ("Éclair", "tarte", "Tarte"),
        ("3", "four", "four"),
    ],
)
def test_casing_pattern(before: str, candidate: str, expected: str) -> None:
    assert match_case(before, candidate) == expected


@pytest.mark.parametrize("rule", ["basic", "all"])
@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_spans_are_ordered_and_inside(tokenizer: ModelTokenizer, rule: str, text: str) -> None:
    """Whatever the text, words are disjoint stretches of it, in order, with at least one token."""
    words = assign_routes(tokenizer.spans([text], rule)[0], rule)

    at = 0
    for word in words:
        assert at <= word.start < word.end <= len(text)
        assert word.token_ids
        at = word.end


def test_special_tokens_in_a_text_are_text(tokenizer: ModelTokenizer) -> None:
    words = tokenizer.spans(["a [MASK] film [SEP]"], "basic")[0]

    assert [word.text for word in words] == ["a", "[", "mask", "]", "film", "[", "sep", "]"]
    assert tokenizer.mask not in [token_id for word in words for token_id in word.token_ids]


def test_decomposed_accents_stay_with_their_letter(tokenizer: ModelTokenizer) -> None:
    text = unicodedata.normalize("NFD", "café film")
    words = tokenizer.spans([text], "basic")[0]

    assert [text[word.start : word.end] for word in words] == [
        unicodedata.normalize("NFD", "café"),
        "film",
    ]
    assert words[0].text == "cafe"


def test_paper_rule_keeps_contractions_whole(tokenizer: ModelTokenizer) -> None:
    text = "It isn't the dog's film, they've ran."
    words = assign_routes(tokenizer.spans([text], "all")[0], "all")
    kept = {text[w.start : w.end] for w in words if w.route is Route.CONTRACTION}

    assert kept == {"is", "n't", "'s", "'ve"}


def test_a_word_of_over_100_letters_is_one_unknown_token(tokenizer: ModelTokenizer) -> None:
    text = "X" * 105
    word = assign_routes(tokenizer.spans([text], "basic")[0], "basic")[0]

    assert (word.start, word.end, word.text, len(word.token_ids)) == (0, 105, "x" * 105, 1)
    assert word.route is Route.MASKED_LM


def test_what_may_stand_in_a_text() -> None:
    refused = ["##s", "[UNK]", "<unk>", "[unused7]", "", " ", "two words", "a\u00a0b"]
    allowed = ["film", ".", "[", "<", "a##b", "café"]

    assert [token for token in [*refused, *allowed] if is_plain(token)] == allowed


def test_whole_words_leave_out_specials_and_continuations(tokenizer: ModelTokenizer) -> None:
    may_stand = tokenizer.whole_words()
    refused = {tokenizer.decode(i) for i in range(tokenizer.size) if not may_stand[i]}

    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "##a"} <= refused
    assert not refused & {"film", "a", ".", "["}
