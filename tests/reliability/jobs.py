"""The commands that faults are injected into, on inputs made here in seconds.

A job's result is a digest for each file that must be the same whatever happened on the way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from augment.contract import open_version, sha256_file
from tests.conftest import ROOT
from tests.unit.distill.helpers import (
    SENTIMENT,
    TINY_RECIPE,
    make_bert,
    make_good_teacher,
    make_tokenizer,
    mood_rows,
    save,
    write_version,
)
from tests.unit.distill.test_blocks import write_text

SAMPLE = ROOT / "data" / "sample"
REVIEWS = SAMPLE / "reviews" / "reviews.toml"
GENERAL = """
[general]
length = 32
min_length = 6
learning_rate = 3e-3
evaluations = 2
held_out = 0.1
"""
Digests = dict[str, str]
ROWS = "30"


@dataclass(frozen=True, slots=True)
class Job:
    """A command, and what it makes.

    Attributes:
        name: For reports.
        program: ``augment`` or ``distill``.
        arguments: The command line, given the folder of all inputs and that of the output.
        result: Digests of what it made in an output folder; empty where nothing is finished.
        once: Whether it refuses to make again what is there.
    """

    name: str
    program: str
    arguments: Callable[[Path, Path], list[str]]
    result: Callable[[Path], Digests]
    once: bool = False


def make_inputs(base: Path) -> None:
    """A version, an encoder, a teacher, a corpus and a recipe."""
    tokenizer = make_tokenizer()
    test = [{**row, "label": -1} for row in mood_rows(10, seed=3)]
    splits = {"train": mood_rows(60, 1, variants=2), "validation": mood_rows(40, 2), "test": test}
    write_version(base / "versions", SENTIMENT, splits)
    save(make_bert(tokenizer), tokenizer, base / "encoder")
    save(make_good_teacher(tokenizer), tokenizer, base / "teacher")
    write_text(base / "text.txt", 20_000)
    recipe = TINY_RECIPE.replace("epochs = 6", "epochs = 2").replace("epochs = 4", "epochs = 2")
    (base / "recipe.toml").write_text(recipe + GENERAL, encoding="utf-8")
    (base / "augment.toml").write_text("variants = 4\n", encoding="utf-8")
    shutil.copy(SAMPLE / "vectors.txt", base)


def augment(workers: int, base: Path, out: Path) -> list[str]:
    """A run with a store, in one process or in two."""
    return [
        "run", str(REVIEWS), "--mlm", str(SAMPLE / "mlm"), "--vectors", str(base / "vectors.txt"),
        "--out", str(out / "versions"), "--store", str(out / "store"), "--limit", ROWS,
        "--recipe", str(base / "augment.toml"), "--threads", "1", "--workers", str(workers),
    ]  # fmt: skip


def distill(command: str, base: Path, out: Path, *more: str) -> list[str]:
    """A command that trains on the version."""
    shared = ["--out", str(out / "made"), "--threads", "1"]
    recipe = [] if command == "export" else ["--recipe", str(base / "recipe.toml")]
    return [command, *more, *recipe, *shared]


def version_files(out: Path) -> Digests:
    """Of a version: its rows and counts; provenance has a time in it."""
    if not (out / "versions" / "reviews" / "v0001" / "manifest.json").is_file():
        return {}
    manifest = open_version(out / "versions" / "reviews").manifest
    found = {entry.path: entry.sha256 for entry in manifest.files}
    return {**found, "id": manifest.id, "counts": json.dumps(manifest.counts)}


def weights_in(out: Path, *students: str) -> Digests:
    """Of models; nothing unless the whole run is finished."""
    made = out / "made"
    files = [made / student / "model.safetensors" for student in students]
    finished = (made / "result.json").is_file() or students == ("",)
    if not finished or not all(file.is_file() for file in files):
        return {}
    return {str(file.relative_to(made)): sha256_file(file) for file in files}


def model_files(out: Path) -> Digests:
    """Of an exported model; what was measured of it differs from time to time."""
    names = ("config.json", "model.safetensors", "tokenizer.json")
    files = [out / "made" / "transformers" / name for name in names]
    return {f.name: sha256_file(f) for f in files} if all(f.is_file() for f in files) else {}


def table(out: Path) -> Digests:
    """Of the predictions."""
    file = out / "made.csv"
    return {"csv": sha256_file(file)} if file.is_file() else {}


MODELS = ("student", "plain-student")
JOBS = (
    Job("augment", "augment", lambda b, o: augment(1, b, o), version_files),
    Job("augment, two processes", "augment", lambda b, o: augment(2, b, o), version_files),
    Job(
        "teacher", "distill",
        lambda b, o: distill(
            "teacher", b, o, str(b / "versions/mood"), "--init", str(b / "encoder")
        ),
        lambda o: weights_in(o, ""),
    ),
    Job(
        "general", "distill",
        lambda b, o: distill(
            "general", b, o, str(b / "text.txt"), "--teacher", str(b / "encoder"),
            "--student", "2x16-32-4", "--tokens", "6000", "--processes", "1",
        ),
        lambda o: weights_in(o, "student"),
    ),
    Job(
        "run", "distill",
        lambda b, o: distill(
            "run", b, o, str(b / "versions/mood"), "--teacher", str(b / "teacher"),
            "--student", "2x16-32-4",
        ),
        lambda o: weights_in(o, *MODELS),
    ),
    Job(
        "export", "distill",
        lambda b, o: distill(
            "export", b, o, str(b / "teacher"), str(b / "versions/mood"), "--to", "transformers"
        ),
        model_files, once=True,
    ),
    Job(
        "predict", "distill",
        lambda b, o: [
            "predict", str(b / "teacher"), str(b / "versions/mood"), "--out", str(o / "made.csv"),
            "--split", "validation", "--threads", "1",
        ],
        table,
    ),
)  # fmt: skip
