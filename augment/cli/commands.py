"""All commands of ``augment``, with their libraries."""

from __future__ import annotations

from augment.cli import derive, generate, inspect, push
from augment.contract.terminal import command_line

app = command_line(
    "augment",
    "Expand text data sets by word replacement into versioned Parquet.",
    [generate.app, derive.app, inspect.app, push.app],
    resumes=("run", "add", "filter", "merge"),
)
