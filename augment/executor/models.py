"""The models of a run: where they lie, and how a process loads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augment.contract import TaskSpec
from augment.contract.errors import first_line
from augment.errors import UsageError
from augment.filters.model_filters import SimilarityFilter, TeacherFilter
from augment.progress import Narrator
from augment.recipes.schema import AugmentRecipe

if TYPE_CHECKING:
    from augment.replacement.candidates import CandidateFinder

_EXAMPLES = (
    "Name them, such as: --mlm google-bert/bert-base-uncased --vectors glove-wiki-gigaword-100."
)


@dataclass(frozen=True, slots=True)
class Models:
    """Where the models of a run lie, and where they run.

    Attributes:
        mlm: Folder or hub name of the masked LM; None where nothing is to be generated.
        vectors: Vectors file or downloader name; None there too.
        teacher: Folder or hub name of a classifier, where the recipe asks one.
        similarity_model: Folder or hub name of a sentence encoder, where the recipe asks one.
        device: Such as ``cpu`` or ``cuda``.
        vectors_cache: Where tables of vectors are kept, or None to read the file each time.
    """

    mlm: str | None = None
    vectors: str | None = None
    teacher: str | None = None
    similarity_model: str | None = None
    device: str = "cpu"
    vectors_cache: Path | None = None

    @classmethod
    def named(
        cls,
        mlm: str | Path | None = None,
        vectors: str | Path | None = None,
        teacher: str | Path | None = None,
        similarity_model: str | Path | None = None,
        device: str = "cpu",
        vectors_cache: Path | None = None,
    ) -> Models:
        """The models that a caller names, by strings or paths."""
        given = (mlm, vectors, teacher, similarity_model)
        names = [None if name is None else str(name) for name in given]
        return cls(names[0], names[1], names[2], names[3], device, vectors_cache)

    def load_finder(
        self, recipe: AugmentRecipe, store: Path | None = None, narrator: Narrator | None = None
    ) -> CandidateFinder:
        """Load what proposes candidates and, where a folder is given, the store that keeps them.

        Raises:
            UsageError: The models are not named, or cannot run on the device.
            AssetInvalid: A model or vectors file cannot be used.
        """
        mlm, vectors_file = self._proposers()
        _require_device(self.device)
        from augment.masked_lm.loading import load_masked_lm
        from augment.replacement.candidate_store import CandidateStore
        from augment.replacement.candidates import CandidateFinder
        from augment.vectors import load_vectors

        lm = load_masked_lm(mlm, device=self.device, precision=recipe.precision)
        vectors = load_vectors(
            vectors_file, recipe.vector_rows, cache=self.vectors_cache, narrator=narrator
        )
        if store is None:
            return CandidateFinder(lm, vectors, recipe)
        kept = CandidateStore(
            store,
            lm.digest,
            words_only=recipe.top_k_of == "words",
            precision=recipe.precision,
            vocabulary=len(lm.tokenizer.whole_words()),
        )
        return CandidateFinder(lm, vectors, recipe, kept)

    def load_teacher(self, recipe: AugmentRecipe, task: TaskSpec) -> TeacherFilter | None:
        """Load the recipe's teacher, where one is named.

        Raises:
            AssetInvalid: It cannot be used, or its labels are not those of the task.
        """
        if self.teacher is None:
            return None
        from augment.filters.loading import load_teacher

        return TeacherFilter(
            load_teacher(self.teacher, task, device=self.device),
            recipe.teacher_agreement,
            recipe.teacher_tolerance,
            regression=task.label.kind == "regression",
            keep_logits=recipe.teacher_logits,
        )

    def load_encoder(self, recipe: AugmentRecipe) -> SimilarityFilter | None:
        """Load the recipe's sentence encoder, where one is named.

        Raises:
            AssetInvalid: It cannot be used.
        """
        if self.similarity_model is None:
            return None
        from augment.filters.loading import load_sentence_encoder

        encoder = load_sentence_encoder(self.similarity_model, device=self.device)
        return SimilarityFilter(encoder, recipe.min_similarity)

    def refuse_unfit(self, recipe: AugmentRecipe) -> None:
        """Check that the models are named that a recipe asks for, and no others.

        Raises:
            UsageError: They are not.
        """
        generates = recipe.generates
        if generates:
            self._proposers()
        self.refuse_unfit_gates(recipe, judged=generates)

    def refuse_unfit_gates(self, recipe: AugmentRecipe, *, judged: bool = True) -> None:
        """Check the models of the gates alone; ``judged`` is whether there are rows to judge.

        Raises:
            UsageError: One is asked for and not named, or the other way round.
        """
        if self.teacher or self.similarity_model:
            _require_device(self.device)
        asks_teacher = recipe.teacher_logits or (judged and recipe.teacher_agreement != "off")
        _agree(self.teacher, "--teacher", asks_teacher, "teacher_agreement, teacher_logits")
        asks_encoder = judged and recipe.min_similarity > 0
        _agree(self.similarity_model, "--similarity-model", asks_encoder, "min_similarity")

    def _proposers(self) -> tuple[str, str]:
        """Masked LM and vectors, once they are known to be named.

        Raises:
            UsageError: One is not.
        """
        if self.mlm is not None and self.vectors is not None:
            return self.mlm, self.vectors
        named = {"--mlm": self.mlm, "--vectors": self.vectors}
        missing = " and ".join(option for option, model in named.items() if model is None)
        raise UsageError(
            f"{missing} not given: generated rows take their words from a masked LM and vectors.",
            f"{_EXAMPLES} Or take the rows as they are: augment run TASK --variants 0",
        )


def _require_device(name: str) -> None:
    """Check that numbers can be put on a device and read back.

    Raises:
        UsageError: They cannot.
    """
    import torch

    try:
        float(torch.zeros(1, device=name))
    except Exception as error:  # RuntimeError, AssertionError, whatever a backend raises
        raise UsageError(
            f"the device {name!r} cannot be used here: {first_line(error)}.",
            "Name another: --device cpu, or a GPU that this machine has, such as cuda:0.",
        ) from error


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
