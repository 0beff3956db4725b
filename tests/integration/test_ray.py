"""Ray: a lost node, workers that are killed, and Ray started for one run alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from augment import augment_task
from augment.contract import Fault
from augment.errors import AugmentError
from augment.executor.base import Chunk, Engine
from augment.executor.models import Models
from augment.executor.ray import RayWorker, connected, run_on_ray
from augment.executor.worker import WorkerSpec
from augment.progress import Narrator
from augment.sources.read import read_source
from augment.tasks import get_task
from augment.versions.rows import ChunkOutput
from tests.conftest import ROOT
from tests.integration.conftest import NODE, SMALL, Run, digests
from tests.integration.test_engines import Meddler

SAMPLE = ROOT / "data" / "sample"
TASK = SAMPLE / "reviews" / "reviews.toml"


@pytest.fixture
def run(run: Run) -> Run:
    """Runs in small chunks."""
    return partial(run, chunk_rows=20)


class Nodes(Narrator):
    """Kills a node with everything on it as soon as it has begun to work, mid-run."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.pids = [info.process.pid for infos in node.all_processes.values() for info in infos]
        self.killed_at = self.kept = 0

    def rows(self, count: int) -> None:
        self.kept += 1
        family = [psutil.Process(pid) for pid in self.pids if psutil.pid_exists(pid)]
        family += [child for process in family for child in process.children(recursive=True)]
        if self.killed_at or not any("MapWorker" in process.name() for process in family):
            return
        for process in family:
            process.kill()
        self.killed_at = self.kept


@pytest.fixture
def second_node(ray_cluster: Any) -> Iterator[Any]:
    node = ray_cluster.add_node(**NODE)
    yield node
    ray_cluster.remove_node(node, allow_graceful=False)


def test_a_lost_node_changes_no_byte(
    run: Run, ray_cluster: Any, second_node: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two nodes at work, one killed mid-run: its chunks are done again elsewhere."""
    calm = run("calm", limit=400)
    capfd.readouterr()
    nodes = Nodes(second_node)
    lost = run(
        limit=400,
        engine="ray",
        address=ray_cluster.address,
        store=tmp_path / "candidates",
        narrator=nodes,
    )

    assert 0 < nodes.killed_at < nodes.kept == 20
    assert not any(psutil.pid_exists(pid) and _alive(pid) for pid in nodes.pids)
    assert digests(lost) == digests(calm)
    assert lost.manifest.counts == calm.manifest.counts
    assert [path.name for path in (tmp_path / "out" / "rte").iterdir()] == ["v0001"]
    told = capfd.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) <= 3


def _alive(pid: int) -> bool:
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_worker_killed_again_and_again(
    ray_cluster: Any, mlm_dir: Path, vectors_file: Path, pair_source: Path
) -> None:
    """A chunk that costs a worker each time is given up with a sentence; the others are done."""

    class DoomedWorker(RayWorker):  # local, so that it travels to the workers by value
        def answer(self, chunk: Chunk) -> ChunkOutput | Fault:
            answer = super().answer(chunk)
            if chunk.number == 3 and isinstance(answer, ChunkOutput):
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

    task = get_task("rte")
    spec = WorkerSpec(task.spec, SMALL, Models(str(mlm_dir), str(vectors_file)), threads=1)
    engine = Engine("ray", address=ray_cluster.address, chunk_rows=20, max_starts=2)
    chunks = engine.chunks(read_source(task, str(pair_source), limit=100).splits["train"])
    answers = list(run_on_ray(chunks, spec, engine, DoomedWorker))
    faults = [answer for answer in answers if isinstance(answer, AugmentError)]
    done = [answer.number for answer in answers if isinstance(answer, ChunkOutput)]

    assert len(faults) == 1
    assert "killed at chunk 3" in faults[0].problem
    assert "Finished chunks are kept" in faults[0].hint
    assert sorted(done) == [0, 1, 2, 4]


def test_no_thread_outlives_ray(ray_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that asks something of Ray once it is down takes the whole process along."""
    ray = pytest.importorskip("ray")
    ended, shut_down = [], ray.shutdown
    monkeypatch.setattr(ray, "shutdown", lambda: (ended.append("ray"), shut_down()))

    def late() -> None:
        time.sleep(0.5)
        ended.append(ray.get_runtime_context().get_node_id() and "thread")

    spec = WorkerSpec(get_task("rte").spec, SMALL, Models("mlm", "vectors"))
    with connected(Engine("ray", address=ray_cluster.address), spec):
        threading.Thread(target=late, daemon=True).start()

    assert ended == ["thread", "ray"]


COMMAND = """
import time
from dataclasses import dataclass
import augment.cli.output
import augment.pipeline
import augment.progress

@dataclass(frozen=True)
class SmallChunks(augment.pipeline.Engine):
    chunk_rows: int = 20

augment.pipeline.Engine = SmallChunks
kept = augment.progress.Narrator.rows

def wait_for_ctrl_c(self, count):
    kept(self, count)
    time.sleep(300)

augment.progress.Narrator.rows = wait_for_ctrl_c
from augment.cli import main
main()
"""


def test_ray_for_one_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started and ended with the run, on loopback alone; Ctrl-C keeps what is finished."""
    monkeypatch.chdir(ROOT)  # relative names mean the same to workers in other folders
    models = {"mlm": "data/sample/mlm", "vectors": "data/sample/vectors.txt"}
    flags = [part for name, value in models.items() for part in (f"--{name}", value)]
    arguments = ["run", str(TASK), *flags, "--limit", "60", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments, "--engine", "ray", "--workers", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while process.poll() is None and not list(tmp_path.glob("out/*/.partial-*/chunks/*.json")):
            time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        listening = {
            connection.laddr.ip
            for one in family
            for connection in one.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        process.send_signal(signal.SIGINT)
        told, complaint = process.communicate()
    _, alive = psutil.wait_procs(family, timeout=60)

    assert (process.returncode, told) == (130, ""), complaint
    assert "chunks are kept" in complaint
    assert "the same command goes on from there" in complaint
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert len(listening) > 0
    assert not alive
    narrator = Meddler()
    same = {**models, "limit": 60, "engine": Engine(chunk_rows=20)}
    calm = augment_task(str(TASK), **same, out=tmp_path / "calm")
    resumed = augment_task(str(TASK), **same, out=tmp_path / "out", narrator=narrator)
    assert "resuming: 1 of 3 chunks are done" in narrator.said
    assert digests(resumed) == digests(calm)
