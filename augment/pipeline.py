"""The pipeline of a version: sources in, models loaded, chunks augmented, one commit."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from augment.analysis.precision_check import measure_agreement
from augment.contract import Manifest, Version, list_versions, open_version
from augment.contract.files import disk_errors
from augment.executor.base import Chunk, Engine
from augment.executor.chunk import CHUNK_ROWS
from augment.executor.run import run_chunks
from augment.executor.worker import Worker, WorkerSpec
from augment.filters.model_filters import ModelFilters
from augment.filters.rules import RuleFilters, row_digest
from augment.progress import Narrator
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidate_store import prune_after_run
from augment.sources.read import Source, read_source
from augment.tasks import Task, get_task
from augment.vectors import cache_folder
from augment.versions.manifest import draft_manifest
from augment.versions.rows import originals
from augment.versions.staging import Staging, commit, next_name, open_staging, remove_leftovers


def recipe_line(recipe: AugmentRecipe) -> str:
    """The numbers that matter most."""
    return (
        f"{recipe.preset} · N {recipe.variants} · K {recipe.top_k} · "
        f"p {recipe.probability:.2f} · seed {recipe.seed}"
    )


def source_line(task: Task, data: Source) -> str:
    """The splits with their rows."""
    parts = [f"{name} {table.num_rows:,}" for name, table in data.splits.items()]
    skipped = f" · {data.skipped} malformed rows left out" if data.skipped else ""
    return f"{task.spec.name}: " + " · ".join(parts) + skipped


def gates_line(judges: ModelFilters) -> str:
    """Which models judge, and what a user should know of them; empty where none does."""
    rules = judges.rules
    parts = [
        f"similarity of at least {rules.min_similarity}" * rules.needs_encoder,
        f"teacher agreement ({rules.agreement})" * (rules.agreement != "off"),
        "teacher logits are kept" * rules.teacher_logits,
        judges.teacher.notice if judges.teacher else "",
    ]
    return " · ".join(part for part in parts if part)


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

    Args:
        task: A GLUE task's name or a task file.
        mlm: Folder or hub name of the masked LM.
        vectors: Vectors file or a name of gensim's downloader.
        source: Folder, file or hub name; the task file's folder by default.
        out: The root of all versions; a finished or interrupted run is found there again.
        recipe: ``official``, ``paper``, a recipe file, or a recipe object.
        limit: Use only the first rows of the training split.
        skip_malformed: Leave malformed rows out, counted.
        engine: ``local`` or ``ray``; what follows is that of ``Engine``.
        address: Of a Ray cluster.
        workers: Worker processes.
        threads: Threads of each worker.
        device: Where the models run.
        teacher: Folder or hub name of a fine-tuned classifier, for the recipe's gates.
        similarity_model: The same of a sentence encoder.
        store: Folder of the candidate store, see ``store.py``; None keeps no candidates.
        store_limit: Largest size of the store after the run, in bytes.
        vectors_cache: Folder for tables of vectors; True: the user's cache, False: none is kept.
        narrator: Hears what is going on.

    Raises:
        AugmentError: Something is not usable; nothing half-written remains.
    """
    tell, chosen = narrator or Narrator(), get_task(task)
    where = Engine(engine, workers, threads, address).checked()
    plan = load_recipe(recipe, chosen.spec.name) if isinstance(recipe, str) else recipe
    tell.say("recipe", recipe_line(plan))
    data = _read(chosen, source, tell, limit=limit, skip_malformed=skip_malformed)
    work = WorkerSpec(
        task=chosen.spec, recipe=plan, mlm=mlm, vectors=vectors, device=device,
        threads=where.threads_of_a_worker(), store=None if store is None else Path(store),
        gates=_gates(plan, chosen, data), teacher=teacher, similarity_model=similarity_model,
        vectors_cache=cache_folder(vectors_cache),
    )  # fmt: skip
    return _Run(data, Worker.load(work, tell), where, tell).version(Path(out), limit, store_limit)


def _read(
    task: Task, source: str | None, tell: Narrator, *, limit: int | None, skip_malformed: bool
) -> Source:
    data = read_source(task, source, limit=limit, skip_malformed=skip_malformed)
    tell.say("source", source_line(task, data))
    return data


