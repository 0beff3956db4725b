"""A worker: what it needs, how it loads its models, and what it makes of a chunk."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from augment.contract import Fault, TaskSpec
from augment.errors import AssetChanged, AugmentError, UsageError
from augment.executor.chunk import augment_chunk
from augment.filters.model_filters import ModelFilters
from augment.filters.rules import RuleFilters
from augment.progress import Narrator
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.versions.rows import ChunkResult

T = TypeVar("T")
LIBRARIES = ("augment-distill", "torch", "transformers", "tokenizers", "pyarrow", "numpy", "gensim")


@dataclass(frozen=True, slots=True)
class RunAssets:
    """What a run began with: no worker may have anything else.

    Attributes:
        digests: Kind of model → its digest.
        libraries: Versions of ``LIBRARIES``.
    """

    digests: dict[str, str]
    libraries: dict[str, str]

    def refuse_other(self, found: RunAssets) -> None:
        """Check what a worker has.

        Raises:
            AssetChanged: It is not this.
        """
        for name, ours in self.digests.items():
            if found.digests.get(name) != ours:
                raise AssetChanged(
                    f"the {name} is not what the run began with: expected {ours[:12]}, "
                    f"a worker found {found.digests.get(name, 'nothing')[:12]}.",
                    "Leave models alone while a run is at work, and have the same files on every "
                    "node; then run the same command again.",
                )
        for name, ours in self.libraries.items():
            if found.libraries[name] != ours:
                raise AssetChanged(
                    f"a worker has {name} {found.libraries[name]}, the run began with {ours}.",
                    "Install the same versions on every node.",
                )


class Answering:
    """A worker that loads its models when the first chunk comes, and never dies of an exception."""

    def __init__(self, work: WorkerSpec, loaded: Worker | Fault | None = None) -> None:
        """Take what is needed.

        Args:
            work: What to load, and the threads to have.
            loaded: The models, or why there are none, where that is known already.
        """
        self._work = work
        self._loaded = loaded

    def answer(self, rows: bytes) -> Worked | Fault:
        """What becomes of a packed chunk."""
        if self._loaded is None:
            self._loaded = attempt(lambda: Worker.load(self._work))
        if isinstance(self._loaded, Fault):
            return self._loaded
        self._work.set_threads()
        return attempt(partial(self._loaded.run_packed, rows))


def attempt(what: Callable[[], T]) -> T | Fault:
    """What a worker has to tell, whatever happens."""
    try:
        return what()
    except Fault as fault:
        return fault
    except Exception as error:
        return AugmentError(f"a worker failed: {error!r}", traceback.format_exc())


def rows_of(answer: object) -> Worked:
    """What a worker made of a chunk.

    Raises:
        Fault: What it tells instead.
    """
    if isinstance(answer, Fault):
        raise answer
    assert isinstance(answer, Worked)
    return answer


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker needs to build its own finder.

    Attributes:
        task: The task of the rows.
        recipe: The resolved recipe.
        mlm: Folder or hub name of the masked LM.
        vectors: Vectors file or downloader name.
        device: Where the models run, such as ``cpu`` or ``cuda``.
        threads: Threads of one worker, or None for torch's own choice.
        store: Folder of the candidate store, or None to keep no candidates.
        gates: What a generated row must pass.
        teacher: Folder or hub name of a classifier, where the recipe asks one.
        similarity_model: Folder or hub name of a sentence encoder, where the recipe asks one.
        vectors_cache: Where tables of vectors are kept, or None to read the file each time.
        began: What the run began with, once that is known.
    """

    task: TaskSpec
    recipe: AugmentRecipe
    mlm: str
    vectors: str
    device: str
    threads: int | None = None
    store: Path | None = None
    gates: RuleFilters = field(default_factory=RuleFilters)
    teacher: str | None = None
    similarity_model: str | None = None
    vectors_cache: Path | None = None
    began: RunAssets | None = None

    def load(self, narrator: Narrator | None = None) -> CandidateFinder:
        """Load the models.

        Args:
            narrator: Hears what takes long.

        Raises:
            AssetInvalid: A model or vectors file cannot be used.
        """
        from augment.masked_lm.loading import load_masked_lm
        from augment.replacement.candidate_store import CandidateStore
        from augment.vectors import load_vectors

        self.set_threads()
        precision = self.recipe.precision
        masked_lm = load_masked_lm(self.mlm, device=self.device, precision=precision)
        vectors = load_vectors(
            self.vectors, self.recipe.vector_rows, cache=self.vectors_cache, narrator=narrator
        )
        words_only = self.recipe.top_k_of == "words"
        store = (
            CandidateStore(self.store, masked_lm.digest, words_only=words_only, precision=precision)
            if self.store
            else None
        )
        return CandidateFinder(masked_lm, vectors, self.recipe, store)

    def load_judges(self) -> ModelFilters:
        """Load the models of the gates.

        Raises:
            UsageError: The recipe asks for a model that is not named, or the other way round.
            AssetInvalid: A model cannot be used, or its labels are not those of the task.
        """
        rules = self.recipe.judging(regression=self.task.label.kind == "regression")
        _agree(self.teacher, "--teacher", rules.needs_teacher, "teacher_agreement, teacher_logits")
        _agree(self.similarity_model, "--similarity-model", rules.needs_encoder, "min_similarity")
        from augment.filters.loading import load_sentence_encoder, load_teacher

        return ModelFilters(
            rules,
            load_teacher(self.teacher, self.task, device=self.device) if self.teacher else None,
            load_sentence_encoder(self.similarity_model, device=self.device)
            if self.similarity_model
            else None,
        )

    def set_threads(self) -> None:
        """Let torch have this worker's threads in the calling process."""
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)


