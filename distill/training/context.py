"""What every stage of one run shares, and how a stage is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from augment.contract import Fault, Version
from augment.contract.foreign import counted
from distill.data.balance import balanced, class_weights
from distill.data.batching import Collator
from distill.data.kept_states import TeacherStates
from distill.data.row_sets import RowSet
from distill.data.unknown import warn_of_unknown
from distill.data.versions import (
    TokenizedSplits,
    fingerprint,
    labeled_tests,
    tokenize,
    tokenize_tests,
)
from distill.evaluation.baselines import find_baselines
from distill.evaluation.evaluate import calibrate, judge, measure
from distill.evaluation.metrics import guess_score, most_of_luck
from distill.evaluation.reliability import describe_fit
from distill.evaluation.results import Baseline, EvaluationResult
from distill.evaluation.static_embeddings import TokenTable
from distill.evaluation.target import EvaluationTarget
from distill.evaluation.verdicts import with_verdicts
from distill.models.bf16 import frozen
from distill.models.folders import save_clean
from distill.models.guides import GuideSpec
from distill.models.limits import resolve_length
from distill.models.loading import Classifier, Student, eval_mode, read_config, read_weights
from distill.models.seeding import seeded
from distill.models.students import StudentSpec
from distill.recipes.load import DistillRecipe
from distill.recipes.mixtures import count_parts, parts_of
from distill.recipes.schema import Labeled, Layerwise, Optimization, Training
from distill.runs.directory import RunDirectory
from distill.runs.distributed import main_process_first, on_main_process
from distill.runs.journal import BOARD, METRICS, timed
from distill.runs.progress import Narrator
from distill.runs.records import Origin, commit_sealed, discard
from distill.stages import IntermediateStage, Stage
from distill.training.advice import advice, rare_advice
from distill.training.job import Evaluation, Job, describe_job
from distill.training.metric_log import MetricLog
from distill.training.schedule import total_steps
from distill.training.selection import StepSelection
from distill.training.soft_labels import SoftLabels
from distill.training.trainer import train_stage


@dataclass(frozen=True, slots=True)
class RunContext:
    """The recipe, the tokenizer and the places of one run.

    Attributes:
        recipe: Resolved for the task, if there is one.
        tokenizer: Of the student, in most cases the teacher's; saved with every student.
        max_length: Tokens a row was cut to.
        run: Where everything goes.
        narrator: Where progress is shown.
    """

    recipe: DistillRecipe
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    run: RunDirectory
    narrator: Narrator

    def layerwise_stage(
        self, name: str, student: Student, teacher: PreTrainedModel, recipe: Layerwise
    ) -> IntermediateStage:
        """Put student, teacher and fresh projections together: the same at every call.

        Args:
            name: Of the stage.
            student: Trained.
            teacher: Frozen, in evaluation mode.
            recipe: What is compared.

        Raises:
            ModelInvalid: They do not fit together.
        """
        return seeded(
            self.recipe.seed,
            lambda: IntermediateStage(
                student.model,
                frozen(teacher, self.recipe.precision),
                student.mapping,
                recipe=recipe,
                reduction=self.recipe.attention_reduction,
                projection=self.recipe.projection,
                pretrained=student.pretrained,
                name=name,
            ),
        )

    def collator(self, stage: Stage) -> Collator:
        """What makes a stage's batches."""
        fixed = self.max_length if stage.pads_to_fixed_length else None
        return Collator(self.tokenizer.pad_token_id, fixed)

    def job(
        self,
        stage: Stage,
        rows: datasets.Dataset,
        training: Optimization,
        *,
        title: str,
        evaluate: Evaluation | None,
    ) -> Job:
        """A stage as something to train on rows; checkpoints go to its folder of the run."""
        return Job(
            stage=stage,
            rows=rows,
            collator=self.collator(stage),
            training=training,
            seed=self.recipe.seed,
            precision=self.recipe.precision,
            folder=self.run.work / stage.name / "checkpoints",
            log=MetricLog(self.run.path / METRICS),
            narrator=self.narrator,
            title=title,
            made_from=self.run.made_from,
            evaluate=evaluate,
            board=self.run.path / BOARD / stage.name if self.recipe.log == BOARD else None,
        )


