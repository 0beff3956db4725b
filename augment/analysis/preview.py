"""One row under the lens: each word's route, its candidates and a few variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augment.contract import UsageError, Version
from augment.contract.data_files import listed
from augment.contract.foreign import Displayed, counted, marked, markup
from augment.executor.models import Models
from augment.recipes.load import recipe_for
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.replacement.edits import Variant
from augment.replacement.sampling import TextOfRow, sample_texts
from augment.tasks import get_task
from augment.tokenization.words import Route
from augment.vectors import cache_folder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class WordView:
    """A word as it stands in the text, its route and its candidates with scores, best first."""

    word: str
    route: str
    candidates: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TextPreview:
    """Everything a run would do to one text."""

    text: str
    words: tuple[WordView, ...]
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Preview(Displayed):
    """What a run would do to a row.

    Attributes:
        texts: Text column → what becomes of its text.
    """

    texts: dict[str, TextPreview]

    def to_pandas(self) -> pd.DataFrame:
        """A line for each candidate, and one for each word without any."""
        import pandas as pd

        columns = ["column", "at", "word", "route", "rank", "candidate", "score"]
        return pd.DataFrame(
            [
                (column, at, word.word, word.route, rank, *candidate)
                for column, view in self.texts.items()
                for at, word in enumerate(view.words)
                for rank, candidate in enumerate(word.candidates or [("", None)], start=1)
            ],
            columns=columns,
        )

    def _repr_html_(self) -> str:
        return "".join(
            _words_html(view, column if len(self.texts) > 1 else "")
            for column, view in self.texts.items()
        )


def _words_html(view: TextPreview, column: str) -> str:
    """Each word with its best candidates, the surer the darker, and the variants, edits marked."""
    rows = (
        f"<tr><td><b>{markup(word.word)}</b></td><td>{word.route.replace('_', ' ')}</td>"
        f"<td style='text-align:left'>{_candidates_html(word.candidates)}</td></tr>"
        for word in view.words
    )
    variants = (
        f"<li>{marked(view.text, map(asdict, variant.edits))}</li>"
        for variant in view.variants[:_VARIANTS]
    )
    head = f"<p><b>{markup(column)}</b></p>" if column else ""
    return f"{head}<table>{''.join(rows)}</table><ol>{''.join(variants)}</ol>"


def _candidates_html(candidates: Sequence[tuple[str, float]]) -> str:
    """Candidates on a green that is the stronger the nearer a score is to the best one."""
    least = min((score for _, score in candidates), default=0.0)
    spread = max((score - least for _, score in candidates), default=0.0) or 1.0
    return " ".join(
        f"<span style='background:rgba(10,125,75,{0.08 + 0.42 * (score - least) / spread:.2f});"
        f"border-radius:3px;padding:1px 4px' title='{score:.2f}'>{markup(name)}</span>"
        for name, score in candidates
    )


_VARIANTS = 6
"""Variants that a notebook shows; ``texts`` has all."""


def preview(
    task: str | Path | Version,
    text: str | Sequence[str],
    *,
    mlm: str | Path | None = None,
    vectors: str | Path | None = None,
    recipe: str | Path | AugmentRecipe = "official",
    variants: int | None = None,
    device: str = "cpu",
    vectors_cache: str | Path | bool = True,
) -> Preview:
    """Show each word's route and candidates, and some variants, before anything runs.

    Args:
        task: A GLUE task's name, a task file, or a version of the task.
        text: The text to look at; of a pair both, in the order of the task's columns.
        mlm: Folder or hub name of the masked LM.
        vectors: Vectors file or a name of gensim's downloader.
        recipe: ``official``, ``paper``, ``long``, a recipe file, or a recipe object.
        variants: At most so many variants of a text; the recipe's number if left out.
        device: Where the masked LM runs.
        vectors_cache: Folder for tables of vectors; True: the user's cache, False: none is kept.

    Raises:
        UsageError: There are more texts than the task has columns.
        Fault: A model or a recipe cannot be used.

    Examples:
        >>> from augment import preview
        >>> view = preview("reviews.toml", "The soup was cold.", mlm="mlm", vectors="vectors.txt")
        >>> view.to_pandas().query("rank == 1").word.tolist()
        ['The', 'soup', 'was', 'cold', '.']
    """
    spec = task.task if isinstance(task, Version) else get_task(str(task)).spec
    texts = [text] if isinstance(text, str) else list(text)
    plan = recipe_for(spec, recipe)
    if len(texts) > len(spec.text_columns):
        raise UsageError(
            f"{counted(len(texts), 'text', 'are')} given; {spec.name} has "
            f"{len(spec.text_columns)}: {listed(spec.text_columns)}.",
            "Give one for each text column, in this order.",
        )
    models = Models.named(mlm, vectors, device=device, vectors_cache=cache_folder(vectors_cache))
    finder = models.load_finder(plan)
    columns = dict(zip(spec.text_columns, texts, strict=False))
    finder.refuse_long([(f"the {column}", of) for column, of in columns.items()])
    return Preview(
        {
            column: preview_text(of, finder, spec.name, column, most=variants)
            for column, of in columns.items()
        }
    )


def preview_text(
    text: str, finder: CandidateFinder, task: str, column: str, *, most: int | None = None
) -> TextPreview:
    """Explain what the recipe does to a text in a column, drawing as for row 0.

    Candidates are those of the original sentence; recipes that condition on the copy draw from
    sets of their own once a word before has been replaced.
    """
    words = finder.words_of([text])[0]
    found = finder.for_sentences([words])[0]
    scored = {at: tuple(zip(of.words, of.scores, strict=True)) for at, of in found.items()}
    samples = sample_texts([TextOfRow(0, column, text, words)], finder, task)[0]
    return TextPreview(
        text=text,
        words=tuple(
            WordView(text[word.start : word.end], word.route.value, scored.get(at, ()))
            for at, word in enumerate(words)
            if word.route is not Route.SPACE
        ),
        variants=tuple(sample.variant for sample in samples if not sample.reason)[:most],
    )
