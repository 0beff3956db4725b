"""Algorithm 1 against the golden cases; what the authors' code does by mistake is pinned here as
a difference that is meant."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import BertTokenizer

from augment.masked_lm.inputs import build_input
from augment.masked_lm.model import Ranking
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.replacement.sampling import Sample, TextOfRow, sample, sample_originals
from augment.tokenization.base import ModelTokenizer, is_plain
from augment.tokenization.load import wrap_tokenizer
from augment.tokenization.words import Route, Word, assign_routes, match_case, stop_words
from augment.vectors import Vectors


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    cases: dict[str, Any] = json.loads((shared / "design" / "golden_augment.json").read_text())
    return cases


@pytest.fixture(scope="module")
def tokenizer(golden: dict[str, Any]) -> ModelTokenizer:
    vocabulary = golden["end_to_end"]["vocab"]
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(vocabulary)})
    return wrap_tokenizer(tokenizer, len(vocabulary))


@pytest.fixture(scope="module")
def table(golden: dict[str, Any]) -> Vectors:
    rows = golden["glove"]["table"]
    return Vectors.of([row["word"] for row in rows], np.array([row["vector"] for row in rows]))


def test_stop_words_are_the_pinned_list(golden: dict[str, Any]) -> None:
    expected = golden["stop_words"]

    joined = "\n".join(sorted(stop_words())).encode()
    assert hashlib.sha256(joined).hexdigest() == expected["sha256_of_sorted_joined_by_newline"]
    assert len(stop_words()) == expected["count"]


def test_recipe_holds_the_constants(golden: dict[str, Any]) -> None:
    names = {name: name.lower().replace("-", "") for name in golden["constants"]["N"]}
    for name, n in golden["constants"]["N"].items():
        recipe = load_recipe("official", names[name])
        assert (recipe.variants, recipe.top_k, recipe.probability) == (n, 15, 0.4)
        assert recipe.vector_rows == golden["constants"]["glove_rows_read"]
    paper = golden["constants"]["paper"]
    recipe = load_recipe("paper", "cola")
    assert (recipe.variants, recipe.top_k, recipe.probability) == (
        paper["N_a"],
        paper["K"],
        paper["p_t"],
    )


def test_eligibility(golden: dict[str, Any]) -> None:
    from augment.tokenization.words import Span

    for case in golden["token_eligibility"]:
        token = case["token"]
        word = assign_routes([Span(0, len(token), token, (1,))], "basic")[0]
        assert word.route.replaceable is case["eligible"], case
    assert len(golden["token_eligibility"]) == 20


def test_candidate_filter(golden: dict[str, Any]) -> None:
    """``##`` tokens go after the cut; special tokens go too, which the released code keeps."""
    for case in golden["candidate_filter"]:
        kept = [token for token in case["top_m"] if is_plain(token)]
        if case.get("mode") == "official":
            assert kept == [token for token in case["kept"] if token != "[UNK]"]
        elif kept:
            assert kept == case["kept"]
        else:
            assert case["kept"] == [case["original"]]  # no candidate: the word keeps itself
    assert len(golden["candidate_filter"]) == 4


def test_vectors(golden: dict[str, Any], table: Vectors) -> None:
    for case in golden["glove"]["cases"]:
        found = table.neighbors([case["word"]], case["M"])[0].words
        expected = case["expected"]
        if len(expected) == len(table.words):
            expected = expected[:-1]  # a table shorter than K returns the word itself there
        assert [match_case(case["word"], word) for word in found] == expected, case
    assert len(golden["glove"]["cases"]) == 6


def test_masked_lm_input(golden: dict[str, Any], tokenizer: ModelTokenizer) -> None:
    for case in golden["mlm_input"]:
        words = [span.token_ids for span in tokenizer.spans([case["sentence"]], "basic")[0]]
        texts = [span.text for span in tokenizer.spans([case["sentence"]], "basic")[0]]
        query = build_input(words, texts.index(case["word"]), tokenizer, case["context"], 512)
        assert query is not None
        assert [tokenizer.decode(i) for i in query.ids] == case["tokens"]
        assert query.mask_at == case["mask_index"]
        if "segments" in case:
            assert [int(i >= query.first_segment) for i in range(len(query.ids))] == case[
                "segments"
            ]
    assert len(golden["mlm_input"]) == 2


def test_truncation(golden: dict[str, Any], tokenizer: ModelTokenizer) -> None:
    """With ``long_text = "truncate"``: the fed length, its segments, and no mask beyond 512."""
    for case in golden["truncation"]:
        words = [(20,)] * case["pieces_in_sentence"]
        query = build_input(words, 0, tokenizer, "pair", 512)
        assert query is not None
        assert len(query.ids) == case["fed_length"]
        assert query.first_segment == case["segment0"]
        assert len(query.ids) - query.first_segment == case["segment1"]
        for at in range(len(words)):
            assert (build_input(words, at, tokenizer, "pair", 512) is None) == (at + 1 >= 512)
    assert len(golden["truncation"]) == 8


def _plain_words(tokens: list[str], replaceable: set[int]) -> tuple[str, tuple[Word, ...]]:
    """Tokens joined by spaces, as words with offsets: how the released code writes a sentence."""
    text, words = " ".join(tokens), []
    at = 0
    for i, token in enumerate(tokens):
        route = Route.MASKED_LM if i in replaceable else Route.NOT_PLAIN
        words.append(Word(at, at + len(token), token, (1,), route))
        at += len(token) + 1
    return text, tuple(words)


