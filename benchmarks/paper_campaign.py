"""The parts of the campaign at the paper's size, each made once: versions, teachers, students."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from augment import Version, augment_task
from augment.contract import TaskSpec, open_version
from benchmarks.halves import CHOOSES, REPORTED, Course, recorded
from benchmarks.paper_arms import (
    GRID,
    TOKENS,
    Arm,
    Steps,
    student_recipe,
    teacher_recipe,
    teacher_steps,
)
from benchmarks.places import MLM, SHARED, VECTORS
from distill.evaluation.results import Measurement, Role
from distill.general import distill_general
from distill.models.folders import folder_digest
from distill.pipeline import distill_task
from distill.recipes.mixtures import count_parts
from distill.runs.directory import PLAIN_STUDENT, RESULT, STUDENT
from distill.runs.listing import open_run
from distill.runs.records import TEACHER_RECORD
from distill.teacher import fine_tune_teacher
from distill.training.budget import Budget

COLUMNS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "mrpc": ("sentence1", "sentence2"),
    "stsb": ("sentence1", "sentence2"),
}
MOST_OTHER_TEXTS = 100_000
STAGES = {Role.DISTILLED: ("prediction", STUDENT), Role.PLAIN: ("plain", PLAIN_STUDENT)}


@dataclass(frozen=True, slots=True)
class Cell:
    """One student to be trained."""

    task: str
    shape: str
    arm: Arm
    seed: int

    def __str__(self) -> str:
        return f"{self.task}-{self.size}-{self.arm.name}-{self.seed}"

    @property
    def size(self) -> str:
        """Of the student, as a part of a file's name."""
        return self.shape.partition("-")[0].replace(":", "-")


@dataclass(frozen=True, slots=True)
class Point:
    """A teacher of the grid: its folder, rate and steps."""

    place: Path
    rate: float
    steps: int


