"""The masked LM: the K best pieces for many masked positions at once, exactly.

Positions of all sentences are grouped by length, so no batch is padded; the LM head runs at the
masked position only. Float32 results move in their last digits with the batch shape and the
number of threads, so a position whose ranks K and K+1 are closer than ``TIE_GAP`` is computed
again in one canonical way (alone, in float64 on the processor): its set never depends on how the
work was cut or where it ran.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from augment.errors import AssetInvalid
from augment.forward import MaskForward
from augment.pieces import PieceTokenizer

TIE_GAP = 2e-4
"""Logit distance between ranks K and K+1 below which a position is computed canonically: some 40
times the largest change seen between batch shapes on real sentences; it concerns 0.4% of them."""

TOKENS_A_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Query:
    """One masked position.

    Attributes:
        ids: The whole input, special pieces included.
        first_segment: How many of the ids belong to the first segment.
        mask_at: Where the mask stands.
    """

    ids: tuple[int, ...]
    first_segment: int
    mask_at: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """The K best pieces of one position, best first.

    Attributes:
        pieces: Piece ids.
        scores: Their logits.
        settled: Whether the order is canonical, so that any cut of it is exact.
    """

    pieces: tuple[int, ...]
    scores: tuple[float, ...]
    settled: bool = False


def build_query(
    words: Sequence[tuple[int, ...]], at: int, tokenizer: PieceTokenizer, context: str, limit: int
) -> Query | None:
    """The input for one word of a sentence, or None where the mask would lie beyond the limit.

    Args:
        words: The pieces of every word, in order.
        at: Which word is masked; it must be a one-piece word.
        tokenizer: For the ids of the special pieces.
        context: ``single``: the masked sentence; ``pair``: then the original as second segment.
        limit: The longest input of the model, in pieces.
    """
    before = [piece for word in words[:at] for piece in word]
    after = [piece for word in words[at + 1 :] for piece in word]
    first = [tokenizer.cls, *before, tokenizer.mask, *after, tokenizer.sep]
    mask_at = len(before) + 1
    if mask_at >= limit:
        return None
    second = [*before, *words[at], *after, tokenizer.sep] if context == "pair" else []
    ids = tuple([*first, *second][:limit])
    return Query(ids, min(len(first), limit), mask_at)


class MaskedLM:
    """A masked language model with its tokenizer, in eval mode.

    Attributes:
        tokenizer: The model's pieces.
        limit: The longest input, in pieces.
        digest: SHA-256 over weights, configuration and tokenizer.
    """

    def __init__(
        self, model: Any, tokenizer: PieceTokenizer, digest: str, *, device: str = "cpu"
    ) -> None:
        self._model = model.to(device).eval()
        self._forward = MaskForward(self._model)
        self._exact: MaskForward | None = None
        self._device = device
        self.tokenizer = tokenizer
        self.digest = digest
        self.limit = int(model.config.max_position_embeddings)
        self.tokens_a_batch = TOKENS_A_BATCH
        self._whole_words = torch.from_numpy(tokenizer.whole_words()).to(device)

    @torch.inference_mode()
    def rank(
        self,
        queries: Sequence[Query],
        k: int,
        *,
        words_only: bool,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[Ranked]:
        """The K best pieces at each masked position.

        Args:
            queries: The positions, in any order.
            k: K.
            words_only: Rank whole words only; otherwise all pieces.
            on_batch: Called after each batch with the number of positions done in it.

        Returns:
            One ranking for each query, in the queries' order.

        Raises:
            AssetInvalid: The model returns NaN.
        """
        results: dict[int, Ranked] = {}
        for members in self._batches(queries):
            logits = self._logits([queries[i] for i in members], words_only=words_only)
            top = torch.topk(logits, min(k + 1, logits.shape[-1]), dim=-1)
            if bool(torch.isnan(top.values).any()):
                raise AssetInvalid("the masked LM returns NaN; its weights are not usable.")
            scores, pieces = top.values.cpu().numpy(), top.indices.cpu().numpy()
            close = scores[:, k - 1] - scores[:, -1] < TIE_GAP if scores.shape[1] > k else None
            for row, i in enumerate(members):
                if close is not None and close[row]:
                    results[i] = self._canonical(queries[i], k, words_only=words_only)
                else:
                    results[i] = _ranked(pieces[row, :k], scores[row, :k])
            if on_batch is not None:
                on_batch(len(members))
        return [results[i] for i in range(len(queries))]

    def _batches(self, queries: Sequence[Query]) -> Iterator[list[int]]:
        """Positions of equal length, at most ``tokens_a_batch`` pieces together."""
        by_length: dict[int, list[int]] = {}
        for i, query in enumerate(queries):
            by_length.setdefault(len(query.ids), []).append(i)
        for length in sorted(by_length):
            members, size = by_length[length], max(1, self.tokens_a_batch // length)
            for at in range(0, len(members), size):
                yield members[at : at + size]

    def _logits(self, queries: Sequence[Query], *, words_only: bool) -> torch.Tensor:
        """Logits at the masks, shape ``(queries, vocabulary)``; the inputs have equal length."""
        logits = self._forward(*_tensors(queries, self._device)).float()
        if words_only:
            logits = logits.masked_fill(~self._whole_words, -torch.inf)
        return logits

    def _canonical(self, query: Query, k: int, *, words_only: bool) -> Ranked:
        """One position alone, in float64 on one thread; equal logits are ordered by piece id."""
        if self._exact is None:
            self._exact = MaskForward(copy.deepcopy(self._model).to("cpu", torch.float64))
        with _one_thread():
            logits = self._exact(*_tensors([query], "cpu"))[0]
        if words_only:
            logits = logits.masked_fill(~self._whole_words.cpu(), -torch.inf)
        scores = logits.numpy()
        order = np.lexsort((np.arange(scores.size), -scores))[:k]
        return _ranked(order, scores[order], settled=True)


def _tensors(
    queries: Sequence[Query], device: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Piece ids, segments and mask positions of inputs of equal length."""
    ids = torch.tensor([query.ids for query in queries], device=device)
    at = torch.tensor([query.mask_at for query in queries], device=device)
    split = torch.tensor([query.first_segment for query in queries], device=device)
    segments = (torch.arange(ids.shape[1], device=device) >= split[:, None]).long()
    return ids, segments, at


def _ranked(pieces: np.ndarray, scores: np.ndarray, *, settled: bool = False) -> Ranked:
    finite = np.isfinite(scores)
    return Ranked(tuple(pieces[finite].tolist()), tuple(scores[finite].tolist()), settled)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
