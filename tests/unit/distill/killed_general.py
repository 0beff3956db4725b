"""Run as a program: distil general students in child processes that are killed at random.

One process imports everything; each run is a fork of it, so that a kill costs no start.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from distill import checkpoints, keeping
from distill.budget import Budget
from distill.corpus import Source
from distill.general import distill_general

corpus, teacher, recipe, out = map(Path, sys.argv[1:5])
KILLS = int(sys.argv[5])


def child(place: Path, half: bool) -> int:
    """Fork a run; ``half`` ends it while its second checkpoint is being written."""
    pid = os.fork()
    if pid:
        return pid
    keeping.SECONDS = 0.2
    if half:
        whole, seen = checkpoints.sync_folder, []

        def stop(folder):
            seen.append(folder)
            if len(seen) == 2:
                (folder / "optimizer.pt").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            whole(folder)

        checkpoints.sync_folder = stop
    distill_general(
        Source(corpus, processes=1),
        teacher=teacher,
        student="2x16-32-4",
        out=place,
        recipe=recipe,
        budget=Budget(tokens=30_000),
        quiet=True,
    )
    os._exit(0)


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    torch.set_num_threads(1)
    began = time.monotonic()
    assert wait(child(out / "whole", half=False)) == 0
    seconds = time.monotonic() - began
    draw = random.Random(7)
    killed = 0
    for turn in range(KILLS):
        pid = child(out / "killed", half=turn == 2)
        if turn != 2:
            time.sleep(draw.uniform(0.2, 0.7) * seconds)
            os.kill(pid, signal.SIGKILL)
        killed += wait(pid) == -signal.SIGKILL
        steps = sorted(p.name for p in out.glob("killed/work/general/checkpoints/checkpoint-*"))
        print("killed", steps, flush=True)
    assert wait(child(out / "killed", half=False)) == 0
    print(f"kills {killed}")


if __name__ == "__main__":
    main()
