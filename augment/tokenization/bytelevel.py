"""Byte-level BPE tokenizers (RoBERTa, ModernBERT): ``Ġ`` in a piece is the space before a word.

One word has two forms, with the space and without it (at the start of a text, after a bracket or
a line break). The text is fed as the model's own tokenizer cuts it, so a word stands in the form
that it has there, and its candidates are pieces of the same form.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.pre_tokenizers import BertPreTokenizer

from augment.tokenization.alignment import TokenSpan, align
from augment.tokenization.base import PieceTokenizer, is_plain, nltk_words
from augment.tokenization.words import Span

if TYPE_CHECKING:
    from tokenizers import Encoding


SPACE = "Ġ"
SPACED, JOINED = 0, 1
_BYTES_A_BYTE = 3
"""At most: composition (NFC) turns a character of four bytes into three of four bytes."""


class BytePieces(PieceTokenizer):
    """A byte-level BPE tokenizer; words have the forms ``SPACED`` and ``JOINED``."""

    forms = 2

    def __init__(self, backend: Tokenizer, mask: int, size: int) -> None:
        super().__init__(backend, mask, size)
        backend.post_processor = None  # it would cut the space off the offsets
        self._decoder = ByteLevel()
        self._words = BertPreTokenizer()
        self._inner = _without_prefix_space(backend)
        self._encode_word = lru_cache(maxsize=200_000)(self._encode_word_uncached)

    def token(self, piece: int) -> str:
        """The text that a piece writes, without the space before it."""
        return str(self._decoder.decode([self._raw(piece)])).removeprefix(" ")

    def form_of(self, pieces: Sequence[int]) -> int:
        """``SPACED`` where the first piece carries a space, else ``JOINED``."""
        return SPACED if self._raw(pieces[0]).startswith(SPACE) else JOINED

    def whole_words(self, form: int = SPACED) -> np.ndarray:
        """Which pieces may stand in a text as words of a form: ``bool``, shape ``(size,)``.

        A joined piece may be a word or the end of one; it counts as a word where the vocabulary has
        it with a space too.
        """
        allowed = np.zeros(self.size, dtype=bool)
        for token, piece in self._backend.get_vocab(with_added_tokens=True).items():
            spaced = token.startswith(SPACE)
            if piece in self._added or spaced is not (form == SPACED) or piece >= self.size:
                continue
            text = self.token(piece)
            known = spaced or self._backend.token_to_id(SPACE + token) is not None
            allowed[piece] = known and is_plain(text) and "\ufffd" not in text
        return allowed

    def spans(self, texts: Sequence[str], rule: str) -> list[tuple[Span, ...]]:
        """The words of each text, by spaces and punctuation marks or by NLTK.

        What has pieces of its own between words, such as a second space, is a span as well.
        """
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            self._align(text, nltk_words(text) if rule == "all" else self._basic(text), encoding)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def encode_word(self, word: str, instead_of: tuple[int, ...]) -> tuple[int, ...]:
        """The pieces of a word in the form of those it replaces."""
        return self._encode_word(word, self.form_of(instead_of))

    def most_pieces(self, text: str) -> int:
        """A number of pieces that a text cannot exceed: none is shorter than a byte."""
        return len(text.encode()) * _BYTES_A_BYTE + 1

    def _raw(self, piece: int) -> str:
        return str(self._backend.id_to_token(piece))

    def _encode_word_uncached(self, word: str, form: int) -> tuple[int, ...]:
        text = f" {word}" if form == SPACED else word
        return tuple(self._inner.encode(text, add_special_tokens=False).ids)

    def _basic(self, text: str) -> list[tuple[int, int]]:
        return [offsets for _, offsets in self._words.pre_tokenize_str(text)]

    def _align(
        self, text: str, words: Sequence[tuple[int, int]], encoding: Encoding
    ) -> tuple[Span, ...]:
        parts = zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True)
        pieces = [TokenSpan(number, start, end, token) for number, (start, end), token in parts]
        return tuple(
            Span(
                found.start,
                found.end,
                self.normalize(text[found.start : found.end]),
                found.pieces,
            )
            for found in align(len(text), words, pieces)
        )


def _without_prefix_space(backend: Tokenizer) -> Tokenizer:
    """The same tokenizer that puts no space before a text of its own accord."""
    description: dict[str, Any] = json.loads(backend.to_str())
    todo = [description["pre_tokenizer"]]
    while todo:
        part = todo.pop()
        if "add_prefix_space" in part:
            part["add_prefix_space"] = False
        todo += part.get("pretokenizers", [])
    inner = Tokenizer.from_str(json.dumps(description))
    inner.encode_special_tokens = True
    return inner
