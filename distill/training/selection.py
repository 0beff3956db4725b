"""Which step of a stage is kept, and since when a stage has gained nothing. PURE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.evaluation.uncertainty import standard_error


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A step that was evaluated, and its score on the rows that select."""

    step: int
    score: float


@dataclass(frozen=True, slots=True)
class StepSelection:
    """How the scores of a stage select a step.

    Attributes:
        metric: Its name among the scores.
        rows: That they were measured on.
        learnt: A score above it is more than luck: waiting begins there.
        within: So many standard errors below the best, a later step is as good as the best. With
            45 rows the best of ten scores is the luckiest; the later step has been trained
            longer, at lower rates (the one-standard-error rule of Breiman et al., 1984, §3.4.3,
            with training in the place of pruning). 0: the first of the best ones is kept.
    """

    metric: str
    rows: int = 1
    learnt: float = -math.inf
    within: float = 0.0

    def kept(self, log: Sequence[Mapping[str, float]]) -> Evaluated | None:
        """The step that the log of a stage selects, or nothing without a score.

        It is known at once: a later score selects its own step, or what was selected before it.
        """
        best, kept = -math.inf, None
        for own in self._seen(log):
            if own.score > best:
                best, kept = own.score, own
            elif self.within and own.score >= best - self._margin(best):
                kept = own
        return kept

    def waited(self, log: Sequence[Mapping[str, float]]) -> int:
        """Evaluations since the first of the best ones.

        0 as long as none is above ``learnt``: a model that answers one class for all rows at first
        has the same score again and again, and has all of its way before it.
        """
        scores = [own.score for own in self._seen(log)]
        best = max((score for score in scores if score > self.learnt), default=None)
        return 0 if best is None else len(scores) - 1 - scores.index(best)

    def _seen(self, log: Sequence[Mapping[str, float]]) -> list[Evaluated]:
        name = f"eval_{self.metric}"
        return [Evaluated(int(row["step"]), row[name]) for row in log if name in row]

    def _margin(self, best: float) -> float:
        return self.within * standard_error(self.metric, best, self.rows)
