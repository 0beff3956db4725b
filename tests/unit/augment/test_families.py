"""Masked LMs of every family: the engine against one forward of the whole model a word."""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from augment.analysis.preview import preview_text
from augment.errors import AssetInvalid
from augment.masked_lm.inputs import MaskedInput, pack
from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.model import MaskedLM
from augment.masked_lm.registry import forward_of, longest_input
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.replacement.sampling import TextOfRow, row_draws, sample_copies
from augment.tokenization.words import Route
from augment.vectors import Vectors, load_vectors
from tests.reference.families import paper_copy, plain_word, ranked_tokens
from tests.unit.augment.families import BUILDERS, modernbert

ROUNDING = 1e-6  # of ModernBERT in float64: transformers turns its queries in float32
TEXTS = [
    "The quick brown fox ran (slow dog) to the city.",
    "good film,  bad story...",
    "  They walked to Paris; Anna's great guitar isn't grey",
    "U.S. movie: the café-bar was fine",
    "Red piano music 🎉 lazy-cat <mask> [MASK] Ġgood movie",
]


@pytest.fixture(scope="module", params=BUILDERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    BUILDERS[request.param](made)
    return made


@cache
def whole_model(folder: Path) -> Any:
    return AutoModelForMaskedLM.from_pretrained(folder).eval()


def finder_of(folder: Path, vectors_file: Path, **recipe: Any) -> CandidateFinder:
    vectors: Vectors = load_vectors(str(vectors_file), 1000)
    return CandidateFinder(load_masked_lm(str(folder)), vectors, AugmentRecipe(**recipe))


@pytest.mark.parametrize("context", ["pair", "single"])
@pytest.mark.parametrize("top_k_of", ["pieces", "words"])
def test_candidates_equal_one_forward_a_word(
    folder: Path, vectors_file: Path, context: str, top_k_of: str
) -> None:
    finder = finder_of(folder, vectors_file, context=context, top_k_of=top_k_of, top_k=12)
    model, tokenizer = whole_model(folder), AutoTokenizer.from_pretrained(folder)
    model = copy.deepcopy(model).double()
    sentences = finder.words_of(TEXTS)
    compared = 0
    for text, words, found in zip(TEXTS, sentences, finder.for_sentences(sentences), strict=True):
        for at, word in enumerate(words):
            if not word.route.replaceable:
                continue
            masked = ranked_tokens(
                model, tokenizer, text, word.start, word.end, pair=context == "pair"
            )
            assert (masked is not None) is (word.route is Route.MASKED_LM), (text, word)
            if masked is None:
                continue
            ranked = masked.ranked
            names = {i: plain_word(model, tokenizer, i, masked.token_id) for i, _ in ranked}
            if top_k_of == "words":
                ranked = [(token_id, score) for token_id, score in ranked if names[token_id]]
            ours = Counter(found[at].words if at in found else [])
            _assert_best(ours, [(names[token_id], score) for token_id, score in ranked], text)
            compared += 1
    assert compared >= 15


def _assert_best(ours: Counter[str], ranked: list[tuple[str, float]], text: str) -> None:
    """The words of the best twelve; those as good as the twelfth may take its place.

    How close two scores lie is chance: the weights differ in their last bits from one kind of
    processor to the next.
    """
    last = ranked[11][1]
    certain = Counter(word for word, score in ranked if word and score > last + ROUNDING)
    possible = Counter(word for word, score in ranked if word and score >= last - ROUNDING)
    assert certain <= ours <= possible, (text, last)
    if all(abs(score - last) > ROUNDING for _, score in ranked[:11] + ranked[12:]):
        assert ours == possible, (text, last)


def test_the_forward_is_the_whole_model(folder: Path) -> None:
    _compare_forwards(whole_model(folder))


def test_a_last_layer_with_a_window(tmp_path: Path) -> None:
    """Of three ModernBERT layers the last looks at a window, of four it sees everything."""
    modernbert(tmp_path, layers=4)
    _compare_forwards(whole_model(tmp_path))


def _compare_forwards(model: Any) -> None:
    """Inputs of many lengths, in float32 and in float64."""
    queries, kind = some_queries(model.config.vocab_size), model.config.model_type
    for dtype, tolerance in ((torch.float32, 2e-4), (torch.float64, 1e-9)):
        exact = copy.deepcopy(model).to(dtype)
        ours = forward_of(exact, dtype)(pack(queries, "cpu"))
        whole = torch.stack([whole_forward(exact, query) for query in queries])
        # transformers turns ModernBERT's queries in float32, so there its own noise is compared
        turned = dtype == torch.float64 and kind == "modernbert"
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, whole, atol=2e-4 if turned else tolerance, rtol=0)


