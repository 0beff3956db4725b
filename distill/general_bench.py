"""What a general distillation works with: teacher, student and recipe, put together and checked."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import set_seed

from distill.batching import Collator
from distill.bench import device
from distill.blocks import Split
from distill.encoder import Encoder, load_encoder
from distill.frozen import frozen
from distill.held_out import HeldOut
from distill.jobs import Job
from distill.mapping import arrows, layer_map
from distill.models import describe
from distill.positions import check_length
from distill.progress import Narrator
from distill.recipe import DistillRecipe
from distill.rundir import METRICS, MetricLog, RunDirectory
from distill.stages import Intermediate
from distill.students import Init, build_student, student_layers


class GeneralStage(Intermediate):
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
    if stage.relations:
        narrator.say("attention", str(stage.relations))
    return bench
