"""Killed at random moments, again and again: the version in the end is that of a calm run."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest

import augment.executor.pool
import augment.pipeline  # noqa: F401
from augment import augment_task
from augment.contract import Version, open_version
from augment.executor.base import Engine
from augment.recipes.load import load_recipe
from tests.conftest import ROOT

KILLS = 24
ROWS = 100
ROWS_A_CHUNK = 10
SAMPLE = ROOT / "data" / "sample"
TASK = SAMPLE / "reviews" / "reviews.toml"


def run(out: Path, workers: int) -> Version:
    """A run with its store beside it; small chunks, so that there is much to lose."""
    # this process has one thread and everything imported
    engine = Engine(workers=workers, threads=1, chunk_rows=ROWS_A_CHUNK, start_method="fork")
    recipe = load_recipe("official", "reviews").model_copy(update={"variants": 6})
    return augment_task(
        str(TASK),
        mlm=str(SAMPLE / "mlm"),
        vectors=str(SAMPLE / "vectors.txt"),
        out=out,
        recipe=recipe,
        limit=ROWS,
        engine=engine,
        store=out / "candidates",
    )


def start(out: Path, workers: int) -> multiprocessing.process.BaseProcess:
    """A run in a process that is ready at once: a child of one that has imported everything."""
    process = multiprocessing.get_context("forkserver").Process(target=run, args=(out, workers))
    process.start()
    return process


def killed(process: multiprocessing.process.BaseProcess, out: Path, moment: float | None) -> bool:
    """Kill a run after so many seconds, or (None) while it puts the version together."""
    deadline = time.monotonic() + (300 if moment is None else moment)
    while process.is_alive() and time.monotonic() < deadline:
        if moment is None and list(out.glob("reviews/.partial-*/version")):
            break
        time.sleep(0.001)
    process.kill()
    process.join()
    return process.exitcode != 0


def facts(out: Path) -> tuple[list[str], dict[str, int]]:
    """What must not depend on anything: digests of all files, and counts."""
    version = open_version(out / "reviews")
    return [entry.sha256 for entry in version.manifest.files], version.manifest.counts


def test_killed_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(tmp_path / "warm", 1).join()
    began = time.monotonic()
    calm = start(tmp_path / "calm", 1)
    calm.join()
    whole, expected = time.monotonic() - began, facts(tmp_path / "calm")
    generator, kills, runs = random.Random(7), 0, 0
    while kills < KILLS:
        runs += 1
        out = tmp_path / f"run{runs}"
        moments: list[str] = []
        while True:
            workers = generator.choice([1, 2])
            moment = None if generator.random() < 0.2 else generator.uniform(0, 0.7 * whole)
            process = start(out, workers)
            if not killed(process, out, moment):
                break
            assert not list(out.glob("reviews/v*")) or facts(out) == expected
            shown = "commit" if moment is None else f"{moment:.2f} s"
            moments.append(f"{shown} of {workers}")
        kills += len(moments)
        with capsys.disabled():
            print(f"\n  run {runs}: killed {len(moments)} times, at {', '.join(moments)}")
        assert facts(out) == expected
        assert sorted(path.name for path in (out / "reviews").iterdir()) == ["v0001"]
    assert kills >= 20
