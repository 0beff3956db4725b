"""One loop for every stage: a thin ``transformers.Trainer`` that never mentions a teacher.

Checkpoints are sealed when they are whole; a run that was killed goes on from the last whole one
and ends, on a CPU, with the very weights of an undisturbed run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from typing_extensions import override

from augment.contract.process import Interrupted
from distill.data.kept_states import StateRows
from distill.errors import DataInvalid
from distill.inference.probabilities import UNCALIBRATED
from distill.models.bf16 import uses_bfloat16
from distill.models.labels import store_calibration
from distill.models.loading import eval_mode
from distill.runs.distributed import LONGEST_WAIT, barrier, is_main_process, main_process_first
from distill.runs.records import Origin
from distill.training.callbacks import (
    Patience,
    PeriodicCheckpoint,
    ReleaseMemory,
    StageProgress,
    open_board,
)
from distill.training.checkpoints import (
    checkpoint_bytes,
    flaw_of,
    last_complete,
    mark_complete,
    removing_partial,
    rotate_checkpoints,
    step_of,
)
from distill.training.finite_checks import check_weights, not_finite
from distill.training.head import raise_head_rate
from distill.training.job import Job, Outcome
from distill.training.schedule import row_order, rows_a_process, total_steps, use_dropout
from distill.training.soft_labels import SoftRows

MOST_STEPS_BETWEEN_CHECKPOINTS = 1000
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class StageTrainer(Trainer):
    """Trainer whose model returns its own named losses."""

    loss_is_scaled_for_ga = False

    def __init__(
        self, job: Job, args: TrainingArguments, callbacks: Sequence[TrainerCallback]
    ) -> None:
        rows: Any = job.rows
        if job.soft_labels is not None:
            rows = SoftRows(rows, job.soft_labels)
        elif job.states is not None:
            rows = StateRows(rows, job.states)
        super().__init__(
            model=job.stage,
            args=args,
            train_dataset=rows,
            eval_dataset=job.rows,  # asked for, never read: evaluate() is ours
            data_collator=job.collator,
            callbacks=[*callbacks, ReleaseMemory(), *job.callbacks],
        )
        self.remove_callback(PrinterCallback)
        self.job = job
        self._last: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    @override
    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, with the head's own rate."""
        made_before = self.optimizer is not None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if not made_before:
            raise_head_rate(optimizer, self.job.stage.student, self.job.training.head_factor)
        return optimizer

    @override
    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The stage's loss; its terms are kept for the log.

        Raises:
            TrainingFailed: The loss is not a finite number.
        """
        terms: dict[str, Tensor] = model(**inputs)
        self._last = inputs
        if not torch.isfinite(terms["loss"]):
            raise not_finite(self.job.title, self.state.global_step + 1, self.job.stage, inputs)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
        self._steps += 1
        return (terms["loss"], terms) if return_outputs else terms["loss"]

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of every term since the last log, and write the line."""
        if "loss" in logs:
            means = {name: (total / self._steps).item() for name, total in self._sums.items()}
            self._sums, self._steps = {}, 0
            logs = {**logs, **means}
        super().log(logs, start_time)
        if self.is_world_process_zero() and "train_runtime" not in logs:
            step = self.state.global_step
            self.job.log.append(stage=self.job.stage.name, **logs, step=step)

    @override
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the student; random generators are left as they were.

        Raises:
            TrainingFailed: A weight is not a finite number.
        """
        assert self.job.evaluate is not None
        check_weights(self.job.title, self.state.global_step, self.job.stage, self._last)
        done = self.state.global_step / self.state.max_steps
        scores = self.job.evaluate(self.job.stage.student, done)
        self.job.stage.train()
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    @override
    def _determine_best_metric(self, metrics: Any, trial: Any) -> bool:
        """Note which step the stage's own rule keeps so far; whether it is this one."""
        own = self.job.selection
        if own is None or (kept := own.kept(self.state.log_history)) is None:
            return False
        self.state.best_metric, self.state.best_global_step = kept.score, kept.step
        return kept.step == self.state.global_step

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:  # noqa: ARG002
        job = self.job
        return row_order(job.rows, job.training.batch_size, job.seed, job.mixture)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        check_weights(self.job.title, self.state.global_step, self.job.stage, self._last)
        folder = self.job.folder / f"checkpoint-{self.state.global_step}"
        self.job.log.check_place()
        with removing_partial(folder, checkpoint_bytes(self.job.stage)):
            super()._save_checkpoint(model, trial)
            barrier()  # every process puts its random state there
            if self.args.should_save:
                mark_complete(
                    folder, _origin(self.job, self.state.global_step, self.args.max_steps)
                )
        if self.args.should_save:
            rotate_checkpoints(self.job.folder, self.state.best_global_step)


