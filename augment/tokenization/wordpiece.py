"""WordPiece tokenizers (BERT, ELECTRA, DistilBERT), cased or not: ``##`` marks a word's parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from augment.tokenization.base import CONTINUATION, PieceTokenizer, is_plain, nltk_words
from augment.tokenization.words import Span, include_combining_marks

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


_PIECES_A_LETTER = 3
"""At most: one Hangul syllable decomposes into three letters."""


class WordPieces(PieceTokenizer):
    """A WordPiece tokenizer; words have one form."""

    def __init__(self, backend: Tokenizer, mask: int, size: int) -> None:
        super().__init__(backend, mask, size)
        self._specials = {self.mask} | {
            number for number, token in self._added.items() if token.special
        }
        self._encode_word = lru_cache(maxsize=200_000)(self._encode_word_uncached)

    def token(self, piece: int) -> str:
        """The text that a piece writes."""
        return str(self._backend.id_to_token(piece))

    def form_of(self, pieces: Sequence[int]) -> int:  # noqa: ARG002 - there is one form only
        """The only form."""
        return 0

    def whole_words(self, form: int = 0) -> np.ndarray:  # noqa: ARG002 - there is one form only
        """Which pieces may stand in a text: ``bool``, shape ``(size,)``."""
        allowed = np.zeros(self.size, dtype=bool)
        for piece in range(self.size):
            token = self._backend.id_to_token(piece)
            allowed[piece] = token is not None and is_plain(token)
        allowed[list(self._specials)] = False
        return allowed

    def spans(self, texts: Sequence[str], rule: str) -> list[tuple[Span, ...]]:
        """The words of each text: the tokenizer's own basic tokens, or NLTK's words."""
        if rule == "all":
            return [self._nltk_spans(text) for text in texts]
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            self._basic_spans(text, encoding)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def encode_word(self, word: str, instead_of: tuple[int, ...] = ()) -> tuple[int, ...]:  # noqa: ARG002 - a word has the same pieces everywhere
        """The pieces of a word."""
        return self._encode_word(word)

    def most_pieces(self, text: str) -> int:
        """A number of pieces that a text cannot exceed."""
        return len(text) * _PIECES_A_LETTER

    def normalize(self, word: str) -> str:
        """A word as the model knows it, without spaces."""
        return "".join(super().normalize(word).split())

    def _encode_word_uncached(self, word: str) -> tuple[int, ...]:
        return tuple(self._backend.encode(word, add_special_tokens=False).ids)

    def _basic_spans(self, text: str, encoding: Encoding) -> tuple[Span, ...]:
        """Pieces of one basic token share a word id; offsets point into the original text."""
        spans: list[Span] = []
        ids, tokens, offsets, words = (
            encoding.ids,
            encoding.tokens,
            encoding.offsets,
            encoding.word_ids,
        )
        first = 0
        for i in range(1, len(ids) + 1):
            if i < len(ids) and words[i] == words[first]:
                continue
            start, end = offsets[first][0], include_combining_marks(text, offsets[i - 1][1])
            pieces = tuple(ids[first:i])
            joined = "".join(token.removeprefix(CONTINUATION) for token in tokens[first:i])
            if self._backend.token_to_id(tokens[first]) in self._specials:
                joined = self.normalize(text[start:end])  # a word too long is one unknown piece
            spans.append(Span(start, end, joined, pieces))
            first = i
        return tuple(spans)

    def _nltk_spans(self, text: str) -> tuple[Span, ...]:
        spans = []
        for start, end in nltk_words(text):
            pieces = self.encode_word(text[start:end])
            if pieces:
                spans.append(Span(start, end, self.normalize(text[start:end]), pieces))
        return tuple(spans)
