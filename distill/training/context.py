"""What every stage of one run shares, and how a stage is trained on it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from augment.contract import Version
from augment.contract.files import commit_folder, write_json
from distill.data.batching import Collator
from distill.data.versions import TokenizedSplits, fingerprint, tokenize
from distill.distributed import on_main_process
from distill.errors import ModelNotFound
from distill.evaluation.evaluate import Measurement, evaluate
from distill.evaluation.results import result_of
from distill.models.folders import folder_digest, save_clean
from distill.models.loading import Classifier, eval_mode, read_config, read_weights
from distill.models.students import Init, resolve_init, student_identity
from distill.progress import Narrator
from distill.recipes.load import DistillRecipe
from distill.recipes.schema import Training
from distill.run_directory import METRICS, OUTCOME, MetricLog, RunDirectory
from distill.stages import Stage
from distill.training.job import Job
from distill.training.soft_labels import Logits
from distill.training.trainer import train_stage


@dataclass(frozen=True, slots=True)
class RunContext:
    """The version, its tokens, the recipe and the places of one run.

    Attributes:
        version: Opened and verified.
        recipe: Resolved for the version's task.
        tokens: The tokenized splits.
        tokenizer: Of the student, in most cases the teacher's; saved with every student.
        max_length: Pieces a row was cut to.
        run: Where everything goes.
        narrator: Where progress is shown.
    """

    version: Version
    recipe: DistillRecipe
    tokens: TokenizedSplits
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    run: RunDirectory
    narrator: Narrator

    def read_by(self, tokenizer: PreTrainedTokenizerBase) -> TokenizedSplits:
        """The version as a tokenizer splits it; tokens that are open are not mapped once more."""
        ours, theirs = (
            fingerprint(self.version, reader, self.max_length)
            for reader in (self.tokenizer, tokenizer)
        )
        if ours == theirs:
            return self.tokens
        return tokenize(self.version, tokenizer, self.max_length, self.run.tokens)

    def train(
        self,
        begin: Callable[[], Stage],
        training: Training,
        *,
        title: str,
        final: Path,
        select: bool = True,
        soft: Callable[[], Logits] | None = None,
    ) -> PreTrainedModel:
        """Train a stage and commit its student, or open what an earlier call committed.

        Args:
            begin: Builds the stage; not called when the stage is finished.
            training: The recipe's section.
            title: For the progress.
            final: The folder of the finished student.
            select: Keep the best step on validation; otherwise the last one.
            soft: Gives the soft labels of the rows; not called when the stage is finished.

        Returns:
            The finished student, read from its folder: the same whether or not the run was
            interrupted in between.
        """
        if final.is_dir():
            self.narrator.say(title, f"finished before: {final}")
            return _read(final)
        stage = begin()
        checkpoints = self.run.work / stage.name / "checkpoints"
        job = self._job(stage, training, title, checkpoints, select)
        outcome = train_stage(dataclasses.replace(job, soft=soft()) if soft else job)
        if outcome.score is not None:
            name = f"{self.version.task.selection_metric} {outcome.score:.3f}"
            self.narrator.say("kept", f"step {outcome.kept} of {outcome.steps} · {name}")

        def commit() -> None:
            write_json(checkpoints.with_name(OUTCOME), dataclasses.asdict(outcome))
            commit_folder(
                final, lambda at: save_clean(stage.student, self.tokenizer, at, self.max_length)
            )

        on_main_process(commit)
        on_main_process(lambda: shutil.rmtree(checkpoints))
        return _read(final)

    def _job(
        self, stage: Stage, training: Training, title: str, checkpoints: Path, select: bool
    ) -> Job:
        counts_padding = stage.name == "intermediate" and (
            self.recipe.attention_reduction == "official"
        )
        fixed = self.max_length if counts_padding else None
        return Job(
            stage=stage,
            rows=self.tokens.rows(training.data),
            collator=Collator(self.tokenizer.pad_token_id, fixed),
            training=training,
            seed=self.recipe.seed,
            precision=self.recipe.precision,
            folder=checkpoints,
            log=MetricLog(self.run.path / METRICS),
            narrator=self.narrator,
            title=title,
            evaluate=self._validate if select else None,
            selection=self.version.task.selection_metric,
        )

    def _validate(self, student: PreTrainedModel) -> dict[str, float]:
        """The task's metrics on the first validation split, which selects the best step."""
        split, rows = next(iter(self.tokens.validation.items()))
        classifier = Classifier("student", eval_mode(student), self.tokenizer)
        return evaluate(classifier, self.version.task, {split: rows})[split]

    def result(self, models: list[Measurement], **more: Any) -> dict[str, Any]:
        """The result table and what it was measured on, as JSON values."""
        return result_of(self.version, self.tokens.validation, models, **more)


def run_identity(
    run: RunDirectory,
    version: Version,
    teachers: Sequence[str],
    student: str,
    recipe: DistillRecipe,
    init: Init,
) -> dict[str, Any]:
    """All that decides the student's weights, as JSON values.

    Raises:
        ModelNotFound: A model is not where it is said to be.
    """
    try:
        digests = [folder_digest(teacher) for teacher in teachers]
        start = student_identity(student, resolve_init(init, student, teachers[0]))
    except ModelNotFound as missing:
        if not run.begun:
            raise
        raise ModelNotFound(
            missing.problem,
            f"{run.path} was begun with a model of that name: put it back, or name the place "
            "where it lies now; its contents count, not its place.",
        ) from missing
    return {
        "version": version.manifest.id,
        "teacher": digests[0] if len(digests) == 1 else digests,
        **start,
        "recipe": recipe.model_dump(mode="json", exclude={"teacher", "general"}),
    }


def _read(folder: Path) -> PreTrainedModel:
    return eval_mode(read_weights(str(folder), read_config(str(folder))))
