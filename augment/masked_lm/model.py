"""The masked LM: the K best tokens for many masked positions at once, exactly.

Float32 results move in their last digits with the batch shape and the number of threads, so a
position whose ranks K and K+1 are closer than ``TIE_GAP`` is computed again in one canonical way
(alone, in float64 on the processor): its set never depends on how the work was cut or where it ran.
Bfloat16, which a recipe may ask for, is another approximation of the model; no gap makes up for its
error, so its rankings stand as they are and are the same on one kind of processor only. See
docs/method.md, section 8.5.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from augment.contract.models import WHOLE_WEIGHTS
from augment.errors import AssetInvalid
from augment.masked_lm.batching import one_thread, run_halving
from augment.masked_lm.inputs import MaskedInput, PackedInputs, pack, shared
from augment.masked_lm.kernels import top_columns
from augment.masked_lm.registry import Forward, forward_of, longest_input
from augment.tokenization.base import ModelTokenizer

TIE_GAP = 2e-4
"""Logit distance between ranks K and K+1 below which a position is computed canonically: some 40
times the largest change seen between batch shapes on real sentences; it concerns 0.4% of them."""

CPU_TOKENS_A_BATCH = 2048
"""What keeps a processor's caches warm."""

ACCELERATOR_TOKENS_A_BATCH = 32768


@dataclass(frozen=True, slots=True)
class Ranking:
    """The K best tokens of one position, best first; those that may not stand there are missing.

    Attributes:
        token_ids: Token ids.
        scores: Their logits.
        settled: Whether the order is canonical, so that any cut of it is exact.
    """

    token_ids: tuple[int, ...]
    scores: tuple[float, ...]
    settled: bool = False

    @classmethod
    def of(cls, token_ids: np.ndarray, scores: np.ndarray, *, settled: bool) -> Ranking:
        """From arrays in which ruled out tokens score minus infinity."""
        finite = np.isfinite(scores)
        return cls(tuple(token_ids[finite].tolist()), tuple(scores[finite].tolist()), settled)


class MaskedLM:
    """A masked language model with its tokenizer, in eval mode.

    Attributes:
        tokenizer: Its tokenizer.
        limit: The longest input, in tokens.
        digest: SHA-256 over weights, configuration and tokenizer.
        precision: ``float32`` or ``bfloat16``.
        tokens_a_batch: Tokens that go through the model at once; fewer where memory is short.
        tie_gap: See ``TIE_GAP``.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: ModelTokenizer,
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
        self.tie_gap = TIE_GAP
        words = [tokenizer.whole_words(spaced=spaced) for spaced in (False, True)]
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
        inputs: Sequence[MaskedInput],
        k: int,
        *,
        words_only: bool,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> list[Ranking]:
        """The K best tokens at each masked position, in the order asked for.

        Args:
            inputs: One for each position, in any order; those of one input cost one forward.
            k: K.
            words_only: Rank whole words only; otherwise all tokens.
            on_batch: Called after each batch with the positions done in it and the tokens read.

        Raises:
            AssetInvalid: The model returns NaN.
        """
        results: dict[int, Ranking] = {}

        def run(members: list[int]) -> None:
            rankings = self._rank([inputs[i] for i in members], k, words_only=words_only)
            results.update(zip(members, rankings, strict=True))
            if on_batch is not None:
                on_batch(len(members), sum(len(inputs[i].ids) for i in members))

        def too_large(members: list[int]) -> None:
            batch = [inputs[i] for i in members]
            tokens = sum(len(batch[of[0]].ids) for of in shared(batch))
            self.tokens_a_batch = min(self.tokens_a_batch, tokens // 2)

        run_halving(self._batches(inputs), run, too_large)
        return [results[i] for i in range(len(inputs))]

    def _batches(self, inputs: Sequence[MaskedInput]) -> list[list[int]]:
        """Inputs in the order of their lengths, at most ``tokens_a_batch`` tokens together."""
        batches: list[list[int]] = []
        room = 0
        for members in sorted(shared(inputs), key=lambda of: (len(inputs[of[0]].ids), len(of))):
            length = len(inputs[members[0]].ids)
            if length > room:
                batches.append([])
                room = self.tokens_a_batch
            batches[-1] += members
            room -= length
        return batches

    def _rank(self, inputs: Sequence[MaskedInput], k: int, *, words_only: bool) -> list[Ranking]:
        """The rankings of one batch."""
        logits = self._logits(pack(inputs, self._device), words_only=words_only)
        best = top_columns(logits, min(k + 1, logits.shape[-1]))
        scores = logits.gather(1, best).cpu().numpy()
        if bool(np.isnan(scores).any()):
            raise AssetInvalid(
                "the masked LM returns NaN; its weights are not usable.", WHOLE_WEIGHTS
            )
        settles = self.precision == "float32" and scores.shape[1] > k
        tied = np.zeros(len(scores), bool)
        if settles:
            tied = scores[:, k - 1] - scores[:, -1] < self.tie_gap
        return [
            self._canonical(inputs[row], k, words_only=words_only)
            if tied[row]
            else Ranking.of(token_ids[:k], scores[row, :k], settled=not settles)
            for row, token_ids in enumerate(best.cpu().numpy())
        ]

    def _logits(self, inputs: PackedInputs, *, words_only: bool) -> torch.Tensor:
        """Logits at the masks, shape ``(masks, vocabulary)``."""
        logits = self._forward(inputs)
        if words_only:
            logits = logits.masked_fill(~self._whole_words[inputs.spaced], -torch.inf)
        return logits

    def _canonical(self, masked: MaskedInput, k: int, *, words_only: bool) -> Ranking:
        """One position alone, in float64 on one thread; equal logits are ordered by token id."""
        with one_thread():
            logits = self.exact()(pack([masked], "cpu"))[0]
        if words_only:
            logits = logits.masked_fill(~self._whole_words[int(masked.spaced)].cpu(), -torch.inf)
        scores = logits.numpy()
        order = np.lexsort((np.arange(scores.size), -scores))[:k]
        return Ranking.of(order, scores[order], settled=True)
