"""General distillation (docs/method.md, section 3): raw text → blocks → a general student."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import nn

from augment.contract import process
from augment.contract.files import new_place
from augment.contract.foreign import counted
from augment.contract.models import max_input_length, quiet_libraries
from distill.data.batching import evenly_spread, lengths_of
from distill.data.blocks import Blocks, Split, block_spec, split, tokenize_corpus
from distill.data.corpus import Corpus, Source, open_corpus
from distill.data.text_files import IN_FOLDERS
from distill.data.unknown import warn_of_unknown
from distill.errors import DataInvalid
from distill.evaluation.results import BlockCounts, CorpusCounts, GeneralResult
from distill.models.bf16 import slow_format
from distill.models.folders import SAFETENSORS, folder_digest, save_clean
from distill.models.layer_init import can_init_from_layers
from distill.models.limits import check_length
from distill.models.loading import (
    Encoder,
    Student,
    describe,
    load_encoder,
    read_config,
    read_weights,
)
from distill.models.projections import save_projections
from distill.models.seeding import seeded
from distill.models.students import (
    Init,
    ShapeSpec,
    StudentSpec,
    build_student,
    checkpoint_projections,
    parse_student,
)
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe, load_recipe
from distill.runs.card import general_card, write_card
from distill.runs.directory import STUDENT, RunDirectory, reuse
from distill.runs.distributed import barrier, device, main_process_first, on_main_process
from distill.runs.journal import note_call, timed
from distill.runs.progress import Narrator, span
from distill.runs.records import commit_sealed, discard, read_json, write_sealed_json
from distill.stages import IntermediateStage
from distill.stages.layer_mapping import arrows, layer_map
from distill.training.budget import (
    Budget,
    Plan,
    Timing,
    measure_steps,
    plan_for_seconds,
    steps_for_tokens,
)
from distill.training.callbacks import Deadline
from distill.training.context import RunContext
from distill.training.held_out import HeldOut
from distill.training.job import Job
from distill.training.schedule import total_steps
from distill.training.trainer import train_stage

STAGE, PLAN, LOSSES = "general", "plan.json", "held-out.json"
SETTINGS = {"seed", "precision", "layers", "attention_reduction", "projection", "general"}
TIMING_SHARE = 0.03
MEASURED = 128
"""Blocks that a teacher is measured on to be made narrower."""


def distill_general(
    corpus: Source | str | Path,
    *,
    teacher: str | Path,
    student: str,
    out: str | Path,
    recipe: str | Path = DEFAULT_RECIPE,
    budget: Budget | None = None,
    init: Init = "auto",
    quiet: bool = False,
) -> GeneralResult:
    """Distil an encoder on raw text; the same call again goes on or returns the result.

    Args:
        corpus: A .txt, .jsonl or .parquet file, a folder of them, or a hub data set.
        teacher: Folder or hub name of an encoder, with or without a masked-LM head.
        student: ``tinybert-4l-312d``, a shape such as ``3x312-1200-12``, or a checkpoint.
        out: The run directory; the student is in ``OUT/student``.
        recipe: A shipped recipe or a TOML file; its ``general`` section counts.
        budget: Hours or tokens; the recipe's epochs if left out.
        init: How a student given by shape starts, see ``students.parse_student``.
        quiet: Say nothing on stderr.

    Raises:
        Fault: With a sentence that says what to do.

    Examples:
        >>> from distill import Budget, Source, distill_general
        >>> found = distill_general(
        ...     Source("corpus.txt", processes=1), teacher="mlm", student="1x32-64-4",
        ...     out="models/general", recipe="short.toml", budget=Budget(tokens=500), quiet=True,
        ... )
        >>> found.student
        'models/general/student'
    """
    began, budget = process.began(), budget or Budget()
    quiet_libraries()
    narrator, run = Narrator(quiet=quiet), RunDirectory(new_place(out))
    settings = load_recipe(recipe, "")
    source = corpus if isinstance(corpus, Source) else Source(corpus)
    text = open_corpus(source)
    if text.hub and source.take is None:  # never stream more than will be trained on
        source = dataclasses.replace(source, take=budget.tokens)
    with main_process_first():
        spec = parse_student(student, init, str(teacher))
        identity = general_identity(text, source, str(teacher), spec, settings, budget)
    run = run.of(identity)
    if finished := run.result(GeneralResult, (STUDENT,), narrator=narrator):
        narrator.say("finished", f"{run.path} was finished before; nothing is trained again")
        return finished
    with run.claim(identity, narrator) as claim:
        if slow := slow_format(settings.precision):
            narrator.say("bfloat16", slow)
        note_call(run.path, recipe=str(recipe))
        with claim.preparing(), timed(run.path, "preparation"):
            encoder = open_teacher(str(teacher), settings)
            length = settings.general.length
            context = RunContext(settings, encoder.tokenizer, length, run, narrator)
            large = as_large(spec, encoder)
            report(
                context, encoder, stage_of(context, general_start(context, large, encoder), encoder)
            )
            with main_process_first():
                blocks = read_corpus(context, encoder.name, text, source)
        parts = split(blocks, settings.general.held_out, settings.seed)
        some = evenly_spread(len(parts.train), min(MEASURED, len(parts.train)))
        texts = parts.train.select(some)["input_ids"][:]
        once = cache(partial(general_start, context, spec, encoder, texts))
        start = partial(start_stage, context, once, encoder)
        plan = make_plan(context, start, parts, budget, began)
        with main_process_first():
            trained = run.reuse(run.path / STUDENT, run.origin(STUDENT), narrator)
        if not trained:
            with timed(run.path, STAGE):
                train(context, start(), parts, plan, budget, began)
        # here, because an earlier call may have been killed after the commit
        on_main_process(lambda: discard(run.work / STAGE))
        result = summary(context, encoder.name, text, blocks, parts, plan)
        on_main_process(lambda: finish(run, result, identity))
    return result


def finish(run: RunDirectory, result: GeneralResult, identity: dict[str, Any]) -> None:
    """Give the student its card, and write the result, which ends the run."""
    run.check_place()
    write_card(run.path / STUDENT, general_card(run.path / STUDENT, result, identity))
    run.finish(result, STUDENT)


def general_identity(
    corpus: Corpus,
    source: Source,
    teacher: str,
    student: StudentSpec,
    recipe: DistillRecipe,
    budget: Budget,
) -> dict[str, Any]:
    """All that decides the student's weights, as JSON values."""
    return {
        "corpus": corpus.digest,
        "take": source.take,
        "teacher": folder_digest(teacher),
        **student.identity(),
        "recipe": recipe.model_dump(mode="json", include=SETTINGS),
        "budget": dataclasses.asdict(budget),
    }


