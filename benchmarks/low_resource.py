"""What pays with few labels: augmented rows, unlabelled text, both or neither, at equal steps.

    python -m benchmarks.low_resource --folder low --json benchmarks/results/low_resource.json

Rows with labels of SST-2, CoLA and MRPC are drawn by the seed; 15% of them select. The rest of the
training file is text without labels. A teacher of 6 x 384 is tuned on these rows alone. Students
start from one general student that has seen no label, or from the teacher's layers (``--start``).
Every arm has the same steps, batches and rates; what differs is the rows that they are drawn from.
Scores are those of GLUE's validation rows, which select nothing. What is finished in the folder is
not done again: stop it, kill it, start it again; ``--tell`` trains nothing. The results are of all
that has ended; cells of theirs that are not in the folder stay as they are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import pyarrow.parquet as pq
import torch

from augment import Version, add_rows, augment_task
from augment import load_recipe as load_augment_recipe
from augment.contract import open_version
from benchmarks.earlier import read_results, with_earlier
from benchmarks.equal_steps import with_sections
from benchmarks.machine import arguments, describe, keep
from benchmarks.other_rows import inserted, sentences_elsewhere
from benchmarks.places import MLM, SHARED, VECTORS
from benchmarks.seeds import deviation, mean
from distill.evaluation.results import Role
from distill.general import distill_general
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe, load_recipe
from distill.runs.directory import RESULT
from distill.runs.directory import STUDENT as STUDENT_FOLDER
from distill.runs.listing import open_run
from distill.teacher import fine_tune_teacher
from distill.training.budget import Budget

TEST, SELECTED = "test", 0.15
CELL = ("task", "rows", "seed", "student")
"""What names a cell of the results."""
COLUMNS = {
    "sst2": ("sentence",),
    "cola": ("sentence",),
    "mrpc": ("sentence1", "sentence2"),
}
ALL_OF_MRPC = 3_668
SIZES = {
    "sst2": (250, 1_000, 4_000),
    "cola": (250, 1_000, 4_000),
    "mrpc": (250, 1_000, ALL_OF_MRPC),
}
PARTS = ("intermediate", "soft labels", "prediction")
"""What a distilled student takes."""
Start = Literal["general", "teacher"]
STARTS: tuple[Start, ...] = get_args(Start)
Data = str | dict[str, int]
"""What a stage draws from, as a recipe says it."""
RATE = 5e-4
"""Of stage 1, as ``quick`` has it."""
FIRST, SECOND, BATCH = 600, 400, 32
"""Steps of stage 1 and stage 2; labels only has as many as both."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What a student is trained on.

    Attributes:
        name: In the results.
        data: Of both stages.
        plain: Of the student on labels only that is trained beside it, if one is.
        first: Of stage 1, where it draws from other rows.
        policy: How rows are augmented, of ``POLICIES``, where they are.
        times: So many times the steps; the name says it.
        rate: Of stage 1, and the name says it where it is not ``RATE``; 0 for no stage 1.
    """

    name: str
    data: Data
    plain: str = ""
    first: Data | None = None
    policy: str = "official"
    times: float = 1
    rate: float = RATE

    @property
    def rows(self) -> str:
        """The version that it draws from: without generated rows, where it asks for none."""
        drawn = f"{self.data}{self.first}{self.plain}"
        return "none" if self.policy == "official" and "augmented" not in drawn else self.policy

    @property
    def labels_only(self) -> str:
        """Name of the student on labels only beside it."""
        how = f" {self.policy}" if self.policy != "official" else ""
        more = self.name.partition(",")[2]
        more = f",{more}" if more else ""
        return f"labels only, {self.plain}{how}{more}"


POLICIES: dict[str, dict[str, Any]] = {
    "none": {"variants": 0},
    "official": {},
    "gentle": {"probability": 0.15, "variants": 8},
    "rare": {"probability": 0.1},
    "half": {"probability": 0.2},
    "many": {"variants": 80},
    "insertion": {"variants": 0},
    "elsewhere": {"variants": 0},
}
"""What is changed of ``official``. Rows of ``insertion`` have words more, by the masked LM; text
without labels of ``elsewhere`` is general English."""
OF_SINGLE_TEXTS = ("insertion", "elsewhere")
"""They make no pairs."""
INSERTIONS, ELSEWHERE, TOKENS = 8, 20_000, 2_000_000
WITH_UNLABELED: Data = {"original": 1, "unlabeled": 3}
WITH_AUGMENTED: Data = {"original": 1, "augmented": 3}
WITH_BOTH: Data = {"original": 1, "augmented": 1, "unlabeled": 2}
ARMS = (
    Arm("original", "original", plain="original"),
    Arm("+ augmented", WITH_AUGMENTED, plain="augmented"),
    Arm("+ unlabelled", WITH_UNLABELED),
    Arm("+ augmented in stage 1", "original", first=WITH_AUGMENTED),
    Arm("+ unlabelled in stage 1", "original", first=WITH_UNLABELED),
)
RATES = {
    "stage 1 at 1.5e-4": 1.5e-4,
    "stage 1 at 1e-3": 1e-3,
    "stage 1 at 2e-3": 2e-3,
    "no stage 1": 0.0,
}
TRIES = (
    Arm("+ gentle augmented", WITH_AUGMENTED, plain="augmented", policy="gentle"),
    Arm("+ augmented, p = 0.1", WITH_AUGMENTED, policy="rare"),
    Arm("+ augmented, p = 0.2", WITH_AUGMENTED, policy="half"),
    Arm("+ augmented, 80 variants", WITH_AUGMENTED, policy="many"),
    Arm("+ both", WITH_BOTH),
    Arm("+ both in stage 1", "original", first=WITH_BOTH),
    Arm("+ unlabelled in stage 1, augmented in stage 2", WITH_AUGMENTED, first=WITH_UNLABELED),
    Arm("unlabelled alone", "unlabeled"),
    Arm("+ insertions", WITH_AUGMENTED, policy="insertion"),
    Arm("+ general text", WITH_UNLABELED, policy="elsewhere"),
    *(
        Arm(f"{arm.name}, {words} steps", arm.data, plain=arm.plain, first=arm.first, times=times)
        for arm in ARMS
        for words, times in (("3 x", 3), ("0.3 x", 0.3))
    ),
    *(
        Arm(f"{arm.name}, {words}", arm.data, rate=rate)
        for arm in ARMS[:3]
        for words, rate in RATES.items()
    ),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A task, how many of its rows have labels, and the seed."""

    task: str
    rows: int
    seed: int

    def __str__(self) -> str:
        return f"{self.task}-{self.rows}-{self.seed}"

    def line(self, student: str, arm: str, score: float, seconds: float) -> dict[str, Any]:
        """A line of the results; time is that of training."""
        found = {**asdict(self), "student": student, "arm": arm, "score": round(score, 4)}
        return found | {"minutes": round(seconds / 60, 1)}


