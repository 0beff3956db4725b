"""A worker: what it needs, what it loads, and what it makes of a chunk."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from augment.contract import Asset, Fault, TaskSpec
from augment.errors import AugmentError
from augment.executor.base import Chunk
from augment.executor.by_class import VariantsByClass
from augment.executor.chunk import augment_chunk
from augment.executor.models import Models
from augment.filters.model_filters import SimilarityFilter, TeacherFilter
from augment.filters.rules import Filter, RuleFilter
from augment.progress import Narrator
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.tokenization.words import stop_words_text
from augment.versions.manifest import Assets
from augment.versions.rows import ChunkOutput

T = TypeVar("T")
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker needs, wherever it runs.

    Attributes:
        rules: Filters that need no model.
        by_class: How many variants rows get; None: the recipe's N each.
        threads: Threads of one worker, or None for torch's own choice.
        store: Folder of the candidate store, or None to keep no candidates.
        assets: What the run began with, once that is known: no worker may have anything else.
    """

    task: TaskSpec
    recipe: AugmentRecipe
    models: Models
    rules: RuleFilter = field(default_factory=RuleFilter)
    threads: int | None = None
    store: Path | None = None
    assets: Assets | None = None
    by_class: VariantsByClass | None = None

    @property
    def each_row(self) -> VariantsByClass:
        """How many variants rows get."""
        return self.by_class or VariantsByClass(self.recipe.variants, {})

    def set_threads(self) -> None:
        """Let torch have this worker's threads in the calling process."""
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)


@dataclass(frozen=True, slots=True)
class Worker:
    """The models of one process, and what it does with them.

    Attributes:
        finder: What proposes words; None where the recipe generates nothing.
    """

    spec: WorkerSpec
    finder: CandidateFinder | None
    similarity: SimilarityFilter | None
    teacher: TeacherFilter | None

    @classmethod
    def load(cls, spec: WorkerSpec, narrator: Narrator | None = None) -> Worker:
        """Load the models; the narrator hears what takes long.

        Raises:
            AssetInvalid: A model or vectors file cannot be used.
            AssetChanged: It is not what the run began with.
        """
        models, recipe = spec.models, spec.recipe
        teacher = models.load_teacher(recipe, spec.task)
        similarity = models.load_encoder(recipe)
        spec.set_threads()
        finder = models.load_finder(recipe, spec.store, narrator) if recipe.generates else None
        worker = cls(spec, finder, similarity, teacher)
        if spec.assets is not None:
            spec.assets.refuse_other(worker.assets())
        return worker

    def assets(self) -> Assets:
        """What this process has, for the manifest and for workers to compare."""
        models, finder = self.spec.models, self.finder
        assets = []
        if finder is not None:
            stop_words = sha256(stop_words_text().encode()).hexdigest()
            mlm, vectors = Path(models.mlm or "").name, Path(models.vectors or "").name
            assets = [
                Asset(kind="masked_lm", name=mlm, sha256=finder.masked_lm.digest),
                Asset(kind="vectors", name=vectors, sha256=finder.vectors.digest),
                Asset(kind="stop_words", name="stop_words.txt", sha256=stop_words),
            ]
        gates = {"teacher": self.teacher, "sentence_encoder": self.similarity}
        for kind, gate in gates.items():
            if gate is not None:
                name, digest = Path(gate.scorer.name).name, gate.scorer.digest
                assets.append(Asset(kind=kind, name=name, sha256=digest))
        return Assets.of(assets)

    def load_canonical(self) -> None:
        """Make the float64 models now, not at their first use: processes split later share them."""
        if self.finder is not None and self.spec.recipe.precision == "float32":
            self.finder.masked_lm.exact()
        for model_filter in (self.similarity, self.teacher):
            if model_filter is not None:
                model_filter.scorer.exact()

    def refuse_long(self, rows: pa.Table, split: str) -> None:
        """Check that the masked LM can read every text of a split.

        Raises:
            TextTooLong: It cannot, and the recipe does not truncate.
        """
        if self.finder is None:
            return
        for column in self.spec.task.text_columns:
            for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
                part = rows.slice(start, _ROWS_AT_ONCE)
                places = (f"{split} row {idx}, {column}," for idx in part["idx"].to_pylist())
                texts = part[column].to_pylist()
                self.finder.refuse_long(list(zip(places, texts, strict=True)))

    def run(self, chunk: Chunk) -> ChunkOutput:
        """Augment the rows of a chunk."""
        spec = self.spec
        filters: list[Filter | None] = [spec.rules, self.similarity, self.teacher]
        passed = [each for each in filters if each]
        return augment_chunk(chunk, spec.task, spec.recipe, self.finder, passed, spec.each_row)


class RemoteWorker:
    """A worker in another process: what goes wrong there is an answer, never an exception."""

    def __init__(self, spec: WorkerSpec) -> None:
        """Take what is needed; the models are loaded when the first chunk comes."""
        self._spec = spec
        self._loaded: Worker | Fault | None = None

    def load_shared(self) -> None:
        """Load everything at once and on one thread, for processes that are split off later."""

        def load() -> Worker:
            worker = Worker.load(replace(self._spec, threads=1))
            worker.load_canonical()
            return worker

        self._loaded = _or_fault(load)

    def answer(self, chunk: Chunk) -> ChunkOutput | Fault:
        """What becomes of a chunk."""
        if self._loaded is None:
            self._loaded = _or_fault(lambda: Worker.load(self._spec))
        worker = self._loaded
        if isinstance(worker, Fault):
            return worker
        self._spec.set_threads()
        return _or_fault(lambda: worker.run(chunk))


def _or_fault(work: Callable[[], T]) -> T | Fault:
    """What comes of the work, or the fault it ends with."""
    try:
        return work()
    except Fault as fault:
        return fault
    except Exception as error:
        return AugmentError(f"a worker failed: {error!r}", traceback.format_exc())