def some_queries(vocabulary: int, count: int = 40) -> list[MaskedInput]:
    """Random inputs of many lengths in order, with a second segment."""
    generator = torch.Generator().manual_seed(1)
    lengths = sorted(torch.randint(4, 30, (count,), generator=generator).tolist())
    return [
        MaskedInput(
            tuple(torch.randint(5, vocabulary, (length,), generator=generator).tolist()),
            int(torch.randint(1, length + 1, (), generator=generator)),
            int(torch.randint(0, length, (), generator=generator)),
        )
        for length in lengths
    ]


def whole_forward(model: Any, query: MaskedInput) -> torch.Tensor:
    inputs = {"input_ids": torch.tensor([query.ids])}
    if model.config.model_type in ("bert", "electra"):
        segments = torch.arange(len(query.ids)) >= query.first_segment
        inputs["token_type_ids"] = segments.long()[None]
    with torch.no_grad():
        logits: torch.Tensor = model(**inputs).logits[0, query.mask_at]
    return logits


def test_bfloat16_has_the_same_bits_in_any_company(folder: Path) -> None:
    """No gap settles a bfloat16 ranking, so its bits must not depend on the batch."""
    model = whole_model(folder)
    forward, queries = forward_of(model, torch.bfloat16), some_queries(model.config.vocab_size)
    together = forward(pack(queries, "cpu"))
    alone = torch.cat([forward(pack([query], "cpu")) for query in queries])

    assert torch.equal(alone, together)
    assert together.dtype is torch.float32


def test_the_canonical_way_agrees_with_batches(folder: Path, vectors_file: Path) -> None:
    finder = finder_of(folder, vectors_file)
    sentences = finder.words_of(TEXTS)
    batched = finder.for_sentences(sentences)
    finder.masked_lm.tokens_a_batch = 1
    alone = finder.for_sentences(sentences)
    finder.masked_lm.tie_gap = 1e9
    canonical = finder.for_sentences(sentences)

    def draws(found: list[Any]) -> list[dict[int, tuple[str, ...]]]:
        return [{at: one.draw_order for at, one in each.items()} for each in found]

    assert draws(batched) == draws(alone) == draws(canonical)


def test_the_paper_preset_equals_algorithm_1(folder: Path, vectors_file: Path) -> None:
    """A copy's words see what was written before them, in the casing and spacing it has."""
    paper = load_recipe("paper", "cola").model_copy(update={"variants": 5, "top_k": 4})
    finder = finder_of(folder, vectors_file, **paper.model_dump())
    texts = ["The quick brown fox ran (red dog)", "Wonderful guitar music and  GOOD film"]
    rows = [TextOfRow(i, "s", text, finder.words_of([text])[0]) for i, text in enumerate(texts)]
    model, tokenizer = whole_model(folder), AutoTokenizer.from_pretrained(folder)
    table = (list(finder.vectors.words), finder.vectors.table.matrix)
    replaced = 0
    for row, sampled in zip(rows, sample_copies(rows, finder, "cola"), strict=True):
        draws = row_draws(0, "cola", row.idx, "s", variants=5, words=len(row.words))
        words = [(w.start, w.end if w.route.replaceable else w.start) for w in row.words]
        for variant, own in zip([each.variant for each in sampled], draws, strict=True):
            expected = paper_copy(
                row.text, words, own, model=model, tokenizer=tokenizer, table=table, k=4, p=0.4
            )
            assert variant.text == expected
            replaced += len(variant.edits)
    assert replaced >= 12