@dataclass(frozen=True)
class Campaign:
    """Where everything lies, and how large it is.

    Attributes:
        folder: Of all that is made.
        encoder: Folder of the encoder that becomes the teachers.
        mlm: Masked LM that proposes words for augmented rows; ``vectors`` likewise.
        data: With ``glue`` and ``corpus``.
        times: Of all steps; 1: as they are.
        rows: The most training rows of a task; None: all.
        tokens: Of general distillation.
        quiet: Say nothing of each run.
    """

    folder: Path
    encoder: Path
    mlm: Path = MLM
    vectors: Path = VECTORS
    data: Path = SHARED / "data"
    times: float = 1.0
    rows: int | None = None
    tokens: int = TOKENS
    quiet: bool = True
    _versions: dict[str, Version] = field(default_factory=dict, repr=False)

    def version(self, task: str) -> Version:
        """Augmented as ``official`` does, halves of validation, and the other tasks' texts."""
        if task not in self._versions:
            with waiting(self.folder / "versions" / f"{task}.lock"):
                self._versions[task] = self._version(task)
        return self._versions[task]

    def has_version(self, task: str) -> bool:
        """Whether the version of a task is there."""
        return (self.folder / "versions" / task).is_dir()

    def spec(self, task: str) -> TaskSpec:
        """What a task asks."""
        return self.version(task).task

    def _version(self, task: str) -> Version:
        root = self.folder / "versions"
        if self.has_version(task):
            return open_version(root / task)
        kept = [*COLUMNS[task], "label"]
        train, rows = (self._rows(task, split)[kept] for split in ("train", "validation"))
        rows = rows.sample(frac=1, random_state=0)
        half = len(rows) // 2
        tables = {
            "train": train.iloc[: self.rows],
            CHOOSES: rows.iloc[:half],
            REPORTED: rows.iloc[half:],
            "unlabeled": self._other_texts(task).iloc[: self.rows],
        }
        return augment_task(
            task, mlm=self.mlm, vectors=self.vectors, source=tables, out=root, quiet=self.quiet
        )

    def _rows(self, task: str, split: str) -> pd.DataFrame:
        return pd.read_parquet(self.data / "glue" / task / f"{split}.parquet")

    def _other_texts(self, task: str) -> pd.DataFrame:
        """Single texts of all other tasks, or pairs of the other tasks of pairs."""
        wanted = COLUMNS[task]
        parts = []
        for other, columns in COLUMNS.items():
            if other == task or not (self.data / "glue" / other).is_dir():
                continue
            rows = self._rows(other, "train")
            if len(wanted) == 1:
                parts += [rows[[name]].set_axis([*wanted], axis=1) for name in columns]
            elif len(columns) == 2:
                parts.append(rows[[*columns]])
        texts = pd.concat(parts).drop_duplicates()
        return texts.sample(min(len(texts), MOST_OTHER_TEXTS), random_state=0)

    def grid(self, task: str) -> list[Point]:
        """Every teacher of a task that is tried."""
        rows = count_parts(self.version(task))["original"]
        root = self.folder / "teachers" / task
        return [
            Point(root / f"{epochs}x{rate:g}", rate, teacher_steps(epochs, rows, self.times))
            for epochs, rate in GRID[task]
        ]

    def tune(self, task: str) -> None:
        """Every point of the grid that is missing."""
        for point in self.grid(task):
            with recorded(self.evaluations(point.place)):
                fine_tune_teacher(
                    self.version(task),
                    init=str(self.encoder),
                    out=point.place,
                    recipe=teacher_recipe(task, point.rate, point.steps),
                    quiet=self.quiet,
                )

    def evaluations(self, place: Path) -> Path:
        """Where the answers at every evaluation of what is trained at a place lie."""
        return self.folder / "evaluations" / place.relative_to(self.folder)

    def course(self, task: str, place: Path, stage: str) -> Course:
        """The evaluations of a stage."""
        return Course.read(self.evaluations(place), stage, self.spec(task))

    def teacher(self, task: str) -> Path:
        """The one of the grid that the first half chooses."""
        courses = {
            point.place: self.course(task, point.place, "teacher") for point in self.grid(task)
        }
        return max(courses, key=lambda at: courses[at].by_half.score([CHOOSES], courses[at].task))

    def general(self, cell: Cell) -> Path:
        """The general student that a cell starts from."""
        arm = cell.arm
        tokens = max(1, round(self.tokens * arm.tokens))
        of = cell.task if arm.start == "tuned" else "encoder"
        out = self.folder / "general" / f"{cell.size}-{of}-{tokens}"
        with waiting(out.with_suffix(".lock")):
            if not (out / RESULT).is_file():
                distill_general(
                    self.data / "corpus",
                    teacher=self.teacher(cell.task) if arm.start == "tuned" else self.encoder,
                    student=cell.shape,
                    out=out,
                    budget=Budget(tokens=tokens),
                    init="teacher-layers",
                    quiet=self.quiet,
                )
        return out / STUDENT

    def place(self, cell: Cell) -> Path:
        """Of a student's run."""
        return self.folder / "students" / str(cell)

    def is_done(self, cell: Cell) -> bool:
        """Whether it has ended."""
        return (self.place(cell) / RESULT).is_file()

    def train(self, cell: Cell) -> None:
        """A student, and one on labels only beside it where the arm has one."""
        if self.is_done(cell):
            return
        starts = {"narrowed": "teacher-layers", "random": "random"}
        init: Any = starts.get(cell.arm.start, "auto")
        with recorded(self.evaluations(self.place(cell))):
            distill_task(
                self.version(cell.task),
                teacher=self.teacher(cell.task),
                student=cell.shape if cell.arm.start in starts else str(self.general(cell)),
                out=self.place(cell),
                recipe=student_recipe(cell.task, cell.arm, cell.seed, self.times),
                init=init,
                plain=cell.arm.plain,
                allow_weak_teacher=True,
                quiet=self.quiet,
                shared=self._shared(cell.task),
            )

    def _shared(self, task: str) -> Path:
        """Where tokens and first stages of a task are kept for all arms."""
        place = self.folder / "shared" / task
        place.mkdir(parents=True, exist_ok=True)
        return place

    # --- What there is ---

    def teacher_lines(self, task: str) -> Iterator[dict[str, Any]]:
        """The grid of a task, as far as it is there."""
        there = [own for own in self.grid(task) if (own.place / TEACHER_RECORD).is_file()]
        whole = len(there) == len(GRID[task])
        for point in there:
            run, course = open_run(point.place), self.course(task, point.place, "teacher")
            yield {
                "task": task, "rate": point.rate, "steps": point.steps,
                "teaches": whole and point.place == self.teacher(task),
                **course.scores(point.steps), **cost(run.result.models[0]),
                "seconds": round(sum(run.seconds.values())),
                "digest": folder_digest(str(point.place))[:16],
            }  # fmt: skip

    def lines(self, cell: Cell) -> Iterator[dict[str, Any]]:
        """What a finished student scores, and the one on labels only."""
        run, steps = open_run(self.place(cell)), Steps.of(cell.task, self.times * cell.arm.times)
        for model in run.result.models:
            if (role := Role(model.model)) not in STAGES:
                continue
            stage, folder = STAGES[role]
            most = steps.all if role is Role.PLAIN else steps.second
            course = self.course(cell.task, self.place(cell), stage)
            before = 0 if role is Role.PLAIN else steps.first
            yield {
                "task": cell.task, "shape": cell.shape, "arm": arm_of(cell, role),
                "seed": cell.seed, **course.scores(most),
                "steps": [before, most], "seconds": round(run.seconds.get(stage, 0.0)),
                "run_seconds": round(sum(run.seconds.values())), **cost(model),
                "digest": folder_digest(str(run.path / folder))[:16],
                "curve": [[before + at, own] for at, own in course.curve(most)],
            }  # fmt: skip


def arm_of(cell: Cell, role: Role) -> str:
    """What a student is called in the results."""
    return cell.arm.name if role is Role.DISTILLED else f"labels only: {cell.arm.start}"


def cost(model: Measurement) -> dict[str, Any]:
    """What a model takes, in PyTorch; and whether it answers one thing to all."""
    return {
        "parameters": model.parameters, "without_embeddings": model.encoder_parameters,
        "megaflops": round(model.flops / 1e6, 1), "batch_1_ms": round(model.latency.batch_1, 2),
        "collapse": model.collapse.sentence if model.collapse else "",
    }  # fmt: skip


def waiting(lock: Path) -> FileLock:
    """Until another process has made what this one needs, too."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock)
