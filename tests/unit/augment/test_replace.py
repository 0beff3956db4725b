"""Sampling: text survives, draws are keyed by the row, duplicates are counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.replacement.edits import Edit, Variant, apply_edits, undo_edits
from augment.replacement.sampling import Sample, row_draws, sample
from augment.tokenization.words import Route, Word


def words_of(text: str) -> tuple[Word, ...]:
    """Letters-only stretches of a text as one-token words."""
    words, at = [], 0
    while at < len(text):
        end = at
        while end < len(text) and text[end].isalpha():
            end += 1
        if end > at:
            words.append(Word(at, end, text[at:end].lower(), (1,), Route.MASKED_LM))
        at = max(end, at + 1)
    return tuple(words)


CANDIDATES = ("alpha", "beta", "gamma")


def reasons(samples: list[Sample]) -> Counter[str]:
    return Counter(each.reason for each in samples if each.reason)


def passed(samples: list[Sample]) -> list[Variant]:
    return [each.variant for each in samples if not each.reason]


def sampled(
    text: str, p: float, n: int = 8, seed: int = 0, idx: int = 0, *, distinct: bool = True
) -> list[Sample]:
    words = words_of(text)
    candidates = dict.fromkeys(range(len(words)), CANDIDATES)
    draws = row_draws(seed, "task", idx, "sentence", variants=n, words=len(words))
    return sample(text, words, candidates, draws, p, distinct=distinct)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_nothing_changes_with_p_zero(text: str) -> None:
    result = sampled(text, 0.0, distinct=False)

    assert all(variant.text == text and not variant.edits for variant in passed(result))
    assert reasons(sampled(text, 0.0)) == {"identity": 8}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.integers(0, 2**32))
def test_only_the_replaced_words_change(text: str, seed: int) -> None:
    """Undoing the edits gives back the text byte for byte; everything between is untouched."""
    for variant in passed(sampled(text, 0.5, seed=seed)):
        assert variant.text == apply_edits(text, variant.edits)
        assert undo_edits(variant.text, variant.edits) == text
        gaps, at, position = [], 0, 0
        for edit in variant.edits:
            assert text[edit.start : edit.end] == edit.before != edit.after
            gap = text[at : edit.start]
            assert variant.text[position : position + len(gap)] == gap
            position += len(gap) + len(edit.after)
            at = edit.end
            gaps.append(gap)
        assert variant.text[position:] == text[at:]


def test_samples_differ_from_the_text_and_from_each_other() -> None:
    result = sampled("Good film, GOOD film.", 0.4, n=50)
    texts = [variant.text for variant in passed(result)]

    assert len(set(texts)) == len(texts)
    assert "Good film, GOOD film." not in texts
    assert len(texts) + sum(reasons(result).values()) == 50
    assert reasons(result)["duplicate"] > 0
    assert all(each.variant.text in texts for each in result if each.reason == "duplicate")
    assert [each.variant.number for each in result] == list(range(1, 51))
    assert any("BETA" in text for text in texts)
    assert any(text.startswith("Beta") for text in texts)


def test_a_sample_is_the_same_whatever_n_is() -> None:
    few = row_draws(1, "t", 5, "sentence", variants=3, words=4)
    many = row_draws(1, "t", 5, "sentence", variants=30, words=4)

    np.testing.assert_array_equal(few, many[:3])


def test_draws_depend_on_every_part_of_the_key() -> None:
    keys = [
        (0, "t", 1, "a"),
        (1, "t", 1, "a"),
        (0, "u", 1, "a"),
        (0, "t", 2, "a"),
        (0, "t", 1, "b"),
    ]
    firsts = {float(row_draws(*key, variants=1, words=1)[0, 0, 0]) for key in keys}

    assert len(firsts) == len(keys)


def test_draws_are_uniform() -> None:
    draws = row_draws(0, "t", 0, "c", variants=200, words=50)

    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01


def test_a_word_drawn_for_itself_is_no_edit() -> None:
    words = words_of("Film")
    draws = np.array([[[0.0, 0.0]]])
    result = sample("Film", words, {0: ("film",)}, draws, 1.0, distinct=True)

    assert (passed(result), reasons(result)) == ([], {"identity": 1})


@pytest.mark.parametrize(
    ("text", "candidate", "expected"),
    [
        ("Good, in Rome", "great", "Great, in Rome"),
        ("Good, in Rome", "Great", "Great, in Rome"),
        ("good, in Rome", "Paris", "Paris, in Rome"),
        ("good, in rome", "Paris", "paris, in rome"),
        ("GOOD, in Rome", "Great", "GREAT, in Rome"),
        ("Good, in Rome", "GOOD", None),
        ("good, in Rome", "Good", None),
    ],
)
def test_cased_candidates_keep_the_casing_of_the_text(
    text: str, candidate: str, expected: str | None
) -> None:
    """A cased model proposes both cases; a change of case alone is no change."""
    draws = np.array([[[0.0, 0.0]]])
    result = sample(text, words_of(text)[:1], {0: (candidate,)}, draws, 1.0, distinct=True)

    assert [variant.text for variant in passed(result)] == ([expected] if expected else [])


def test_edits_are_applied_by_offset() -> None:
    edits = [Edit(0, 1, "a", "xyz", "masked_lm"), Edit(4, 5, "c", "", "vectors")]

    assert apply_edits("a b c d", edits) == "xyz b  d"
