"""A smaller vocabulary splits a text as the whole one does, wherever the text's pieces stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from distill.errors import ModelInvalid, UsageError
from distill.models.vocabulary import Vocabulary

CORPUS = [
    "the unbelievable café in København was naïve, unbelievably so",
    "walking walked walks talking talked talks the the the cat catalog category",
    "日本語のテキスト and 中文字符 mixed 한국어 with emoji 😀😃 👩‍👩‍👧 and 123 1234 12345",
    "re-read, re-reading; it's can't won't http://a.bc/d?e=f&g=h #tag @name aaaaaaaa",
    "ĞŸ ß ﬁ ½ Ⅷ e\u0301 o\u0308 \u200b zero width",
] * 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
STRANGE = [
    "[SEP]", "[MASK]", "\x00", "\x07\t\n", "\u202e", "\ufeff", "x" * 150, "catcat" * 30, "é" * 5,
    "e\u0301\u0301", "🇩🇪", "\U0010ffff", "##ing", "▁▁", "<0x41>", "Ġ",
]  # fmt: skip
WORDS = [word for line in CORPUS for word in line.split()]
HOSTILE = st.tuples(
    st.lists(st.one_of(st.sampled_from([*WORDS, *STRANGE]), st.text(max_size=12)), max_size=8),
    st.sampled_from([" ", ""]),
).map(lambda drawn: drawn[1].join(drawn[0]))


def _framed(core: Tokenizer) -> Tokenizer:
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, core.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return core


def wordpiece() -> Tokenizer:
    core = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    core.train_from_iterator(CORPUS, trainer)
    return _framed(core)


def byte_level() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    core.add_tokens([AddedToken("København", normalized=True)])
    ends = [(name, core.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    core.post_processor = processors.RobertaProcessing(*ends)
    return core


def bpe() -> Tokenizer:
    """With pieces inside and at the end of words, and a token for what it does not know."""
    core = Tokenizer(
        models.BPE(
            unk_token="[UNK]",
            continuing_subword_prefix="##",
            end_of_word_suffix="</w>",
            fuse_unk=True,
        )
    )
    core.normalizer = normalizers.NFKC()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=SPECIAL,
        continuing_subword_prefix="##",
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    ends = [(name, core.token_to_id(name)) for name in ("[SEP]", "[CLS]")]
    core.post_processor = processors.Sequence([processors.BertProcessing(*ends)])
    return core


def unigram() -> Tokenizer:
    core = Tokenizer(models.Unigram())
    core.normalizer = normalizers.NFKC()
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    return _framed(core)


MADE: dict[str, Callable[[], Tokenizer]] = {
    "WordPiece": wordpiece,
    "byte-level BPE": byte_level,
    "BPE": bpe,
    "Unigram": unigram,
}


@cache
def whole(kind: str) -> tuple[Tokenizer, Vocabulary]:
    core = MADE[kind]()
    core.encode_special_tokens = True
    return core, Vocabulary.read("it", core.to_str(), core.get_vocab(), [core.token_to_id("[PAD]")])


def smaller(vocabulary: Vocabulary, kept: np.ndarray) -> Tokenizer:
    core = Tokenizer.from_str(json.dumps(vocabulary.trimmed(kept.tolist())))
    core.encode_special_tokens = True
    return core


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(HOSTILE, min_size=4, max_size=10), seed=st.integers(0, 2**32 - 1))
def test_pieces_that_stay_are_the_pieces(kind: str, texts: list[str], seed: int) -> None:
    core, vocabulary = whole(kind)
    counts = np.bincount(
        [at for text in texts[: len(texts) // 2] for at in core.encode(text).ids],
        minlength=vocabulary.size,
    )
    draw = np.random.default_rng(seed)
    counts += draw.integers(0, 3, vocabulary.size)
    kept = vocabulary.seen(counts, int(draw.integers(1, 4)))
    new = dict(zip(kept.tolist(), range(len(kept)), strict=True))
    part = smaller(vocabulary, kept)
    unknown = core.token_to_id("[UNK]")

    ids = {token: new[at] for token, at in core.get_vocab().items() if at in new}
    assert part.get_vocab() == ids
    for text in texts:
        for old, now in (
            (core.encode(text), part.encode(text)),
            (core.encode(text, "the cat"), part.encode(text, "the cat")),
        ):
            assert now.ids.count(new[unknown]) <= old.ids.count(unknown)
            if all(at in new for at in old.ids) and (kind != "WordPiece" or unknown not in old.ids):
                assert now.ids == [new[at] for at in old.ids]
                assert now.type_ids == old.type_ids


@pytest.mark.parametrize("kind", MADE)
def test_a_size_takes_the_most_frequent(kind: str) -> None:
    core, vocabulary = whole(kind)
    counts = np.bincount(
        [at for text in CORPUS for at in core.encode(text).ids], minlength=vocabulary.size
    )
    least = len(vocabulary.required)
    room = least + 20
    kept = vocabulary.most_frequent(counts, room)

    assert room - 6 <= len(kept) <= room  # what does not fit with its parts is left
    assert vocabulary.required <= set(kept.tolist())
    added = set(kept.tolist()) - vocabulary.required
    left = set(vocabulary.ids.values()) - set(kept.tolist())
    made_from = {part for token in added for part in vocabulary.parts.get(token, ())}
    assert min(counts[list(added - made_from)]) >= sorted(counts[list(left)])[-5]
    assert list(vocabulary.most_frequent(counts, least)) == sorted(vocabulary.required)
    with pytest.raises(UsageError, match=f"--size {least - 1} is too small: {least}"):
        vocabulary.most_frequent(counts, least - 1)
    assert len(vocabulary.most_frequent(counts, 10**6)) == len(set(vocabulary.ids.values()))


def test_a_word_whose_letters_are_no_tokens_stays() -> None:
    """Else it could be read no longer."""
    words = {"[PAD]": 0, "[UNK]": 1, "cat": 2, "c": 3, "##a": 4, "##t": 5, "dog": 6, "act": 7}
    core = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    vocabulary = Vocabulary.read("it", core.to_str(), core.get_vocab(), [0])
    kept = vocabulary.seen(np.zeros(8, dtype=np.int64), 1)

    assert [core.id_to_token(at) for at in kept] == [
        "[PAD]", "[UNK]", "c", "##a", "##t", "dog", "act",
    ]  # fmt: skip


def test_the_piece_of_least_score_stays() -> None:
    """Unknown characters are charged by it: without it a text would be split otherwise."""
    pieces = [("[UNK]", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -9.0), ("aab", -1.5)]
    core = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    vocabulary = Vocabulary.read("it", core.to_str(), core.get_vocab(), [])

    assert list(vocabulary.seen(np.zeros(5, dtype=np.int64), 1)) == [0, 1, 2, 3]


def test_other_tokenizers_are_refused() -> None:
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    with pytest.raises(ModelInvalid, match="kind WordLevel, which cannot be trimmed"):
        Vocabulary.read("it", core.to_str(), core.get_vocab(), [])
    core = Tokenizer(models.BPE({"a": 0}, [], dropout=0.1))
    with pytest.raises(ModelInvalid, match="at random"):
        Vocabulary.read("it", core.to_str(), core.get_vocab(), [])


@settings(max_examples=10, deadline=None)
@given(text=HOSTILE)
def test_all_tokens_give_the_same_file(text: str) -> None:
    for kind in MADE:
        core, vocabulary = whole(kind)
        everything = np.array(sorted(vocabulary.ids.values()))
        assume(len(everything) == vocabulary.size)
        assert smaller(vocabulary, everything).encode(text).ids == core.encode(text).ids
