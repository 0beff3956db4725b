"""The story of a run: a version and a teacher in, a measured student out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
from torch import nn
from transformers import PreTrainedModel

from augment.contract import TaskSpec, Version
from augment.contract.files import new_place
from augment.contract.foreign import counted
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.row_sets import check_parts, count_taught
from distill.data.versions import TokenSamples
from distill.errors import WeakTeacher
from distill.evaluation.evaluate import fitness, judge
from distill.evaluation.results import EvaluationResult, Judgment, Role
from distill.evaluation.static_embeddings import TokenTable
from distill.evaluation.target import EvaluationTarget
from distill.models.bf16 import slow_format
from distill.models.guides import GuideSpec, LoadedGuides, load_guides, parse_guides
from distill.models.limits import check_length
from distill.models.loading import Classifier, Encoder, Student, describe
from distill.models.seeding import seeded
from distill.models.students import Init, ShapeSpec, StudentSpec, build_student
from distill.recipes.auto import Facts, recipe_for
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe
from distill.runs.card import result_card, write_card
from distill.runs.directory import (
    PLAIN_STUDENT,
    STUDENT,
    FirstStage,
    RunDirectory,
    reuse,
)
from distill.runs.distributed import device, main_process_first, on_main_process
from distill.runs.journal import note_call, note_layers, timed
from distill.runs.listing import Kind, Run
from distill.runs.progress import Narrator
from distill.runs.records import read_json, write_sealed_json
from distill.stages import HardLabelStage, IntermediateStage, PredictionStage
from distill.stages.layer_mapping import arrows, layer_map
from distill.training.advice import teacher_advice
from distill.training.context import RunContext, TaskContext, open_context, run_identity
from distill.training.kept_labels import KeptLabels, check_kept, keep_labels
from distill.training.row_answers import keep_answers
from distill.training.schedule import rows_drawn
from distill.training.soft_labels import soft_labels
from distill.training.teacher_states import drop_states, keep_states
from distill.training.teachers import Guides, Teacher, averaged_scores, teacher_name


def distill_task(
    version: Version | str | Path,
    *,
    teacher: str | Path | Sequence[str | Path],
    student: str,
    out: str | Path,
    encoder: str | Path | None = None,
    recipe: str | Path | DistillRecipe = DEFAULT_RECIPE,
    init: Init = "auto",
    plain: bool = True,
    allow_weak_teacher: bool = False,
    quiet: bool = False,
    shared: Path | None = None,
) -> Run:
    """Distil a teacher, or soft labels, in two stages; again, it goes on or returns the result.

    Args:
        version: A version or a reference such as ``data/versions/sst2@v0003``.
        teacher: A fine-tuned classifier; of several, stage 1 takes the first, stage 2 their mean.
            ``labels``: the soft labels of the version's rows teach, and no model is needed.
        student: A published name, a shape, a checkpoint or a config: ``students.parse_student``.
        out: The run directory.
        encoder: With ``labels``: what stage 1 learns from, else left out, and what gives a
            student its vocabulary and layers. An untuned encoder or a masked LM.
        recipe: A shipped recipe, a TOML file, or one resolved for the task.
        init: How a student given by shape starts, see ``students.parse_student``.
        plain: Also train the same student on labels only, to compare with.
        allow_weak_teacher: Go on with a teacher, or soft labels, near chance.
        quiet: Say nothing on stderr.
        shared: Where tokens and first stages are kept for several runs; the run's own otherwise.

    Raises:
        Fault: With a sentence that says what to do.
    """
    quiet_libraries()
    narrator, run = Narrator(quiet=quiet), RunDirectory(new_place(out), shared)
    opened = open_checked(version)
    named = parse_guides(teacher, encoder)
    taught = None if named.teachers else count_taught(opened)
    settings = named.settle(recipe_for(opened, recipe, taught=taught), opened.task)
    if named.reads_soft_labels(settings):
        check_kept(opened, alone=not named.teachers)
    drawn = settings.drawn
    stages = {name: drawn[name] for name in drawn if plain or name != "plain"}
    check_parts(opened, stages, taught)
    with main_process_first(), run.explaining_lost_models():
        spec = named.student(student, init)
        identity = run_identity(opened, named, spec, settings)
    run = run.of(identity)
    choices = [(STUDENT, PLAIN_STUDENT), *([] if plain else [(STUDENT,)])]
    if finished := run.result(EvaluationResult, *choices, narrator=narrator):
        narrator.say("finished", f"{run.path} was finished before; nothing is trained again")
        return Run.finished(run.path, Kind.TASK, identity, finished)
    with run.claim(identity, narrator) as claim:
        if slow := slow_format(settings.precision):
            narrator.say("bfloat16", slow)
        note_call(
            run.path,
            version=str(opened.path.resolve()),
            teacher=named.folder,
            recipe="" if isinstance(recipe, DistillRecipe) else str(recipe),
            facts=asdict(Facts.of(opened, taught=taught)),
        )
        with claim.preparing(), timed(run.path, "preparation"):
            loaded = load_guides(named, opened.task, settings.seed)
            guide = loaded.model
            texts = TokenSamples(opened, guide.tokenizer) if guide else ()
            started = start_student(spec, opened.task, settings, guide, texts)
            alone = started.copy() if plain else None
            context = open_context(
                opened,
                settings,
                started.tokenizer,
                run,
                narrator,
                table=TokenTable.of(guide.model, guide.tokenizer) if guide else None,
                unlabeled=settings.draws_unlabeled,
                taught=taught,
            )
            narrator.say("version", describe_rows(context))
            guides = check_guides(context, loaded, allow_weak_teacher)
            report_student(context, spec, started)
            first = validate_stages(context, started, guides)
            if guides.network is not None and started.mapping:
                depth = guides.network.config.num_hidden_layers
                note_layers(run.path, depth, started.mapping)
        model = started.model
        if not (run.path / STUDENT).is_dir():  # where it is, stage 1 has done its work
            model = train_intermediate(context, started, first, run.first_stage(identity))
        rivals = {Role.DISTILLED: train_prediction(context, started, model, guides)}
        if alone:
            rivals = {Role.PLAIN: train_on_labels(context, alone), **rivals}
        students = choices[0] if plain else (STUDENT,)
        with timed(run.path, "measuring"):
            on_main_process(lambda: finish(context, guides, rivals, identity, students))
        result = run.made(EvaluationResult, students)
    return Run.finished(run.path, Kind.TASK, identity, result)


def finish(
    context: TaskContext,
    guides: Guides,
    rivals: dict[Role, PreTrainedModel],
    identity: Mapping[str, Any],
    students: tuple[str, ...],
) -> None:
    """Measure, give the student its card, and write the result, which ends the run."""
    result, run = compare(context, guides, rivals), context.run
    run.check_place()
    write_card(run.path / STUDENT, result_card(run.path / STUDENT, result, identity))
    run.finish(result, *students)


def start_student(
    spec: StudentSpec,
    task: TaskSpec,
    recipe: DistillRecipe,
    guide: Classifier | Encoder | None,
    texts: Iterable[Sequence[int]] = (),
) -> Student:
    """The student before training, with the layers of its guide that it learns from."""
    mapping: tuple[int, ...] = ()
    starts = isinstance(spec, ShapeSpec) and spec.init == "teacher-layers"
    if guide and (recipe.maps_layers or starts):
        mapping = layer_map(spec.n_layers, guide.model.config.num_hidden_layers, recipe.layers)
    return build_student(
        spec, task, guide, mapping=mapping, seed=recipe.seed, texts=texts,
        own_vocabulary=not recipe.compares_tokens,
    )  # fmt: skip


def describe_rows(context: TaskContext) -> str:
    """The version that is trained on, and its size."""
    tokens = context.tokens
    blind = tokens.unlabeled
    more = f" · {counted(len(blind), 'unlabeled row')}" if blind is not None else ""
    return f"{context.version.reference} · {counted(len(tokens.train), 'training row')}{more}"


def check_guides(context: TaskContext, loaded: LoadedGuides, allow_weak: bool) -> Guides:
    """Put the models where they work and see whether they, or the soft labels, are fit to teach."""
    teachers = []
    for index, classifier in enumerate(loaded.teachers):
        name = teacher_name(index)
        if classifier.notice:
            context.narrator.say("labels", classifier.notice)
        check_length(context.max_length, classifier.name, classifier.model.config)
        nn.Module.to(classifier.model, device())
        tokens = context.read_by(classifier.tokenizer)
        judged = check_teacher(context, classifier, tokens.validation, allow_weak, name)
        teachers.append(Teacher(name, classifier, tokens, judged))
    if encoder := loaded.encoder:
        if encoder.notice:
            context.narrator.say("notice", encoder.notice)
        check_length(context.max_length, encoder.name, encoder.model.config)
        context.narrator.say("encoder", f"{encoder.name} · {describe(encoder.model)}")
    kept = check_kept_labels(context, loaded.spec, allow_weak)
    return Guides(tuple(teachers), loaded.encoder, kept)


def check_kept_labels(
    context: TaskContext, named: GuideSpec, allow_weak: bool
) -> KeptLabels | None:
    """See whether the version's soft labels are fit to teach, where they count.

    Raises:
        DataInvalid: There are none, or one is damaged.
        WeakTeacher: They score about what guessing does on rows that have a label too.
    """
    version, say = context.version, context.narrator.say
    if not named.reads_soft_labels(context.recipe):
        if version.manifest.soft_labels and context.recipe.prediction.weights.logits:
            say("soft labels", "not used: [prediction] teacher_weight is 1")
        return None
    drawn = context.recipe.prediction.draws_from
    kept = keep_labels(version, drawn, fill=not named.teachers)
    for sentence in kept.sentences():
        say("soft labels", sentence)
    if not allow_weak:
        kept.check_worth()
    return kept


def report_student(context: TaskContext, spec: StudentSpec, student: Student) -> None:
    """Say what the student is, once it is known to read texts of this length."""
    check_length(context.max_length, spec.name, student.model.config)
    context.narrator.say("student", describe_student(student))


def describe_student(student: Student) -> str:
    """Its size, where its weights come from and which teacher layers it learns from."""
    layers = f" · layers {arrows(student.mapping)}" if student.mapping else ""
    return f"{describe(student.model)} · {student.origin}{layers}"


def validate_stages(
    context: TaskContext, student: Student, guides: Guides
) -> IntermediateStage | None:
    """Build both stages, to refuse now what could not be trained in hours; the first is kept."""
    first = intermediate_stage(context, student, guides)
    second = prediction_stage(context, student, student.model, guides)
    for label, notice in {**second.notices(), **(first.notices() if first else {})}.items():
        context.narrator.say(label, notice)
    return first


def intermediate_stage(
    context: RunContext, student: Student, guides: Guides
) -> IntermediateStage | None:
    """Student, first teacher or encoder, and fresh projections, if there is a stage 1."""
    recipe, network = context.recipe.intermediate, guides.network
    if not recipe.enabled:
        return None
    assert network is not None, "stage 1 without a model to learn from"
    return context.layerwise_stage("intermediate", student, network, recipe)


def prediction_stage(
    context: TaskContext, student: Student, model: PreTrainedModel, guides: Guides
) -> PredictionStage:
    """The student's model with what stage 2 compares beside the logits."""
    recipe = context.recipe
    return seeded(
        recipe.seed,
        lambda: PredictionStage(
            model,
            recipe.prediction,
            teacher=guides.network,
            mapping=student.mapping,
            projection=recipe.projection,
            pretrained=student.pretrained,
            class_weights=context.class_weights(recipe.prediction),
        ),
    )