def test_special_tokens_are_no_candidates(folder: Path) -> None:
    lm = load_masked_lm(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for spaced in (False, True):
        allowed = lm.tokenizer.whole_words(spaced=spaced)
        assert not any(allowed[i] for i in tokenizer.all_special_ids)
        assert len(allowed) == lm.tokenizer.size == whole_model(folder).config.vocab_size
        words = [lm.tokenizer.decode(int(i)) for i in allowed.nonzero()[0]]
        assert {"film", "good"} <= set(words)
        assert not [word for word in words if "Ġ" in word or word.startswith("##")]
        assert len(set(words)) == len(words)


def test_the_longest_input_is_read(folder: Path) -> None:
    """A full input runs, and one token more does not: RoBERTa and MPNet count from 2."""
    model = whole_model(folder)
    limit = longest_input(model.config)
    forward_of(model)(pack([MaskedInput((7,) * limit, limit, limit - 1)], "cpu"))
    with torch.inference_mode():
        if model.config.model_type != "modernbert":  # rotates any position
            longer = torch.full((1, limit + 1), 7)
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=longer)
    assert limit == 96


def test_preview_shows_words_as_they_stand(folder: Path, vectors_file: Path) -> None:
    finder = finder_of(folder, vectors_file, top_k_of="words", variants=8)
    text = "Good film,  the ukulele (music) isn't BAD"
    view = preview_text(text, finder, "sst2", "sentence")
    routes = {word.word: word.route for word in view.words}

    assert [routes[w] for w in ("Good", "film", "ukulele", "music")] == [
        "masked_lm", "masked_lm", "vectors", "masked_lm",
    ]  # fmt: skip
    assert all(word.word.strip() for word in view.words)
    names = [name for word in view.words for name, _ in word.candidates]
    assert names
    assert not [name for name in names if name != name.strip() or "Ġ" in name]
    assert view.variants
    for variant in view.variants:
        assert variant.text.count("  ") == 1
        assert variant.text[0] == variant.text[0].upper()
        for edit in variant.edits:
            assert text[edit.start : edit.end] == edit.before


def test_a_missing_head_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "headless")
    whole_model(folder).base_model.save_pretrained(tmp_path / "headless")

    with pytest.raises(AssetInvalid, match=r"no masked-LM head: \d+ weights are missing, the fir"):
        load_masked_lm(str(tmp_path / "headless"))


def test_the_digest_follows_tokenizer_and_weights(folder: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    tokenizer = json.loads((changed / "tokenizer.json").read_text())
    tokenizer["added_tokens"][0]["rstrip"] = True
    (changed / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert _digest(changed) != _digest(folder) == _digest(folder)
    model = copy.deepcopy(whole_model(folder))
    with torch.no_grad():
        next(iter(model.parameters())).mul_(1.001)
    shutil.copytree(folder, tmp_path / "weights")
    model.save_pretrained(tmp_path / "weights")

    assert _digest(tmp_path / "weights") != _digest(folder)


def _digest(folder: Path) -> str:
    lm: MaskedLM = load_masked_lm(str(folder))
    return lm.digest


def test_other_families_are_refused(tmp_path: Path) -> None:
    for content, named in (
        ({"model_type": "deberta-v2"}, "'deberta-v2' model"),
        ({"model_type": "xlm-roberta"}, "'xlm-roberta' model"),
        ({"model_type": "roberta", "is_decoder": True}, "'roberta' decoder"),
        ({}, "None model"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(AssetInvalid, match=f"is a {named}; an encoder is expected: bert, rob"):
            load_masked_lm(str(tmp_path))
