"""The story of a run: read the rows, load the models, augment chunk by chunk, commit a version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from augment.analysis.coverage import coverage, generated_little, why_little
from augment.analysis.faster import COMPARED_TEXTS, proposal
from augment.analysis.precision_check import measure_agreement
from augment.contract import (
    UNLABELED_SPLIT,
    Manifest,
    TaskSpec,
    Version,
    open_version,
)
from augment.contract.files import disk_errors
from augment.contract.foreign import counted
from augment.contract.models import bfloat16_is_faster, slow_bfloat16
from augment.errors import UsageError
from augment.executor.base import Engine
from augment.executor.by_class import VariantsByClass
from augment.executor.models import Models
from augment.executor.run import run_chunks, validate
from augment.executor.work import Work, augmented_splits
from augment.executor.worker import Worker, WorkerSpec
from augment.filters.rules import RuleFilter
from augment.progress import Narrator
from augment.recipes.load import recipe_for
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidate_store import prune_after_run
from augment.sources.digests import row_digest
from augment.sources.own_file import Columns, names_file, task_of_file
from augment.sources.read import Source, read_source
from augment.sources.unlabeled import unlabeled_line
from augment.tasks import get_task
from augment.vectors import cache_folder
from augment.versions.manifest import draft_manifest
from augment.versions.rows import originals, source_rows, spread, texts_of
from augment.versions.staging import Staging, commit, find_committed, open_staging

ROWS_FOR_A_REASON = 1000
STORE_BYTES = 20 * 2**30


def augment_task(
    task: str | Path,
    *,
    mlm: str | Path | None = None,
    vectors: str | Path | None = None,
    source: str | Path | Mapping[str, Any] | None = None,
    out: str | Path = "data/versions",
    recipe: str | Path | AugmentRecipe = "official",
    variants: int | None = None,
    limit: int | None = None,
    skip_malformed: bool = False,
    unlabeled: Sequence[str | Path] | str | Path = (),
    text: Sequence[str] | str = (),
    label: str | None = None,
    split: str | None = None,
    engine: str | Engine = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    teacher: str | Path | None = None,
    similarity_model: str | Path | None = None,
    store: str | Path | None = None,
    store_limit: int = STORE_BYTES,
    vectors_cache: str | Path | bool = True,
    narrator: Narrator | None = None,
    quiet: bool | None = None,
) -> Version:
    """Augment a task's training split and commit everything as one version.

    Args:
        task: A GLUE task's name, a task file, or a data file: its task is drafted and its splits
            are made, see ``sources.own_file``.
        mlm: Folder or hub name of the masked LM; not needed where ``variants`` is 0.
        vectors: Vectors file or a name of gensim's downloader; the same holds.
        source: Folder, file or hub name; the task file's folder by default. Or splits in memory:
            name → a data frame, a ``datasets.Dataset`` or an Arrow table, ``unlabeled`` included.
        out: The root of all versions; a finished or interrupted run is found there again.
        recipe: ``official``, ``paper``, ``long``, a recipe file, or a recipe object.
        variants: N instead of the recipe's; 0 makes a version of the rows as they are.
        limit: Use only the first rows of the training split.
        skip_malformed: Leave malformed rows out, counted.
        unlabeled: Files or hub data sets of rows without labels, a split of their own.
        text: Of a data file: the columns of its texts, one or two; found if left out.
        label: Likewise that of its label.
        split: Likewise the shares of its splits, such as ``80/20``.
        engine: ``local`` or ``ray``; or an ``augment.executor.base.Engine`` instead of this and
            the next three.
        address: Of a Ray cluster.
        workers: Worker processes.
        threads: Threads of each worker.
        device: Where the models run.
        teacher: Folder or hub name of a fine-tuned classifier, for the recipe's gates.
        similarity_model: The same of a sentence encoder.
        store: Folder of the candidate store, see ``candidate_store``; None keeps no candidates.
        store_limit: Largest size of the store after the run, in bytes.
        vectors_cache: Folder for tables of vectors; True: the user's cache, False: none is kept.
        narrator: Hears what is going on.
        quiet: Say nothing; where neither is given, a notebook alone is told.

    Raises:
        Fault: Something is not usable; nothing half-written remains.

    Examples:
        >>> from augment import augment_task
        >>> version = augment_task("reviews.toml", mlm="mlm", vectors="vectors.txt", variants=2)
        >>> version.reference
        'reviews@v0001'
    """
    tell, task = narrator or Narrator(quiet=quiet), str(task)
    own = Columns((text,) if isinstance(text, str) else tuple(text), label, split)
    if names_file(task) and source is None:
        chosen = task_of_file(Path(task), own, Path(out), tell.say, skip_malformed=skip_malformed)
    else:
        own.refuse_elsewhere(task)
        chosen = get_task(task)
    if unlabeled or (isinstance(source, Mapping) and UNLABELED_SPLIT in source):
        chosen = chosen.with_unlabeled(unlabeled)
    where = validate(_engine(engine, workers, threads, address))
    plan = recipe_for(chosen.spec, recipe, variants)
    tell.say("recipe", recipe_line(plan))
    if slow := precision_line(plan.precision, device):
        tell.say("bfloat16", slow)
    models = Models.named(
        mlm, vectors, teacher, similarity_model, device, cache_folder(vectors_cache)
    )
    models.refuse_unfit(plan)
    data = read_source(chosen, source, limit=limit, skip_malformed=skip_malformed)
    tell.say("source", source_line(chosen.spec, data))
    if line := unlabeled_line(data.counts):
        tell.say("unlabeled", line)
    for warning in (*data.warnings, *_without_use(plan, chosen.spec)):
        tell.say("warning", warning)
    rules = _rules(plan, chosen.spec, data)
    kept = None if store is None else Path(store)
    by_class = _by_class(plan, chosen.spec, tell)
    threads_each = where.threads_per_worker
    spec = WorkerSpec(chosen.spec, plan, models, rules, threads_each, kept, by_class=by_class)
    worker = Worker.load(spec, tell)
    for title, line in _remarks(data, worker):
        tell.say(title, line)
    work = Work.of(data.splits, chosen.spec, plan, where)
    for name in augmented_splits(chosen.spec, plan):
        worker.refuse_long(data.splits[name], name)
    draft = draft_manifest(data, chosen.spec, plan, worker.assets(), limit)
    folder = Path(out) / chosen.spec.name
    if (present := find_committed(folder, draft.id)) is not None:
        tell.say("nothing to do", f"{present.reference} is already that ({draft.id[:12]})")
        return present
    with open_staging(folder, draft.id, where.chunk_rows) as staging:
        made = find_committed(folder, draft.id)
        if made is None:
            counts = _augment(work, worker, where, staging, tell)
            counts.update({**data.counts, **by_class.counts(chosen.spec.label)})
            measured = _measured(data, worker, tell)
            facts = {"counts": dict(sorted(counts.items())), "measured": measured}
            path = _commit(staging, draft.model_copy(update=facts), data, work)
            made = open_version(path)
        staging.remove()
    for line in outcome_lines(made.manifest.counts, data, worker):
        tell.say("warning", line)
    if worker.finder is not None and worker.finder.store is not None:
        tell.say("store", prune_after_run(worker.finder.store, store_limit))
    return made


def _remarks(data: Source, worker: Worker) -> Iterator[tuple[str, str]]:
    """What to know before the work begins: of the gates, and of texts that are long."""
    if line := gates_line(worker):
        yield "gates", line
    if worker.finder is not None:
        task = worker.spec.task
        rows = data.splits[task.splits.train]
        texts = dict.fromkeys(texts_of(spread(rows, COMPARED_TEXTS), task))
        total = rows.num_rows * len(task.text_columns)
        if line := proposal(list(texts), worker.finder, task.name, total):
            yield "long texts", line


def outcome_lines(counts: Mapping[str, int], data: Source, worker: Worker) -> tuple[str, ...]:
    """Why next to nothing was generated, where that is so; of a large source some rows are read."""
    task, finder = worker.spec.task, worker.finder
    train = data.splits[task.splits.train]
    asked = np.count_nonzero(worker.spec.each_row.asked(train, task.label))
    if finder is None or not generated_little({**counts, "rows.source": int(asked)}):
        return ()
    texts = texts_of(spread(train, ROWS_FOR_A_REASON), task)
    known = coverage(finder.words_of(list(dict.fromkeys(texts))), finder.vectors.words)
    return why_little(counts, finder.recipe, known)


def _engine(
    engine: str | Engine, workers: int | None, threads: int | None, address: str | None
) -> Engine:
    if isinstance(engine, str):
        return Engine(engine, workers, threads, address)
    if (workers, threads, address) != (None, None, None):
        raise UsageError("an Engine says workers, threads and address itself.")
    return engine


def _without_use(recipe: AugmentRecipe, task: TaskSpec) -> tuple[str, ...]:
    """What a recipe asks for that the rows do not have."""
    if recipe.augment_unlabeled and task.splits.unlabeled is None:
        return ("augment_unlabeled is on, but no unlabeled rows are named: --unlabeled FILE",)
    return ()


def recipe_line(recipe: AugmentRecipe) -> str:
    """The numbers that matter most."""
    if not recipe.generates:
        return "variants 0: the rows as they are; no masked LM and no vectors are read"
    by_class = " by class" * bool(recipe.variants_of)
    return (
        f"{recipe.preset} · N {recipe.variants}{by_class} · K {recipe.top_k} · "
        f"p {recipe.probability:.2f} · seed {recipe.seed}"
    )


def precision_line(precision: str, device: str, *, faster: bool | None = None) -> str:
    """What to know before a run in bfloat16 that is slower than in float32; empty elsewhere.

    Whether bfloat16 is ``faster`` on this processor is tried if left out.
    """
    if precision != "bfloat16" or device != "cpu":
        return ""
    slower = not (bfloat16_is_faster() if faster is None else faster)
    return slow_bfloat16("float32") if slower else ""


def source_line(task: TaskSpec, data: Source) -> str:
    """The splits with their rows."""
    parts = [f"{name} {table.num_rows:,}" for name, table in data.splits.items()]
    skipped = f" · {counted(data.skipped, 'malformed row')} left out" if data.skipped else ""
    return f"{task.name}: " + " · ".join(parts) + skipped


def gates_line(worker: Worker) -> str:
    """What the models of the gates are asked, and what a user should know of them, if anything."""
    recipe = worker.spec.recipe
    asks = recipe.generates and recipe.teacher_agreement != "off"
    parts = [
        f"similarity of at least {recipe.min_similarity}" * (worker.similarity is not None),
        f"teacher agreement ({recipe.teacher_agreement})" * asks,
        "teacher logits are kept" * recipe.teacher_logits,
        worker.teacher.scorer.notice if worker.teacher else "",
    ]
    return " · ".join(part for part in parts if part)


def _by_class(recipe: AugmentRecipe, task: TaskSpec, tell: Narrator) -> VariantsByClass:
    """How many variants rows get, said where that is not the same for all."""
    found = VariantsByClass.of(recipe, task)
    if line := found.line(task.label):
        tell.say("variants", line)
    return found


def _rules(recipe: AugmentRecipe, task: TaskSpec, data: Source) -> RuleFilter:
    """The gates that need no model; the leak guard knows every validation and test row."""
    held_out = (
        row_digest(row.texts)
        for name, table in data.splits.items()
        if recipe.leak_guard and name in (*task.splits.validation, *task.splits.test)
        for row in source_rows(table, task)
    )
    return RuleFilter(frozenset(held_out), recipe.normalised_duplicates)


def _augment(
    work: Work, worker: Worker, engine: Engine, staging: Staging, tell: Narrator
) -> Counter[str]:
    """Run the chunks that are not finished yet; the counts are those of all."""
    chunks = work.chunks
    finished = {chunk.number: staging.finished(chunk.number) for chunk in chunks}
    counts = Counter[str]()
    for number, kept in finished.items():
        counts.update(work.counts(number, kept or {}))
    due = [chunk for chunk in chunks if finished[chunk.number] is None]
    if len(due) < len(chunks):
        tell.say(
            "resuming", f"{len(chunks) - len(due)} of {counted(len(chunks), 'chunk')} are done"
        )
    rows = sum(chunk.rows.num_rows for chunk in chunks)
    columns = worker.spec.task.text_columns
    title = "candidates" if worker.finder else "rows"
    weights = {chunk.number: chunk.weight(columns) for chunk in due}
    tell.start(rows, rows - sum(chunk.rows.num_rows for chunk in due), weights, title=title)
    store = worker.finder.store if worker.finder else None
    if worker.finder is not None:
        worker.finder.watcher = tell  # in this process alone: others are sent the spec
    try:
        with closing(run_chunks(due, worker, engine)) as outputs:
            for output in outputs:
                staging.keep(output)
                counts.update(work.counts(output.number, output.counts))
                if store is not None:
                    store.error = store.error or output.store_error
                    store.notice = store.notice or output.store_notice
                tell.finished(output.number)
                tell.rows(output.counts["rows.source"])
    except KeyboardInterrupt:
        safe = sum(staging.finished(chunk.number) is not None for chunk in chunks)
        tell.stop()
        tell.say("stopped", f"{safe} of {counted(len(chunks), 'chunk')} are kept in {staging.path}")
        raise
    finally:
        tell.stop()
    return counts


def _measured(data: Source, worker: Worker, tell: Narrator) -> dict[str, float]:
    """What a precision below float32 changed, for the manifest."""
    task, precision = worker.spec.task, worker.spec.recipe.precision
    if precision == "float32" or worker.finder is None:
        return {}
    agreement = measure_agreement(data.splits[task.splits.train], task, worker.finder)
    tell.say(
        precision,
        f"{agreement.equal_sets:.1%} of "
        f"{counted(agreement.positions, 'candidate set', 'are')} those of "
        f"float32, mean overlap {agreement.overlap:.1%}",
    )
    return agreement.measured()


def _commit(staging: Staging, draft: Manifest, data: Source, work: Work) -> Path:
    """Commit the finished chunks with the untouched splits."""
    kept = {"soft_labels": draft.soft_labels, "teacher_logits": draft.teacher_logits}
    splits = draft.task.splits
    made = [splits.train, splits.unlabeled] if work.unlabeled else [splits.train]
    untouched = {
        name: [originals(table, draft.task, **kept)]
        for name, table in data.splits.items()
        if name not in made
    }
    count, more = len(work.training), len(work.unlabeled)
    with disk_errors(staging.path):
        return commit(staging, draft, count, untouched, unlabeled=more)
