"""Fine-tune a teacher on the original rows of a version."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from augment.contract import OutputError, OutputUnwritable, Version
from augment.contract.files import (
    beside,
    check_output,
    commit_folder,
    locked,
    new_place,
    write_json,
)
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.row_sets import check_parts
from distill.errors import ModelInvalid, UsageError
from distill.evaluation.results import EvaluationResult, TeacherRecord
from distill.evaluation.static_embeddings import TokenTable
from distill.evaluation.target import EvaluationTarget
from distill.models.bf16 import slow_format
from distill.models.folders import folder_digest
from distill.models.labels import label_settings
from distill.models.limits import check_length, resolve_length
from distill.models.loading import Classifier, load_untuned, read_config
from distill.recipes.auto import Facts, recipe_for
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe
from distill.runs.card import result_card, write_card
from distill.runs.directory import LOCK, RunDirectory
from distill.runs.distributed import barrier, on_main_process
from distill.runs.journal import copy_logs, note_call, timed
from distill.runs.progress import Narrator
from distill.runs.records import (
    TEACHER_RECORD,
    TEACHER_SEAL,
    Origin,
    digest_of,
    discard,
    flaw,
    read_json,
    read_seal,
    seal,
)
from distill.stages import HardLabelStage
from distill.training.context import TaskContext, open_context

MODEL = "model"


def fine_tune_teacher(
    version: Version | str | Path,
    *,
    init: str,
    out: str | Path,
    recipe: str | Path | DistillRecipe = DEFAULT_RECIPE,
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

    Examples:
        >>> from distill import distill_teacher
        >>> result = distill_teacher(
        ...     "data/versions/reviews", init="mlm", out="models/teacher", recipe="short.toml",
        ...     quiet=True,
        ... )
        >>> result.folder, list(result.selected_scores())
        ('models/teacher', ['teacher'])
    """
    quiet_libraries()
    narrator, out = Narrator(quiet=quiet), new_place(out)
    opened = open_checked(version)
    config = read_config(init, **label_settings(opened.task))
    settings = recipe_for(opened, recipe, config.hidden_size)
    check_parts(opened, {"teacher": settings.teacher.data})
    identity = {
        "version": opened.manifest.id,
        "init": folder_digest(init),
        "recipe": settings.model_dump(mode="json", include={"seed", "max_length", "teacher"}),
    }
    origin = Origin(made_from=digest_of(identity), part=TEACHER_RECORD)
    run = RunDirectory(beside(out, ".work")).of(identity)
    if finished := _finished(out, origin):
        _remove(run.path)
        narrator.say("finished", f"{out} is already that teacher")
        return finished
    check_output(out)
    if slow := slow_format(settings.precision):
        narrator.say("bfloat16", slow)
    check_length(resolve_length(settings.max_length, opened.task), init, config)
    with run.claim(identity, narrator) as claim:
        note_call(
            run.path,
            version=str(opened.path.resolve()),
            recipe="" if isinstance(recipe, DistillRecipe) else str(recipe),
            facts=asdict(Facts.of(opened, config.hidden_size)),
        )
        with claim.preparing(), timed(run.path, "preparation"):
            untuned = load_untuned(init, opened.task, settings.seed)
            tokenizer, table = untuned.tokenizer, TokenTable.of(untuned.model, untuned.tokenizer)
            context = open_context(opened, settings, tokenizer, run, narrator, table=table)
            weights = context.class_weights(settings.teacher)
            stage = HardLabelStage(untuned.model, "teacher", weights)
        rows = len(context.tokens.rows(settings.teacher.data))
        narrator.say("teacher", f"from {init} · {rows:,} {settings.teacher.data} rows")
        model = context.train(stage, settings.teacher, title="teacher", final=run.work / MODEL)
        barrier()  # until all have read it where it lies now
        made = Classifier(str(out), model, tokenizer)
        on_main_process(lambda: _commit(out, context, made, identity, origin))
    on_main_process(lambda: _remove(run.path))
    if (result := _finished(out, origin)) is None:
        raise OutputUnwritable(f"{out} was removed as soon as it was made.", "Make it again.")
    return result


def _commit(
    out: Path, context: TaskContext, made: Classifier, identity: dict[str, Any], origin: Origin
) -> None:
    """Measure the teacher and give it its name."""
    target = EvaluationTarget(out.name, made, context.tokens.validation, context.max_length)
    with timed(context.run.path, "measuring"):
        result = context.result([target], {out.name: "teacher"}, folder=str(out))
    record = TeacherRecord(identity=identity, result=result)

    def fill(folder: Path) -> None:
        shutil.copytree(context.run.work / MODEL, folder, dirs_exist_ok=True)
        write_json(folder / TEACHER_RECORD, record.to_json())
        copy_logs(context.run.path, folder)
        seal(folder, origin, place=folder / TEACHER_SEAL)
        write_card(folder, result_card(folder, result, identity))  # no part of what is sealed

    commit_folder(out, fill)


def _remove(work: Path) -> None:
    """Remove what a teacher was made in, unless a living process is at work there."""
    if work.is_dir():
        with suppress(OutputError, OSError), locked(work / LOCK):
            discard(work)


def _finished(out: Path, origin: Origin) -> EvaluationResult | None:
    """The result of an earlier call that made this very teacher; nothing is written.

    Raises:
        UsageError: Something else is there.
        ModelInvalid: It was damaged.
    """
    if not out.exists():
        return None
    sealed, why = (
        read_seal(out, place=out / TEACHER_SEAL),
        flaw(out, origin, place=out / TEACHER_SEAL),
    )
    if not sealed or sealed.origin != origin:
        raise UsageError(
            f"{out} exists and is not this teacher: it {why}.",
            "Choose another --out, or remove it.",
        )
    if why:
        raise ModelInvalid(
            f"{out} {why}.",
            f"Put it back, or remove {out} and repeat the command: it is made again.",
        )
    return read_json(out / TEACHER_RECORD, TeacherRecord).result
