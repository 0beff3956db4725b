"""What is checked before hours are spent."""

from __future__ import annotations

import json
from collections.abc import Mapping

import datasets

from distill.bench import Bench
from distill.disk import write_json
from distill.errors import WeakTeacher
from distill.evaluate import Scores, evaluate, guessing
from distill.models import Classifier, describe
from distill.processes import first_one_first

CHANCE_MARGIN = 0.03


def check_teacher(
    bench: Bench,
    teacher: Classifier,
    validation: Mapping[str, datasets.Dataset],
    allow_weak: bool,
    title: str = "teacher",
) -> Scores:
    """Score a teacher on validation; refuse one that does little more than guess.

    Args:
        bench: Where the run stands.
        teacher: In evaluation mode.
        validation: The labelled validation rows as the teacher splits them.
        allow_weak: Do not refuse.
        title: What the teacher is called.

    Raises:
        WeakTeacher: Its score is within 0.03 of the best constant answer's.
    """
    task = bench.version.task
    scores = _scores(bench, teacher, validation, title)
    split, rows = next(iter(validation.items()))
    metric = task.selection_metric
    own, blind = scores[split][metric], guessing(task, rows)
    bench.narrator.say(
        title, f"{describe(teacher.model)} · {metric} {own:.3f} on {split} ({len(rows):,} rows)"
    )
    if own <= blind + CHANCE_MARGIN and not allow_weak:
        raise WeakTeacher(
            f"the {title} scores {own:.3f} ({metric}) on {split}; "
            f"guessing scores {blind:.3f}. It looks untuned.",
            f"Fine-tune it first: distill teacher {bench.version.path.parent} "
            f"--init {teacher.name} --out {teacher.name}-{task.name}\n"
            "To go on all the same: --allow-weak-teacher",
        )
    return scores


def _scores(
    bench: Bench, teacher: Classifier, validation: Mapping[str, datasets.Dataset], title: str
) -> Scores:
    """A teacher's scores, kept with the run: on thousands of rows they take minutes."""
    file = bench.run.work / f"{title.replace(' ', '-')}-scores.json"
    with first_one_first():
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, evaluate(teacher, bench.version.task, validation))
        kept: Scores = json.loads(file.read_text(encoding="utf-8"))
    return kept
