"""All commands of ``distill``, with their libraries."""

from __future__ import annotations

from augment.contract.terminal import command_line
from distill.cli import ablate, general, inspect, predict, push, report, runs, serve, train, trim

app = command_line(
    "distill",
    "Distil a fine-tuned encoder into a small one, from a saved version of augmented text.",
    [
        *(train.app, general.app, ablate.app, serve.app, predict.app, runs.app, report.app),
        *(inspect.app, trim.app, push.app),
    ],
    resumes=("teacher", "run", "general", "ablate"),
)
