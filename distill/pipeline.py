"""The story of a run: a version and a teacher in, a measured student out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from torch import nn
from transformers import PreTrainedModel, set_seed

from augment.contract import Version
from augment.contract.files import write_json
from augment.contract.models import quiet_libraries
from augment.contract.version import open_checked
from distill.data.versions import tokenize
from distill.distributed import device, main_process_first, on_main_process
from distill.errors import WeakTeacher
from distill.evaluation.evaluate import (
    EvaluationTarget,
    Scores,
    evaluate,
    majority_baseline,
    measure,
)
from distill.evaluation.results import Run
from distill.models.bf16 import frozen
from distill.models.limits import check_length, resolve_length
from distill.models.loading import Classifier, describe, load_classifier
from distill.models.students import Init, Student, build_student, resolve_init, student_layers
from distill.progress import Narrator
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe, load_recipe
from distill.run_directory import STUDENT, RunDirectory, deciding_first_stage
from distill.stages import HardLabelStage, IntermediateStage, PredictionStage, Stage
from distill.stages.layer_mapping import arrows, layer_map
from distill.training.context import RunContext, run_identity
from distill.training.schedule import rows_drawn
from distill.training.soft_labels import Logits, import_stored_logits, soft_labels
from distill.training.teachers import Teacher, averaged_scores, teacher_name

CHANCE_MARGIN = 0.03


def distill_task(
    version: Version | str | Path,
    *,
    teacher: str | Path | Sequence[str | Path],
    student: str,
    out: str | Path,
    recipe: str | Path | DistillRecipe = DEFAULT_RECIPE,
    init: Init = "auto",
    plain: bool = True,
    allow_weak_teacher: bool = False,
    quiet: bool = False,
    shared: Path | None = None,
) -> Run:
    """Distil a fine-tuned teacher in two stages; the same call again goes on or returns the result.

    Args:
        version: A version or a reference such as ``data/versions/sst2@v0003``.
        teacher: Folder or hub name of a fine-tuned classifier, or several: stage 2 learns from
            the mean of their logits, stage 1 from the first.
        student: A published name, a shape, a checkpoint or a config: ``students.build_student``.
        out: The run directory.
        recipe: A shipped recipe, a TOML file, or one resolved for the task.
        init: How a student given by shape starts, see ``students.settle``.
        plain: Also train the same student on labels only, to compare with.
        allow_weak_teacher: Go on with a teacher near chance.
        quiet: Say nothing on stderr.
        shared: Where tokens and first stages are kept for several runs; the run's own otherwise.

    Raises:
        Fault: With a sentence that says what to do.
    """
    quiet_libraries()
    narrator, run = Narrator(quiet=quiet), RunDirectory(Path(out), shared)
    opened = open_checked(version)
    settings = load_recipe(recipe, opened.task.name)
    names = [str(n) for n in ([teacher] if isinstance(teacher, str | Path) else teacher)]
    with main_process_first():
        begun = run.claim(identity := run_identity(run, opened, names, student, settings, init))
    init = resolve_init(init, student, names[0])
    finished = run.result()
    if finished and (len(finished["models"]) == len(names) + 2 or not plain):
        narrator.say("finished", f"{run.path} was finished before; nothing is trained again")
        return Run(run.path, finished)
    with run.preparing(begun=begun):
        teachers = [load_classifier(name, opened.task) for name in names]
        planted = plant(opened, settings, student, teachers[0], init)
        bench = prepare(opened, settings, planted, run, narrator)
        guides = consult(bench, teachers, allow_weak_teacher)
        introduce(bench, student, planted)
        first = rehearse(bench, planted, guides)
    after_first = run.first_stage(deciding_first_stage(identity))
    taught = intermediate(bench, first, after_first) if first else planted.model
    rivals = {"student, distilled": prediction(bench, planted, taught, guides)}
    if plain:
        again = plant(opened, settings, student, teachers[0], init)
        rivals = {"student, labels only": labels_only(bench, again), **rivals}
    on_main_process(lambda: run.finish(compare(bench, guides, rivals)))
    result = run.result()
    assert result is not None
    return Run(run.path, result)


def plant(
    version: Version, recipe: DistillRecipe, name: str, teacher: Classifier, init: Init
) -> Student:
    """Build the student; the same arguments give the same weights."""
    mapping: tuple[int, ...] = ()
    if recipe.maps_layers or init == "teacher-layers":
        theirs = teacher.model.config.num_hidden_layers
        mapping = layer_map(student_layers(name), theirs, recipe.layers)
    return build_student(
        name,
        version.task,
        teacher,
        init=init,
        mapping=mapping,
        seed=recipe.seed,
        own_vocabulary=not recipe.compares_tokens,
    )


def prepare(
    version: Version, recipe: DistillRecipe, student: Student, run: RunDirectory, say: Narrator
) -> RunContext:
    """Tokenize the version as the student reads it."""
    length = resolve_length(recipe.max_length, version.task)
    tokens = tokenize(version, student.tokenizer, length, run.tokens)
    say.say("version", f"{version.reference} · {len(tokens.train):,} training rows")
    return RunContext(version, recipe, tokens, student.tokenizer, length, run, say)


def consult(bench: RunContext, teachers: Sequence[Classifier], allow_weak: bool) -> list[Teacher]:
    """Put the teachers where they work and see whether they are fit to teach."""
    guides = []
    for index, teacher in enumerate(teachers):
        name = teacher_name(index)
        if teacher.notice:
            bench.narrator.say("labels", teacher.notice)
        check_length(bench.max_length, teacher.name, teacher.model.config)
        nn.Module.to(teacher.model, device())
        tokens = bench.read_by(teacher.tokenizer)
        scores = check_teacher(bench, teacher, tokens.validation, allow_weak, name)
        guides.append(Teacher(name, teacher, tokens, scores))
    return guides


def introduce(bench: RunContext, name: str, student: Student) -> None:
    """Say what the student is, once it is known to read texts of this length."""
    check_length(bench.max_length, name, student.model.config)
    words = f"{describe(student.model)} · {student.origin}"
    layers = f" · layers {arrows(student.mapping)}" if student.mapping else ""
    bench.narrator.say("student", words + layers)


def rehearse(
    bench: RunContext, student: Student, guides: Sequence[Teacher]
) -> IntermediateStage | None:
    """Build both stages, to refuse now what could not be trained in hours; the first is kept."""
    first = first_stage(bench, student, guides)
    second = second_stage(bench, student, student.model, guides)
    for label, notice in {**second.notices(), **(first.notices() if first else {})}.items():
        bench.narrator.say(label, notice)
    return first


def first_stage(
    bench: RunContext, student: Student, guides: Sequence[Teacher]
) -> IntermediateStage | None:
    """Put student, first teacher and fresh projections together, if there is a stage 1."""
    if not bench.recipe.intermediate.enabled:
        return None
    set_seed(bench.recipe.seed)
    return IntermediateStage(
        student.model,
        frozen(guides[0].classifier.model, bench.recipe.precision),
        student.mapping,
        recipe=bench.recipe.intermediate,
        reduction=bench.recipe.attention_reduction,
        projection=bench.recipe.projection,
        pretrained=student.pretrained,
    )


def second_stage(
    bench: RunContext, student: Student, model: PreTrainedModel, guides: Sequence[Teacher]
) -> PredictionStage:
    """Put the student's model together with what stage 2 compares beside the answers."""
    set_seed(bench.recipe.seed)
    return PredictionStage(
        model,
        bench.recipe.prediction,
        teacher=guides[0].classifier.model,
        mapping=student.mapping,
        projection=bench.recipe.projection,
        pretrained=student.pretrained,
    )