@dataclass(frozen=True, slots=True)
class Campaign:
    """Where everything lies, the students' shape, and how they start.

    Attributes:
        start: ``general``: from general distillation of the untuned encoder; ``teacher``: from the
            tuned teacher's layers, so that labels only has its teacher's help, too.
    """

    folder: Path
    student: str
    start: Start

    def version(self, cell: Cell, policy: str) -> Version:
        """Labeled rows, augmented, and the rest without labels."""
        root = self.folder / "versions" / f"{cell}{f'-{policy}' * (policy != 'official')}"
        if (root / cell.task).is_dir():
            return open_version(root / cell.task)
        kept = [*COLUMNS[cell.task], "label"]
        train, test = (
            pq.read_table(SHARED / "data" / "glue" / cell.task / f"{split}.parquet")
            .select(kept)
            .to_pylist()
            for split in ("train", "validation")
        )
        random.Random(f"{cell.task}{cell.seed}").shuffle(train)
        own, rest = train[: cell.rows], train[cell.rows :]
        cut = round(cell.rows * (1 - SELECTED))
        source = {"train": own[:cut], "validation": own[cut:], TEST: test}
        tables = {split: pd.DataFrame(rows) for split, rows in source.items()}
        if policy == "elsewhere":
            (column,) = COLUMNS[cell.task]
            rest = [{column: text} for text in sentences_elsewhere(ELSEWHERE, cell.seed)]
        if rest:
            tables["unlabeled"] = pd.DataFrame(rest)[list(COLUMNS[cell.task])]
        recipe = load_augment_recipe("official", cell.task).model_copy(update=POLICIES[policy])
        own = root / "before" if policy == "insertion" else root
        made = augment_task(
            cell.task, mlm=MLM, vectors=VECTORS, source=tables, out=own, recipe=recipe,
            store=self.folder / "store",
        )  # fmt: skip
        return with_insertions(made, cell, root) if policy == "insertion" else made

    def teacher(self, cell: Cell) -> Path:
        """Tuned on the same labeled rows."""
        place = self.folder / "teachers" / str(cell)
        fine_tune_teacher(self.version(cell, "none"), init=str(MLM), out=place, quiet=True)
        return place

    def place(self, cell: Cell, arm: Arm) -> Path:
        """Of an arm's run."""
        shape = self.student.partition("-")[0]
        kind = "students" if self.start == "teacher" else "general-students"
        return self.folder / kind / f"{cell}-{shape}-{slug(arm.name)}"

    def general(self) -> Path:
        """The general student that all start from."""
        out = self.folder / "general" / self.student
        if not (out / RESULT).is_file():
            distill_general(
                SHARED / "data" / "corpus", teacher=MLM, student=self.student, out=out,
                budget=Budget(tokens=TOKENS), init="teacher-layers",
            )  # fmt: skip
        return out / STUDENT_FOLDER

    def run(self, cell: Cell, arm: Arm) -> None:
        """Train what is missing, where the task has the rows that the arm draws."""
        if not has_rows(cell, arm) or (self.place(cell, arm) / RESULT).is_file():
            return
        own = self.start == "teacher"
        distill_task(
            self.version(cell, arm.rows),
            teacher=self.teacher(cell),
            student=self.student if own else str(self.general()),
            out=self.place(cell, arm),
            recipe=recipe_of(cell, arm),
            init="teacher-layers" if own else "auto",
            plain=bool(arm.plain),
            allow_weak_teacher=True,
            quiet=True,
        )

    def lines(self, cell: Cell) -> Iterator[dict[str, Any]]:
        """What has ended: score by model and arm."""
        student = f"{self.student.partition('-')[0]} from {self.start}"
        for arm in (*ARMS, *TRIES):
            if not (self.place(cell, arm) / RESULT).is_file():
                continue
            run = open_run(self.place(cell, arm))
            metric, spent = run.result.selection.metric, run.seconds
            if arm is ARMS[0]:
                for own in run.result.baselines:
                    yield cell.line(student, own.name, own.scores[TEST][metric], own.seconds)
            for model in run.result.models:
                score = model.scores[TEST][metric]
                if model.model == Role.DISTILLED:
                    taken = sum(spent.get(part, 0.0) for part in PARTS)
                    yield cell.line(student, f"distilled, {arm.name}", score, taken)
                elif model.model == Role.PLAIN:
                    yield cell.line(student, arm.labels_only, score, spent["plain"])
                elif arm is ARMS[0]:
                    yield cell.line(student, str(Role.TEACHER), score, 0)


