"""The paper's ablations (Tables 2 to 4): arms that leave out one part, run and compared."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from augment.contract import Version
from augment.contract.files import new_place
from augment.contract.recipes import twice
from augment.contract.version import open_checked
from distill.errors import UsageError
from distill.evaluation.results import AblationLine, AblationResult, Role
from distill.models.folders import folder_digest
from distill.models.guides import parse_guides
from distill.pipeline import distill_task
from distill.recipes.auto import Facts, resolve
from distill.recipes.load import DEFAULT_RECIPE, DistillRecipe, load_recipe
from distill.recipes.mixtures import Part, Shares, count_parts, labeled_only
from distill.runs.directory import RESULT, RUNS, RunDirectory
from distill.runs.journal import note_call
from distill.runs.listing import Run
from distill.runs.progress import Narrator
from distill.runs.records import flaw, read_json, write_sealed_json
from distill.training.context import run_identity


def ablate_task(
    version: Version | str | Path,
    *,
    teacher: str,
    student: str,
    out: str | Path,
    general: str | None = None,
    recipe: str | Path = DEFAULT_RECIPE,
    arms: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    quiet: bool = False,
) -> AblationResult:
    """Run the arms; the same call again goes on, and finished arms are not run again.

    Args:
        version: A version or a reference such as ``data/versions/cola@v0001``.
        teacher: Folder or hub name of a fine-tuned classifier.
        student: A shape or published name: how ``no-gd`` starts, and every arm without ``general``.
        out: The directory of the ablation.
        general: A general student (``distill general``); without one there is no ``no-gd``.
        recipe: A shipped recipe or a TOML file; each arm changes it.
        arms: Names out of ``ARMS``; all if empty.
        seeds: Of each arm.
        quiet: Say nothing on stderr.

    Raises:
        UsageError: An arm is not known, or it needs what is not given.
        Fault: As ``distill_task``.

    Examples:
        >>> from distill import ablate_task
        >>> found = ablate_task(
        ...     "data/versions/reviews", teacher="models/teacher", student="1x32-64-4",
        ...     out="ablation", recipe="short.toml", arms=["no-trm"], quiet=True,
        ... )
        >>> found.to_pandas().arm.tolist()
        ['whole', 'no-trm']
    """
    opened, say = open_checked(version), Narrator(quiet=quiet)
    chosen = _chosen(arms, general)
    if again := twice(map(str, seeds)):
        raise UsageError(f"the seed {again} is named twice.", "Name each seed once.")
    settings = load_recipe(recipe, opened.task.name)
    directory = RunDirectory(new_place(out))
    named = parse_guides(teacher)
    if not named.teachers:
        raise UsageError(
            "an ablation leaves out parts of learning from a teacher model; labels is none.",
            "Name a fine-tuned classifier: --teacher MODEL. A folder called labels is ./labels",
        )
    with directory.explaining_lost_models():
        spec = named.student(student, "random")
        identity = run_identity(opened, named, spec, resolve(settings, Facts.of(opened)))
    identity["general"] = folder_digest(general) if general else None
    directory = directory.of(identity)
    file, part = directory.path / RESULT, f"arms {[arm.name for arm in chosen]}, seeds {[*seeds]}"
    if file.exists() and not flaw(file, directory.origin(part)):
        say.say("finished", f"{directory.path} was finished before; nothing is trained again")
        return read_json(file, AblationResult)
    with directory.claim(identity, say) as claim, claim.preparing():
        note_call(
            directory.path,
            version=str(opened.path.resolve()),
            recipe=str(recipe),
            facts=asdict(Facts.of(opened)),
        )
        finished: dict[str, list[Run]] = {}
        for arm in chosen:
            for seed in seeds:
                say.say("arm", f"{arm.name}, seed {seed}: {arm.meaning}")
                run = distill_task(
                    opened,
                    teacher=teacher,
                    student=general if general and arm.start == "general" else student,
                    out=directory.path / RUNS / f"{arm.name}-seed{seed}",
                    recipe=arm_recipe(arm, settings, seed, count_parts(opened)),
                    init="random",
                    plain=False,
                    quiet=quiet,
                    shared=directory.work,
                )
                finished.setdefault(arm.name, []).append(run)
        result = _table(opened, chosen, finished, seeds)
        write_sealed_json(file, directory.origin(part), result.to_json())
        return result


def _chosen(names: Sequence[str], general: str | None) -> list[Arm]:
    if again := twice(names):
        raise UsageError(f"the arm {again!r} is named twice.", "Name each arm once.")
    known = [arm for arm in ARMS if general or arm.start == "general"]
    if unknown := [name for name in names if name not in BY_NAME]:
        raise UsageError(
            f"there is no arm {unknown[0]!r}; there are {', '.join(BY_NAME)}.",
            "Name some of them, or none for all.",
        )
    if "no-gd" in names and not general:
        raise UsageError(
            "no-gd compares with a general student, and none is given.",
            "Make one (distill general) and name it: --general DIR",
        )
    return [arm for arm in known if not names or arm.name in {WHOLE, *names}]


def _table(
    version: Version, arms: Sequence[Arm], runs: dict[str, list[Run]], seeds: Sequence[int]
) -> AblationResult:
    first = runs[arms[0].name][0].result
    teacher = first.selected_scores()[Role.TEACHER]
    lines = []
    for arm in arms:
        scores = [run.result.selected_scores()[Role.DISTILLED] for run in runs[arm.name]]
        mean = statistics.fmean(scores)
        lines.append(
            AblationLine(
                arm=arm.name,
                meaning=arm.meaning,
                scores=tuple(scores),
                mean=mean,
                deviation=statistics.stdev(scores) if len(scores) > 1 else None,
                retention=100 * mean / teacher if teacher > 0 else 0.0,
                paper=arm.paper.get(version.task.name),
            )
        )
    return AblationResult(
        version=version.reference,
        task=version.task.name,
        metric=first.selection.metric,
        split=first.selection.split,
        seeds=tuple(seeds),
        teacher=teacher,
        arms=tuple(lines),
    )


WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Arm:
    """One line of the table.

    Attributes:
        name: As it is called on the command line and in the table.
        meaning: What is different from ``whole``.
        changes: Sections and keys of the recipe that differ, nested; a function makes the new
            value from the old one and the rows of each part.
        paper: TinyBERT4's score on a task's validation split in the paper, by task.
        start: ``general``: from the general student; ``shape``: from the shape alone.
    """

    name: str
    meaning: str
    changes: dict[str, Any]
    paper: dict[str, float]
    start: Literal["general", "shape"] = "general"


def _figures(mnli: float, mrpc: float, cola: float) -> dict[str, float]:
    return {"mnli": mnli, "mrpc": mrpc, "cola": cola}


def _unaugmented(data: Any, rows: Mapping[Part, int]) -> Any:
    """The same without augmented rows: what else is drawn stays."""
    if isinstance(data, dict):
        left = {**data, "augmented": 0.0}
        return left if any(left.values()) else "original"
    if data == "all" and rows["unlabeled"]:  # in proportion to the rows: every row once an epoch
        return {part: float(rows[part]) for part in ("original", "unlabeled")}
    return data if data == "unlabeled" else "original"


def _labeled(data: Any, _: Mapping[Part, int]) -> Any:
    """The same where there is nothing but labels to learn from."""
    parts = Shares(**data) if isinstance(data, dict) else data
    return data if labeled_only(parts) else "augmented"


_LABELS = {"weights": {"logits": 0.0, "labels": 1.0}}
ARMS = (
    Arm(WHOLE, "nothing left out", {}, _figures(82.8, 85.8, 50.8)),
    Arm("no-gd", "no general distillation", {}, _figures(82.5, 84.1, 40.8), start="shape"),
    Arm(
        "no-td",
        "no task distillation: fine-tuned on the labels of all rows",
        {"intermediate": {"enabled": False}, "prediction": {**_LABELS, "data": _labeled}},
        _figures(80.6, 83.8, 28.5),
    ),
    Arm(
        "no-da",
        "no augmented rows",
        {"intermediate": {"data": _unaugmented}, "prediction": {"data": _unaugmented}},
        _figures(80.5, 82.4, 29.8),
    ),
    Arm(
        "no-embd",
        "no embedding loss",
        {"intermediate": {"weights": {"embedding": 0.0}}},
        _figures(82.3, 85.0, 46.7),
    ),
    Arm(
        "no-pred",
        "labels of the original rows in place of the teacher's logits",
        {"prediction": {**_LABELS, "data": "original"}},
        _figures(80.5, 84.3, 48.2),
    ),
    Arm(
        "no-trm",
        "neither attention nor hidden loss",
        {"intermediate": {"weights": {"attention": 0.0, "hidden": 0.0}}},
        _figures(71.7, 70.1, 11.2),
    ),
    Arm(
        "no-attn",
        "no attention loss",
        {"intermediate": {"weights": {"attention": 0.0}}},
        _figures(79.9, 82.3, 41.1),
    ),
    Arm(
        "no-hidn",
        "no hidden loss",
        {"intermediate": {"weights": {"hidden": 0.0}}},
        _figures(81.7, 84.1, 43.7),
    ),
    Arm("top", "mapped to the top layers", {"layers": "top"}, _figures(81.7, 83.6, 35.9)),
    Arm("bottom", "mapped to the bottom layers", {"layers": "bottom"}, _figures(80.6, 84.6, 38.5)),
)
BY_NAME = {arm.name: arm for arm in ARMS}


def arm_recipe(
    arm: Arm, recipe: DistillRecipe, seed: int, rows: Mapping[Part, int]
) -> DistillRecipe:
    """The recipe of one arm and seed, on a version with so many rows of each part."""
    changes = {**arm.changes, "seed": seed}
    return DistillRecipe.model_validate(_changed(recipe.model_dump(), changes, rows))


def _changed(
    tree: dict[str, Any], changes: dict[str, Any], rows: Mapping[Part, int]
) -> dict[str, Any]:
    def changed(key: str, value: Any) -> Any:
        if callable(value):
            return value(tree[key], rows)
        return _changed(tree[key], value, rows) if isinstance(value, dict) else value

    return tree | {key: changed(key, value) for key, value in changes.items()}
