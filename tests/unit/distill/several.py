"""Called, or run as a program under torchrun: general distillation, then both stages of a task."""

from __future__ import annotations

import sys
from pathlib import Path

from augment.contract.terminal import print_json
from distill.data.corpus import Source
from distill.general import distill_general
from distill.pipeline import distill_task
from distill.runs.distributed import is_main_process
from distill.training.budget import Budget
from tests.quick import be_quick


def distil(arguments: list[str]) -> None:
    corpus, student, version, teacher, recipe, out = map(Path, arguments)
    distill_general(
        Source(corpus, processes=1),
        teacher=teacher,
        student=str(student),
        out=out / "general",
        recipe=recipe,
        budget=Budget(tokens=3_500),
    )
    run = distill_task(
        version,
        teacher=teacher,
        student=str(out / "general" / "student"),
        out=out / "task",
        recipe=recipe,
        plain=False,
    )
    if is_main_process():
        print_json([model.model for model in run.result.models])


if __name__ == "__main__":
    be_quick()
    distil(sys.argv[1:])