def open_teacher(name: str, recipe: DistillRecipe) -> Encoder:
    """Load the teacher and put it where it works.

    Raises:
        ModelInvalid: It cannot be used, or reads no blocks of this length.
    """
    # a checkpoint without a pooler gets a random one
    teacher = seeded(recipe.seed, lambda: load_encoder(name))
    check_length(recipe.general.length, name, teacher.model.config)
    nn.Module.to(teacher.model, device())
    return teacher


def general_start(
    context: RunContext,
    spec: StudentSpec,
    teacher: Encoder,
    texts: Sequence[Sequence[int]] = (),
) -> Student:
    """The student before the first step: the same at every call.

    Args:
        context: Of the run.
        spec: The student.
        teacher: What it learns from, and may be a part of.
        texts: Blocks of the corpus that its layers are made narrower by.

    Raises:
        ModelInvalid: The student does not fit the teacher.
        MappingInvalid: The student's layers cannot be mapped.
    """
    recipe, depth = context.recipe, teacher.model.config.num_hidden_layers
    mapping = layer_map(spec.n_layers, depth, recipe.layers)
    student = build_student(spec, None, teacher, mapping=mapping, seed=recipe.seed, texts=texts)
    check_length(context.max_length, spec.name, student.model.config)
    return student


def stage_of(context: RunContext, student: Student, teacher: Encoder) -> IntermediateStage:
    """Student, teacher and projections before the first step."""
    return context.layerwise_stage(STAGE, student, teacher.model, context.recipe.general)