@dataclass(slots=True)
class _Tally:
    """What the chunks of a run add up to."""

    counts: Counter[str] = field(default_factory=Counter)
    store_trouble: str = ""


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that has read its rows and loaded its models."""

    data: Source
    worker: Worker
    engine: Engine
    tell: Narrator

    def version(self, root: Path, limit: int | None, store_limit: int) -> Version:
        """The version below the root, made unless it is there."""
        folder = root / self.worker.work.task.name
        if line := gates_line(self.worker.judges):
            self.tell.say("gates", line)
        self._refuse_long_texts()
        draft = draft_manifest(self.data, self.worker, limit)
        if (present := _already(folder, draft)) is not None:
            known = f"{present.reference} is already that ({draft.id[:12]})"
            self.tell.say("nothing to do", known)
            return present
        trouble = ""
        with open_staging(root, folder.name, draft.id) as staging:
            if _already(folder, draft) is None:
                trouble = self._make(draft, staging)
            staging.remove()
        if (kept := self.worker.finder.store) is not None:
            self.tell.say("store", prune_after_run(kept, trouble, store_limit))
        return open_version(root / f"{folder.name}@{draft.id}")

    def _refuse_long_texts(self) -> None:
        task = self.worker.work.task
        for chunk in _chunks(self.data.splits[task.splits.train]):
            idx = chunk.rows["idx"].to_pylist()
            for column in task.text_columns:
                places = [f"train row {number}, {column}," for number in idx]
                texts = chunk.rows[column].to_pylist()
                self.worker.finder.refuse_long(list(zip(places, texts, strict=True)))

    def _make(self, draft: Manifest, staging: Staging) -> str:
        """Run the chunks and commit them with the untouched splits; gives the store's trouble."""
        train = self.worker.work.task.splits.train
        chunks = _chunks(self.data.splits[train])
        tally = self._run(chunks, staging)
        tally.counts["source.skipped"] += self.data.skipped
        draft = draft.model_copy(
            update={
                "counts": dict(sorted(tally.counts.items())),
                "measured": self._measured(),
                "version": next_name(staging.folder),
            }
        )
        others = {
            name: originals(table, draft.task, teacher_logits=draft.teacher_logits)
            for name, table in self.data.splits.items()
            if name != train
        }
        with disk_errors(staging.path):
            commit(staging, draft, len(chunks), others)
        return tally.store_trouble

    def _run(self, chunks: list[Chunk], staging: Staging) -> _Tally:
        """Run the chunks that are not finished yet; the tally is that of all."""
        finished = {chunk.number: staging.finished(chunk.number) for chunk in chunks}
        tally, tell = _Tally(), self.tell
        for kept in finished.values():
            tally.counts.update(kept or {})
        due = [chunk for chunk in chunks if finished[chunk.number] is None]
        if len(due) < len(chunks):
            tell.say("resuming", f"{len(chunks) - len(due)} of {len(chunks)} chunks are done")
        rows = sum(chunk.rows.num_rows for chunk in chunks)
        tell.start(rows, rows - sum(chunk.rows.num_rows for chunk in due))
        try:
            with closing(run_chunks(due, self.worker, self.engine, tell.positions)) as done:
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

    def _measured(self) -> dict[str, float]:
        """What a precision below float32 changed, for the manifest."""
        task, precision = self.worker.work.task, self.worker.work.recipe.precision
        if precision == "float32":
            return {}
        train = self.data.splits[task.splits.train]
        found = measure_agreement(train, task, self.worker.finder)
        self.tell.say(
            precision,
            f"{found.equal_sets:.1%} of {found.positions:,} candidate sets are those of float32, "
            f"mean overlap {found.overlap:.1%}",
        )
        return found.measured()


def _gates(recipe: AugmentRecipe, task: Task, data: Source) -> RuleFilters:
    """The recipe's gates; the leak guard knows every validation and test row."""
    held_out = (
        row_digest(texts)
        for name, table in data.splits.items()
        if recipe.leak_guard and name != task.spec.splits.train
        for texts in zip(*(table[c].to_pylist() for c in task.spec.text_columns), strict=True)
    )
    return RuleFilters(frozenset(held_out), recipe.normalised_duplicates)


def _chunks(table: pa.Table) -> list[Chunk]:
    return [
        Chunk(number, table.slice(at, CHUNK_ROWS))
        for number, at in enumerate(range(0, table.num_rows, CHUNK_ROWS))
    ]


def _already(folder: Path, draft: Manifest) -> Version | None:
    """The committed version with the same id, if there is one."""
    for version in list_versions(folder, skip_unreadable=True):
        if version.manifest.id == draft.id:
            remove_leftovers(version.path.parent, draft.id)  # left by a kill after the commit
            return open_version(version.path)
    return None
