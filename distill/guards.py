"""What is checked before hours are spent."""

from __future__ import annotations

from distill.bench import Bench
from distill.errors import WeakTeacher
from distill.evaluate import Scores, evaluate, guessing
from distill.models import Classifier, describe

CHANCE_MARGIN = 0.03


def check_teacher(bench: Bench, teacher: Classifier, allow_weak: bool) -> Scores:
    """Score the teacher on validation; refuse one that does little more than guess.

    Raises:
        WeakTeacher: Its score is within 0.03 of the best constant answer's.
    """
    task = bench.version.task
    scores = evaluate(teacher, task, bench.tokens.validation)
    split, rows = next(iter(bench.tokens.validation.items()))
    metric = task.selection_metric
    own, blind = scores[split][metric], guessing(task, rows)
    bench.narrator.say(
        "teacher", f"{describe(teacher.model)} · {metric} {own:.3f} on {split} ({len(rows):,} rows)"
    )
    if own <= blind + CHANCE_MARGIN and not allow_weak:
        raise WeakTeacher(
            f"the teacher scores {own:.3f} ({metric}) on {split}; "
            f"guessing scores {blind:.3f}. It looks untuned.",
            f"Fine-tune it first: distill teacher {bench.version.path.parent} "
            f"--init {teacher.name} --out {teacher.name}-{task.name}\n"
            "To go on all the same: --allow-weak-teacher",
        )
    return scores
