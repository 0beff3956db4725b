"""Run as a program: distil in child processes that are killed, again and again.

One process imports everything; each run is a fork of it, so that a kill costs no start. A kill
falls after a random time, counted from the start, a stage or a checkpoint's writing; or just
before a random change of the disk. One that comes too late is not counted: the next run begins
anew in another folder, until every kill of the plan has hit.

OUT/KIND/calm     undisturbed        OUT/KIND/killed-N     killed, finished nevertheless
kills.json        a row for each kill that hit
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distill import distill_task
from distill.data.corpus import Source
from distill.general import distill_general
from distill.training import callbacks as keeping
from distill.training import trainer
from distill.training.budget import Budget
from distill.training.checkpoints import COMPLETE
from tests.quick import be_ready_to_fork

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
SAVE_SECONDS = 0.02
STAGES = {"task": ("stage 1/2", "stage 2/2", "plain"), "general": ("general",)}
MORE = {"task": 2, "general": 4}
START = "start"
Distil = Callable[[Path], object]


@dataclass(frozen=True)
class Kill:
    """When to kill: ``changes`` of the disk, or ``seconds``, after the child told ``event``.

    A change counts before it is made, so that the kill prevents the last one.
    """

    event: str
    changes: int = 0
    seconds: float = 0.0


@dataclass
class Life:
    """One child: whether it was killed, and what it told at which second."""

    killed: bool
    told: dict[str, float]
    last: str
    changes: int


class Teller:
    """In a child: tells the parent what happens, and may end the process before a change."""

    def __init__(self, pipe: int, place: Path, kill: Kill | None) -> None:
        self.pipe, self.place, self.kill = pipe, str(place), kill
        self.began, self.changes, self.from_there = time.monotonic(), 0, None
        self.stage = START

    def tell(self, event: str) -> None:
        if self.kill and event == self.kill.event and self.from_there is None:
            self.from_there = self.changes
        now = time.monotonic() - self.began
        os.write(self.pipe, f"{now:.3f}\t{self.changes}\t{event}\n".encode())

    def enter(self, stage: str) -> None:
        self.stage = stage
        self.tell(stage)

    def audit(self, event: str, arguments: tuple) -> None:
        """Python calls this before files are opened, renamed, deleted."""
        if event == "shutil.rmtree":
            self.tell(f"{self.stage}, deleting")
        written = event == "open" and arguments[2] & os.O_ACCMODE != os.O_RDONLY
        if not (event in CHANGES or (written and str(arguments[0]).startswith(self.place))):
            return
        self.changes += 1
        if self.from_there is None or not self.kill.changes:
            return
        if self.changes - self.from_there == self.kill.changes:
            os.kill(os.getpid(), signal.SIGKILL)

    def listen(self) -> None:
        """Hang on to the product where stages begin and end, and where checkpoints are written."""
        teller, save = self, trainer.StageTrainer._save_checkpoint

        class Progress(trainer.StageProgress):
            def on_train_begin(self, *given, **more):
                super().on_train_begin(*given, **more)
                teller.enter(self.title)

            def on_train_end(self, *given, **more):
                super().on_train_end(*given, **more)
                teller.enter(f"after {self.title}")

        def saving(self, *given):
            teller.tell(f"{self.job.title}, saving")
            save(self, *given)
            teller.enter(self.job.title)

        trainer.StageProgress, trainer.StageTrainer._save_checkpoint = Progress, saving
        sys.addaudithook(self.audit)
        self.tell(START)


def live(distil: Distil, place: Path, kill: Kill | None = None) -> Life:
    """Fork a run, kill it if it is to be, and wait for its end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        child(distil, place, writer, kill)
    os.close(writer)
    told, last, changes = {}, "", 0
    with open(reader, encoding="utf-8") as lines:
        for line in iter(lines.readline, ""):
            second, changes, last = line.rstrip().split("\t")
            if kill and last == kill.event and last not in told and not kill.changes:
                time.sleep(kill.seconds)
                os.kill(pid, signal.SIGKILL)  # still a process, be it a finished one
            told.setdefault(last, float(second))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a run in {place.name} failed, killed before: {kill}")
    return Life(code != 0, told, last, int(changes))


