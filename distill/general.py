"""General distillation (docs/method.md, section 3): raw text → blocks → a general student."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import set_seed

from augment.contract.files import commit_folder, write_json
from augment.contract.models import max_input_length, quiet_libraries
from distill.data.batching import Collator, lengths_of
from distill.data.blocks import Blocks, Split, block_spec, split, tokenize_corpus
from distill.data.corpus import Corpus, Source, open_corpus
from distill.distributed import barrier, device, main_process_first, on_main_process
from distill.models.bf16 import frozen
from distill.models.folders import SAFETENSORS, folder_digest, save_clean
from distill.models.limits import check_length
from distill.models.loading import Encoder, describe, load_encoder, read_config, read_weights
from distill.models.projections import save_projections
from distill.models.students import (
    Init,
    build_student,
    checkpoint_projections,
    resolve_init,
    student_identity,
    student_layers,
)
from distill.progress import Narrator, span
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe, load_recipe
from distill.run_directory import METRICS, RESULT, STUDENT, MetricLog, RunDirectory
from distill.stages import IntermediateStage
from distill.stages.layer_mapping import arrows, layer_map
from distill.training.budget import Budget, Plan, measure_steps, plan_for_seconds, steps_for_tokens
from distill.training.callbacks import Deadline
from distill.training.held_out import HeldOut
from distill.training.job import Job
from distill.training.schedule import total_steps
from distill.training.trainer import train_stage

PLAN = "plan.json"
SETTINGS = {"seed", "precision", "layers", "attention_reduction", "projection", "general"}
TIMING_SHARE = 0.03


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
) -> dict[str, Any]:
    """Distil an untuned encoder on raw text; the same call again goes on or returns the result.

    Args:
        corpus: A .txt, .jsonl or .parquet file, a folder of them, or a hub data set.
        teacher: Folder or hub name of an encoder, with or without a masked-LM head.
        student: ``tinybert-4l-312d``, a shape such as ``3x312-1200-12``, or a checkpoint.
        out: The run directory; the student is in ``OUT/student``.
        recipe: A shipped recipe or a TOML file; its ``general`` section counts.
        budget: Hours or tokens; the recipe's epochs if left out.
        init: How a student given by shape starts, see ``students.settle``.
        quiet: Say nothing on stderr.

    Returns:
        The result as JSON values: steps, tokens, held-out losses, what became of the corpus.

    Raises:
        Fault: With a sentence that says what to do.
    """
    began, budget = time.monotonic(), budget or Budget()
    quiet_libraries()
    narrator, run = Narrator(quiet=quiet), RunDirectory(Path(out))
    settings = load_recipe(recipe, "")
    init = resolve_init(init, student, str(teacher))
    source = corpus if isinstance(corpus, Source) else Source(corpus)
    text = open_corpus(source)
    if text.hub and source.take is None:  # never stream more than will be trained on
        source = dataclasses.replace(source, take=budget.tokens)
    with main_process_first():
        begun = run.claim(identify(text, source, str(teacher), student, init, settings, budget))
    if finished := run.result():
        narrator.say("finished", f"{run.path} was finished before; nothing is trained again")
        return finished
    with run.preparing(begun=begun):
        bench = prepare(run, settings, str(teacher), student, init, narrator)
        blocks = read(bench, text, source)
    parts = split(blocks, settings.general.held_out, settings.seed)
    plan = decide(bench, parts, budget, began)
    if not (run.path / STUDENT).is_dir():
        train(bench, parts, plan, budget, began)
    # here, because an earlier call may have been killed after the commit
    on_main_process(lambda: shutil.rmtree(run.work / GeneralStage.name, ignore_errors=True))
    result = summary(bench, text, blocks, parts, plan)
    on_main_process(lambda: write_json(run.path / RESULT, result))
    return result


def identify(
    corpus: Corpus,
    source: Source,
    teacher: str,
    student: str,
    init: Init,
    recipe: DistillRecipe,
    budget: Budget,
) -> dict[str, Any]:
    """All that decides the student's weights, as JSON values."""
    return {
        "corpus": corpus.digest,
        "take": source.take,
        "teacher": folder_digest(teacher),
        **student_identity(student, init),
        "recipe": recipe.model_dump(mode="json", include=SETTINGS),
        "budget": dataclasses.asdict(budget),
    }


