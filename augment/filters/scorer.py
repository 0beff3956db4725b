"""Numbers a model gives to texts, so that no decision depends on how the work was cut.

Texts of equal length go through the model together, without padding, in float32. Such results move
in their last digits with the batch shape and the number of threads: whoever decides by them asks
for the canonical value (the text alone, in float64, on one thread of the processor) wherever the
decision is closer than rounding can move it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch

from augment.contract.models import WHOLE_WEIGHTS
from augment.errors import AssetInvalid
from augment.masked_lm.batching import one_thread, run_halving
from augment.versions.rows import Texts

TOKENS_A_BATCH = 4096

ROUNDING = 5e-5
"""More than float32 ever moves a logit or a part of a unit vector: 17 times the largest distance
from float64 seen on real texts with a fine-tuned model (2.9e-6)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row as the model reads it: named sequences of one length, such as ``input_ids``."""

    inputs: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def length(self) -> int:
        """Tokens, special ones included."""
        return len(self.inputs[0][1])


class Scorer:
    """A model that gives a vector of numbers to a row of texts.

    Attributes:
        name: Its folder or hub name.
        digest: SHA-256 over weights, configuration and tokenizer.
        notice: What a user should know of the model; empty where there is nothing to say.
        tokens_a_batch: Tokens that go through the model at once; fewer where memory is short.
        rounding: How far float32 may lie from the canonical value.
    """

    def __init__(
        self,
        model: Any,
        read: Callable[[Any], torch.Tensor],
        encode: Callable[[Sequence[Texts]], list[Encoded]],
        digest: str,
        *,
        name: str,
        device: str = "cpu",
        notice: str = "",
    ) -> None:
        """Put a model into eval mode on its device.

        It is called with tensors of shape ``(rows, length)``; ``read`` makes float values of shape
        ``(rows, width)`` of its output.
        """
        self._model = model.to(device).eval()
        self._exact: Any = None
        self._read, self._encode = read, encode
        self._device, self.tokens_a_batch, self.rounding = device, TOKENS_A_BATCH, ROUNDING
        self.name, self.digest, self.notice = name, digest, notice

    def score(self, rows: Iterable[Texts]) -> Scores:
        """Score rows; equal ones once. A batch that does not fit in memory is halved.

        Raises:
            AssetInvalid: The model returns NaN.
        """
        distinct = list(dict.fromkeys(rows))
        encoded = self._encode(distinct) if distinct else []
        values: dict[int, np.ndarray] = {}

        def run(members: list[int]) -> None:
            batch = self._run(self._model, [encoded[i] for i in members], self._device)
            if np.isnan(batch).any():
                raise AssetInvalid(
                    f"{self.name} returns NaN; its weights are not usable.", WHOLE_WEIGHTS
                )
            values.update(zip(members, batch, strict=True))

        def too_large(members: list[int]) -> None:
            tokens = sum(encoded[i].length for i in members)
            self.tokens_a_batch = min(self.tokens_a_batch, tokens // 2)

        run_halving(self._batches([item.length for item in encoded]), run, too_large)
        by_texts = {texts: values[i] for i, texts in enumerate(distinct)}
        return Scores(by_texts, self.canonical, self.rounding)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Rows of equal length, at most ``tokens_a_batch`` tokens together."""
        by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
        for length, group in groupby(by_length, key=lengths.__getitem__):
            members, size = list(group), max(1, self.tokens_a_batch // length)
            for at in range(0, len(members), size):
                yield members[at : at + size]

    def canonical(self, texts: Texts) -> np.ndarray:
        """The values of one row, shape ``(width,)``: the same on any cut of the work."""
        with one_thread():
            values: np.ndarray = self._run(self.exact(), self._encode([texts]), "cpu")[0]
        return values

    def exact(self) -> Any:
        """The model in float64 on the processor, made when it is first asked for."""
        if self._exact is None:
            self._exact = copy.deepcopy(self._model).to("cpu", torch.float64)
        return self._exact

    @torch.inference_mode()
    def _run(self, model: Any, rows: Sequence[Encoded], device: str) -> np.ndarray:
        """Float64 values of rows of equal length, shape ``(rows, width)``."""
        inputs = {
            name: torch.tensor([row.inputs[i][1] for row in rows], device=device)
            for i, (name, _) in enumerate(rows[0].inputs)
        }
        values: torch.Tensor = self._read(model(**inputs))
        return values.cpu().numpy().astype(np.float64)


@dataclass(slots=True)
class Scores:
    """The values of many rows, each in float32 until the canonical one is asked for.

    Attributes:
        values: Texts of a row → its values, shape ``(width,)``.
        canonical: Computes the canonical values of a row.
        rounding: How far a float32 value may lie from the canonical one.
    """

    values: dict[Texts, np.ndarray]
    canonical: Callable[[Texts], np.ndarray]
    rounding: float = ROUNDING
    _settled: set[Texts] = field(default_factory=set, init=False)

    def __getitem__(self, texts: Texts) -> np.ndarray:
        return self.values[texts]

    def settle(self, texts: Texts) -> np.ndarray:
        """The canonical values of a row, computed when they are first asked for."""
        if texts not in self._settled:
            self.values[texts] = self.canonical(texts)
            self._settled.add(texts)
        return self.values[texts]

    def measure(
        self, formula: Callable[[Callable[[Texts], np.ndarray]], float], threshold: float
    ) -> float:
        """A formula of rows' values, from canonical ones where float32 is near the threshold."""
        number = formula(self.__getitem__)
        close = abs(number - threshold) < 2 * self.rounding
        return formula(self.settle) if close else number