def _agree(model: str | None, option: str, needed: bool, keys: str) -> None:
    if needed and model is None:
        raise UsageError(
            f"the recipe asks for a model that is not named ({keys}).", f"Name it: {option} DIR"
        )
    if model is not None and not needed:
        raise UsageError(
            f"{option} {model} is named, but the recipe has no use for it.",
            f"Set {keys.replace(', ', ' or ')} in the recipe: augment recipe TASK > my.toml",
        )


@dataclass(frozen=True, slots=True)
class Worked:
    """What a worker makes of a chunk.

    Attributes:
        result: Rows and counts.
        store_trouble: Why the worker's candidate store is not used any more, or empty.
    """

    result: ChunkResult
    store_trouble: str


@dataclass(frozen=True, slots=True)
class Worker:
    """The models of one process, and what it does with them."""

    work: WorkerSpec
    finder: CandidateFinder
    judges: ModelFilters

    @classmethod
    def load(cls, work: WorkerSpec, narrator: Narrator | None = None) -> Worker:
        """Load the models.

        Args:
            work: What is needed.
            narrator: Hears what takes long.

        Raises:
            AssetInvalid: A model or vectors file cannot be used.
            AssetChanged: It is not what the run began with.
        """
        judges = work.load_judges()
        worker = cls(work, work.load(narrator), judges)
        if work.began is not None:
            work.began.refuse_other(worker.began())
        return worker

    def complete(self) -> Worker:
        """Make what would be made at its first use: processes that split after it share it."""
        if self.work.recipe.precision == "float32":
            self.finder.masked_lm.exact()
        for scorer in (self.judges.teacher, self.judges.encoder):
            if scorer is not None:
                scorer.exact()
        return self

    def began(self) -> RunAssets:
        """What this process has."""
        digests = {
            "masked LM": self.finder.masked_lm.digest,
            "vectors file": self.finder.vectors.digest,
        }
        if self.judges.teacher:
            digests["teacher"] = self.judges.teacher.digest
        if self.judges.encoder:
            digests["similarity model"] = self.judges.encoder.digest
        return RunAssets(digests, {name: version(name) for name in LIBRARIES})

    def run(self, rows: pa.Table, on_batch: Callable[[int], None] | None = None) -> Worked:
        """Augment the rows of a chunk."""
        result = augment_chunk(
            rows, self.work.task, self.finder, self.work.gates, self.judges, on_batch
        )
        return Worked(result, self.finder.store.trouble if self.finder.store else "")

    def run_packed(self, rows: bytes) -> Worked:
        """Augment the rows of a packed chunk."""
        return self.run(pa.ipc.open_stream(rows).read_all())
