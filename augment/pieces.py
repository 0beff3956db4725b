"""Word pieces: the model's tokenizer asked for spans, ids and which pieces are whole words."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from augment.errors import AssetInvalid
from augment.words import Span, include_combining_marks

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CONTINUATION = "##"


class PieceTokenizer:
    """A WordPiece tokenizer seen as spans over the original text.

    Text that looks like a special token is ordinary text here.

    Attributes:
        size: Number of pieces in the vocabulary.
        cls: Id of the piece that starts a sequence.
        sep: Id of the piece that ends a segment.
        mask: Id of the mask.
    """

    def __init__(self, backend: Tokenizer, cls: int, sep: int, mask: int) -> None:
        self._backend = backend
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        self.size = backend.get_vocab_size(with_added_tokens=True)
        self.cls, self.sep, self.mask = cls, sep, mask
        self._specials = {cls, sep, mask} | {
            number for number, token in backend.get_added_tokens_decoder().items() if token.special
        }
        self._encode_word = lru_cache(maxsize=200_000)(self._encode_word_uncached)

    @classmethod
    def from_transformers(cls, tokenizer: Any) -> PieceTokenizer:
        """Wrap a fast tokenizer of transformers.

        Raises:
            AssetInvalid: It is not a WordPiece tokenizer with a mask.
        """
        ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id)
        model = type(tokenizer.backend_tokenizer.model).__name__ if tokenizer.is_fast else "slow"
        if model != "WordPiece" or None in ids:
            raise AssetInvalid(
                f"the tokenizer is {type(tokenizer).__name__} ({model}); "
                "a fast WordPiece tokenizer with [CLS], [SEP] and [MASK] is expected."
            )
        backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        return cls(backend, *ids)

    def canonical_json(self) -> str:
        """The tokenizer's own description, for digests."""
        return json.dumps(json.loads(self._backend.to_str()), sort_keys=True, ensure_ascii=False)

    def token(self, piece: int) -> str:
        """The text of a piece."""
        return str(self._backend.id_to_token(piece))

    def whole_words(self) -> np.ndarray:
        """Which pieces may stand in a text: ``bool``, shape ``(size,)``.

        Continuation pieces, special tokens and ``[unused…]`` places are not among them.
        """
        allowed = np.ones(self.size, dtype=bool)
        for piece in range(self.size):
            token = self._backend.id_to_token(piece)
            allowed[piece] = token is not None and is_plain(token)
        allowed[list(self._specials)] = False
        return allowed

    def spans(self, texts: Sequence[str], rule: str) -> list[tuple[Span, ...]]:
        """The words of each text.

        Args:
            texts: Original texts.
            rule: ``basic``: the tokenizer's own basic tokens; ``all``: NLTK's words.
        """
        if rule == "all":
            return [self._nltk_spans(text) for text in texts]
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            self._basic_spans(text, encoding)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def encode_word(self, word: str) -> tuple[int, ...]:
        """The pieces of one word on its own."""
        return self._encode_word(word)

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
                joined = self.normalise(text[start:end])  # a word too long is one unknown piece
            spans.append(Span(start, end, joined, pieces))
            first = i
        return tuple(spans)

    def _nltk_spans(self, text: str) -> tuple[Span, ...]:
        spans = []
        for start, end in _nltk_tokenizer().span_tokenize(text):
            normalised = self.normalise(text[start:end])
            pieces = self.encode_word(text[start:end])
            if pieces:
                spans.append(Span(start, end, normalised, pieces))
        return tuple(spans)

    def normalise(self, word: str) -> str:
        """A word as the model knows it: NFC, then the model's own normaliser."""
        composed = unicodedata.normalize("NFC", word)
        normalizer = self._backend.normalizer
        normalised = str(normalizer.normalize_str(composed)) if normalizer else composed
        return "".join(normalised.split())


def is_plain(token: str) -> bool:
    """Whether a token can stand in a text as a word of its own."""
    if not token or token.startswith(CONTINUATION) or token != token.strip():
        return False
    bracketed = token[0] + token[-1] in ("[]", "<>") and len(token) > 2
    return not bracketed and not any(character.isspace() for character in token)


@lru_cache(maxsize=1)
def _nltk_tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()