def start_stage(
    context: RunContext, once: Callable[[], Student], teacher: Encoder
) -> IntermediateStage:
    """A stage that may be trained and thrown away: it has a copy of the student, made once."""
    return stage_of(context, once().copy(), teacher)


def as_large(spec: StudentSpec, teacher: Encoder) -> StudentSpec:
    """A student of the same size; one that is its teacher made narrower takes long to start."""
    if isinstance(spec, ShapeSpec) and can_init_from_layers(spec.shape, teacher.model.config):
        return dataclasses.replace(spec, init="random")
    return spec


def report(context: RunContext, teacher: Encoder, stage: IntermediateStage) -> None:
    """Say what teacher and student are."""
    say = context.narrator.say
    say("teacher", describe(teacher.model))
    if teacher.notice:
        say("notice", teacher.notice)
    say("student", f"{describe(stage.student)} · layers {arrows(stage.mapping)}")
    for label, notice in stage.notices().items():
        say(label, notice)


def read_corpus(context: RunContext, teacher: str, corpus: Corpus, source: Source) -> Blocks:
    """The corpus as blocks for the teacher's vocabulary."""
    general, say = context.recipe.general, context.narrator.say
    if corpus.left_out:
        names = ", ".join(path.name for path in corpus.left_out)
        say("left out", f"{names}: for evaluation, by the name")
    if corpus.unread:
        names = ", ".join(path.name for path in corpus.unread)
        say("not read", f"{names}: of a folder, {', '.join(IN_FOLDERS)} files are read, unpacked")
    spec = block_spec(
        context.tokenizer, teacher, max_length=general.length, min_length=general.min_length
    )
    blocks = tokenize_corpus(
        corpus,
        context.tokenizer,
        spec,
        take=source.take,
        cache=source.cache or context.run.work / "tokens",
        processes=source.processes or len(os.sched_getaffinity(0)),
        narrator=context.narrator,
    )
    counts = blocks.counts
    if corpus.documents:
        divided = {"line": "each line is a document", "blank-line": "blank lines divide documents"}
        say("text files", divided[corpus.documents])
    say(
        "corpus",
        f"{corpus.name} · {counted(counts.blocks, 'block')} · {counted(counts.tokens, 'token')}",
    )
    for notice in counts.notices(spec):
        say("", notice)
    warn_of_unknown(blocks.rows, context.tokenizer, context.narrator)
    return blocks


def make_plan(
    context: RunContext,
    start: Callable[[], IntermediateStage],
    parts: Split,
    budget: Budget,
    began: float,
    measure: Callable[[Job, float], Timing] = measure_steps,
) -> Plan:
    """The number of steps: kept from an earlier call, or fixed now for good.

    Args:
        context: Where the run stands.
        start: Makes a stage before its first step.
        parts: The blocks.
        budget: What may be spent.
        began: When the command began, on the monotonic clock.
        measure: Times the steps of a job, in about so many seconds.
    """
    file, origin = context.run.path / PLAN, context.run.origin(PLAN)
    with main_process_first():
        fixed = reuse(file, origin, context.narrator)
    barrier()
    if fixed:
        return read_json(file, Plan)
    if budget.hours is not None and (context.run.path / STUDENT).exists():
        raise DataInvalid(
            f"{file} is lost: nobody can say how long {context.run.path / STUDENT} was trained.",
            f"Put it back, or remove {context.run.path / STUDENT} and repeat the command.",
        )
    general = context.recipe.general
    tokens = float(lengths_of(parts.train).sum())
    per_step = tokens / _steps_an_epoch(context, parts)
    if budget.hours is not None:
        context.narrator.say("timing", "some steps of a student that is thrown away …")
        trial = _job(context, start(), parts)
        trial = dataclasses.replace(trial, folder=trial.folder.with_name("timing"))
        timing = measure(trial, TIMING_SHARE * budget.hours * 3600)
        left = began + budget.hours * 3600 - time.monotonic()
        plan = plan_for_seconds(left, timing, general.evaluations, per_step)
    else:
        steps = total_steps(len(parts.train), general)
        if budget.tokens is not None:
            steps = steps_for_tokens(budget.tokens, per_step)
        plan = Plan(steps, general.evaluations, per_step)
    context.run.check_place()
    on_main_process(lambda: write_sealed_json(file, origin, dataclasses.asdict(plan)))
    return read_json(file, Plan)


