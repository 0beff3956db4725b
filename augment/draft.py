"""What a version will be: its manifest as far as it is known before any row is made."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as library_version
from pathlib import Path

from augment.candidates import CandidateFinder
from augment.contract import CONTRACT, Asset, Manifest, identity
from augment.engine import Work
from augment.examples import source_split
from augment.recipe import ALGORITHM
from augment.sources import Source
from augment.words import stop_words_text

LIBRARIES = ("augment-distill", "torch", "transformers", "tokenizers", "pyarrow", "numpy", "gensim")


def draft_manifest(
    data: Source, work: Work, finder: CandidateFinder, limit: int | None
) -> Manifest:
    """The manifest without files, counts and its final name; the id is final.

    Args:
        data: The rows as they were read.
        work: Task, recipe and the names of the models.
        finder: The loaded models, for their digests.
        limit: How many training rows were asked for; information only, the rows tell.
    """
    sources = tuple(source_split(name, table) for name, table in data.splits.items())
    stop_words = sha256(stop_words_text().encode()).hexdigest()
    assets = (
        Asset(kind="masked_lm", name=Path(work.mlm).name, sha256=finder.masked_lm.digest),
        Asset(kind="vectors", name=Path(work.vectors).name, sha256=finder.vectors.digest),
        Asset(kind="stop_words", name="stop_words.txt", sha256=stop_words),
    )
    return Manifest(
        contract=CONTRACT,
        algorithm=ALGORITHM,
        id=identity(
            algorithm=ALGORITHM,
            task=work.task,
            recipe=work.recipe.canonical(),
            sources=sources,
            assets=assets,
        ),
        version="v0001",
        task=work.task,
        recipe=work.recipe.model_dump(mode="json"),
        source=data.name,
        limit=limit,
        sources=sources,
        assets=assets,
        files=(),
        counts={},
        libraries={name: library_version(name) for name in LIBRARIES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
