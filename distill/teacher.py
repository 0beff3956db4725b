"""Fine-tune a teacher on the original rows of a version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from augment.contract import Version
from augment.contract.files import write_json
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.distributed import barrier, on_main_process
from distill.errors import UsageError
from distill.evaluation.evaluate import measure
from distill.evaluation.results import EvaluationResult
from distill.evaluation.target import EvaluationTarget
from distill.models.bf16 import slow_format
from distill.models.folders import folder_digest
from distill.models.labels import label_settings
from distill.models.limits import check_length, resolve_length
from distill.models.loading import (
    UNTUNED,
    Classifier,
    read_config,
    read_tokenizer,
    read_weights,
)
from distill.models.seeding import seeded
from distill.progress import Narrator
from distill.recipes.load import DEFAULT_RECIPE, load_recipe
from distill.records import Record, read_json
from distill.run_directory import RunDirectory
from distill.stages import HardLabelStage
from distill.training.context import TaskContext, open_context

RECORD = "teacher.json"


class TeacherRecord(Record):
    """``teacher.json``: what a teacher was made from and how good it is."""

    identity: dict[str, Any]
    result: EvaluationResult


def fine_tune_teacher(
    version: Version | str | Path,
    *,
    init: str,
    out: str | Path,
    recipe: str | Path = DEFAULT_RECIPE,
    quiet: bool = False,
) -> EvaluationResult:
    """Fine-tune a pre-trained encoder on a version's task; the best step on validation is kept.

    Args:
        version: A version or a reference to one.
        init: Folder or hub name of the encoder.
        out: The new model folder. An interrupted call goes on beside it, in ``.<name>.work``.
        recipe: A shipped recipe or a TOML file; its ``teacher`` section counts.
        quiet: Say nothing on stderr.

    Returns:
        What it scores and costs; ``folder`` is where the teacher lies.

    Raises:
        Fault: With a sentence that says what to do.
    """
    quiet_libraries()
    narrator, out = Narrator(quiet=quiet), Path(out)
    opened = open_checked(version)
    settings = load_recipe(recipe, opened.task.name)
    identity = {
        "version": opened.manifest.id,
        "init": folder_digest(init),
        "recipe": settings.model_dump(mode="json", include={"seed", "max_length", "teacher"}),
    }
    finished = _finished(out, identity)
    if finished:
        narrator.say("finished", f"{out} is already that teacher")
        return finished
    if slow := slow_format(settings.precision):
        narrator.say("bfloat16", slow)
    tokenizer, length = read_tokenizer(init), resolve_length(settings.max_length, opened.task)
    config = read_config(init, **label_settings(opened.task))
    check_length(length, init, config)
    run = RunDirectory(out.with_name(f".{out.name}.work"))
    with run.claim(identity):
        context = open_context(opened, settings, tokenizer, run, narrator)
        rows = len(context.tokens.rows(settings.teacher.data))
        narrator.say("teacher", f"from {init} · {rows:,} {settings.teacher.data} rows")
        untuned = seeded(settings.seed, lambda: read_weights(init, config, may_start=UNTUNED))
        stage = HardLabelStage(untuned, "teacher")
        model = context.train(stage, settings.teacher, title="teacher", final=run.path / "model")
        barrier()  # until all have read it where it lies now
        made = Classifier(str(out), model, tokenizer)
        on_main_process(lambda: _commit(out, context, made, identity))
    result = _finished(out, identity)
    assert result is not None
    return result


def _commit(out: Path, context: TaskContext, made: Classifier, identity: dict[str, Any]) -> None:
    """Measure the teacher and give it its name."""
    target = EvaluationTarget(out.name, made, context.tokens.validation, context.max_length)
    result = context.result(measure([target], context.version.task), folder=str(out))
    folder = context.run.path
    record = TeacherRecord(identity=identity, result=result)
    write_json(folder / "model" / RECORD, record.to_json())
    (folder / "model").rename(out)
    shutil.rmtree(folder)


def _finished(out: Path, identity: dict[str, Any]) -> EvaluationResult | None:
    """The result of an earlier call that made this very teacher."""
    if not out.exists():
        return None
    file = out / RECORD
    record = read_json(file, TeacherRecord) if file.is_file() else None
    if record is None or record.identity != json.loads(json.dumps(identity)):
        raise UsageError(
            f"{out} exists and is not this teacher.", "Choose another --out, or remove it."
        )
    return record.result
