"""From texts to variants, by either reading of Algorithm 1 (METHOD: section 3.2 of the paper).

``sample_originals``: candidates of the original sentence serve all samples (the authors' code).
``sample_copies``: candidates are recomputed on each partly replaced copy (the paper's wording).
Copies advance word by word together, so that every step is one set of batches; the coins are
drawn first, so that a word which stays costs no forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from augment.candidates import CandidateFinder, CandidateSet, Place
from augment.replace import (
    Edit,
    Sampled,
    Variant,
    apply_edits,
    keep_distinct,
    make_edit,
    pick,
    row_draws,
    sample,
)
from augment.words import Word


@dataclass(frozen=True, slots=True)
class TextOfRow:
    """One text column of one row, to be sampled.

    Attributes:
        idx: The row's number.
        column: The text column's name.
        text: The original text.
        words: Its words.
    """

    idx: int
    column: str
    text: str
    words: tuple[Word, ...]


def sample_texts(
    texts: Sequence[TextOfRow],
    finder: CandidateFinder,
    task: str,
    on_batch: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """The variants of every text, in order."""
    how = sample_copies if finder.recipe.conditioning == "copy" else sample_originals
    return how(texts, finder, task, on_batch)


def sample_originals(
    texts: Sequence[TextOfRow],
    finder: CandidateFinder,
    task: str,
    on_batch: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """Candidates once for each word of each distinct original text, then N samples."""
    distinct = list({text.text: text for text in texts}.values())
    found = finder.for_sentences([text.words for text in distinct], on_batch)
    sets = {text.text: chosen for text, chosen in zip(distinct, found, strict=True)}
    recipe = finder.recipe
    sampled = []
    for text in texts:
        candidates = {at: chosen.draw_order for at, chosen in sets[text.text].items()}
        draws = row_draws(
            recipe.seed,
            task,
            text.idx,
            text.column,
            variants=recipe.variants,
            words=len(candidates),
        )
        sampled.append(
            sample(
                text.text,
                text.words,
                candidates,
                draws,
                recipe.probability,
                distinct=recipe.distinct,
            )
        )
    return sampled


@dataclass(slots=True)
class _Copy:
    """One copy on its way through the sentence; ``pieces`` is what the model sees next."""

    owner: int
    number: int
    pieces: list[tuple[int, ...]]
    edits: list[Edit] = field(default_factory=list)


def sample_copies(
    texts: Sequence[TextOfRow],
    finder: CandidateFinder,
    task: str,
    on_batch: Callable[[int], None] | None = None,
) -> list[Sampled]:
    """N copies of each text; each word's candidates see the words replaced before it."""
    recipe = finder.recipe
    draws = [_draws_of_words(text, finder, task) for text in texts]
    copies = [
        _Copy(owner, number, [word.pieces for word in text.words])
        for owner, text in enumerate(texts)
        for number in range(recipe.variants)
    ]
    for at in range(max((len(text.words) for text in texts), default=0)):
        due = [
            copy
            for copy in copies
            if at < len(texts[copy.owner].words)
            and texts[copy.owner].words[at].route.replaceable
            and draws[copy.owner][copy.number, at, 1] < recipe.probability
        ]
        places = [Place(texts[copy.owner].words[at], copy.pieces, at) for copy in due]
        for copy, found in zip(due, finder.find(places, on_batch), strict=True):
            draw = draws[copy.owner][copy.number, at, 0]
            _replace(copy, at, texts[copy.owner], found, float(draw), finder)
    proposals: list[list[Variant]] = [[] for _ in texts]
    for copy in copies:
        text = apply_edits(texts[copy.owner].text, copy.edits)
        proposals[copy.owner].append(Variant(copy.number + 1, text, tuple(copy.edits)))
    if recipe.distinct:
        return [keep_distinct(text.text, own) for text, own in zip(texts, proposals, strict=True)]
    return [Sampled(tuple(own)) for own in proposals]


def _draws_of_words(text: TextOfRow, finder: CandidateFinder, task: str) -> np.ndarray:
    recipe = finder.recipe
    return row_draws(
        recipe.seed,
        task,
        text.idx,
        text.column,
        variants=recipe.variants,
        words=len(text.words),
    )


def _replace(
    copy: _Copy,
    at: int,
    text: TextOfRow,
    found: CandidateSet,
    draw: float,
    finder: CandidateFinder,
) -> None:
    """Write a drawn candidate into the copy; later words see it."""
    if not found.draw_order:
        return
    candidate = pick(found.draw_order, draw)
    edit = make_edit(text.text, text.words[at], candidate)
    if edit is not None:
        copy.edits.append(edit)
        copy.pieces[at] = finder.masked_lm.tokenizer.encode_word(edit.after, copy.pieces[at])
