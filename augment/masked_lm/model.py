"""The masked LM: the K best pieces for many masked positions at once, exactly.

Float32 results move in their last digits with the batch shape and the number of threads, so a
position whose ranks K and K+1 are closer than ``TIE_GAP`` is computed again in one canonical way
(alone, in float64 on the processor): its set never depends on how the work was cut or where it ran.
Bfloat16, which a recipe may ask for, is another approximation of the model; no gap makes up for its
error, so its rankings stand as they are and are the same on one kind of processor only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from augment.batching import one_thread, run_halving
from augment.errors import AssetInvalid
from augment.masked_lm.inputs import Packed, Query, pack
from augment.masked_lm.kernels import top_columns
from augment.masked_lm.registry import Forward, forward_of, longest_input
from augment.tokenization.base import PieceTokenizer

TIE_GAP = 2e-4
"""Logit distance between ranks K and K+1 below which a position is computed canonically: some 40
times the largest change seen between batch shapes on real sentences; it concerns 0.4% of them."""

CPU_TOKENS_A_BATCH = 2048
"""Pieces a batch: what keeps a processor's caches warm."""

ACCELERATOR_TOKENS_A_BATCH = 32768


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


class MaskedLM:
    """A masked language model with its tokenizer, in eval mode.

    Attributes:
        tokenizer: The model's pieces.
        limit: The longest input, in pieces.
        digest: SHA-256 over weights, configuration and tokenizer.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PieceTokenizer,
        digest: str,
        *,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self._model = model.to(device).eval()
        self._forward = forward_of(self._model, getattr(torch, precision))
        self._exact: Forward | None = None
        self._device = device
        self.tokenizer = tokenizer
        self.digest = digest
        self.precision = precision
        self.limit = longest_input(model.config)
        self.tokens_a_batch = CPU_TOKENS_A_BATCH if device == "cpu" else ACCELERATOR_TOKENS_A_BATCH
        words = [tokenizer.whole_words(form) for form in range(tokenizer.forms)]
        self._whole_words = torch.from_numpy(np.stack(words)).to(device)

    def in_float32(self) -> MaskedLM:
        """The same model computing in float32."""
        return MaskedLM(self._model, self.tokenizer, self.digest, device=self._device)

    def exact(self) -> Forward:
        """The model in float64 on the processor, made when it is first asked for."""
        if self._exact is None:
            exact = copy.deepcopy(self._model).to("cpu", torch.float64)
            self._exact = forward_of(exact, torch.float64)
        return self._exact

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

        def run(members: list[int]) -> None:
            ranked = self._rank([queries[i] for i in members], k, words_only=words_only)
            results.update(zip(members, ranked, strict=True))
            if on_batch is not None:
                on_batch(len(members))

        def too_large(members: list[int]) -> None:
            pieces = sum(len(queries[i].ids) for i in members)
            self.tokens_a_batch = min(self.tokens_a_batch, pieces // 2)

        run_halving(self._batches(queries), run, too_large)
        return [results[i] for i in range(len(queries))]

    def _batches(self, queries: Sequence[Query]) -> list[list[int]]:
        """Positions in the order of their lengths, at most ``tokens_a_batch`` pieces together."""
        batches: list[list[int]] = []
        room = 0
        for i in sorted(range(len(queries)), key=lambda i: len(queries[i].ids)):
            length = len(queries[i].ids)
            if length > room:
                batches.append([])
                room = self.tokens_a_batch
            batches[-1].append(i)
            room -= length
        return batches

    def _rank(self, queries: Sequence[Query], k: int, *, words_only: bool) -> list[Ranked]:
        """The rankings of one batch."""
        logits = self._logits(pack(queries, self._device), words_only=words_only)
        pieces = top_columns(logits, min(k + 1, logits.shape[-1]))
        top = logits.gather(1, pieces).cpu().numpy()
        if bool(np.isnan(top).any()):
            raise AssetInvalid("the masked LM returns NaN; its weights are not usable.")
        settles = self.precision == "float32" and top.shape[1] > k
        close = top[:, k - 1] - top[:, -1] < TIE_GAP if settles else np.zeros(len(top), bool)
        return [
            self._canonical(query, k, words_only=words_only)
            if close[row]
            else _ranked(best[:k], top[row, :k], settled=not settles)
            for row, (query, best) in enumerate(zip(queries, pieces.cpu().numpy(), strict=True))
        ]

    def _logits(self, inputs: Packed, *, words_only: bool) -> torch.Tensor:
        """Logits at the masks, shape ``(inputs, vocabulary)``."""
        logits = self._forward(inputs)
        if words_only:
            logits = logits.masked_fill(~self._whole_words[inputs.forms], -torch.inf)
        return logits

    def _canonical(self, query: Query, k: int, *, words_only: bool) -> Ranked:
        """One position alone, in float64 on one thread; equal logits are ordered by piece id."""
        with one_thread():
            logits = self.exact()(pack([query], "cpu"))[0]
        if words_only:
            logits = logits.masked_fill(~self._whole_words[query.form].cpu(), -torch.inf)
        scores = logits.numpy()
        order = np.lexsort((np.arange(scores.size), -scores))[:k]
        return _ranked(order, scores[order], settled=True)


def _ranked(pieces: np.ndarray, scores: np.ndarray, *, settled: bool = False) -> Ranked:
    finite = np.isfinite(scores)
    return Ranked(tuple(pieces[finite].tolist()), tuple(scores[finite].tolist()), settled)
