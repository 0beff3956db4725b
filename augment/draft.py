"""What a version will be: its manifest as far as it is known before any row is made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as library_version
from pathlib import Path

from augment.contract import CONTRACT, Asset, Manifest, identity
from augment.examples import source_split
from augment.judges import Judges
from augment.recipe import ALGORITHM
from augment.sources import Source
from augment.words import stop_words_text
from augment.work import LIBRARIES, Worker


def draft_manifest(data: Source, worker: Worker, limit: int | None) -> Manifest:
    """The manifest without files, counts and its final name; the id is final.

    Args:
        data: The rows as they were read.
        worker: Task, recipe and the loaded models.
        limit: How many training rows were asked for; information only, the rows tell.
    """
    work, finder = worker.work, worker.finder
    sources = tuple(source_split(name, table) for name, table in data.splits.items())
    stop_words = sha256(stop_words_text().encode()).hexdigest()
    assets = (
        Asset(kind="masked_lm", name=Path(work.mlm).name, sha256=finder.masked_lm.digest),
        Asset(kind="vectors", name=Path(work.vectors).name, sha256=finder.vectors.digest),
        Asset(kind="stop_words", name="stop_words.txt", sha256=stop_words),
        *_gate_assets(worker.judges),
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


def _gate_assets(judges: Judges) -> Iterator[Asset]:
    if (teacher := judges.teacher) is not None:
        yield Asset(kind="teacher", name=Path(teacher.name).name, sha256=teacher.digest)
    if (encoder := judges.encoder) is not None:
        yield Asset(kind="sentence_encoder", name=Path(encoder.name).name, sha256=encoder.digest)