@dataclass(frozen=True, slots=True)
class TaskContext(RunContext):
    """A run on a version.

    Attributes:
        version: Opened and verified.
        tokens: Its splits as ``tokenizer`` splits them.
        taught: Rows without labels that stage 2 learns from; all of them if left out.
        test_splits: Those with labels: they are scored when all is chosen.
        baselines: What needs no network, on validation and tests.
    """

    version: Version
    tokens: TokenizedSplits
    taught: int | None = None
    test_splits: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()

    def read_by(self, tokenizer: PreTrainedTokenizerBase) -> TokenizedSplits:
        """The version as a tokenizer splits it; tokens that are open are not mapped once more."""
        ours, theirs = (
            fingerprint(self.version, reader, self.max_length)
            for reader in (self.tokenizer, tokenizer)
        )
        if ours == theirs:
            return self.tokens
        return tokenize(
            self.version,
            tokenizer,
            self.max_length,
            self.run.tokens,
            narrator=self.narrator,
            unlabeled=self.tokens.unlabeled is not None,
        )

    def train(
        self,
        stage: Stage,
        training: Training,
        *,
        title: str,
        final: Path,
        origin: Origin | None = None,
        select: bool = True,
        rows: RowSet | None = None,
        soft_labels: SoftLabels | None = None,
        states: TeacherStates | None = None,
    ) -> PreTrainedModel:
        """Train a stage and commit its student, or open what an earlier call committed.

        Args:
            stage: Before its first step.
            training: The recipe's section.
            title: For the progress.
            final: The folder of the finished student.
            origin: What it is sealed with; that of the run if left out.
            select: Keep the best step on validation; otherwise the last one.
            rows: Some of those that the recipe's section names; all if left out.
            soft_labels: Of the rows, where the stage learns from them.
            states: The teacher's states of the rows, where they are kept.

        Returns:
            The finished student, read from its folder: the same whether or not the run was
            interrupted in between.

        Raises:
            ModelInvalid: What an earlier call committed was damaged.
        """
        origin = origin or self.run.origin(final.name)
        evaluate = Validation(self, stage.name) if select else None
        drawn = self.drawn(training) if rows is None else rows
        job = self.job(stage, drawn.rows, training.numbers, title=title, evaluate=evaluate)
        with main_process_first():
            finished = self.run.reuse(final, origin, self.narrator)
        if finished:
            self.narrator.say(title, f"finished before: {final}")
            on_main_process(lambda: discard(job.folder))  # left by a kill after the commit
        else:
            chosen = replace(
                job,
                mixture=drawn.mixture,
                selection=self.selection(training),
                patience=training.patience,
                soft_labels=soft_labels,
                states=states,
            )
            self.narrator.say(title, describe_job(chosen))
            self._finish(chosen, final, origin)
        return eval_mode(read_weights(str(final), read_config(str(final))))

    def drawn(self, training: Training, kept: NDArray[np.bool_] | None = None) -> RowSet:
        """The rows that a section draws from, and how often.

        Args:
            training: The recipe's section.
            kept: Which of its rows, shape (rows,); all if left out.
        """
        rows = self.tokens.rows(training.draws_from)
        rows = rows if kept is None else rows.keep(kept)
        even = isinstance(training, Labeled) and training.sampling == "balanced"
        return balanced(rows) if even else rows

    def class_weights(self, training: Labeled) -> tuple[float, ...] | None:
        """What a row of each class counts for in a section's loss on labels, see ``balance``."""
        rows = self.tokens.rows(training.draws_from)
        return class_weights(training.class_weights, self.version.task.label.names, rows)

    def _finish(self, job: Job, final: Path, origin: Origin) -> None:
        """Train, and give the student its place."""
        with timed(self.run.path, job.stage.name):
            outcome = train_stage(job)
        if outcome.steps < total_steps(len(job.rows), job.training):
            assert job.selection is not None
            most = counted(job.patience or 0, "evaluation")
            without = f"no better {job.selection.metric} in {most}"
            self.narrator.say(job.title, f"ended at step {outcome.steps:,}: {without}")
        if outcome.score is not None and job.selection is not None:
            name = f"{job.selection.metric} {outcome.score:.3f}"
            if job.selection.within:
                name += " · the latest within a standard error of the best"
            self.narrator.say("kept", f"step {outcome.kept} of {outcome.steps} · {name}")
        student = job.stage.student

        def commit() -> None:
            self.run.check_place()
            if job.evaluate is not None:
                self._calibrate(student)
            commit_sealed(
                final, origin, lambda at: save_clean(student, self.tokenizer, at, self.max_length)
            )

        on_main_process(commit)
        on_main_process(lambda: discard(job.folder))

    def _calibrate(self, student: PreTrainedModel) -> None:
        """Let the student's config hold what makes its probabilities believable."""
        split, rows = next(iter(self.tokens.validation.items()))
        classifier = Classifier("student", eval_mode(student), self.tokenizer)
        if fit := calibrate(classifier, self.version.task, rows):
            self.narrator.say("calibrated", f"{describe_fit(fit)} on {split}")

    def selection(self, training: Training) -> StepSelection:
        """How a section's steps are selected on the first validation split."""
        task, rows = self.version.task, next(iter(self.tokens.validation.values()))
        metric, labels = task.selection_metric, np.asarray(rows["labels"])
        return StepSelection(
            metric=metric,
            rows=len(labels),
            learnt=most_of_luck(guess_score(metric, labels, len(task.label.names))),
            within=1.0 if training.keep == "latest" else 0.0,
        )

    def result(
        self, models: Sequence[EvaluationTarget], sections: Mapping[str, str], **more: Any
    ) -> EvaluationResult:
        """The result table, what it was measured on, and what it means.

        Args:
            models: Of the run.
            sections: Name of a model that was trained here to its section of the recipe.
            more: Other fields of the result.
        """
        try:
            tested = [replace(own, tests=self.tests(own.classifier.tokenizer)) for own in models]
        except Fault as gone:  # the version, since the run began
            self.narrator.say("notice", f"the test rows are left out: {gone.problem}")
            tested = list(models)
        tests = tested[-1].tests
        splits = {**self.tokens.validation, **tests}
        found = EvaluationResult.on(
            self.version,
            splits,
            models=measure(tested, self.version.task),
            baselines=[own.on(list(splits)) for own in self.baselines],
            **({"tests": tuple(tests)} if tests else {}),
            **more,
        )
        longer = {name: self.advice(own) for name, own in sections.items()}
        natural = {
            n: o for n, o in sections.items() if getattr(self.recipe, o).sampling == "natural"
        }
        rare = {name: rare_advice(self.version.task.name, own) for name, own in natural.items()}
        return with_verdicts(found, longer, rare)

    def tests(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, datasets.Dataset]:
        """The labeled test rows, read for the first time when everything has been trained."""
        settings = (self.test_splits, tokenizer, self.max_length, self.run.tokens)
        return tokenize_tests(self.version, *settings)

    def advice(self, section: str) -> str:
        """What to change in a section of the recipe whose model learnt too little."""
        training: Training = getattr(self.recipe, section)
        rows = len(self.tokens.rows(training.draws_from))
        if section == "prediction" and self.taught is not None:
            blind = "unlabeled" in parts_of(training.draws_from)
            rows -= blind * (count_parts(self.version)["unlabeled"] - self.taught)
        name, given = self.version.task.name, self.run.in_minutes
        return advice(name, section, training.numbers, rows, in_minutes=given)