def _draws(script: list[list[list[float]]], candidates: dict[int, list[str]]) -> np.ndarray:
    """Scripted (position, candidate, uniform) draws as our uniform pairs."""
    return np.array(
        [
            [[(pick + 0.5) / len(candidates[int(at)]), coin] for at, pick, coin in attempt]
            for attempt in script
        ]
    ).reshape(len(script), len(candidates), 2)


def texts_of(samples: list[Sample]) -> list[str]:
    """The texts that are not left out."""
    return [each.variant.text for each in samples if not each.reason]


def test_sampling(golden: dict[str, Any]) -> None:
    for case in golden["sampling"]:
        candidates = {int(at): words for at, words in case["candidates"].items()}
        text, words = _plain_words(case["tokens"], set(candidates))
        draws = _draws(case["draws"], candidates)
        result = sample(text, words, candidates, draws, case["p"], distinct=True)
        # The released code compares with the raw text, so that a mere respacing is "new" there.
        expected = [line for line in case["expected"][1:] if line != text]
        assert texts_of(result) == expected
    assert len(golden["sampling"]) == 2


def _random_script(
    seed: int, attempts: int, candidates: dict[int, list[str]]
) -> list[list[list[float]]]:
    """The released code's order of calls: a choice, then a uniform, for each candidate word."""
    generator = random.Random(seed)
    return [
        [
            [at, generator.choice(range(len(words))), generator.random()]
            for at, words in candidates.items()
        ]
        for _ in range(attempts)
    ]


def test_end_to_end_sampling(golden: dict[str, Any]) -> None:
    """Every recorded list of sentences, from the same candidates and the same draws."""
    cases = golden["end_to_end"]["cases"]
    for case in cases:
        plan = [step for step in case["plan"] if "candidates" in step]
        candidates = {step["index"]: step["candidates"] for step in plan}
        text, words = _plain_words(case["tokens"], set(candidates))
        script = case.get("draws") or _random_script(
            case["python_random_seed"], case["N"], candidates
        )
        draws = _draws(script, candidates)
        result = sample(text, words, candidates, draws, case["p"], distinct=True)
        # A text without capitals gets none from us: neither "Ukulele" nor special tokens.
        lowered = dict.fromkeys(line.lower() for line in case["expected"][1:])
        expected = [line for line in lowered if line != text]
        assert texts_of(result) == expected, case["sentence"]
    assert len(cases) == 14


class _StubMaskedLM:
    """Ranks as the golden file says: the listed tokens first, then the rest by id."""

    def __init__(self, golden: dict[str, Any], tokenizer: ModelTokenizer) -> None:
        self.tokenizer, self.limit = tokenizer, 512
        self._vocabulary = golden["end_to_end"]["vocab"]
        self._top = golden["end_to_end"]["stub_mlm_top"]

    def rank(self, queries: Any, k: int, *, words_only: bool, on_batch: Any) -> list[Ranking]:
        return [self._rank(query, k) for query in queries]

    def _rank(self, query: Any, k: int) -> Ranking:
        offset = query.first_segment
        original = self._vocabulary[query.ids[offset + query.mask_at - 1]]
        first = self._top.get(original, [])
        order = [*first, *(token for token in self._vocabulary if token not in first)][:k]
        return Ranking(
            tuple(self._vocabulary.index(token) for token in order),
            tuple(-float(i) for i in range(k)),
        )


def test_end_to_end_plan(golden: dict[str, Any], tokenizer: ModelTokenizer, table: Vectors) -> None:
    """Tokens, routes and candidates of every sentence; special tokens are our difference."""
    stub: Any = _StubMaskedLM(golden, tokenizer)
    finder = CandidateFinder(stub, table, AugmentRecipe())
    specials = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    seen = 0
    for case in golden["end_to_end"]["cases"]:
        words = finder.words_of([case["sentence"]])[0]
        found = finder.for_sentences([words])[0]
        assert [word.text for word in words] == case["tokens"]
        for word, step in zip(words, case["plan"], strict=True):
            assert [tokenizer.decode(i) for i in word.token_ids] == step["pieces"]
            at = step["index"]
            if step["action"].startswith("skip"):
                assert not word.route.replaceable
                assert at not in found
            else:
                route = Route.MASKED_LM if step["action"] == "mlm" else Route.VECTORS
                assert word.route is route
                kept = [token for token in step["candidates"] if token not in specials]
                if route is Route.VECTORS and len(kept) == len(table.words):
                    kept = kept[:-1]  # the word itself, see test_vectors
                expected = [] if kept == [word.text] else kept
                assert list(found[at].words if at in found else ()) == expected
                seen += 1
    assert seen > 20


def test_text_keeps_its_form(
    golden: dict[str, Any], tokenizer: ModelTokenizer, table: Vectors
) -> None:
    """Where the released code lower-cases and spaces tokens out, our text stays as it is."""
    stub: Any = _StubMaskedLM(golden, tokenizer)
    finder = CandidateFinder(stub, table, AugmentRecipe(variants=30))
    text = "They don't like the 3 café-bar!"
    words = finder.words_of([text])[0]
    result = sample_originals([TextOfRow(0, "sentence", text, words)], finder, "cola")[0]
    assert texts_of(result)
    for variant in texts_of(result):
        assert variant.startswith("They don't ")
        assert variant.endswith("!")
        assert "[" not in variant