def intermediate(bench: RunContext, stage: IntermediateStage, final: Path) -> PreTrainedModel:
    """Stage 1: embeddings, hidden states and attention; the last step is kept."""
    recipe = bench.recipe.intermediate
    return bench.train(lambda: stage, recipe, title="stage 1/2", final=final, select=False)


def prediction(
    bench: RunContext, student: Student, model: PreTrainedModel, guides: Sequence[Teacher]
) -> PreTrainedModel:
    """Stage 2: the teachers' answers; the best step on validation is kept."""
    recipe, run = bench.recipe.prediction, bench.run

    def begin() -> Stage:
        return second_stage(bench, student, model.requires_grad_(True), guides)

    def soft() -> Logits:
        needed = rows_drawn(bench.tokens.rows(recipe.data), recipe, bench.recipe.seed)
        folder, say = run.work / "soft-labels", bench.narrator
        precision = bench.recipe.precision
        with main_process_first():
            import_stored_logits(
                bench.version, guides, recipe.data, needed, folder=folder, narrator=say
            )
            return soft_labels(
                guides, recipe.data, needed, precision=precision, folder=folder, narrator=say
            )

    title = "stage 2/2" if bench.recipe.intermediate.enabled else "stage 1/1"
    learns = soft if recipe.weights.logits else None
    return bench.train(begin, recipe, title=title, final=run.path / STUDENT, soft=learns)


def labels_only(bench: RunContext, student: Student) -> PreTrainedModel:
    """The comparison: the same student from the same start, on hard labels."""
    final = bench.run.path / "plain-student"
    return bench.train(
        lambda: HardLabelStage(student.model, "plain"),
        bench.recipe.plain,
        title="plain",
        final=final,
    )


def compare(
    bench: RunContext, guides: Sequence[Teacher], rivals: dict[str, PreTrainedModel]
) -> dict[str, Any]:
    """Measure teachers and students on the same rows."""
    length = bench.max_length
    subjects = [
        EvaluationTarget(
            guide.name, guide.classifier, guide.tokens.validation, length, guide.scores
        )
        for guide in guides
    ]
    for name, model in rivals.items():
        nn.Module.to(model, guides[0].classifier.model.device)
        classifier = Classifier(name, model, bench.tokenizer)
        subjects.append(EvaluationTarget(name, classifier, bench.tokens.validation, length))
    task = bench.version.task
    several = {"averaged": averaged_scores(guides, task)} if len(guides) > 1 else {}
    return bench.result(measure(subjects, task), baseline="teacher", **several)


def check_teacher(
    bench: RunContext,
    teacher: Classifier,
    validation: Mapping[str, datasets.Dataset],
    allow_weak: bool,
    title: str = "teacher",
) -> Scores:
    """Score a teacher on validation; refuse one that does little more than guess.

    Args:
        bench: Where the run stands.
        teacher: In evaluation mode.
        validation: The labeled validation rows as the teacher splits them.
        allow_weak: Do not refuse.
        title: What the teacher is called.

    Raises:
        WeakTeacher: Its score is within 0.03 of the best constant answer's.
    """
    task = bench.version.task
    scores = _scores(bench, teacher, validation, title)
    split, rows = next(iter(validation.items()))
    metric = task.selection_metric
    own, blind = scores[split][metric], majority_baseline(task, rows)
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
    bench: RunContext, teacher: Classifier, validation: Mapping[str, datasets.Dataset], title: str
) -> Scores:
    """A teacher's scores, kept with the run: on thousands of rows they take minutes."""
    file = bench.run.work / f"{title.replace(' ', '-')}-scores.json"
    with main_process_first():
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, evaluate(teacher, bench.version.task, validation))
        kept: Scores = json.loads(file.read_text(encoding="utf-8"))
    return kept
