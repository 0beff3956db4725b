"""WordPiece tokenizers (BERT, ELECTRA, DistilBERT), cased or not: ``##`` marks a word's parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from augment.tokenization.base import CONTINUATION, ModelTokenizer, is_plain, nltk_words
from augment.tokenization.words import Span, include_combining_marks

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_TOKENS_PER_CHARACTER = 3
"""At most: one Hangul syllable decomposes into three letters."""


class WordPieceTokenizer(ModelTokenizer):
    """A WordPiece tokenizer; a word has the same tokens wherever it stands."""

    def __init__(self, backend: Tokenizer, mask: int, size: int) -> None:
        super().__init__(backend, mask, size)
        special = [number for number, token in self._added.items() if token.special]
        self._special_ids = {self.mask, *special}

    def decode(self, token_id: int) -> str:
        """The text of one token."""
        return str(self._backend.id_to_token(token_id))

    def is_spaced(self, token_ids: Sequence[int]) -> bool:  # noqa: ARG002 - tokens carry no space
        """True: tokens do not carry the space before a word."""
        return True

    def whole_words(self, *, spaced: bool = True) -> np.ndarray:  # noqa: ARG002 - the same for both
        """Which tokens may be whole words: bool, shape ``(size,)``."""
        tokens = map(self._backend.id_to_token, range(self.size))
        allowed = np.array([token is not None and is_plain(token) for token in tokens])
        allowed[list(self._special_ids)] = False
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

    def encode_word(self, word: str, replaced: tuple[int, ...] = ()) -> tuple[int, ...]:  # noqa: ARG002 - a word has the same tokens everywhere
        """The token ids of a word."""
        return self._encode_word(word)

    def max_tokens(self, text: str) -> int:
        """An upper bound of a text's number of tokens, found without tokenizing it."""
        return len(text) * _TOKENS_PER_CHARACTER

    def normalize(self, word: str) -> str:
        """A word as the model knows it, without spaces."""
        return "".join(super().normalize(word).split())

    def _basic_spans(self, text: str, encoding: Encoding) -> tuple[Span, ...]:
        """Tokens of one basic token share a word id; offsets point into the original text."""
        spans: list[Span] = []
        columns = (encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids)
        for _, members in groupby(zip(*columns, strict=True), key=itemgetter(3)):
            ids, parts, offsets, _ = zip(*members, strict=True)
            start, end = offsets[0][0], include_combining_marks(text, offsets[-1][1])
            joined = "".join(part.removeprefix(CONTINUATION) for part in parts)
            if ids[0] in self._special_ids:
                joined = self.normalize(text[start:end])  # a word too long is one unknown token
            spans.append(Span(start, end, joined, ids))
        return tuple(spans)

    def _nltk_spans(self, text: str) -> tuple[Span, ...]:
        return tuple(
            Span(start, end, self.normalize(text[start:end]), token_ids)
            for start, end in nltk_words(text)
            if (token_ids := self.encode_word(text[start:end]))
        )
