"""Byte-level tokenizers: each token of a text belongs to one word; words stand as they were fed."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.errors import AssetInvalid
from augment.masked_lm.inputs import build_input
from augment.tokenization.alignment import TokenSpan, align
from augment.tokenization.base import ModelTokenizer
from augment.tokenization.bytelevel import ByteLevelTokenizer
from augment.tokenization.load import wrap_tokenizer
from augment.tokenization.words import Route, Word, assign_routes
from tests.unit.augment.families import modernbert_tokenizer, roberta_tokenizer

MAKERS = {"roberta": roberta_tokenizer, "modernbert": modernbert_tokenizer}
ODD = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \t\n'’-.()<>[]Ġaeſ́k🎉|")),
    max_size=60,
)
LITERAL = st.sampled_from(["<mask>", "[MASK]", "</s>", "|||IP|||", "Ġfilm", " film", "isn't", "  "])


@pytest.fixture(scope="module", params=MAKERS)
def own(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def tokenizer(own: Any) -> ModelTokenizer:
    return wrap_tokenizer(own, len(own))


@pytest.fixture(scope="module")
def roberta() -> ModelTokenizer:
    tokenizer = roberta_tokenizer()
    return wrap_tokenizer(tokenizer, len(tokenizer))


def words_of(tokenizer: ModelTokenizer, text: str, rule: str = "basic") -> dict[str, Word]:
    return {text[w.start : w.end]: w for w in assign_routes(tokenizer.spans([text], rule)[0], rule)}


@pytest.mark.parametrize("rule", ["basic", "all"])
@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.one_of(ODD, LITERAL), max_size=6))
def test_no_token_is_lost(own: Any, tokenizer: ModelTokenizer, rule: str, parts: list[str]) -> None:
    """The tokens of all words in order are what the model's own tokenizer makes of the text."""
    text = "".join(parts)
    spans = tokenizer.spans([text], rule)[0]

    expected = own(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert [token_id for span in spans for token_id in span.token_ids] == expected
    at = 0
    for span in spans:
        assert at <= span.start < span.end <= len(text)
        at = span.end
    assert sum(len(span.token_ids) for span in spans) <= tokenizer.max_tokens(text)


def test_a_word_after_a_space_and_one_without(roberta: ModelTokenizer) -> None:
    words = words_of(roberta, "film (good) movie\nbad \tplot")
    spaced = {text: roberta.is_spaced(word.token_ids) for text, word in words.items()}

    assert {w: spaced[w] for w in ("film", "good", "movie", "bad", "plot")} == {
        "film": False, "good": False, "movie": True, "bad": False, "plot": False,
    }  # fmt: skip
    assert all(words[w].route is Route.MASKED_LM for w in ("film", "good", "movie", "bad", "plot"))


def test_a_tokenizer_that_adds_a_space_says_so() -> None:
    """``add_prefix_space`` of the model's own tokenizer is kept: the first word has the space."""
    tokenizer = roberta_tokenizer(add_prefix_space=True)
    tokenizer = wrap_tokenizer(tokenizer, len(tokenizer))
    first = tokenizer.spans(["film good"], "basic")[0][0]

    assert (first.start, first.end, len(first.token_ids)) == (0, 4, 1)
    assert tokenizer.is_spaced(first.token_ids)
    assert (
        tokenizer.encode_word("good", first.token_ids)
        == tokenizer.spans(["good"], "basic")[0][0].token_ids
    )


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("the film isn't good", {"film": "masked_lm", "isn": "stop_word", "'t": "not_plain"}),
        ("'terrible film", {"'terrible": "not_plain", "film": "masked_lm"}),
        ("good...  bad", {"good": "masked_lm", "...": "not_plain", " ": "space"}),
        ("lazy-cat mp3 café", {"cat": "masked_lm", "mp3": "not_plain", "café": "not_plain"}),
        ("U.S. <mask> Ġfilm", {"U": "masked_lm", "mask": "vectors", "Ġfilm": "not_plain"}),
        ("it's Anna ukulele", {"'s": "stop_word", "Anna": "masked_lm", "ukulele": "vectors"}),
        (unicodedata.normalize("NFD", "é good"), {"é": "not_plain", "good": "masked_lm"}),
    ],
)
def test_routes_of_basic_words(roberta: ModelTokenizer, text: str, routes: dict[str, str]) -> None:
    words = words_of(roberta, text)
    found = {unicodedata.normalize("NFC", word): w.route.value for word, w in words.items()}

    assert {word: found.get(word) for word in routes} == routes


