"""What a smaller vocabulary costs a student of real rows: tokens, coverage, bytes, score.

    python -m benchmarks.trimming --folder trimming --json benchmarks/results/trimming.json

A 4 x 312 student of whole SST-2, of few steps, from the layers of a teacher that minilm-l6-mlm was
fine-tuned to, is trimmed by counts and to sizes. For MRPC the encoder itself is trimmed. With
``--again`` one of the copies goes on to learn from the whole teacher's logits, and so does the
whole student, to compare. What has ended is kept in the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment import Version, augment_task
from augment.contract import open_version
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED
from distill.evaluation.results import Role
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe, load_recipe
from distill.runs.records import read_json
from distill.serving.export import RECORD as EXPORT_RECORD
from distill.serving.export import ExportResult, export_model
from distill.serving.trim import RECORD, TrimResult, trim_model
from distill.teacher import fine_tune_teacher

STUDENT = "4x312-1200-12"
TEACHER, FIRST, SECOND, MORE = 150, 150, 120, 120
"""Steps of the teacher, of both stages, and of what follows them."""
COUNTS, SIZES = (1, 2, 3, 5, 10), (6000, 5000, 4000, 3000)
HEALED = {"size": 5000}
"""The copy that learns again."""
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


def recipe_of() -> DistillRecipe:
    """``quick`` with few steps."""
    quick = load_recipe("quick", "sst2")
    few = {"batch_size": 32, "epochs": 1000.0, "learning_rate": 5e-4, "max_steps": FIRST}
    later = {**few, "learning_rate": 2e-4, "max_steps": SECOND, "evaluations": 2}
    return quick.model_copy(
        update={
            "intermediate": quick.intermediate.model_copy(update=few),
            "prediction": quick.prediction.model_copy(update=later),
        }
    )


def teacher_of(folder: Path) -> Path:
    """The encoder, fine-tuned."""
    out, recipe = folder / "teachers" / "sst2", folder / "sst2.toml"
    recipe.write_text(
        f"[teacher]\nmax_steps = {TEACHER}\nepochs = 1000\nbatch_size = 32\n"
        "learning_rate = 1e-4\nevaluations = 2\n"
    )
    fine_tune_teacher(version_of(folder, "sst2"), init=str(MLM), out=out, recipe=recipe, quiet=True)
    return out


def student_of(folder: Path, teacher: Path) -> Path:
    """The run directory of the student."""
    run = distill_task(
        version_of(folder, "sst2"),
        teacher=teacher,
        student=STUDENT,
        out=folder / "students" / "sst2-whole-0",
        recipe=recipe_of(),
        init="teacher-layers",
        plain=False,
        quiet=True,
    )
    return run.path


def more(folder: Path, teacher: Path, student: Path, name: str) -> float:
    """The score of a student that learnt from the teacher's logits again."""
    logits = load_recipe("logits", "sst2")
    few = {"max_steps": MORE, "learning_rate": 2e-4, "evaluations": 2, "data": "original"}
    run = distill_task(
        version_of(folder, "sst2"),
        teacher=teacher,
        student=str(student),
        out=folder / "students" / f"sst2-{name}-more",
        recipe=logits.model_copy(update={"prediction": logits.prediction.model_copy(update=few)}),
        plain=False,
        quiet=True,
    )
    return run.result.selected_scores()[Role.DISTILLED]


def trimmed(folder: Path, model: Path, task: str, **way: int) -> tuple[Path, TrimResult]:
    """A trimmed copy of a model, and its record."""
    named = "-".join(f"{key}-{value}" for key, value in way.items())
    out = folder / "trimmed" / f"{task}-{model.name}-{named}"
    if not out.is_dir():
        trim_model(str(model), version_of(folder, task), out=out, quiet=True, **way)
    return out, read_json(out / RECORD, TrimResult)


def int8_of(folder: Path, student: Path) -> dict[str, Any]:
    """What a copy is as an int8 graph; the drop is that of int8 alone."""
    small, _ = trimmed(folder, student, "sst2", **HEALED)
    out = folder / "int8"
    if not out.is_dir():
        export_model(
            str(small), version_of(folder, "sst2"), out=out, forms=["onnx-int8"], quiet=True
        )
    result = read_json(out / EXPORT_RECORD, ExportResult)
    form = result.forms[-1]
    score = round(result.selection.of(form.scores), 4)
    return {**HEALED, "file_bytes": form.file_bytes, "score": score, "drop": round(form.drop, 4)}


def learning_again(folder: Path, teacher: Path, student: Path) -> dict[str, Any]:
    """A trimmed copy and the whole student after as many steps more."""
    small, _ = trimmed(folder, student, "sst2", **HEALED)
    again = {
        "steps": MORE,
        "trimmed": {**HEALED, "score": round(more(folder, teacher, small, "small"), 4)},
        "whole": {"score": round(more(folder, teacher, student, "whole"), 4)},
    }
    print(again, flush=True)
    return {"learning_again": again}


def line_of(task: str, result: TrimResult, **way: int) -> dict[str, Any]:
    """What is kept of a record."""
    kept, found = result.splits["validation"], result.scores
    line = {
        "task": task,
        **way,
        "tokens": result.after.tokens,
        "required": result.required,
        "validation_tokens_kept": round(kept.kept_tokens / kept.tokens, 4),
        "validation_rows_same": round(kept.same_rows / kept.rows, 4),
        "validation_longer": round(kept.new_tokens / kept.tokens - 1, 4),
        "weight_bytes": result.after.weight_bytes,
        "weight_bytes_before": result.before.weight_bytes,
        "tokenizer_bytes": result.after.tokenizer_bytes,
    }
    if found is None:
        return line
    chosen = found.selection
    scores = {
        "before": round(chosen.of(found.before), 4),
        "after": round(chosen.of(found.after), 4),
        "drop": round(found.drop, 4),
        "answers_changed": found.answers_changed,
        "logit_difference": found.logit_difference,
    }
    return {**line, "metric": chosen.metric, **scores}


def main() -> None:
    """Run what is missing; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--again", action="store_true", help="let the students learn again")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    teacher = teacher_of(folder)
    student = student_of(folder, teacher)
    lines: list[dict[str, Any]] = []
    for way in WAYS:
        lines.append(line_of("sst2", trimmed(folder, student, "sst2", **way)[1], **way))
        print(lines[-1], flush=True)
    for way in WAYS:
        lines.append(line_of("mrpc", trimmed(folder, MLM, "mrpc", **way)[1], **way))
        print(lines[-1], flush=True)
    again = learning_again(folder, teacher, student) if options.again else {}
    steps = {"teacher": TEACHER, "stage 1": FIRST, "stage 2": SECOND}
    int8 = int8_of(folder, student)
    found = {"machine": describe(), "student": STUDENT, "steps": steps, "lines": lines}
    keep({**found, "int8": int8, **again}, options.json)


if __name__ == "__main__":
    main()