def train_intermediate(
    context: TaskContext, student: Student, stage: IntermediateStage | None, final: FirstStage
) -> PreTrainedModel:
    """Stage 1, if there is one: embeddings, hidden states, attention; the last step is kept."""
    if stage is None:
        return student.model
    recipe, states = context.recipe.intermediate, None
    drawn, (folder, origin) = context.drawn(recipe), (final.folder, final.origin)
    if recipe.teacher_states_gb:
        with main_process_first(), timed(context.run.path, "teacher's states"):
            if not reuse(folder, origin, context.narrator):
                states = keep_states(context, stage, drawn)
    model = context.train(
        stage, recipe, title="stage 1/2", final=folder, origin=origin, select=False, rows=drawn,
        states=states,
    )  # fmt: skip
    on_main_process(lambda: drop_states(context.run))
    return model


def train_prediction(
    context: TaskContext, student: Student, model: PreTrainedModel, guides: Guides
) -> PreTrainedModel:
    """Stage 2: the teachers' logits, or soft labels; the best step on validation is kept."""
    recipe, final = context.recipe.prediction, context.run.path / STUDENT
    title = "stage 2/2" if context.recipe.intermediate.enabled else "stage 1/1"
    stage = prediction_stage(context, student, model.requires_grad_(True), guides)
    chosen = guides.kept.chosen if guides.kept else None
    drawn, labels = context.drawn(recipe, chosen), None
    if recipe.weights.logits and not final.is_dir():
        with main_process_first(), timed(context.run.path, "soft labels"):
            labels = soft_labels(
                guides.teachers,
                context.version,
                recipe.draws_from,
                rows_drawn(drawn.rows, recipe.numbers, context.recipe.seed, drawn.mixture),
                kept=guides.kept,
                weight=recipe.teacher_weight,
                precision=context.recipe.precision,
                run=context.run,
                narrator=context.narrator,
            )
    return context.train(stage, recipe, title=title, final=final, rows=drawn, soft_labels=labels)


