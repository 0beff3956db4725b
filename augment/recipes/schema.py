"""The recipe: every number and choice that decides the rows, and nothing else.

Places, devices, worker and batch sizes are command-line options: they cannot change a byte.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from augment.contract.recipes import twice
from augment.tokenization.protection import Protection

ALGORITHM = 1


LATER = ("variants_of", "window", "mask_every", "max_words", "coins_first")
"""Keys that are newer than versions on disk: as they were before, they are no part of an id."""

Listed = Annotated[tuple[str, ...], Field(strict=False)]


def _or(word: str, least: int) -> BeforeValidator:
    """A number of at least so much, or a word."""

    def check(value: object) -> object:
        if value == word or (type(value) is int and value >= least):
            return value
        raise ValueError(f'must be "{word}" or a number of at least {least}, found {value!r}')

    return BeforeValidator(check)


Window = Annotated[int | Literal["whole"], _or("whole", 3)]
MaxWords = Annotated[int | Literal["all"], _or("all", 1)]


class AugmentRecipe(BaseModel):
    """One resolved recipe; unknown keys are refused.

    The sentence below each field is its comment in ``augment recipe``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    preset: str = "official"
    """The shipped recipe this one started from; a name for people."""
    variants: int = Field(default=20, ge=0, le=1000)
    """N, samples drawn for each text (paper: N_a); 0: the rows as they are, without any model."""
    variants_of: dict[str, Annotated[int, Field(ge=0, le=1000)]] = Field(default={})
    """Another N for the rows of some classes, by name, such as { cancellation = 60 }; 0: nothing is
    generated from them."""
    top_k: int = Field(default=15, ge=1, le=1000)
    """K, the size of a candidate set (paper: K)."""
    probability: float = Field(default=0.4, ge=0.0, le=1.0)
    """p, the chance that a word is replaced (paper: p_t)."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The seed of every draw."""
    augment_unlabeled: bool = False
    """Generate rows from rows without labels too; they stay in the unlabeled split."""
    words: Literal["basic", "all"] = "basic"
    """``basic``: the model's own basic tokens, plain a-z words that are no stop words; ``all``:
    every word of an NLTK word tokenization."""
    context: Literal["pair", "single"] = "pair"
    """What the masked LM reads: ``pair`` = the masked sentence, then the original as second
    segment; ``single`` = the masked sentence alone."""
    conditioning: Literal["original", "copy"] = "original"
    """``original``: candidates are computed once for each word of the original; ``copy``: again for
    each copy, on what has been replaced so far."""
    top_k_of: Literal["pieces", "words"] = "pieces"
    """``pieces``: the K best tokens, then those that are no whole words are dropped; ``words``: the
    K best whole words."""
    distinct: bool = True
    """Drop samples that equal the original or an earlier sample of the same row."""
    vector_rows: int = Field(default=100_000, ge=1)
    """How many rows of the vectors file are used, from its start."""
    long_text: Literal["error", "truncate", "windows"] = "error"
    """What a text does that the masked LM cannot read whole: ``error``, ``truncate`` (words beyond
    the limit keep themselves) or ``windows`` (it is read in overlapping parts)."""
    window: Window = "whole"
    """How many tokens of a text the masked LM reads at once, each text in overlapping windows:
    faster, with other candidates; "whole": all of it."""
    mask_every: int = Field(default=0, ge=0, le=1000)
    """0: words are masked one by one, each in a forward of its own; n: every n-th of the words that
    the masked LM is asked for is masked at once, so that a text (or window) takes n forwards."""
    max_words: MaxWords = "all"
    """At most so many words of a text can be replaced, evenly spread over it; "all": no limit."""
    coins_first: bool = False
    """Throw all coins before candidates are asked for: words that no sample replaces cost nothing,
    which pays where N and p are small. The rows are others than without it."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the masked LM computes in: ``float32``: the candidates do not depend on the machine;
    ``bfloat16``: about twice as fast, with slightly other candidates (the manifest says how
    many)."""
    leak_guard: bool = True
    """Never write a generated row that equals a validation or test row but for case and spaces."""
    normalised_duplicates: bool = False
    """Drop samples that equal the original or an earlier sample but for case and spaces."""
    min_similarity: float = Field(default=0.0, ge=0.0, le=1.0)
    """Drop samples whose changed text has a smaller cosine to its original, by the sentence encoder
    of --similarity-model; 0 switches the gate off."""
    teacher_agreement: Literal["off", "unchanged", "gold"] = "off"
    """What the classifier of --teacher must say of a sample: "unchanged": the label that it gives
    to the original; "gold": the label of the data; others are dropped. "off": it is not asked."""
    teacher_tolerance: float = Field(default=0.5, ge=0.0, allow_inf_nan=False)
    """How far a score may move under "unchanged", or lie off under "gold", in the label's own unit;
    for regression only."""
    teacher_logits: bool = False
    """Keep the logits of --teacher for every training row, in multiples of 1/256, so that a
    distillation need not compute them."""
    keep_rejected: bool = False
    """Write every dropped sample with its reason to the version's rejected/ folder; it is no part
    of any split."""
    protect_numbers: bool = False
    """Never replace a word with a digit."""
    protect_negations: bool = False
    """Never replace a negation (not, never, without, hardly, …)."""
    protect_words: Listed = ()
    """Words that are never replaced, compared without case."""
    protect_patterns: Listed = ()
    """Regular expressions; a word that overlaps a match is never replaced."""

    @field_validator("protect_words", "protect_patterns")
    @classmethod
    def _once(cls, listed: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        words = info.field_name == "protect_words"
        if (again := twice(each.lower() if words else each for each in listed)) is not None:
            raise ValueError(f"{again!r} stands twice")
        return listed

    @field_validator("protect_words")
    @classmethod
    def _are_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if len(word.split()) != 1 or word != word.strip():
                raise ValueError(f"{word!r} is not one word; for others: protect_patterns")
        return words

    @field_validator("protect_patterns")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns

    @property
    def generates(self) -> bool:
        """Whether there is anything to generate, whatever the rows are."""
        return self.variants > 0 or any(self.variants_of.values())

    @field_validator("mask_every", "coins_first")
    @classmethod
    def _on_originals(cls, value: int, info: ValidationInfo) -> int:
        if value and info.data.get("conditioning") == "copy":
            raise ValueError(
                'is for conditioning = "original": with "copy" words are asked for one after the '
                "other, and coins are thrown first anyway"
            )
        return value

    def identifying(self) -> dict[str, Any]:
        """What a manifest keeps: all keys, but ``LATER`` ones only where they are used."""
        kept = self.model_dump(mode="json")
        fields = type(self).model_fields
        return {k: v for k, v in kept.items() if k not in LATER or v != fields[k].default}

    def protection(self) -> Protection:
        """What is never replaced, compiled."""
        return Protection(
            numbers=self.protect_numbers,
            negations=self.protect_negations,
            words=frozenset(word.lower() for word in self.protect_words),
            patterns=tuple(re.compile(pattern) for pattern in self.protect_patterns),
        )