def child(distil: Distil, place: Path, pipe: int, kill: Kill | None) -> None:
    """Distil, and end the process."""
    if kill:
        keeping.SECONDS = 0.2  # the calm run makes other checkpoints: they must not matter
    Teller(pipe, place, kill).listen()
    try:
        distil(place)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def planned(kind: str, calm: Life, draw: random.Random) -> list[Callable[[], Kill]]:
    """What to kill by; each is drawn again when it came too late."""
    ends = {stage: calm.told[f"after {stage}"] for stage in STAGES[kind]}
    plan = [lambda: Kill(START, changes=4)]  # run.json is written but has not got its name
    for stage, end in ends.items():
        saving, deleting, left = f"{stage}, saving", f"{stage}, deleting", end - calm.told[stage]
        commit = f"after {deleting}"  # it begins with deleting what an earlier one left
        plan += [
            lambda saving=saving: Kill(saving, changes=draw.randint(2, 4)),  # before the mark
            lambda saving=saving: Kill(saving, changes=draw.randint(5, 20)),
            lambda deleting=deleting: Kill(deleting, changes=draw.randint(1, 8)),
            lambda saving=saving: Kill(saving, seconds=draw.uniform(0, SAVE_SECONDS)),
            lambda stage=stage, left=left: Kill(stage, seconds=draw.uniform(0, left)),
            lambda commit=commit: Kill(commit, changes=draw.randint(1, 20)),
        ]
    whole = max(ends.values())
    anywhere = [
        lambda: Kill(START, seconds=draw.uniform(0, whole)),
        lambda: Kill(START, changes=draw.randint(1, calm.changes)),
    ]
    return plan + list(itertools.islice(itertools.cycle(anywhere), MORE[kind]))


def kill_all(kind: str, distil: Distil, out: Path) -> list[dict]:
    """Run undisturbed, then kill until every kill of the plan has hit, and finish."""
    calm = live(distil, out / "calm")
    draw, hits, turn = random.Random(7), [], 0
    for kill in planned(kind, calm, draw):
        while True:
            life = live(distil, place := out / f"killed-{turn}", kill())
            if life.killed:
                break
            turn += 1
        half = [c for c in checkpoints(place) if not (c / COMPLETE).exists()]
        hits.append({"kind": kind, "at": life.last, "half": [c.name for c in half]})
        print(f"{kind} {len(hits)}: {life.last}; {files(place)}", flush=True)
        for checkpoint in half:
            cut_short(checkpoint)
    assert not live(distil, place).killed
    return hits


def checkpoints(place: Path) -> list[Path]:
    return sorted(place.glob("work/*/checkpoints/checkpoint-*"))


def files(place: Path) -> str:
    """The checkpoints that a kill left."""
    states = [
        f"{c.name}{'' if (c / COMPLETE).exists() else ' half-written'}" for c in checkpoints(place)
    ]
    return ", ".join(states) or "no checkpoint"


def cut_short(checkpoint: Path) -> None:
    """Leave half of the file that was written last, as a kill inside of it does."""
    for file in sorted(checkpoint.iterdir(), key=lambda f: f.stat().st_mtime_ns)[-1:]:
        os.truncate(file, file.stat().st_size // 2)


def main() -> None:
    be_ready_to_fork()
    version, teacher, text, encoder, recipe, out = map(Path, sys.argv[1:])
    shared = {"student": "2x16-32-4", "recipe": recipe, "quiet": True}
    runs = {
        "task": lambda place: distill_task(version, teacher=teacher, out=place, **shared),
        "general": lambda place: distill_general(
            Source(text, processes=1),
            teacher=encoder,
            out=place,
            budget=Budget(tokens=15_000),
            **shared,
        ),
    }
    hits = [hit for kind, distil in runs.items() for hit in kill_all(kind, distil, out / kind)]
    (out / "kills.json").write_text(json.dumps(hits))


if __name__ == "__main__":
    main()
