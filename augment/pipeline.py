"""The story of a run: sources → words → candidates → variants → one committed version."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from augment.candidates import CandidateFinder
from augment.chunk import CHUNK_ROWS
from augment.contract import (
    Manifest,
    Version,
    list_versions,
    open_version,
)
from augment.draft import draft_manifest
from augment.engine import Chunk, Engine, run_chunks
from augment.errors import UsageError
from augment.lines import gates_line, recipe_line, source_line
from augment.narrator import Narrator
from augment.precision import measure_agreement
from augment.quality import Gates, row_digest
from augment.recipe import AugmentRecipe, load_recipe
from augment.rows import originals
from augment.sources import Source, read_source
from augment.store import tend
from augment.tasks import Task, get_task
from augment.vectors import cache_folder
from augment.work import Work, Worker
from augment.writer import Staging, commit, forget, next_name, open_staging, writing

STORE_BYTES = 20 * 2**30


def augment_task(
    task: str,
    *,
    mlm: str,
    vectors: str,
    source: str | None = None,
    out: str | Path = "data/versions",
    recipe: str | AugmentRecipe = "official",
    limit: int | None = None,
    skip_malformed: bool = False,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    teacher: str | None = None,
    similarity_model: str | None = None,
    store: str | Path | None = None,
    store_limit: int = STORE_BYTES,
    vectors_cache: str | Path | bool = True,
    narrator: Narrator | None = None,
) -> Version:
    """Augment a task's training split and commit everything as one version.

    The same inputs again return the version that is there; an interrupted run goes on.

    Args:
        task: A GLUE task's name or a task file.
        mlm: Folder or hub name of the masked LM.
        vectors: Vectors file or a name of gensim's downloader.
        source: Folder, file or hub name; the task file's folder by default.
        out: The root of all versions.
        recipe: ``official``, ``paper``, a recipe file, or a recipe object.
        limit: Use only the first rows of the training split.
        skip_malformed: Leave malformed rows out, counted.
        engine: ``local`` or ``ray``.
        address: Of a Ray cluster, see ``Engine``.
        workers: Worker processes, see ``Engine``.
        threads: Threads of each worker, see ``Engine``.
        device: Where the models run.
        teacher: Folder or hub name of a fine-tuned classifier, for the recipe's gates.
        similarity_model: Folder or hub name of a sentence encoder, for the recipe's gates.
        store: Folder of the candidate store, see ``store.py``; None keeps no candidates.
        store_limit: Largest size of the store after the run, in bytes.
        vectors_cache: Where tables of vectors are kept for later starts: a folder, True for the
            user's own cache, False to read the file each time.
        narrator: Hears what is going on.

    Raises:
        AugmentError: Something is not usable; nothing half-written remains.
    """
    tell, root, chosen = narrator or Narrator(), Path(out), get_task(task)
    where = Engine(engine, workers, threads, address)
    where.check()
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit} must be at least 1.")
    plan = load_recipe(recipe, chosen.spec.name) if isinstance(recipe, str) else recipe
    tell.say("recipe", recipe_line(plan))
    data = read_source(chosen, source, limit=limit, skip_malformed=skip_malformed)
    tell.say("source", source_line(chosen, data))
    gates, kept_in = _gates(plan, chosen, data), None if store is None else Path(store)
    work = Work(
        chosen.spec,
        plan,
        mlm,
        vectors,
        device,
        where.threads_of_a_worker(),
        kept_in,
        gates,
        teacher,
        similarity_model,
        cache_folder(vectors_cache),
    )
    worker = Worker.load(work, tell)
    if line := gates_line(worker.judges):
        tell.say("gates", line)
    _refuse_long_texts(data, chosen, worker.finder)
    draft = draft_manifest(data, work, worker.finder, worker.judges, limit)
    if (present := _already(root, draft, tell)) is not None:
        return present
    trouble = ""
    with open_staging(root, chosen.spec.name, draft.id) as staging:
        if _already(root, draft, Narrator()) is None:
            trouble = _make(data, draft, worker, staging, where, tell)
        staging.remove()
    if (kept := worker.finder.store) is not None:
        tell.say("store", tend(kept, trouble, store_limit))
    return open_version(root / f"{chosen.spec.name}@{draft.id}")


def _make(
    data: Source, draft: Manifest, worker: Worker, staging: Staging, engine: Engine, tell: Narrator
) -> str:
    """Run the chunks, then commit them with the untouched splits; returns the store's trouble."""
    task = worker.work.task
    chunks = _chunks(data.splits[task.splits.train])
    tally = _run(chunks, worker, staging, engine, tell)
    tally.counts["source.skipped"] += data.skipped
    draft = draft.model_copy(
        update={
            "counts": dict(sorted(tally.counts.items())),
            "measured": _measured(data, worker.work, worker.finder, tell),
            "version": next_name(staging.folder),
        }
    )
    others = {
        name: originals(table, task, teacher_logits=draft.teacher_logits)
        for name, table in data.splits.items()
        if name != task.splits.train
    }
    with writing(staging.path):
        commit(staging, draft, len(chunks), others)
    return tally.store_trouble


