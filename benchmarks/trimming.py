"""What a smaller vocabulary costs a student of real rows: tokens, coverage, bytes, score.

    python -m benchmarks.trimming --folder trimming --json benchmarks/results/trimming.json

4 x 312 students of whole SST-2 and MRPC, of several seeds and few steps, from the layers of a
teacher that minilm-l6-mlm was fine-tuned to; each is trimmed by counts and to sizes. Besides, a
student is trained with the trimmed vocabulary from the start. What has ended is kept in the folder.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from augment import Version, augment_task
from augment.contract import open_version
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED
from distill.evaluation.results import EvaluationResult
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe, load_recipe
from distill.runs.directory import RESULT
from distill.runs.records import read_json
from distill.serving.trim import RECORD, TrimResult, trim_model
from distill.teacher import fine_tune_teacher

STUDENT = "4x312-1200-12"
STEPS = {"sst2": (150, 150, 120), "mrpc": (150, 120, 100)}
"""Of the teacher, of stage 1 and of stage 2."""
BATCH = {"sst2": 32, "mrpc": 16}
COUNTS, SIZES = (1, 2, 3, 5, 10), (6000, 5000, 4000, 3000)
FIRST = 0
"""The seed whose student is trimmed in every way; the others are in ``EACH`` alone."""
EACH: tuple[dict[str, int], ...] = ({"min_count": 2}, {"size": 5000})
START = {"size": 5000}
"""How the teacher is trimmed whose student has the small vocabulary from the start."""
WAYS: tuple[dict[str, int], ...] = (
    *({"min_count": count} for count in COUNTS),
    *({"size": size} for size in SIZES),
)


def version_of(folder: Path, task: str) -> Version:
    """The task's rows as they are."""
    made = folder / "versions"
    if (made / task).is_dir():
        return open_version(f"{made}/{task}")
    return augment_task(task, source=str(SHARED / "data" / "glue" / task), out=made, variants=0)


def recipe_of(task: str, seed: int) -> DistillRecipe:
    """``quick`` with few steps."""
    _, first, second = STEPS[task]
    quick = load_recipe("quick", task)
    few = {"batch_size": BATCH[task], "epochs": 1000.0, "learning_rate": 5e-4, "max_steps": first}
    later = {**few, "learning_rate": 2e-4, "max_steps": second, "evaluations": 2}
    return quick.model_copy(
        update={
            "seed": seed,
            "intermediate": quick.intermediate.model_copy(update=few),
            "prediction": quick.prediction.model_copy(update=later),
        }
    )


def teacher_of(folder: Path, task: str) -> Path:
    """The encoder, fine-tuned."""
    out = folder / "teachers" / task
    recipe = folder / f"{task}.toml"
    recipe.write_text(
        f"[teacher]\nmax_steps = {STEPS[task][0]}\nepochs = 1000\n"
        f"batch_size = {BATCH[task]}\nlearning_rate = 1e-4\nevaluations = 2\n"
    )
    fine_tune_teacher(version_of(folder, task), init=str(MLM), out=out, recipe=recipe, quiet=True)
    return out


def student_of(folder: Path, task: str, seed: int, teacher: Path, name: str) -> Path:
    """The run directory of a student."""
    run = distill_task(
        version_of(folder, task),
        teacher=teacher,
        student=STUDENT,
        out=folder / "students" / f"{task}-{name}-{seed}",
        recipe=recipe_of(task, seed),
        init="teacher-layers",
        plain=False,
        quiet=True,
    )
    return run.path


def trimmed(folder: Path, model: Path, task: str, **way: int) -> tuple[Path, TrimResult]:
    """A trimmed copy of a model, and its record."""
    named = "-".join(f"{key}-{value}" for key, value in way.items())
    out = folder / "trimmed" / f"{task}-{model.name}-{named}"
    if not out.is_dir():
        trim_model(str(model), version_of(folder, task), out=out, quiet=True, **way)
    return out, read_json(out / RECORD, TrimResult)


def line_of(task: str, seed: int, result: TrimResult, **way: int) -> dict[str, Any]:
    """What is kept of a record."""
    found, kept = result.scores, result.splits["validation"]
    assert found is not None
    chosen = found.selection
    return {
        "task": task,
        "seed": seed,
        **way,
        "tokens": result.after.tokens,
        "required": result.required,
        "validation_tokens_kept": round(kept.kept_tokens / kept.tokens, 5),
        "validation_rows_same": round(kept.same_rows / kept.rows, 4),
        "validation_longer": round(kept.new_tokens / kept.tokens - 1, 5),
        "weight_bytes": result.after.weight_bytes,
        "weight_bytes_before": result.before.weight_bytes,
        "tokenizer_bytes": result.after.tokenizer_bytes,
        "metric": chosen.metric,
        "before": round(chosen.of(found.before), 4),
        "after": round(chosen.of(found.after), 4),
        "drop": round(found.drop, 4),
        "answers_changed": found.answers_changed,
        "logit_difference": found.logit_difference,
    }


def main() -> None:
    """Run what is missing; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tasks", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--starts", action="store_true", help="train with it from the start, too")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    starts: list[dict[str, Any]] = []
    for task in options.tasks:
        teacher = teacher_of(folder, task)
        for seed in options.seeds:
            student = student_of(folder, task, seed, teacher, "whole")
            for way in WAYS if seed == FIRST else EACH:
                lines.append(line_of(task, seed, trimmed(folder, student, task, **way)[1], **way))
                print(lines[-1], flush=True)
            if not options.starts:
                continue
            small, _ = trimmed(folder, teacher, task, **START)
            begun = student_of(folder, task, seed, small, "trimmed")
            score = read_json(begun / RESULT, EvaluationResult).selected_scores()
            starts.append({"task": task, "seed": seed, **START, "scores": score})
            print(starts[-1], flush=True)
    drops = {
        f"{task} {way}": round(statistics.mean(own), 5)
        for task in options.tasks
        for way in EACH
        if (own := [x["drop"] for x in lines if x["task"] == task and way.items() <= x.items()])
    }
    found = {"machine": describe(), "student": STUDENT, "steps": STEPS, "mean_drop": drops}
    keep({**found, "lines": lines, "trained_with_it": starts}, options.json)


if __name__ == "__main__":
    main()
