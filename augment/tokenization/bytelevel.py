"""Byte-level BPE tokenizers (RoBERTa, ModernBERT): ``Ġ`` in a token is the space before a word.

One word is spelled in two ways: spaced, and joined to what stands before it (at the start of a
text, after a bracket or a line break). The text is fed as the model's own tokenizer cuts it, so a
word is spelled as it stands there, and its candidates are spelled in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.pre_tokenizers import BertPreTokenizer

from augment.tokenization.alignment import TokenSpan, align
from augment.tokenization.base import ModelTokenizer, is_plain, nltk_words
from augment.tokenization.words import Span

if TYPE_CHECKING:
    from tokenizers import Encoding

SPACE = "Ġ"
_BYTES_PER_BYTE = 3
"""At most: composition (NFC) turns a character of four bytes into three of four bytes."""


class ByteLevelTokenizer(ModelTokenizer):
    """A byte-level BPE tokenizer."""

    def __init__(self, backend: Tokenizer, mask: int, size: int) -> None:
        super().__init__(backend, mask, size)
        backend.post_processor = None  # it would cut the space off the offsets
        self._decoder = ByteLevel()
        self._basic_words = BertPreTokenizer()
        self._word_backend = _without_prefix_space(backend)

    def decode(self, token_id: int) -> str:
        """The text of one token, without the space before it."""
        return str(self._decoder.decode([self._raw(token_id)])).removeprefix(" ")

    def is_spaced(self, token_ids: Sequence[int]) -> bool:
        """Whether the first token carries a space."""
        return self._raw(token_ids[0]).startswith(SPACE)

    def whole_words(self, *, spaced: bool = True) -> np.ndarray:
        """Which tokens may be whole words: bool, shape ``(size,)``.

        A joined token may be a word or the end of one; it counts as a word where the vocabulary has
        it with a space too.
        """
        allowed = np.zeros(self.size, dtype=bool)
        for token, token_id in self._backend.get_vocab(with_added_tokens=True).items():
            used = token_id < self.size and token_id not in self._added
            if token.startswith(SPACE) is not spaced or not used:
                continue
            text = self.decode(token_id)
            known = spaced or self._backend.token_to_id(SPACE + token) is not None
            allowed[token_id] = known and is_plain(text) and "\ufffd" not in text
        return allowed

    def spans(self, texts: Sequence[str], rule: str) -> list[tuple[Span, ...]]:
        """The words of each text, by spaces and punctuation marks or by NLTK.

        What has tokens of its own between words, such as a second space, is a span as well.
        """
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            self._align(text, nltk_words(text) if rule == "all" else self._basic(text), encoding)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def encode_word(self, word: str, replaced: tuple[int, ...]) -> tuple[int, ...]:
        """The token ids of a word, spaced where the tokens it replaces are."""
        return self._encode_word(f" {word}" if self.is_spaced(replaced) else word)

    def max_tokens(self, text: str) -> int:
        """An upper bound of a text's number of tokens: none is shorter than a byte."""
        return len(text.encode()) * _BYTES_PER_BYTE + 1

    def _raw(self, token_id: int) -> str:
        return str(self._backend.id_to_token(token_id))

    def _basic(self, text: str) -> list[tuple[int, int]]:
        return [offsets for _, offsets in self._basic_words.pre_tokenize_str(text)]

    def _align(
        self, text: str, words: Sequence[tuple[int, int]], encoding: Encoding
    ) -> tuple[Span, ...]:
        parts = zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True)
        tokens = [TokenSpan(number, *offsets, pretoken) for number, offsets, pretoken in parts]
        return tuple(
            Span(s.start, s.end, self.normalize(text[s.start : s.end]), tuple(s.token_ids))
            for s in align(len(text), words, tokens)
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
    changed = Tokenizer.from_str(json.dumps(description))
    changed.encode_special_tokens = True
    return changed
