"""Pieces: a model's tokenizer asked for words, ids, and which pieces may be written into a text."""

from __future__ import annotations

import json
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from augment.errors import AssetInvalid
from augment.tokenization.words import Span

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


CONTINUATION = "##"


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The special pieces around a text and around a pair of texts.

    Attributes:
        before: What stands before the first text.
        between: What stands between the two texts of a pair.
        after: What stands at the end.
        segments: Whether the two texts of a pair have segments of their own.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    segments: bool


class PieceTokenizer(ABC):
    """A tokenizer seen as spans over the original text.

    Text that looks like a special token is ordinary text here.

    Attributes:
        forms: In how many forms a whole word may be one piece; see ``whole_words``.
        size: Number of pieces the model knows.
        mask: Id of the mask.
        frame: The special pieces around texts.
    """

    forms = 1

    def __init__(self, backend: Tokenizer, mask: int, size: int) -> None:
        """Take a tokenizer; it is changed and must not be used elsewhere.

        Args:
            backend: The tokenizer.
            mask: Id of its mask.
            size: Number of pieces the model knows; the tokenizer may name fewer.

        Raises:
            AssetInvalid: It puts no special pieces around a text.
        """
        backend.no_truncation()
        backend.no_padding()
        self.mask = mask
        self.frame = _frame(backend, str(backend.id_to_token(mask)))
        self._description = backend.to_str()
        backend.encode_special_tokens = True
        self._backend = backend
        self.size = size
        self._added = backend.get_added_tokens_decoder()

    def canonical_json(self) -> str:
        """The tokenizer's own description, for digests."""
        return json.dumps(json.loads(self._description), sort_keys=True, ensure_ascii=False)

    @abstractmethod
    def token(self, piece: int) -> str:
        """The text that a piece writes."""

    @abstractmethod
    def form_of(self, pieces: Sequence[int]) -> int:
        """The form in which a word of these pieces stands in its text."""

    @abstractmethod
    def whole_words(self, form: int = 0) -> np.ndarray:
        """Which pieces may stand in a text as words of a form: ``bool``, shape ``(size,)``.

        Parts of words, special tokens and ``[unused…]`` places are not among them.
        """

    @abstractmethod
    def spans(self, texts: Sequence[str], rule: str) -> list[tuple[Span, ...]]:
        """The words of each text, with the pieces they have in it.

        Args:
            texts: Original texts.
            rule: ``basic``: stretches between spaces and punctuation marks; ``all``: NLTK's words.
        """

    @abstractmethod
    def encode_word(self, word: str, instead_of: tuple[int, ...]) -> tuple[int, ...]:
        """The pieces of a word that is written where these pieces stand."""

    @abstractmethod
    def most_pieces(self, text: str) -> int:
        """A number of pieces that a text cannot exceed, found without tokenizing it."""

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
    return list(_nltk_tokenizer().span_tokenize(text))


@lru_cache(maxsize=1)
def _nltk_tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


def _frame(backend: Tokenizer, mask: str) -> SpecialTokens:
    """What the tokenizer's own post-processor puts around one text and around a pair."""
    alone, pair = backend.encode(mask), backend.encode(mask, mask)
    before, after = _split(alone, (0,))
    opening, between, closing = _split(pair, (0, 1))
    if not before or not after or (before, after) != (opening, closing):
        raise AssetInvalid(
            f"the tokenizer puts {len(before)} special pieces before a text, {len(after)} after it "
            f"and {len(opening)} and {len(closing)} around a pair; at least one on each side and "
            "the same ones are expected.",
            "Save it again with its post-processor: tokenizer.save_pretrained(DIR)",
        )
    return SpecialTokens(before, between, after, segments=len(set(pair.type_ids)) > 1)


def _split(encoding: Encoding, sequences: Sequence[int]) -> list[tuple[int, ...]]:
    """The special pieces before, between and after the sequences."""
    parts, at = [], 0
    for sequence in sequences:
        own = [i for i, number in enumerate(encoding.sequence_ids) if number == sequence]
        if not own:
            return [()] * (len(sequences) + 1)
        parts.append(tuple(encoding.ids[at : own[0]]))
        at = own[-1] + 1
    return [*parts, tuple(encoding.ids[at:])]
