"""How far a lower precision moves the candidates: the same positions of the run in both."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from augment.contract import TaskSpec
from augment.replacement.candidates import CandidateFinder
from augment.versions.rows import spread, texts_of

_ROWS = 128


@dataclass(frozen=True, slots=True)
class Agreement:
    """Candidate sets in the run's precision against those in float32.

    Attributes:
        positions: Masked positions compared.
        overlap: Mean share of a float32 set that the other set holds too.
        equal_sets: Share of positions with the very same set.
    """

    positions: int
    overlap: float
    equal_sets: float

    def measured(self) -> dict[str, float]:
        """The figures under the names that the manifest gives them."""
        return {
            "precision.positions": self.positions,
            "precision.overlap": round(self.overlap, 4),
            "precision.equal_sets": round(self.equal_sets, 4),
        }


def measure_agreement(table: pa.Table, task: TaskSpec, finder: CandidateFinder) -> Agreement:
    """Rank the positions of rows from all over the training split in both precisions.

    The candidate store of the finder is neither read nor written.
    """
    some = spread(table, _ROWS)
    texts = dict.fromkeys(texts_of(some, task))
    queries = finder.masked_queries(finder.words_of(list(texts)))
    k, words_only = finder.recipe.top_k, finder.recipe.top_k_of == "words"
    low = finder.masked_lm.rank(queries, k, words_only=words_only)
    full = finder.masked_lm.in_float32().rank(queries, k, words_only=words_only)
    pairs = [(set(a.token_ids), set(b.token_ids)) for a, b in zip(low, full, strict=True)]
    count = max(len(pairs), 1)
    return Agreement(
        positions=len(pairs),
        overlap=sum(len(a & b) / max(len(b), 1) for a, b in pairs) / count,
        equal_sets=sum(a == b for a, b in pairs) / count,
    )
