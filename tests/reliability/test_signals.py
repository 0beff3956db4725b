"""Ctrl-C and SIGTERM at every moment, also while libraries load: one sentence, exit 130 or 143.

The long sweep is for a soak run: RELIABILITY_SOAK=1.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from augment.contract import Version
from tests.conftest import ROOT
from tests.unit.distill.helpers import TINY_RECIPE

SOAK = bool(os.environ.get("RELIABILITY_SOAK"))
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Commands = dict[str, list[str]]


@pytest.fixture(scope="session")
def commands(
    mlm_dir: Path,
    vectors_file: Path,
    teacher: Path,
    encoder: Path,
    version: Version,
    tmp_path_factory: pytest.TempPathFactory,
) -> Commands:
    """Commands that work for longer than anybody waits here."""
    place = tmp_path_factory.mktemp("signals")
    (place / "train.csv").write_text(
        "sentence,label\n" + "".join(f"a good film and {n},{n % 2}\n" for n in range(20_000))
    )
    (place / "validation.csv").write_text("sentence,label\nfine music,1\n")
    models = ["--mlm", str(mlm_dir), "--vectors", str(vectors_file)]
    run = ["augment.cli", "run", "sst2", "--source", str(place), *models, "--out"]
    recipe = place / "long.toml"
    recipe.write_text(TINY_RECIPE.replace("epochs = 6", "epochs = 5000"))
    of_version = [str(version.path), "--recipe", str(recipe)]
    return {
        "run": [*run, str(place / "one")],
        "pool": [*run, str(place / "two"), "--workers", "2"],
        "teacher": ["distill.cli", "teacher", *of_version, "--init", str(encoder), "--out",
                    str(place / "teacher")],
        "distill": ["distill.cli", "run", *of_version, "--teacher", str(teacher), "--student",
                    "2x16-32-4", "--out", str(place / "run")],
    }  # fmt: skip


def start(command: list[str]) -> subprocess.Popen[str]:
    """A command in a group of its own that listens already: before, there is only Python."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    listens = 1 << (signal.SIGTERM - 1)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = next(line for line in status.read_text().splitlines() if line[:6] == "SigCgt")
        if int(caught.split()[1], 16) & listens:
            break
        time.sleep(0.002)
    return process


def stopped(process: subprocess.Popen[str], number: int) -> str:
    """What a process said that was stopped by a signal, having checked it."""
    told, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, (process.returncode, told, said)
    assert said.count("stopped. ") == 1, said
    for spam in ("Traceback", "Exception ignored", "Error", "error:"):
        assert spam not in told + said, said
    return said


NAMES = ("run", "distill", "pool", "teacher")
AT_WORK = [("pool", signal.SIGINT), ("teacher", signal.SIGTERM)]
DELAYS = [0.0, 0.05, 0.3, 0.7, 1.2]
LONG = [n / 20 for n in range(60)] + [n / 4 for n in range(12, 20)]


@pytest.mark.parametrize("delay", LONG if SOAK else DELAYS)
@pytest.mark.parametrize(
    "name", ["run", "pool", "teacher", "distill"] if SOAK else ["run", "distill"]
)
def test_stopped_at_any_moment(commands: Commands, name: str, delay: float) -> None:
    for at, number in enumerate(SIGNALS):
        if SOAK or (DELAYS.index(delay) + at) % 2:
            process = start(commands[name])
            time.sleep(delay)
            process.send_signal(number)
            stopped(process, number)


OTHERS = [("pool", signal.SIGTERM), ("teacher", signal.SIGINT)]


@pytest.mark.parametrize(("name", "number"), AT_WORK + OTHERS if SOAK else AT_WORK)
def test_a_whole_group_is_stopped_at_work(commands: Commands, name: str, number: int) -> None:
    """As a terminal does it: children hear the signal too, and say nothing."""
    out = Path(commands[name][commands[name].index("--out") + 1])
    for left in (out, out.with_name(f".{out.name}.work")):
        shutil.rmtree(left, ignore_errors=True)
    process = start(commands[name])
    works = {"pool": "two/sst2/.partial-*/chunks", "teacher": ".teacher.work/**/metrics.jsonl"}
    deadline = time.monotonic() + 60
    while not list(out.parent.glob(works[name])) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    os.killpg(process.pid, number)
    said = stopped(process, number)
    assert "the same command goes on from there" in said


def test_the_second_ends_at_once(commands: Commands) -> None:
    """Where the first one waits for something: here, for the end of a step that never comes."""
    code = (
        "import time; from augment.contract import process\n"
        "def work():\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        time.sleep(60)\n"
        "process.command(work)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)  # torchrun's, after Ctrl-C: no second request
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    stopped(process, signal.SIGINT)
    assert time.monotonic() - began < 5


IMPORTING = """
import sys, time
from augment.contract import process
class Lost:
    def __del__(self):
        while not process.asked_to_end():
            time.sleep(0.01)
def work():
    {work}
process.command(work)
"""


@pytest.mark.parametrize(
    "work",
    [
        "print('ready', flush=True); lost = Lost(); del lost; time.sleep(60)",
        "\n    with process.uninterrupted:\n        print('ready', flush=True); time.sleep(1)\n"
        "    time.sleep(60)",
        "print('ready', flush=True); sys.stderr.close(); time.sleep(60)",
    ],
)
def test_where_an_exception_would_be_lost(work: str) -> None:
    """In a destructor, in a piece that must not be torn, with no stderr left."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING.format(work=work)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 143
    assert said in ("", "\nstopped. No result was written.\n")
