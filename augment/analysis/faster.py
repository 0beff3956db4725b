"""What makes a run on long texts faster, said before it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from augment.analysis.timing import forwards_of, tokens_of
from augment.contract.foreign import span
from augment.recipes.load import load_recipe
from augment.replacement.candidates import CandidateFinder
from augment.tokenization.words import Route

COMPARED_TEXTS = 200
WORTH = 2.0
"""An option is named that makes a run so many times faster, ..."""
LONG_RUN = 600.0
"""... where it takes so many seconds without it."""
LONG_TEXT = 25
"""Words to predict from which a text is called long."""
MANY_WORDS = 10_000
"""Words to predict in all for which a run is worth a word."""
RECIPE = "long"


def fewer_tokens(texts: Sequence[str], finder: CandidateFinder, task: str) -> float:
    """How many times fewer tokens the masked LM reads of texts by the recipe for long ones."""
    some = texts[:COMPARED_TEXTS]
    other = CandidateFinder(finder.masked_lm, finder.vectors, load_recipe(RECIPE, task))
    now, then = (
        sum(tokens_of(forwards_of(words, each)) for words in each.words_of(some))
        for each in (finder, other)
    )
    return now / then if then else 1.0


def fastest(
    texts: Sequence[str], finder: CandidateFinder, task: str, other: float, reading: float
) -> str:
    """The option that makes a run faster than any other, or nothing where none does by far.

    Args:
        texts: Some of its texts.
        finder: The models, and the recipe as it is.
        task: The task's name.
        other: Seconds of all that is not reading by the masked LM.
        reading: Seconds that the masked LM reads.
    """
    now = other + reading
    if now < LONG_RUN:
        return ""
    then = other + reading / fewer_tokens(texts, finder, task)
    if now / then < WORTH:
        return ""
    return f"with --recipe {RECIPE} about {span(then)} instead of {span(now)}"


def proposal(texts: Sequence[str], finder: CandidateFinder, task: str, total: int) -> str:
    """A line for a run whose texts are long, or nothing.

    Args:
        texts: Some of its texts.
        finder: The models, and the recipe as it is.
        task: The task's name.
        total: How many texts there are in all.
    """
    if finder.recipe.mask_every or not texts:
        return ""
    some = texts[:COMPARED_TEXTS]
    masks = [sum(w.route is Route.MASKED_LM for w in words) for words in finder.words_of(some)]
    if median(masks) < LONG_TEXT or sum(masks) / len(masks) * total < MANY_WORDS:
        return ""
    ratio = fewer_tokens(some, finder, task)
    if ratio < WORTH:
        return ""
    return (
        f"a text has about {median(masks):.0f} words to predict, each by a forward of its own; "
        f"--recipe {RECIPE} reads {ratio:.0f} times fewer tokens, with nearly the same candidates"
    )
