"""How long reading takes, timed within a budget whatever the model; what would make it faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from augment.analysis import timing
from augment.analysis.faster import fastest, proposal
from augment.analysis.timing import ReadingTime, forwards_of, time_reading, tokens_of
from augment.masked_lm.inputs import shared
from augment.masked_lm.loading import load_masked_lm
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.vectors import load_vectors

LONG = "the good film was a fine story and the great movie ran to the lazy dog in paris . " * 4


@pytest.fixture(scope="module")
def finder(mlm_dir: Path, vectors_file: Path) -> Callable[..., CandidateFinder]:
    lm, vectors = load_masked_lm(str(mlm_dir)), load_vectors(str(vectors_file), 1000)
    return lambda **keys: CandidateFinder(lm, vectors, AugmentRecipe(**keys))


@pytest.mark.parametrize("seconds_a_token", [1e-5, 1e-3, 0.02, 1.0])
def test_a_slow_model_is_timed_within_the_budget(
    finder: Callable[..., CandidateFinder], seconds_a_token: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, now, budget = finder(), [0.0], 3.0
    longest = [0]

    def rank(asked: Any, *_: object, **__: object) -> list[Any]:
        tokens = sum(len(asked[of[0]].ids) for of in shared(asked))
        longest[0] = max(longest[0], tokens)
        now[0] += tokens * seconds_a_token
        return []

    monkeypatch.setattr(made.masked_lm, "rank", rank)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    sentences = made.words_of(["good film", "the quick brown fox ran .", LONG])
    found = time_reading(sentences, made, budget)

    assert found is not None
    assert now[0] < 2 * budget or longest[0] < 20  # the first is read whatever it takes
    read = [(128, 7)]
    assert found.seconds(read) == pytest.approx(tokens_of(read) * seconds_a_token)


def test_nothing_to_read_takes_no_time(finder: Callable[..., CandidateFinder]) -> None:
    made = finder()

    assert time_reading(made.words_of(["!", "", "ukulele"]), made, 1.0) is None


def test_longer_inputs_than_were_timed_cost_more_a_token() -> None:
    found = ReadingTime((10, 20), (1.0, 2.0))

    assert found.seconds([(15, 2)]) == 1.5 * 15 * 2
    assert found.seconds([(40, 1)]) == 4.0 * 40
    assert found.seconds([(5, 1)]) == 5.0
    assert ReadingTime((10,), (1.0,)).seconds([(30, 1)]) == 30.0
    assert found.seconds([]) == 0.0


def test_copies_are_read_once_a_replaced_word(finder: Callable[..., CandidateFinder]) -> None:
    once, copies = finder(), finder(conditioning="copy", variants=10, probability=0.5)
    words = once.words_of([LONG])[0]

    assert tokens_of(forwards_of(words, copies)) == 5 * tokens_of(forwards_of(words, once))


def test_the_recipe_for_long_texts_is_named_with_what_it_saves(
    finder: Callable[..., CandidateFinder],
) -> None:
    said = fastest([LONG], finder(), "sst2", 60.0, 36000.0)

    assert said.startswith("with --recipe long about ")
    assert said.endswith(" instead of 10 h 01 min")
    assert fastest([LONG], finder(), "sst2", 60.0, 100.0) == ""
    assert fastest(["good film"], finder(), "sst2", 60.0, 36000.0) == ""
    assert fastest([LONG], finder(mask_every=5), "sst2", 60.0, 36000.0) == ""


def test_a_run_proposes_it_for_many_long_texts_alone(
    finder: Callable[..., CandidateFinder],
) -> None:
    assert "--recipe long reads " in proposal([LONG], finder(), "sst2", 1000)
    assert proposal([LONG], finder(), "sst2", 10) == ""
    assert proposal(["good film"], finder(), "sst2", 10**6) == ""
    assert proposal([LONG], finder(mask_every=5), "sst2", 1000) == ""
    assert proposal([], finder(), "sst2", 0) == ""