def train(
    context: RunContext,
    stage: IntermediateStage,
    parts: Split,
    plan: Plan,
    budget: Budget,
    began: float,
) -> None:
    """Train the student for the planned steps and commit it with its projections."""
    epochs, say = plan.steps / _steps_an_epoch(context, parts), context.narrator.say
    say(
        "plan",
        f"{counted(plan.steps, 'step')} · {counted(plan.tokens, 'token')} · {epochs:.2f} epochs",
    )
    watch: tuple[Deadline, ...] = ()
    if budget.hours is not None:
        watch = (Deadline(context.narrator, began + budget.hours * 3600, budget.hours),)
    job = dataclasses.replace(
        _job(context, stage, parts),
        training=context.recipe.general.model_copy(update={"evaluations": plan.evaluations}),
        steps=plan.steps,
        tokens_per_step=plan.tokens_per_step,
        callbacks=watch,
    )
    run, outcome = context.run, train_stage(job)

    def fill(folder: Path) -> None:
        longest = max_input_length(stage.student.config) or context.max_length
        save_clean(stage.student, context.tokenizer, folder, longest)
        save_projections(stage.projections, folder / SAFETENSORS)

    def commit() -> None:
        run.check_place()
        write_sealed_json(run.work / LOSSES, run.origin(LOSSES), outcome.losses)
        commit_sealed(run.path / STUDENT, run.origin(STUDENT), fill)

    on_main_process(commit)
    if budget.hours is not None:
        took, given = span(time.monotonic() - began), span(budget.hours * 3600)
        say("budget", f"{took} since the start, {given} were given")


def _job(context: RunContext, stage: IntermediateStage, parts: Split) -> Job:
    general, evaluate = context.recipe.general, None
    if len(parts.held_out):
        collator, precision = context.collator(stage), context.recipe.precision
        evaluate = HeldOut(stage, parts.held_out, collator, general.batch_size, precision)
    return context.job(stage, parts.train, general, title=stage.name, evaluate=evaluate)


def _steps_an_epoch(context: RunContext, parts: Split) -> int:
    return math.ceil(len(parts.train) / context.recipe.general.batch_size)


def summary(
    context: RunContext, teacher: str, corpus: Corpus, blocks: Blocks, parts: Split, plan: Plan
) -> GeneralResult:
    """What the run did."""
    run, student = context.run, context.run.path / STUDENT
    with main_process_first():
        kept = reuse(run.work / LOSSES, run.origin(LOSSES))
    if not kept:
        context.narrator.say("notice", "the last losses on held-out blocks are lost")
    return GeneralResult(
        student=str(student),
        size=describe(read_weights(str(student), read_config(str(student)), head=False)),
        teacher=teacher,
        corpus=CorpusCounts(name=corpus.name, **dataclasses.asdict(blocks.counts)),
        blocks=BlockCounts(train=len(parts.train), held_out=len(parts.held_out)),
        steps=plan.steps,
        tokens=plan.tokens,
        epochs=plan.steps / _steps_an_epoch(context, parts),
        held_out=read_json(run.work / LOSSES, dict[str, float]) if kept else {},
        projections=len(checkpoint_projections(student)),
    )
