"""The story of a run: a version and a teacher in, a measured student out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, set_seed

from augment.contract import Fault, Version
from distill.bench import Bench, device, identify, open_checked, quiet_libraries
from distill.dataset import resolve_length, tokenise
from distill.evaluate import Scores, measure
from distill.guards import check_teacher
from distill.mapping import layer_map
from distill.models import Classifier, describe, load_classifier
from distill.progress import Narrator
from distill.recipe import DEFAULT_RECIPE, DistillRecipe, load_recipe
from distill.rundir import RESULT, Run, RunDirectory, write_json
from distill.stages import HardLabels, Intermediate, Prediction, Stage
from distill.students import Init, Student, build_student, check_length, student_layers


def distill_task(
    version: Version | str | Path,
    *,
    teacher: str | Path,
    student: str,
    out: str | Path,
    recipe: str | Path = DEFAULT_RECIPE,
    init: Init = "random",
    plain: bool = True,
    allow_weak_teacher: bool = False,
    quiet: bool = False,
) -> Run:
    """Distil a fine-tuned teacher in two stages; the same call again goes on or returns the result.

    Args:
        version: A version or a reference such as ``data/versions/sst2@v0003``.
        teacher: Folder or hub name of a fine-tuned classifier.
        student: ``tinybert-4l-312d``, ``tinybert-6l-768d``, a shape such as ``3x312-1200-12``
            (layers x hidden - intermediate - heads), or a checkpoint.
        out: The run directory.
        recipe: A shipped recipe or a TOML file.
        init: How a student given by shape starts.
        plain: Also train the same student on labels only, to compare with.
        allow_weak_teacher: Go on with a teacher near chance.
        quiet: Say nothing on stderr.

    Raises:
        Fault: With a sentence that says what to do.
    """
    quiet_libraries()
    narrator, run = Narrator(quiet=quiet), RunDirectory(Path(out))
    opened = open_checked(version)
    settings = load_recipe(recipe, opened.task.name)
    begun = run.claim(identify(opened, str(teacher), student, settings, init))
    finished = run.result()
    if finished and (len(finished["models"]) == 3 or not plain):
        narrator.say("finished", f"{run.path} was finished before; nothing is trained again")
        return Run(run.path, finished)
    try:
        guide = load_classifier(str(teacher), opened.task)
        bench = prepare(opened, settings, guide, run, narrator)
        scores = check_teacher(bench, guide, allow_weak_teacher)
        mapping = layer_map(
            student_layers(student), guide.model.config.num_hidden_layers, settings.layers
        )
        seedling = plant(bench, student, guide, init, mapping)
        first = first_stage(bench, seedling, guide, mapping)
    except Fault:
        if not begun:
            run.abandon()
        raise
    distilled = prediction(bench, intermediate(bench, first), guide)
    rivals = {"student, distilled": distilled}
    if plain:
        again = plant(bench, student, guide, init, mapping, quiet=True)
        rivals = {"student, labels only": labels_only(bench, again), **rivals}
    result = compare(bench, guide, scores, rivals)
    write_json(run.path / RESULT, result)
    return Run(run.path, result)


def prepare(
    version: Version, recipe: DistillRecipe, teacher: Classifier, run: RunDirectory, say: Narrator
) -> Bench:
    """Put the teacher where it works, and tokenise the version for the teacher's vocabulary."""
    if teacher.notice:
        say.say("labels", teacher.notice)
    length = resolve_length(recipe.max_length, version.task)
    check_length(length, teacher.name, teacher.model.config)
    nn.Module.to(teacher.model, device())
    tokens = tokenise(version, teacher.tokenizer, length, run.work / "tokens")
    say.say("version", f"{version.reference} · {len(tokens.train):,} training rows")
    return Bench(version, recipe, tokens, teacher.tokenizer, length, run, say)


def plant(
    bench: Bench,
    name: str,
    teacher: Classifier,
    init: Init,
    mapping: tuple[int, ...],
    *,
    quiet: bool = False,
) -> Student:
    """Build the student; the same arguments give the same weights."""
    seed, task = bench.recipe.seed, bench.version.task
    student = build_student(name, task, teacher, init=init, mapping=mapping, seed=seed)
    check_length(bench.max_length, name, student.model.config)
    if not quiet:
        layers = " ".join(f"{m}→{n}" for m, n in enumerate(mapping, start=1))
        bench.narrator.say(
            "student", f"{describe(student.model)} · {student.origin} · layers {layers}"
        )
    return student


def first_stage(
    bench: Bench, student: Student, teacher: Classifier, mapping: tuple[int, ...]
) -> Intermediate:
    """Put student, teacher and fresh projections together for stage 1."""
    set_seed(bench.recipe.seed)
    return Intermediate(
        student.model,
        teacher.model,
        mapping,
        recipe=bench.recipe.intermediate,
        reduction=bench.recipe.attention_reduction,
        projection=bench.recipe.projection,
        pretrained=student.pretrained,
    )


def intermediate(bench: Bench, stage: Intermediate) -> PreTrainedModel:
    """Stage 1: embeddings, hidden states and attention scores; the last step is kept."""
    recipe, final = bench.recipe.intermediate, bench.run.work / "intermediate" / "student"
    return bench.train(lambda: stage, recipe, title="stage 1/2", final=final, select=False)


def prediction(bench: Bench, student: PreTrainedModel, teacher: Classifier) -> PreTrainedModel:
    """Stage 2: the teacher's logits; the best step on validation is kept."""
    recipe = bench.recipe.prediction

    def begin() -> Stage:
        return Prediction(student.requires_grad_(True), teacher, recipe.temperature)

    return bench.train(begin, recipe, title="stage 2/2", final=bench.run.path / "student")


def labels_only(bench: Bench, student: Student) -> PreTrainedModel:
    """The comparison: the same student from the same start, on hard labels."""
    final = bench.run.path / "plain-student"
    return bench.train(
        lambda: HardLabels(student.model, "plain"), bench.recipe.plain, title="plain", final=final
    )


def compare(
    bench: Bench, teacher: Classifier, scores: Scores, rivals: dict[str, PreTrainedModel]
) -> dict[str, Any]:
    """Measure teacher and students on the same rows."""
    classifiers = {"teacher": teacher}
    for name, model in rivals.items():
        nn.Module.to(model, teacher.model.device)
        classifiers[name] = Classifier(name, model, bench.tokenizer)
    task, splits = bench.version.task, bench.tokens.validation
    measured = measure(classifiers, task, splits, known={"teacher": scores})
    return bench.result(measured, baseline="teacher")
