"""One sentence under the lens: each word's route, its candidates and a few variants."""

from __future__ import annotations

from dataclasses import dataclass

from augment.replacement.candidates import CandidateFinder
from augment.replacement.edits import Variant
from augment.replacement.sampling import TextOfRow, sample_texts
from augment.tokenization.words import Route


@dataclass(frozen=True, slots=True)
class WordView:
    """A word as it stands in the text, its route and its candidates with scores, best first."""

    word: str
    route: str
    candidates: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """Everything a run would do to one text."""

    text: str
    words: tuple[WordView, ...]
    variants: tuple[Variant, ...]


def preview(text: str, finder: CandidateFinder, task: str, column: str) -> Preview:
    """Explain what the recipe does to a text in a column, drawing as for row 0.

    Candidates are those of the original sentence; recipes that condition on the copy draw from
    sets of their own once a word before has been replaced.
    """
    words = finder.words_of([text])[0]
    found = finder.for_sentences([words])[0]
    scored = {at: tuple(zip(of.words, of.scores, strict=True)) for at, of in found.items()}
    samples = sample_texts([TextOfRow(0, column, text, words)], finder, task)[0]
    return Preview(
        text=text,
        words=tuple(
            WordView(text[word.start : word.end], word.route.value, scored.get(at, ()))
            for at, word in enumerate(words)
            if word.route is not Route.SPACE
        ),
        variants=tuple(sample.variant for sample in samples if not sample.reason),
    )