@dataclass(slots=True)
class Validation:
    """The task's metrics on the first validation split, which selects the best step.

    Says, once, that a model gives one answer to all still, while there is time to act.

    Attributes:
        context: Of the run.
        stage: What is trained, by the name of its section.
        collapsed: Evaluations in a row that saw a collapse.
        told: Whether it has been said.
    """

    context: TaskContext
    stage: str
    collapsed: int = 0
    told: bool = False

    def __call__(self, student: PreTrainedModel, done: float) -> dict[str, float]:
        """Score a student as it stands, when this share of the steps is done."""
        split, rows = next(iter(self.context.tokens.validation.items()))
        classifier = Classifier("student", eval_mode(student), self.context.tokenizer)
        judged = judge(classifier, self.context.version.task, {split: rows}, intervals=False)
        self.collapsed = self.collapsed + 1 if judged.collapse else 0
        if judged.collapse and self.collapsed >= STILL and done >= EARLY and not self.told:
            self.told = True
            say = self.context.narrator.say
            say("warning", f"so far this model {judged.collapse.sentence}")
            first, *lines = self.context.advice(self.stage).split("\n")
            say("", f"If that goes on, stop it (Ctrl-C). {first}")
            for line in lines:
                say("", line)
        return judged.scores[split]


STILL = 2
"""Evaluations in a row from which on a collapse is more than a slow start …"""
EARLY = 1 / 3
"""… and the share of the steps before which nearly every model begins like that."""


def open_context(
    version: Version,
    recipe: DistillRecipe,
    tokenizer: PreTrainedTokenizerBase,
    run: RunDirectory,
    narrator: Narrator,
    *,
    table: TokenTable | None = None,
    unlabeled: bool = False,
    taught: int | None = None,
) -> TaskContext:
    """Tokenize a version as the student reads it, rows without labels where they are drawn.

    With the token embeddings of the model that is distilled or tuned there is one more baseline.
    """
    length = resolve_length(recipe.max_length, version.task)
    tokens = tokenize(
        version, tokenizer, length, run.tokens, narrator=narrator, unlabeled=unlabeled
    )
    warn_of_unknown(tokens.train, tokenizer, narrator)
    tests = labeled_tests(version)
    with main_process_first():  # now: a version may be gone by the time that a run ends
        simple = find_baselines(version, [*tokens.validation, *tests], run.tokens, table)
    return TaskContext(
        recipe, tokenizer, length, run, narrator, version, tokens, taught, tests, simple
    )


def run_identity(
    version: Version, guides: GuideSpec, student: StudentSpec, recipe: DistillRecipe
) -> dict[str, Any]:
    """All that decides the student's weights, as JSON values."""
    return {
        "version": version.manifest.id,
        **guides.identity(),
        **student.identity(),
        "recipe": recipe.model_dump(mode="json", exclude={"teacher", "general", "log"}),
    }