def train_on_labels(context: TaskContext, student: Student) -> PreTrainedModel:
    """The comparison: the same student from the same start, on hard labels."""
    recipe, final = context.recipe.plain, context.run.path / PLAIN_STUDENT
    stage = HardLabelStage(student.model, "plain", context.class_weights(recipe))
    return context.train(stage, recipe, title="plain", final=final)


def compare(
    context: TaskContext, guides: Guides, rivals: dict[Role, PreTrainedModel]
) -> EvaluationResult:
    """Measure teachers and students on the same rows; retention refers to the first teacher."""
    length, teachers = context.max_length, guides.teachers
    targets = [
        EvaluationTarget(own.name, own.classifier, own.tokens.validation, length, own.judged)
        for own in teachers
    ]
    for name, model in rivals.items():
        nn.Module.to(model, device())
        classifier = Classifier(name, model, context.tokenizer)
        targets.append(EvaluationTarget(name, classifier, context.tokens.validation, length))
    task = context.version.task
    several = {"averaged": averaged_scores(teachers, task)} if len(teachers) > 1 else {}
    sections: dict[str, str] = {Role.DISTILLED: "prediction", Role.PLAIN: "plain"}
    baseline = {"baseline": Role.TEACHER} if teachers else {}
    kept = {"soft_labels": guides.kept.use} if guides.kept else {}
    keep_answers(context, targets)
    return context.result(targets, sections, **baseline, **several, **kept)


