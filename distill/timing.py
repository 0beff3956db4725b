"""What a step costs on this machine, found out with a stage that is thrown away."""

from __future__ import annotations

import dataclasses
import shutil
import time
from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from distill.budget import Timing
from distill.jobs import Job
from distill.lengths import spread
from distill.processes import any_of, wait
from distill.progress import Narrator
from distill.rundir import MetricLog
from distill.trainer import train_stage

STEPS, FEWEST, UNTIMED = 48, 8, 3


class Clock(TrainerCallback):
    """Times steps; stops when the time for that is over.

    Args:
        seconds: For all of them; ``FEWEST`` are done at any rate.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends: list[float] = []
        self._began = time.monotonic()

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Note the time."""
        self.ends.append(time.monotonic())
        late = len(self.ends) >= FEWEST and self.ends[-1] - self._began > self.seconds
        if any_of(late, args.device):
            control.should_training_stop = True

    def step(self) -> float:
        """Mean seconds of a step, the first few left out."""
        return (self.ends[-1] - self.ends[UNTIMED - 1]) / (len(self.ends) - UNTIMED)


def measure_steps(job: Job, seconds: float) -> Timing:
    """Time steps and one evaluation of a job, on rows that are spread evenly over all lengths.

    Args:
        job: Of a throwaway stage; its folder is removed.
        seconds: About how long the steps may take.
    """
    clock = Clock(seconds)
    some = spread(job.rows, min(len(job.rows), STEPS * job.training.batch_size))
    trial = dataclasses.replace(
        job,
        rows=job.rows.select(np.sort(some)),
        training=job.training.model_copy(update={"evaluations": 1}),
        log=MetricLog(None),
        narrator=Narrator(quiet=True),
        evaluate=None,
        steps=STEPS,
        callbacks=(clock,),
    )
    try:
        train_stage(trial)
        began = time.monotonic()
        if job.evaluate is not None:
            job.evaluate(job.stage.student)
        found = Timing(clock.step(), time.monotonic() - began)
        wait()  # for the last checkpoint to be whole
        return found
    finally:
        shutil.rmtree(job.folder, ignore_errors=True)