@dataclass(slots=True)
class _Tally:
    """What the chunks of a run add up to."""

    counts: Counter[str] = field(default_factory=Counter)
    store_trouble: str = ""


def _run(
    chunks: list[Chunk], worker: Worker, staging: Staging, engine: Engine, tell: Narrator
) -> _Tally:
    """Run the chunks that are not finished yet; the tally is that of all."""
    finished = {chunk.number: staging.finished(chunk.number) for chunk in chunks}
    tally = _Tally()
    for kept in finished.values():
        tally.counts.update(kept or {})
    due = [chunk for chunk in chunks if finished[chunk.number] is None]
    if len(due) < len(chunks):
        tell.say("resuming", f"{len(chunks) - len(due)} of {len(chunks)} chunks are done")
    rows = sum(chunk.rows.num_rows for chunk in chunks)
    tell.start(rows, rows - sum(chunk.rows.num_rows for chunk in due))
    try:
        with closing(run_chunks(due, worker, engine, tell.positions)) as done:
            for ended in done:
                staging.keep(ended.chunk.number, ended.worked.result)
                tally.counts.update(ended.worked.result.counts)
                tally.store_trouble = tally.store_trouble or ended.worked.store_trouble
                tell.rows(ended.chunk.rows.num_rows)
    except KeyboardInterrupt:
        safe = sum(staging.finished(chunk.number) is not None for chunk in chunks)
        tell.stop()
        tell.say("stopped", f"{safe} of {len(chunks)} chunks are kept in {staging.path}")
        raise
    finally:
        tell.stop()
    return tally


def _measured(
    data: Source, work: Work, finder: CandidateFinder, tell: Narrator
) -> dict[str, float]:
    """What a precision below float32 changed, for the manifest."""
    if work.recipe.precision == "float32":
        return {}
    train = data.splits[work.task.splits.train]
    found = measure_agreement(train, work.task, finder)
    tell.say(
        work.recipe.precision,
        f"{found.equal_sets:.1%} of {found.positions:,} candidate sets are those of float32, "
        f"mean overlap {found.overlap:.1%}",
    )
    return found.measured()


def _gates(recipe: AugmentRecipe, task: Task, data: Source) -> Gates:
    """The recipe's gates; the leak guard knows every validation and test row."""
    held_out = (
        row_digest(texts)
        for name, table in data.splits.items()
        if recipe.leak_guard and name != task.spec.splits.train
        for texts in zip(*(table[c].to_pylist() for c in task.spec.text_columns), strict=True)
    )
    return Gates(frozenset(held_out), recipe.normalised_duplicates)


def _chunks(table: pa.Table) -> list[Chunk]:
    return [
        Chunk(number, table.slice(at, CHUNK_ROWS))
        for number, at in enumerate(range(0, table.num_rows, CHUNK_ROWS))
    ]


def _already(root: Path, draft: Manifest, tell: Narrator) -> Version | None:
    """The committed version with the same id, if there is one."""
    for version in list_versions(root / draft.task.name, skip_unreadable=True):
        if version.manifest.id == draft.id:
            tell.say("nothing to do", f"{version.reference} is already that ({draft.id[:12]})")
            forget(version.path.parent, draft.id)  # left by a kill after the commit
            return open_version(version.path)
    return None


def _refuse_long_texts(data: Source, task: Task, finder: CandidateFinder) -> None:
    for chunk in _chunks(data.splits[task.spec.splits.train]):
        idx = chunk.rows["idx"].to_pylist()
        for column in task.spec.text_columns:
            places = [f"train row {number}, {column}," for number in idx]
            texts = chunk.rows[column].to_pylist()
            finder.refuse_long(list(zip(places, texts, strict=True)))