def train_stage(job: Job) -> Outcome:
    """Train a stage to its end, from its last whole checkpoint if there is one.

    Returns:
        How it ended; ``job.stage.student`` holds the kept weights.

    Raises:
        TrainingFailed: The loss, or a weight, is not finite.
        OutputUnwritable: A checkpoint does not fit; those before it are kept.
        Interrupted: Ctrl-C was pressed, or SIGTERM came; what was done is in a checkpoint.
    """
    store_calibration(job.title, job.stage.student.config, UNCALIBRATED)  # of other weights
    steps = job.steps or total_steps(len(job.rows), job.training)
    args = stage_arguments(job, steps)
    args._n_gpu = min(args.n_gpu, 1)  # several GPUs are torchrun's: one process each
    progress, keeper, patience = _progress(job), PeriodicCheckpoint(), _patience(job)
    trainer = StageTrainer(job, args, [progress, keeper, *patience])
    job.stage.start(args.device)
    with main_process_first():
        latest = last_complete(job.folder, partial(_origin, job, steps=steps), job.narrator)
        done = step_of(latest) if latest else 0
        if is_main_process():
            job.log.rewind(job.stage.name, done)
            if board := open_board(job.board, done):
                trainer.add_callback(board)
    try:
        last = _state_of(latest)
        if latest and (last.global_step >= steps or any(own.over(last) for own in patience)):
            trainer.state = last  # killed between the last step and the commit
            load_model(job.stage, latest / "model.safetensors")
        else:
            with use_dropout(job.stage.student, job.training.dropout):
                trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    finally:
        progress.close()
        keeper.close()
    if keeper.stopped:
        raise Interrupted(keeper.signal)
    best = trainer.state.best_global_step if job.selection else None
    if best:
        kept = job.folder / f"checkpoint-{best}"
        if why := flaw_of(kept, _origin(job, best, steps)):
            raise DataInvalid(
                f"{kept}, the best of {job.title}, {why}.",
                "Repeat the command: it goes on from a checkpoint that is whole.",
            )
        load_model(job.stage, kept / "model.safetensors")
    eval_mode(job.stage.student)
    score = trainer.state.best_metric if best else None
    done = trainer.state.global_step
    return Outcome(done, best or done, score, _last_scores(trainer.state))


def _origin(job: Job, step: int, steps: int) -> Origin:
    return Origin(made_from=job.made_from, part=f"{job.stage.name}, step {step} of {steps}")


def _last_scores(state: TrainerState) -> dict[str, float]:
    """What was measured last, by name."""
    measured = [row for row in state.log_history if "eval_loss" in row]
    last = measured[-1] if measured else {}
    return {k.removeprefix("eval_"): v for k, v in last.items() if k.startswith("eval_")}


def _state_of(checkpoint: Path | None) -> TrainerState:
    if checkpoint is None:
        return TrainerState()
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    return state


def _patience(job: Job) -> list[Patience]:
    if job.patience is None or job.selection is None or job.evaluate is None:
        return []
    return [Patience(job.selection, job.patience)]


def _progress(job: Job) -> StageProgress:
    if job.tokens_per_step is None:
        return StageProgress(job.narrator, job.title, job.training.batch_size)
    return StageProgress(job.narrator, job.title, job.tokens_per_step, "tokens")


def stage_arguments(job: Job, steps: int) -> TrainingArguments:
    """What the trainer is told of a job of so many steps."""
    training = job.training
    every = math.ceil(steps / training.evaluations)
    if job.evaluate is None:
        every = min(every, MOST_STEPS_BETWEEN_CHECKPOINTS)
    return TrainingArguments(
        output_dir=str(job.folder.resolve()),
        max_steps=steps,
        per_device_train_batch_size=rows_a_process(training),
        learning_rate=training.learning_rate,
        lr_scheduler_type=SCHEDULES[training.schedule],
        warmup_steps=math.ceil(steps * training.warmup_ratio),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim="adamw_torch_fused",
        use_cpu=not torch.accelerator.is_available(),
        bf16=uses_bfloat16(job.precision),
        remove_unused_columns=False,
        seed=job.seed,
        data_seed=job.seed,
        logging_steps=max(1, min(50, steps // 20)),
        logging_nan_inf_filter=False,
        eval_strategy="no" if job.evaluate is None else "steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=None,  # see rotate_checkpoints
        ddp_find_unused_parameters=not job.stage.trains_all_parameters,
        ddp_timeout=int(LONGEST_WAIT.total_seconds()),
        disable_tqdm=True,
        report_to="none",
    )