def check_teacher(
    context: TaskContext,
    teacher: Classifier,
    validation: Mapping[str, datasets.Dataset],
    allow_weak: bool,
    title: str = "teacher",
) -> Judgment:
    """Judge a teacher on validation; refuse one that does little more than guess.

    Args:
        context: Where the run stands.
        teacher: In evaluation mode.
        validation: The labeled validation rows as the teacher splits them.
        allow_weak: Do not refuse.
        title: What the teacher is called.

    Raises:
        WeakTeacher: It is not fit, see ``evaluation.evaluate.fitness``.
    """
    task = context.version.task
    judged = _judged(context, teacher, validation, title)
    split, rows = next(iter(validation.items()))
    found = fitness(judged, task, validation)
    size = f"{describe(teacher.model)} · {task.selection_metric} {found.score:.3f}"
    context.narrator.say(title, f"{size} on {split} ({counted(len(rows), 'row')})")
    if found.weakness and not allow_weak:
        folder, originals = str(context.version.path.parent), len(context.tokens.rows("original"))
        raise WeakTeacher(
            f"the {title} {found.weakness}",
            f"{teacher_advice(teacher.name, folder, task.name, originals)}\n"
            "To go on all the same: --allow-weak-teacher",
        )
    if judged.collapse:
        context.narrator.say("warning", f"the {title} {judged.collapse.sentence}")
    return judged


def _judged(
    context: TaskContext,
    teacher: Classifier,
    validation: Mapping[str, datasets.Dataset],
    title: str,
) -> Judgment:
    """What a teacher's answers are worth, kept with the run: thousands of rows take minutes."""
    file = context.run.work / f"{title.replace(' ', '-')}-judgment.json"
    origin = context.run.origin(file.name)
    with main_process_first():
        if not reuse(file, origin, context.narrator):
            judged = judge(teacher, context.version.task, validation)
            write_sealed_json(file, origin, judged.to_json())
        return read_json(file, Judgment)
