"""Killed at any instant, the same command ends with the very weights of an undisturbed run."""

import json
import signal

import pytest
from safetensors.torch import load_file

from augment.contract import sha256_file
from tests.unit.distill.helpers import run_program


def distil(version, teacher, recipe, out, stage="", step=0, how="step"):
    return run_program("killed_run", version.path, teacher, out, recipe, stage, step, how)


def weights(out):
    return sha256_file(out / "student" / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(version, teacher, recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = distil(version, teacher, recipe, out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize(
    ("stage", "step", "how"),
    [("stage 1/2", 27, "step"), ("intermediate", 22, "half"), ("stage 2/2", 37, "step")],
)
def test_killed_and_resumed(version, teacher, recipe, undisturbed, tmp_path, stage, step, how):
    out = tmp_path / "run"
    killed = distil(version, teacher, recipe, out, stage, step, how)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / "student").exists()
    assert list(out.glob("work/*/checkpoints/checkpoint-*"))
    done = distil(version, teacher, recipe, out)
    assert done.returncode == 0, done.stderr
    assert weights(out) == weights(undisturbed)
    assert not list(out.glob("work/*/checkpoints"))
    assert log(out) == log(undisturbed)


def log(out):
    """Steps by stage, each once, whatever was trained twice."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["stage"], row["step"], "eval_accuracy" in row) for row in rows]


def test_the_weights_did_move(undisturbed):
    halfway = load_file(undisturbed / "work" / "intermediate" / "student" / "model.safetensors")
    final = load_file(undisturbed / "student" / "model.safetensors")
    assert any(not halfway[name].equal(final[name]) for name in final)
