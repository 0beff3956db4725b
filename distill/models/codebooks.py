"""Token vectors put together from few shared pieces, so that each takes some bytes.

Product quantization (Jégou et al., 2011; of word vectors: Joulin et al., 2016, "FastText.zip"). The
columns of a table are cut into groups of like width; in each group all tokens share 256 pieces, and
a token is the numbers of its pieces, a byte for each group.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from distill.models.labels import settings_of

PIECES = 256
ROUNDS = 20
_LEVELS = 127
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Codebooks:
    """A table in pieces.

    Attributes:
        codes: Numbers of pieces, shape (tokens, groups).
        pieces: 8-bit numbers, shape (groups, 256, width).
        scales: What they are to be multiplied by, shape (groups,).
    """

    codes: NDArray[np.uint8]
    pieces: NDArray[np.int8]
    scales: Array

    @property
    def width(self) -> int:
        """Columns of a piece."""
        return int(self.pieces.shape[2])

    @property
    def table(self) -> Array:
        """The vectors, shape (tokens, groups * width)."""
        values = self.pieces * self.scales[:, None, None]
        groups = np.arange(len(self.scales))
        found: Array = values[groups, self.codes].reshape(len(self.codes), -1)
        return found


def fit_codebooks(table: Array, width: int, weights: Array) -> Codebooks:
    """Find the pieces that lose least, by weighted k-means with a fixed seed.

    Args:
        table: Shape (tokens, columns).
        width: Columns of a piece; it divides ``columns``.
        weights: What a token counts for, shape (tokens,); more than 0.
    """
    from sklearn.cluster import KMeans

    def fitted(group: Array) -> tuple[NDArray[np.uint8], Array]:
        known = min(PIECES, len(np.unique(group, axis=0)))
        means = KMeans(known, init="random", n_init=1, max_iter=ROUNDS, random_state=0)
        with warnings.catch_warnings(action="ignore"):  # that some rounds more would change a bit
            numbers = means.fit(group, sample_weight=weights).labels_
        return numbers.astype(np.uint8), means.cluster_centers_.astype(np.float32)

    groups = [fitted(own) for own in _groups(table, width)]
    return _rounded([numbers for numbers, _ in groups], [pieces for _, pieces in groups])


def read_codebooks(table: Array, width: int) -> Codebooks | None:
    """A table that consists of such pieces, as them; None if it does not.

    Args:
        table: Shape (tokens, columns).
        width: Columns of a piece.
    """
    if width < 1 or table.shape[1] % width:
        return None
    found = []
    for group in _groups(table, width):
        pieces, numbers = np.unique(group, axis=0, return_inverse=True)
        if len(pieces) > PIECES:
            return None
        found.append((numbers.reshape(-1).astype(np.uint8), pieces))
    return _rounded([numbers for numbers, _ in found], [pieces for _, pieces in found])


def hold_codebooks(model: PreTrainedModel) -> None:
    """Let training leave token vectors as they are, where they consist of shared pieces."""
    width = settings_of("the student", model.config).codebooks
    table = model.get_input_embeddings()
    if not width or not isinstance(table, nn.Embedding):
        return
    if read_codebooks(table.weight.detach().float().cpu().numpy(), width):
        nn.Module.requires_grad_(table, False)


def _groups(table: Array, width: int) -> list[Array]:
    return [
        np.ascontiguousarray(table[:, at : at + width]) for at in range(0, table.shape[1], width)
    ]


def _rounded(codes: list[NDArray[np.uint8]], pieces: list[Array]) -> Codebooks:
    """With 8-bit pieces; what is rounded already stays as it is."""
    largest = [float(np.abs(own).max()) or 1.0 for own in pieces]
    scales: Array = np.array(largest, np.float32) / np.float32(_LEVELS)
    numbers = np.zeros((len(pieces), PIECES, pieces[0].shape[1]), np.int8)
    for group, own in enumerate(pieces):
        numbers[group, : len(own)] = np.rint(own / scales[group])
    return Codebooks(np.stack(codes, axis=1), numbers, scales)
