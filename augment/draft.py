"""What a version will be: its manifest as far as it is known before any row is made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as library_version
from pathlib import Path

from augment.candidates import CandidateFinder
from augment.contract import CONTRACT, Asset, Manifest, identity
from augment.examples import source_split
from augment.judges import Judges
from augment.recipe import ALGORITHM
from augment.sources import Source
from augment.words import stop_words_text
from augment.work import LIBRARIES, Work


def draft_manifest(
    data: Source, work: Work, finder: CandidateFinder, judges: Judges, limit: int | None
) -> Manifest:
    """The manifest without files, counts and its final name; the id is final.

    Args:
        data: The rows as they were read.
        work: Task, recipe and the names of the models.
        finder: The loaded models, for their digests.
        judges: Those of the gates.
        limit: How many training rows were asked for; information only, the rows tell.
    """
    sources = tuple(source_split(name, table) for name, table in data.splits.items())
    stop_words = sha256(stop_words_text().encode()).hexdigest()
    assets = (
        Asset(kind="masked_lm", name=Path(work.mlm).name, sha256=finder.masked_lm.digest),
        Asset(kind="vectors", name=Path(work.vectors).name, sha256=finder.vectors.digest),
        Asset(kind="stop_words", name="stop_words.txt", sha256=stop_words),
        *_gate_assets(work, judges),
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
        teacher_logits=work.recipe.teacher_logits,
        files=(),
        counts={},
        libraries={name: library_version(name) for name in LIBRARIES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _gate_assets(work: Work, judges: Judges) -> Iterator[Asset]:
    if judges.teacher is not None and work.teacher is not None:
        name = Path(work.teacher).name
        yield Asset(kind="teacher", name=name, sha256=judges.teacher.digest)
    if judges.encoder is not None and work.similarity_model is not None:
        name = Path(work.similarity_model).name
        yield Asset(kind="sentence_encoder", name=name, sha256=judges.encoder.digest)