def with_insertions(version: Version, cell: Cell, out: Path) -> Version:
    """A version with variants that have words more."""
    (column,) = COLUMNS[cell.task]
    own = version.to_pandas()
    every = inserted(own[column].tolist(), INSERTIONS, cell.seed)
    rows = [
        {"idx": int(idx), column: text}
        for idx, texts in zip(own.idx, every, strict=True)
        for text in texts
    ]
    file = out / "insertions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return add_rows(version, file, generator="insertion", out=out)


def has_rows(cell: Cell, arm: Arm) -> bool:
    """Whether there are rows that an arm draws: single texts, or text without labels."""
    pairs, whole = len(COLUMNS[cell.task]) > 1, cell.task == "mrpc" and cell.rows == ALL_OF_MRPC
    unlabeled = "unlabeled" in f"{arm.data}{arm.first}"
    return not (pairs and arm.policy in OF_SINGLE_TEXTS) and not (whole and unlabeled)


def slug(name: str) -> str:
    """Of an arm, in the name of its folder."""
    return name.strip("+ ").replace(",", "").replace(" = ", "-").replace(" ", "-")


def recipe_of(cell: Cell, arm: Arm) -> DistillRecipe:
    """``quick`` with the same steps, batches and rates whatever the rows are."""
    quick = load_recipe("quick", cell.task)
    same: dict[str, Any] = {"epochs": 100_000.0, "batch_size": BATCH}
    early = same | {"learning_rate": arm.rate, "data": arm.first or arm.data}
    late = same | {"learning_rate": 1e-4, "patience": None}
    first, second = round(FIRST * arm.times), round(SECOND * arm.times)
    parts = {
        "intermediate": early | {"max_steps": first} if arm.rate else {"enabled": False},
        "prediction": late | {"max_steps": second, "data": arm.data},
        "plain": late | {"max_steps": first + second, "data": arm.plain or "original"},
    }
    return with_sections(quick, parts, seed=cell.seed)