def read(bench: GeneralBench, corpus: Corpus, source: Source) -> Blocks:
    """The corpus as blocks for the teacher's vocabulary."""
    general, teacher, say = bench.recipe.general, bench.teacher, bench.narrator.say
    if corpus.left_out:
        names = ", ".join(path.name for path in corpus.left_out)
        say("left out", f"{names}: for evaluation, by the name")
    spec = block_spec(
        teacher.tokenizer, teacher.name, max_length=general.length, min_length=general.min_length
    )
    blocks = tokenize_corpus(
        corpus,
        teacher.tokenizer,
        spec,
        take=source.take,
        cache=source.cache or bench.run.work / "tokens",
        processes=source.processes or len(os.sched_getaffinity(0)),
        narrator=bench.narrator,
    )
    counts = blocks.counts
    if corpus.documents:
        divided = {"line": "each line is a document", "blank-line": "blank lines divide documents"}
        say("text files", divided[corpus.documents])
    say("corpus", f"{corpus.name} · {counts.blocks:,} blocks · {counts.tokens:,} tokens")
    for notice in counts.notices(spec):
        say("", notice)
    return blocks


def decide(bench: GeneralBench, parts: Split, budget: Budget, began: float) -> Plan:
    """The number of steps: kept from an earlier call, or fixed now for good."""
    file = bench.run.path / PLAN
    fixed = file.is_file()
    barrier()
    if fixed:
        return _kept_plan(file)
    general = bench.recipe.general
    tokens = float(lengths_of(parts.train).sum())
    per_step = tokens / _steps_an_epoch(bench, parts)
    if budget.hours is not None:
        end = began + budget.hours * 3600
        bench.narrator.say("timing", "some steps of a student that is thrown away …")
        job = bench.job(bench.plant(), parts, "timing")
        timing = measure_steps(job, TIMING_SHARE * budget.hours * 3600)
        left = end - time.monotonic()
        plan = plan_for_seconds(left, timing, general.evaluations, per_step)
    else:
        steps = total_steps(len(parts.train), general)
        if budget.tokens is not None:
            steps = steps_for_tokens(budget.tokens, per_step)
        plan = Plan(steps, general.evaluations, per_step)
    on_main_process(lambda: write_json(file, dataclasses.asdict(plan)))
    return _kept_plan(file)


def train(bench: GeneralBench, parts: Split, plan: Plan, budget: Budget, began: float) -> None:
    """Train the student for the planned steps and commit it with its projections."""
    epochs = plan.steps / _steps_an_epoch(bench, parts)
    bench.narrator.say(
        "plan", f"{plan.steps:,} steps · {plan.tokens:,} tokens · {epochs:.2f} epochs"
    )
    stage = bench.plant()
    watch: tuple[Deadline, ...] = ()
    if budget.hours is not None:
        watch = (Deadline(bench.narrator, began + budget.hours * 3600, budget.hours),)
    job = bench.job(stage, parts, "checkpoints")
    job = dataclasses.replace(
        job,
        training=bench.recipe.general.model_copy(update={"evaluations": plan.evaluations}),
        steps=plan.steps,
        tokens_per_step=plan.tokens_per_step,
        callbacks=watch,
    )
    train_stage(job)

    def fill(folder: Path) -> None:
        longest = max_input_length(stage.student.config) or bench.recipe.general.length
        save_clean(stage.student, bench.teacher.tokenizer, folder, longest)
        save_projections(stage.projections, folder / SAFETENSORS)

    on_main_process(lambda: commit_folder(bench.run.path / STUDENT, fill))
    if budget.hours is not None:
        took, given = span(time.monotonic() - began), span(budget.hours * 3600)
        bench.narrator.say("budget", f"{took} since the start, {given} were given")


def _kept_plan(file: Path) -> Plan:
    return Plan(**json.loads(file.read_text(encoding="utf-8")))


def _steps_an_epoch(bench: GeneralBench, parts: Split) -> int:
    return math.ceil(len(parts.train) / bench.recipe.general.batch_size)


