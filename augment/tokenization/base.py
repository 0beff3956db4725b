"""A model's tokenizer over the original text: spans, special tokens, which tokens are words."""

from __future__ import annotations

import json
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from augment.contract.foreign import counted
from augment.errors import AssetInvalid
from augment.tokenization.words import Span

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CONTINUATION = "##"


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of special tokens before a text, between the two texts of a pair and at the end.

    ``segments``: whether the two texts of a pair have segments of their own.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    segments: bool


class ModelTokenizer(ABC):
    """A model's tokenizer, asked for spans over the original text.

    Text that looks like a special token is ordinary text here.

    Attributes:
        size: Number of tokens the model knows.
        mask: Id of the mask.
        specials: The special tokens around texts.
    """

    def __init__(self, backend: Tokenizer, mask: int, size: int) -> None:
        """Take a tokenizer; it is changed and must not be used elsewhere.

        It may name fewer tokens than ``size``, the number that the model knows.

        Raises:
            AssetInvalid: It puts no special tokens around a text.
        """
        backend.no_truncation()
        backend.no_padding()
        self.mask = mask
        self.specials = _special_tokens(backend, str(backend.id_to_token(mask)))
        self._description = backend.to_str()
        backend.encode_special_tokens = True
        self._backend = self._word_backend = backend
        self._encode_word = lru_cache(maxsize=200_000)(self._encode_word_uncached)
        self.size = size
        self._added = backend.get_added_tokens_decoder()

    def canonical_json(self) -> str:
        """The tokenizer's own description, for digests."""
        return json.dumps(json.loads(self._description), sort_keys=True, ensure_ascii=False)

    @abstractmethod
    def decode(self, token_id: int) -> str:
        """The text of one token, without the space before it."""

    @abstractmethod
    def is_spaced(self, token_ids: Sequence[int]) -> bool:
        """Whether a word of these tokens stands in its text with a space before it.

        Always, where tokens do not carry that space.
        """

    @abstractmethod
    def whole_words(self, *, spaced: bool = True) -> np.ndarray:
        """Which tokens may be whole words, with a space before them or not: bool, ``(size,)``.

        Parts of words, special tokens and ``[unused…]`` tokens are not among them.
        """

    @abstractmethod
    def spans(self, texts: Sequence[str], rule: str) -> list[tuple[Span, ...]]:
        """The words of each original text, with the tokens they have in it.

        Rule ``basic``: stretches between spaces and punctuation marks; ``all``: NLTK's words.
        """

    @abstractmethod
    def encode_word(self, word: str, replaced: tuple[int, ...]) -> tuple[int, ...]:
        """The token ids of a word that is written where the tokens ``replaced`` stand."""

    @abstractmethod
    def max_tokens(self, text: str) -> int:
        """An upper bound of a text's number of tokens, found without tokenizing it."""

    def _encode_word_uncached(self, word: str) -> tuple[int, ...]:
        return tuple(self._word_backend.encode(word, add_special_tokens=False).ids)

    def normalize(self, word: str) -> str:
        """A word as the model knows it: NFC, then the model's own normalizer."""
        composed = unicodedata.normalize("NFC", word)
        normalizer = self._backend.normalizer
        return str(normalizer.normalize_str(composed)) if normalizer else composed


def is_plain(token: str) -> bool:
    """Whether a token can stand in a text as a word of its own."""
    if not token or token.startswith(CONTINUATION) or token != token.strip():
        return False
    bracketed = token[0] + token[-1] in ("[]", "<>") and len(token) > 2
    return not bracketed and not any(character.isspace() for character in token)


def nltk_words(text: str) -> list[tuple[int, int]]:
    """Start and end of every word of an NLTK word tokenization."""
    from nltk.tokenize import NLTKWordTokenizer

    return list(NLTKWordTokenizer().span_tokenize(text))


def _special_tokens(backend: Tokenizer, mask: str) -> SpecialTokens:
    """What the tokenizer's own post-processor puts around one text and around a pair."""
    alone, pair = backend.encode(mask), backend.encode(mask, mask)
    before, after = _around(alone, (0,))
    opening, between, closing = _around(pair, (0, 1))
    if not before or not after or (before, after) != (opening, closing):
        raise AssetInvalid(
            f"the tokenizer puts {counted(len(before), 'special token')} before a "
            f"text, {len(after)} after it "
            f"and {len(opening)} and {len(closing)} around a pair; at least one on each side and "
            "the same ones are expected.",
            "Save it again with its post-processor: tokenizer.save_pretrained(DIR)",
        )
    return SpecialTokens(before, between, after, segments=len(set(pair.type_ids)) > 1)


def _around(encoding: Encoding, sequences: Sequence[int]) -> list[tuple[int, ...]]:
    """The special tokens before, between and after the sequences."""
    parts, end = [], 0
    for sequence in sequences:
        inside = [i for i, number in enumerate(encoding.sequence_ids) if number == sequence]
        if not inside:
            return [()] * (len(sequences) + 1)
        parts.append(tuple(encoding.ids[end : inside[0]]))
        end = inside[-1] + 1
    return [*parts, tuple(encoding.ids[end:])]
