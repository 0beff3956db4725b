"""Killed at any instant, the same command ends with the very weights of an undisturbed run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from augment.contract import sha256_file
from tests.unit.distill.helpers import (
    MIXED,
    TINY_RECIPE,
    blind,
    mood_rows,
    run_program,
    write_version,
)
from tests.unit.distill.test_blocks import write_text

GENERAL = """
[general]
length = 32
min_length = 6
learning_rate = 3e-3
evaluations = 4
held_out = 0.1
"""
MIXTURES = {
    "[intermediate]": (
        "data = { original = 1, augmented = 1, unlabeled = 2 }\nteacher_states_gb = 1.0"
    ),
    "[prediction]": "data = { original = 2, unlabeled = 1 }\nweights = { labels = 0.5 }",
}
MODELS = {
    "task": {"student", "plain-student", "work/intermediate/student"},
    "general": {"student"},
}


@pytest.fixture(scope="module")
def out(teacher, encoder, tmp_path_factory):
    """The folder of all runs; more checkpoints than usual, so that older ones are deleted.

    Both stages draw from mixtures, the first from rows whose states are kept; the plain student
    from every row.
    """
    out = tmp_path_factory.mktemp("kills")
    rows = {"train": mood_rows(100, 1, variants=2), "validation": mood_rows(40, 2)}
    more = {"unlabeled": blind(mood_rows(35, 4))}
    version = write_version(out / "versions", MIXED, {**rows, **more})
    recipe, text = out / "recipe.toml", TINY_RECIPE.replace("evaluations = 2", "evaluations = 4")
    for section, lines in MIXTURES.items():
        text = text.replace(section, f"{section}\n{lines}")
    recipe.write_text(text + GENERAL)
    text = write_text(out / "text.txt", 60_000)
    arguments = (version.path, teacher, text, encoder, recipe, out)
    done = run_program("killed", *arguments, timeout=1200)  # 30 s on a quiet machine
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return out


def test_kills_fell_in_every_stage_and_while_checkpoints_were_written(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hits = json.loads((out / "kills.json").read_text())
    stages = Counter((hit["kind"], hit["at"].split(",")[0]) for hit in hits)
    half = Counter(hit["kind"] for hit in hits if hit["half"])
    kinds = Counter(hit["kind"] for hit in hits)
    with capsys.disabled():
        print(f"\n  kills {dict(kinds)}, of them with a half-written checkpoint {dict(half)}")
        print("  " + ", ".join(f"{at} {n}" for (_, at), n in stages.items()))

    assert kinds["task"] >= 12
    assert kinds["general"] >= 10
    assert half["task"] >= 3
    assert half["general"] >= 1
    assert all(stages["task", stage] for stage in ("stage 1/2", "stage 2/2", "plain"))
    assert stages["general", "general"]


@pytest.mark.parametrize("kind", MODELS)
def test_killed_and_resumed_runs_end_as_the_undisturbed_one(out: Path, kind: Any) -> None:
    calm, *killed = sorted((out / kind).iterdir())
    assert calm.name == "calm"
    assert killed
    assert weights(calm).keys() == MODELS[kind]
    for run in killed:
        assert weights(run) == weights(calm)
        assert result(run) == result(calm)
        assert log(run) == log(calm)
        assert not list(run.glob("work/*/checkpoints"))


def weights(run):
    """Digests of every student's weights, and of the projections in the same file."""
    files = run.rglob("model.safetensors")
    return {str(f.parent.relative_to(run)): sha256_file(f) for f in files}


def result(run):
    """All that is measured but the speed."""
    found = json.loads((run / "result.json").read_text())
    for timed in (*found.get("models", []), *found.get("baselines", [])):
        for speed in ("latency", "seconds", "end_to_end"):
            timed.pop(speed, None)
    return {key: value for key, value in found.items() if key != "student"}


def log(run):
    """Steps by stage, each once, whatever was trained twice; scores are the very same."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scores = [{k: v for k, v in row.items() if k.startswith("eval_")} for row in rows]
    return [(row["stage"], row["step"], own) for row, own in zip(rows, scores, strict=True)]


def test_the_weights_did_move(out: Path) -> None:
    halfway, final = (
        load_file(out / "task" / "calm" / at / "model.safetensors")
        for at in ("work/intermediate/student", "student")
    )
    assert any(not halfway[name].equal(final[name]) for name in final)