def table(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation over seeds, and in percent of the teacher of the same rows."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    teachers = {}
    for line in lines:
        key = (line["task"], line["rows"], line["student"])
        groups.setdefault((*key, line["arm"]), []).append(line)
        if line["arm"] == Role.TEACHER:
            teachers[*key, line["seed"]] = line["score"]
    found = []
    for (task, rows, student, arm), own in groups.items():
        scores = [line["score"] for line in own]
        of = [teachers.get((task, rows, student, line["seed"]), 0.0) for line in own]
        kept = [
            100 * score / teacher for score, teacher in zip(scores, of, strict=True) if teacher > 0
        ]  # of few labels a teacher may learn nothing
        found.append({
            "task": task, "rows": rows, "student": student, "arm": arm, "seeds": len(own),
            "mean": mean(scores), "sd": deviation(scores), "percent_of_teacher": mean(kept, 1),
            "minutes": mean((line["minutes"] for line in own), 1),
        })  # fmt: skip
    return found


def main() -> None:
    """Run what is missing; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "cola", "mrpc"], choices=SIZES)
    parser.add_argument("--rows", nargs="+", type=int, help="these sizes alone")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--student", default="3x312-1200-12")
    parser.add_argument("--start", default="general", choices=STARTS)
    parser.add_argument("--arms", nargs="+", help="of the arms that all cells have, these alone")
    parser.add_argument("--tries", nargs="*", help="these arms more, all where none is named")
    parser.add_argument("--tell", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    campaign = Campaign(options.folder.resolve(), options.student, options.start)
    cells = [
        Cell(task, rows, seed)
        for seed in options.seeds
        for task in options.tasks
        for rows in SIZES[task]
        if not options.rows or rows in options.rows
    ]
    named = options.tries
    arms = [arm for arm in ARMS if not options.arms or slug(arm.name) in options.arms]
    tries = [arm for arm in TRIES if named == [] or slug(arm.name) in (named or ())]
    lines: list[dict[str, Any]] = []
    for cell in cells:
        for arm in (*arms, *tries) if not options.tell else ():
            campaign.run(cell, arm)
        for start in STARTS:
            own = list(replace(campaign, start=start).lines(cell))
            print(cell, start, {line["arm"]: line["score"] for line in own}, flush=True)
            lines += own
    lines = with_earlier(lines, read_results(options.json), CELL)
    summed = table(lines)
    for line in summed:
        print(line)
    found = {"machine": describe(), "steps": [FIRST, SECOND], "table": summed, "lines": lines}
    keep(found, options.json)


if __name__ == "__main__":
    main()
