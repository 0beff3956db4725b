"""Byte-level pieces: each piece of a text belongs to one word; words stand as they were fed."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.errors import AssetInvalid
from augment.masked_lm.inputs import build_query
from augment.tokenization.alignment import TokenSpan, align
from augment.tokenization.base import PieceTokenizer
from augment.tokenization.bytelevel import JOINED, SPACED, BytePieces
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
def pieces(own: Any) -> PieceTokenizer:
    return wrap_tokenizer(own, len(own))


@pytest.fixture(scope="module")
def roberta() -> PieceTokenizer:
    tokenizer = roberta_tokenizer()
    return wrap_tokenizer(tokenizer, len(tokenizer))


def words_of(pieces: PieceTokenizer, text: str, rule: str = "basic") -> dict[str, Word]:
    return {text[w.start : w.end]: w for w in assign_routes(pieces.spans([text], rule)[0], rule)}


@pytest.mark.parametrize("rule", ["basic", "all"])
@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.one_of(ODD, LITERAL), max_size=6))
def test_no_piece_is_lost(own: Any, pieces: PieceTokenizer, rule: str, parts: list[str]) -> None:
    """The pieces of all words in order are what the model's own tokenizer makes of the text."""
    text = "".join(parts)
    spans = pieces.spans([text], rule)[0]

    expected = own(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert [piece for span in spans for piece in span.pieces] == expected
    at = 0
    for span in spans:
        assert at <= span.start < span.end <= len(text)
        at = span.end
    assert sum(len(span.pieces) for span in spans) <= pieces.most_pieces(text)


def test_a_word_after_a_space_and_one_without(roberta: PieceTokenizer) -> None:
    words = words_of(roberta, "film (good) movie\nbad \tplot")
    forms = {text: roberta.form_of(word.pieces) for text, word in words.items()}

    assert {w: forms[w] for w in ("film", "good", "movie", "bad", "plot")} == {
        "film": JOINED, "good": JOINED, "movie": SPACED, "bad": JOINED, "plot": JOINED,
    }  # fmt: skip
    assert all(words[w].route is Route.MASKED_LM for w in ("film", "good", "movie", "bad", "plot"))


def test_a_tokenizer_that_adds_a_space_says_so() -> None:
    """``add_prefix_space`` of the model's own tokenizer is kept: the first word has the space."""
    tokenizer = roberta_tokenizer(add_prefix_space=True)
    pieces = wrap_tokenizer(tokenizer, len(tokenizer))
    first = pieces.spans(["film good"], "basic")[0][0]

    assert (first.start, first.end, len(first.pieces)) == (0, 4, 1)
    assert pieces.form_of(first.pieces) == SPACED
    assert pieces.encode_word("good", first.pieces) == pieces.spans(["good"], "basic")[0][0].pieces


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
def test_routes_of_basic_words(roberta: PieceTokenizer, text: str, routes: dict[str, str]) -> None:
    words = words_of(roberta, text)
    found = {unicodedata.normalize("NFC", word): w.route.value for word, w in words.items()}

    assert {word: found.get(word) for word in routes} == routes


def test_routes_of_every_word(roberta: PieceTokenizer) -> None:
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


def test_the_space_of_a_word_in_parts_is_one_of_them(roberta: PieceTokenizer) -> None:
    """Where "Ġ" stays a piece apart, the word after it is no one-piece word."""
    word = words_of(roberta, "a q")["q"]

    assert [roberta._backend.id_to_token(piece) for piece in word.pieces] == ["Ġ", "q"]
    assert word.route is Route.VECTORS
    assert roberta.form_of(word.pieces) == SPACED


def test_the_input_is_framed_as_the_models_own(own: Any, pieces: PieceTokenizer) -> None:
    text = "The film,  good (movie)"
    words = [span.pieces for span in pieces.spans([text], "basic")[0]]
    for at, word in enumerate(words):
        single = build_query(words, at, pieces, "single", 96)
        pair = build_query(words, at, pieces, "pair", 96)
        assert single is not None
        assert pair is not None
        restored = [*pair.ids]
        assert restored[pair.mask_at] == own.mask_token_id
        restored[pair.mask_at : pair.mask_at + 1] = word
        assert restored == own(text, text)["input_ids"]
        assert pair.first_segment == len(pair.ids)
        assert single.ids == pair.ids[: len(single.ids)]


def test_candidates_have_the_form_of_the_word(pieces: PieceTokenizer) -> None:
    assert isinstance(pieces, BytePieces)
    tokens = {
        form: [pieces._raw(int(i)) for i in pieces.whole_words(form).nonzero()[0]]
        for form in (SPACED, JOINED)
    }

    assert "Ġfilm" in tokens[SPACED]
    assert all(token.startswith("Ġ") and len(token) > 1 for token in tokens[SPACED])
    assert "film" in tokens[JOINED]
    assert all(f"Ġ{token}" in pieces._backend.get_vocab() for token in tokens[JOINED])
    assert not {"'t", "Ġ", "  ", "|||IP|||", "Ã", "Ċ"} & {*tokens[SPACED], *tokens[JOINED]}


def test_a_word_is_written_in_the_form_it_replaces(roberta: PieceTokenizer) -> None:
    spaced, joined = (words_of(roberta, text)["film"].pieces for text in ("a film", "(film)"))
    written = [roberta.encode_word("ukulele", old) for old in (spaced, joined)]

    assert written == [
        words_of(roberta, text)["ukulele"].pieces for text in ("a ukulele", "(ukulele)")
    ]
    assert written[0] != written[1]


def test_align_merges_words_that_share_a_piece() -> None:
    """The words "can", "not", "go" under pieces "cannot" and " go", and two spaces at the end."""
    words = [(0, 3), (3, 6), (7, 9)]
    given = [(0, 6, 0), (6, 9, 1), (9, 10, 2), (10, 11, 3)]
    found = align(11, words, [TokenSpan(i, *piece) for i, piece in enumerate(given)])

    assert [(each.start, each.end, each.pieces) for each in found] == [
        (0, 6, (0,)),
        (7, 9, (1,)),
        (9, 11, (2, 3)),
    ]


def test_other_tokenizers_are_refused() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def wrapped(tokenizer: Tokenizer, **names: str) -> PieceTokenizer:
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
    with pytest.raises(AssetInvalid, match="puts 0 special pieces before a text") as caught:
        wrapped(byte_level, mask_token="<mask>")
    assert "post-processor" in caught.value.hint