def summary(
    bench: GeneralBench, corpus: Corpus, blocks: Blocks, parts: Split, plan: Plan
) -> dict[str, Any]:
    """What the run did, as JSON values."""
    log = (bench.run.path / METRICS).read_text(encoding="utf-8").splitlines()
    measured = [row for row in map(json.loads, log) if "eval_loss" in row]
    losses = measured[-1] if measured else {}
    student = bench.run.path / STUDENT
    return {
        "student": str(student),
        "size": describe(read_weights(str(student), read_config(str(student)), head=False)),
        "teacher": bench.teacher.name,
        "corpus": {"name": corpus.name, **dataclasses.asdict(blocks.counts)},
        "blocks": {"train": len(parts.train), "held_out": len(parts.held_out)},
        "steps": plan.steps,
        "tokens": plan.tokens,
        "epochs": plan.steps / _steps_an_epoch(bench, parts),
        "held_out": {
            name.removeprefix("eval_"): value
            for name, value in losses.items()
            if name.startswith("eval_")
        },
        "projections": len(checkpoint_projections(student)),
    }


class GeneralStage(IntermediateStage):
    """The losses of stage 1, on raw text."""

    name = "general"


@dataclass(frozen=True, slots=True)
class GeneralBench:
    """One general distillation before its first step.

    Attributes:
        run: Where everything goes.
        recipe: Its ``general`` section counts, and what stands above the sections.
        teacher: Frozen, on the device.
        student: A shape or a checkpoint.
        init: How a shape starts.
        mapping: Teacher layer for each student layer.
        narrator: Where progress is shown.
    """

    run: RunDirectory
    recipe: DistillRecipe
    teacher: Encoder
    student: str
    init: Init
    mapping: tuple[int, ...]
    narrator: Narrator

    def plant(self) -> GeneralStage:
        """Student, teacher and projections: the same at every call.

        Raises:
            ModelInvalid: The student does not fit the teacher.
        """
        seed, general = self.recipe.seed, self.recipe.general
        student = build_student(
            self.student, None, self.teacher, init=self.init, mapping=self.mapping, seed=seed
        )
        check_length(general.length, self.student, student.model.config)
        set_seed(seed)
        return GeneralStage(
            student.model,
            frozen(self.teacher.model, self.recipe.precision),
            self.mapping,
            recipe=general,
            reduction=self.recipe.attention_reduction,
            projection=self.recipe.projection,
            pretrained=student.pretrained,
        )

    def job(self, stage: GeneralStage, blocks: Split, folder: str) -> Job:
        """A stage as something to train on blocks, with checkpoints in a folder of the run."""
        recipe, general = self.recipe, self.recipe.general
        fixed = general.length if recipe.attention_reduction == "official" else None
        collator = Collator(self.teacher.tokenizer.pad_token_id, fixed)
        held_out = HeldOut(stage, blocks.held_out, collator, general.batch_size, recipe.precision)
        return Job(
            stage=stage,
            rows=blocks.train,
            collator=collator,
            training=general,
            seed=recipe.seed,
            precision=recipe.precision,
            folder=self.run.work / stage.name / folder,
            log=MetricLog(self.run.path / METRICS),
            narrator=self.narrator,
            title=stage.name,
            evaluate=held_out if len(blocks.held_out) else None,
        )


def prepare(
    run: RunDirectory,
    recipe: DistillRecipe,
    teacher: str,
    student: str,
    init: Init,
    narrator: Narrator,
) -> GeneralBench:
    """Load the teacher and try the student on it, before any text is read.

    Raises:
        ModelInvalid: One of them cannot take part.
        MappingInvalid: The student's layers cannot be mapped.
    """
    set_seed(recipe.seed)  # a checkpoint without a pooler gets a random one
    guide = load_encoder(teacher)
    check_length(recipe.general.length, teacher, guide.model.config)
    nn.Module.to(guide.model, device())
    mapping = layer_map(
        student_layers(student), guide.model.config.num_hidden_layers, recipe.layers
    )
    bench = GeneralBench(run, recipe, guide, student, init, mapping, narrator)
    narrator.say("teacher", describe(guide.model))
    if guide.notice:
        narrator.say("notice", guide.notice)
    stage = bench.plant()
    narrator.say("student", f"{describe(stage.student)} · layers {arrows(mapping)}")
    for label, notice in stage.notices().items():
        narrator.say(label, notice)
    return bench
