"""Faults injected at random moments into every command, and what came of them.

    python -m tests.reliability.soak --faults 330 --json FILE

After each fault the result is either not there or the complete one, and the same command ends with
the complete one: its digests are those of an undisturbed run. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from tests.quick import be_ready_to_fork
from tests.reliability.faults import CALM, FAULTS, Case, Disk, Process, Setting, start
from tests.reliability.jobs import JOBS, Digests, Job, make_inputs

_IS_THERE = 2
"""How a second call ends that finds what the first has made in between."""
LEFT = (".partial", ".draft", ".work", ".tmp")


@dataclass(frozen=True, slots=True)
class Calm:
    """An undisturbed run: its result, seconds and bytes."""

    result: Digests
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault.

    Attributes:
        job: The command.
        fault: What struck it.
        seed: What chance there was.
        code: How the command ended.
        seconds: That the command and its repetition took.
        wrong: What was not as it must be, a line each; nothing where all was.
    """

    job: str
    fault: str
    seed: int
    code: int
    seconds: float
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Soak:
    """The place of all runs: inputs, and a disk for each output."""

    base: Path

    def command(self, job: Job, out: Path, log: Path, setting: Setting = CALM) -> Process:
        """Start a job; its caches lie in the output's folder, too."""
        os.environ["AUGMENT_VECTORS_CACHE"] = str(out / "cache")
        return start(job.program, job.arguments(self.base, out), log, setting)

    def calm(self, job: Job) -> Calm:
        """Run a job undisturbed."""
        out = self.base / f"calm-{job.name}"
        out.mkdir()
        began = time.monotonic()
        process = self.command(job, out, log := self.base / f"calm-{job.name}.log")
        code = process.wait()
        result = job.result(out)
        if code or not result:
            raise SystemExit(f"{job.name} failed undisturbed, exit {code}:\n{log.read_text()}")
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        shutil.rmtree(out)
        return Calm(result, time.monotonic() - began, size)

    def strike(self, job: Job, calm: Calm, name: str, seed: int) -> Outcome:
        """Inject one fault, then run the command again."""
        began, fault = time.monotonic(), FAULTS[name]
        place = self.base / f"{seed}"
        disk = Disk(place)
        (out := place / "out").mkdir()
        out.chmod(0o777)
        log, again = self.base / f"{seed}.log", self.base / f"{seed}-again.log"
        try:
            begin = partial(self.command, job, out, log)
            case = Case(disk, out, begin, calm.seconds, calm.bytes, random.Random(seed))
            code = fault.strike(case)
            wrong = []
            if code not in fault.codes | ({_IS_THERE} if job.once else set()):
                wrong.append(f"ended with {code}: {_tail(log)}")
            if "Traceback (most recent call last)" in log.read_text(errors="replace"):
                wrong.append(f"a traceback: {_tail(log)}")
            wrong += _compared(job, out, calm, "after the fault", needed=False)
            out.mkdir(exist_ok=True)
            last = 0 if job.once and job.result(out) else self.command(job, out, again).wait()
            if last:
                there = ", ".join(str(path.relative_to(out)) for path in sorted(out.rglob("*")))
                wrong.append(f"the same command ended with {last}: {_tail(again)}; there: {there}")
            wrong += _compared(job, out, calm, "in the end", needed=True)
            left = [str(p.relative_to(out)) for p in out.rglob(".*") if p.name.endswith(LEFT)]
            left += [str(p.relative_to(out)) for p in out.rglob(".partial-*")]
            if left:
                wrong.append(f"left behind: {', '.join(left)}")
        finally:
            disk.remove()
        return Outcome(job.name, name, seed, code, time.monotonic() - began, tuple(wrong))


def _compared(job: Job, out: Path, calm: Calm, when: str, *, needed: bool) -> list[str]:
    try:
        found = job.result(out)
    except Exception as error:  # whatever is there cannot be read: that is the finding
        return [f"the result {when} cannot be read: {error}"]
    if not found:
        return [f"no result {when}"] if needed else []
    changed = [name for name, digest in calm.result.items() if found.get(name) != digest]
    return [f"another result {when}: {', '.join(changed)}"] if changed else []


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:])[-500:]


def plan(count: int, seed: int, only: str) -> list[tuple[Job, str, int]]:
    """So many faults, each kind and each job as often as the others.

    Each round has all kinds once, with the jobs in turn, from one job later than the last round.
    """
    draw = random.Random(seed)
    jobs, faults = draw.sample(JOBS, len(JOBS)), draw.sample(list(FAULTS), len(FAULTS))
    pairs = [
        (jobs[(first + n) % len(jobs)], fault)
        for first in range(len(jobs))
        for n, fault in enumerate(faults)
    ]
    meant = (pair for pair in cycle(pairs) if only in (pair[1], pair[0].name, ""))
    chosen = islice(meant, count)
    return [(job, fault, seed * 100_000 + n) for n, (job, fault) in enumerate(chosen)]


def soak(count: int, seed: int, only: str, base: Path) -> list[Outcome]:
    """Inject faults, telling each that went wrong."""
    be_ready_to_fork()
    made = Soak(base)
    pid = os.fork()  # what runs torch here must not be forked
    if not pid:
        make_inputs(base)
        os._exit(0)
    os.waitpid(pid, 0)
    calm = {job.name: made.calm(job) for job in JOBS}
    seconds = ", ".join(f"{name} {own.seconds:.1f} s" for name, own in calm.items())
    print(f"undisturbed: {seconds}", flush=True)
    found = []
    for n, (job, fault, own) in enumerate(plan(count, seed, only), start=1):
        found.append(outcome := made.strike(job, calm[job.name], fault, own))
        if outcome.wrong or sys.stderr.isatty() or n % 20 == 0:
            state = "; ".join(outcome.wrong) or "complete"
            print(f"{n}/{count} {job.name} · {fault} · {outcome.code}: {state}", flush=True)
    return found


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    """Counts by fault and by command, and all that went wrong."""
    hit = [o for o in outcomes if o.code]
    return {
        "faults": len(outcomes),
        "struck before the end": len(hit),
        "lost or wrong": sum(bool(o.wrong) for o in outcomes),
        "by fault": dict(sorted(Counter(o.fault for o in outcomes).items())),
        "by command": dict(sorted(Counter(o.job for o in outcomes).items())),
        "seconds": round(sum(o.seconds for o in outcomes)),
        "wrong": [asdict(o) for o in outcomes if o.wrong],
    }


def main() -> None:
    """Inject faults and keep the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=330)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="this fault, or this command")
    parser.add_argument("--json", type=Path, help="where the counts are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        base = Path(folder)
        base.chmod(0o755)
        outcomes = soak(options.faults, options.seed, options.only, base)
    counts = summary(outcomes)
    print(json.dumps({k: v for k, v in counts.items() if k != "wrong"}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(bool(counts["lost or wrong"]))


if __name__ == "__main__":
    main()
