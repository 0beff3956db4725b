"""Stage 2: the teacher's answers, and what other methods add to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor
from transformers import PreTrainedModel

from distill.batching import SOFT_LABELS, model_inputs, readable
from distill.losses import label_loss, logits_loss, regression_loss
from distill.projections import Kind, Pretrained
from distill.recipe_sections import Prediction as PredictionRecipe
from distill.stages.base import Stage
from distill.stages.states import StateTerms


class Prediction(Stage):
    """Prediction-layer loss (Eq. 10) on the soft labels that come with each batch.

    To it a recipe may add the labels of the data, and PKD's and DistilBERT's losses: those look
    into the teacher, which is run at every step then.

    Args:
        student: Trained.
        recipe: Loss, temperature and weights.
        teacher: Frozen, in evaluation mode; used where the recipe matches states.
        mapping: Teacher layer for each student layer; used there too.
        projection: How many projections, see ``projections.Projections``.
        pretrained: Projections of a general student's checkpoint.
    """

    name = "prediction"

    def __init__(
        self,
        student: PreTrainedModel,
        recipe: PredictionRecipe,
        *,
        teacher: PreTrainedModel | None = None,
        mapping: Sequence[int] = (),
        projection: Kind = "shared",
        pretrained: Pretrained = (),
    ) -> None:
        super().__init__(student, teacher if recipe.matches_states else None)
        self.recipe = recipe
        self.states: StateTerms | None = None
        if self.teacher is not None:
            self.states = StateTerms(
                student,
                self.teacher,
                mapping,
                weights=recipe.weights,
                projection=projection,
                pretrained=pretrained,
            )

    def terms(self, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """``prediction``, ``label``, ``patient`` and ``cosine``, each where it has a weight."""
        inputs, weights = model_inputs(batch), self.recipe.weights
        seen = self.states.answer(inputs) if self.states else None
        logits = seen.logits if seen else self.student(**readable(self.student, inputs)).logits
        assert logits is not None, "the student was run without its head"
        if weights.logits:
            yield "prediction", weights.logits * self._distance(logits, batch[SOFT_LABELS])
        if weights.labels:
            yield "label", weights.labels * label_loss(logits, batch["labels"])
        if self.states and seen:
            yield from self.states.terms(seen, inputs)

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.shape[-1] == 1:
            return regression_loss(logits, target)
        return logits_loss(logits, target, self.recipe.loss, self.recipe.temperature)
