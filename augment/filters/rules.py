"""Filters that read texts alone: leak guard and duplicates; and the model filters' rules."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SPACES = re.compile(r"\s+")


def normalized(text: str) -> str:
    """A text without case and with single spaces: how near duplicates and leaks are compared."""
    return _SPACES.sub(" ", text).strip().lower()


def row_digest(texts: Iterable[str]) -> bytes:
    """16 bytes for the normalized texts of a row."""
    joined = "\x1f".join(normalized(text) for text in texts)
    return hashlib.blake2b(joined.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class ModelFilterRules:
    """What a recipe asks of the models that judge rows.

    Attributes:
        min_similarity: Least cosine of a changed text and its original.
        agreement: ``off``, ``unchanged`` (the teacher's label of the original) or ``gold``.
        tolerance: How far a score may lie off, for regression.
        regression: Whether the teacher gives a score instead of classes.
        teacher_logits: Whether the teacher's logits are kept.
    """

    min_similarity: float = 0.0
    agreement: str = "off"
    tolerance: float = 0.5
    regression: bool = False
    teacher_logits: bool = False

    @property
    def needs_teacher(self) -> bool:
        """Whether a classifier is asked."""
        return self.agreement != "off" or self.teacher_logits

    @property
    def needs_encoder(self) -> bool:
        """Whether a sentence encoder is asked."""
        return self.min_similarity > 0


@dataclass(frozen=True, slots=True)
class RuleFilters:
    """The gates of a recipe.

    Attributes:
        held_out: Digests of all validation and test rows: the leak guard. Empty switches it off.
        normalised_duplicates: Also refuse rows that equal the original or an earlier row of the
            same source row but for case and spaces.
    """

    held_out: frozenset[bytes] = frozenset()
    normalised_duplicates: bool = False

    def reasons(self, original: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        """Why each generated row of one source row is refused; empty strings pass.

        Args:
            original: The source row's texts.
            rows: The texts of each generated row.
        """
        seen = {row_digest(original)}
        verdicts = []
        for texts in rows:
            digest = row_digest(texts)
            if digest in self.held_out:
                verdicts.append("leak")
            elif self.normalised_duplicates and digest in seen:
                verdicts.append("normalised_duplicate")
            else:
                verdicts.append("")
            seen.add(digest)
        return verdicts