def test_routes_of_every_word(roberta: ModelTokenizer) -> None:
    words = words_of(roberta, "The film isn't U.S. lazy-cat  it's", "all")

    assert {word: w.route.value for word, w in words.items()} == {
        "The": "masked_lm",
        "film": "masked_lm",
        "isn't": "contraction",
        "U.S.": "vectors",
        "lazy-cat": "vectors",
        " ": "space",
        "it": "masked_lm",
        "'s": "contraction",
    }


def test_the_space_of_a_word_in_parts_is_one_of_them(roberta: ModelTokenizer) -> None:
    """Where "Ġ" stays a token apart, the word after it is no one-token word."""
    word = words_of(roberta, "a q")["q"]

    assert [roberta._backend.id_to_token(token_id) for token_id in word.token_ids] == ["Ġ", "q"]
    assert word.route is Route.VECTORS
    assert roberta.is_spaced(word.token_ids)


def test_the_input_is_framed_as_the_models_own(own: Any, tokenizer: ModelTokenizer) -> None:
    text = "The film,  good (movie)"
    words = [span.token_ids for span in tokenizer.spans([text], "basic")[0]]
    for at, word in enumerate(words):
        single = build_input(words, at, tokenizer, "single", 96)
        pair = build_input(words, at, tokenizer, "pair", 96)
        assert single is not None
        assert pair is not None
        restored = [*pair.ids]
        assert restored[pair.mask_at] == own.mask_token_id
        restored[pair.mask_at : pair.mask_at + 1] = word
        assert restored == own(text, text)["input_ids"]
        assert pair.first_segment == len(pair.ids)
        assert single.ids == pair.ids[: len(single.ids)]


def test_candidates_have_the_form_of_the_word(tokenizer: ModelTokenizer) -> None:
    assert isinstance(tokenizer, ByteLevelTokenizer)
    tokens = {
        spaced: [tokenizer._raw(int(i)) for i in tokenizer.whole_words(spaced=spaced).nonzero()[0]]
        for spaced in (False, True)
    }

    assert "Ġfilm" in tokens[True]
    assert all(token.startswith("Ġ") and len(token) > 1 for token in tokens[True])
    assert "film" in tokens[False]
    assert all(f"Ġ{token}" in tokenizer._backend.get_vocab() for token in tokens[False])
    assert not {"'t", "Ġ", "  ", "|||IP|||", "Ã", "Ċ"} & {*tokens[True], *tokens[False]}


def test_a_word_is_written_in_the_form_it_replaces(roberta: ModelTokenizer) -> None:
    spaced, joined = (words_of(roberta, text)["film"].token_ids for text in ("a film", "(film)"))
    written = [roberta.encode_word("ukulele", old) for old in (spaced, joined)]

    assert written == [
        words_of(roberta, text)["ukulele"].token_ids for text in ("a ukulele", "(ukulele)")
    ]
    assert written[0] != written[1]


def test_align_merges_words_that_share_a_token() -> None:
    """The words "can", "not", "go" under tokens "cannot" and " go", and two spaces at the end."""
    words = [(0, 3), (3, 6), (7, 9)]
    given = [(0, 6, 0), (6, 9, 1), (9, 10, 2), (10, 11, 3)]
    found = align(11, words, [TokenSpan(i, *token) for i, token in enumerate(given)])

    assert [(each.start, each.end, each.token_ids) for each in found] == [
        (0, 6, [0]),
        (7, 9, [1]),
        (9, 11, [2, 3]),
    ]


def test_other_tokenizers_are_refused() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def wrapped(tokenizer: Tokenizer, **names: str) -> ModelTokenizer:
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
        return wrap_tokenizer(fast, len(fast))

    unigram = Tokenizer(models.Unigram([("<mask>", 0.0), ("▁a", 0.0)], unk_id=0))
    with pytest.raises(AssetInvalid, match=r"\(Unigram, with a mask\); a fast WordPiece or byte"):
        wrapped(unigram, mask_token="<mask>")
    metaspace = Tokenizer(models.BPE({"<mask>": 0, "▁": 1}, []))
    metaspace.pre_tokenizer = pre_tokenizers.Metaspace()
    with pytest.raises(AssetInvalid, match=r"\(BPE, with a mask\)"):
        wrapped(metaspace, mask_token="<mask>")
    byte_level = Tokenizer(models.BPE({"<mask>": 0, "a": 1}, []))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel()
    with pytest.raises(AssetInvalid, match="byte-level BPE, without a mask"):
        wrapped(byte_level)
    with pytest.raises(AssetInvalid, match="puts 0 special tokens before a text") as caught:
        wrapped(byte_level, mask_token="<mask>")
    assert "post-processor" in caught.value.hint
