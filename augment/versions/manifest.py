"""What a version says of itself: its manifest before any row is made, and its data set card."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as library_version
from pathlib import Path

from augment.contract import CONTRACT, Asset, Manifest, identity
from augment.executor.worker import LIBRARIES, Worker
from augment.filters.model_filters import ModelFilters
from augment.recipes.schema import ALGORITHM
from augment.sources.examples import source_split
from augment.sources.read import Source
from augment.tokenization.words import stop_words_text

_LOGITS_NOTE = (
    "`teacher_logits` are those of the asset `teacher` in manifest.json, in the order of the\n"
    "labels and rounded to multiples of 1/256; null outside the training split.\n\n"
)
_REJECTED_NOTE = (
    "`rejected/` holds generated rows that were refused, with their reason: no data.\n\n"
)


def card(manifest: Manifest) -> str:
    """The card as Markdown with the YAML head that names the files of each split."""
    task = manifest.task
    stored = [name for name in task.splits.names if any(f.split == name for f in manifest.files)]
    kind = "text-classification" if task.label.kind == "classification" else "sentence-similarity"
    head = [
        "---",
        f"pretty_name: {task.name} augmented",
        "task_categories:",
        f"- {kind}",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split in stored:
        head += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    rows = "\n".join(
        f"| {split} | {sum(f.rows for f in manifest.files if f.split == split):,} |"
        for split in stored
    )
    notes = _LOGITS_NOTE * manifest.teacher_logits + _REJECTED_NOTE * bool(manifest.rejected)
    counts = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(manifest.counts.items()))
    recipe = "\n".join(f"- `{key}` = `{value}`" for key, value in manifest.recipe.items())
    return "\n".join(head) + (
        f"\n---\n\n# {task.name} {manifest.version}, augmented\n\n"
        f"Made by augment-distill from `{manifest.source}`; id `{manifest.id[:12]}`.\n"
        "Rows with `variant` 0 are the originals; the others carry their `edits` as character\n"
        "offsets into the original text. Validation and test splits are untouched.\n\n"
        f"{notes}"
        f"| split | rows |\n|---|--:|\n{rows}\n\n"
        f"## Recipe\n\n{recipe}\n\n"
        f"## Counts of the training split\n\n| what | count |\n|---|--:|\n{counts}\n"
    )


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


def _gate_assets(judges: ModelFilters) -> Iterator[Asset]:
    if (teacher := judges.teacher) is not None:
        yield Asset(kind="teacher", name=Path(teacher.name).name, sha256=teacher.digest)
    if (encoder := judges.encoder) is not None:
        yield Asset(kind="sentence_encoder", name=Path(encoder.name).name, sha256=encoder.digest)
