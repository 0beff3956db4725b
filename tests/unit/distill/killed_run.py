"""Ends a run at a step of a stage.

Run as a program: distil, and kill this process there (step 0: never).
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from unittest import mock

import torch
from transformers import TrainerCallback

from distill import pipeline, progress


@contextmanager
def stopping(title, step):
    """Within this process: Ctrl-C at a step of the stage with this title."""

    def on_step_end(self, args, state, control, **more):
        if self.title == title and state.global_step == step:
            raise KeyboardInterrupt

    with mock.patch.object(progress.StageProgress, "on_step_end", on_step_end):
        yield


class Killer(progress.StageProgress):
    """Ends the process as ``kill -9`` does."""

    stage, step, half = "", 0, False

    def on_step_end(self, args, state, control, **more):
        super().on_step_end(args, state, control, **more)
        if self.title == self.stage and state.global_step == self.step and not self.half:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    from distill import checkpoints, trainer

    torch.set_num_threads(1)
    Killer.stage, Killer.step, Killer.half = sys.argv[5], int(sys.argv[6]), sys.argv[7] == "half"
    trainer.StageProgress = Killer
    if Killer.half:
        whole = checkpoints.sync_folder

        def stop(folder):
            if folder.name == f"checkpoint-{Killer.step}" and folder.parts[-3] == Killer.stage:
                (folder / "optimizer.pt").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            whole(folder)

        checkpoints.sync_folder = stop
    version, teacher, out, recipe = sys.argv[1:5]
    pipeline.distill_task(
        version,
        teacher=teacher,
        student="2x16-32-4",
        out=out,
        recipe=recipe,
        plain=False,
        quiet=True,
    )


if __name__ == "__main__":
    assert issubclass(Killer, TrainerCallback)
    main()
