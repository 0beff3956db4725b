"""Every public docstring has an example, and the examples run: in one folder, made once."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch

import augment
import distill

ELSEWHERE = {"open_version": "Version", "list_versions": "Version", "verify": "Version"} | {
    "open_run": "Run",
    "list_runs": "Run",
}
"""Names whose example stands with the class that they are about."""
PUBLIC = [(module, name) for module in (augment, distill) for name in module.__all__]
RECIPE = """
max_length = 16
precision = "float32"
[teacher]
epochs = 20
max_steps = 40
batch_size = 16
learning_rate = 1e-3
evaluations = 1
[intermediate]
max_steps = 2
[prediction]
max_steps = 2
evaluations = 1
[plain]
max_steps = 2
evaluations = 1
[general]
max_steps = 2
length = 16
evaluations = 1
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Iterator[Path]:
    """The folder that the examples speak of; a teacher and a run are made by theirs."""
    folder, threads = tmp_path_factory.mktemp("examples"), torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fill(folder, sample)
        for module, name in (
            (augment, "augment_task"), (distill, "distill_teacher"), (distill, "distill_task"),
        ):  # fmt: skip
            assert not run(module, name)
        yield folder
    torch.set_num_threads(threads)


def fill(folder: Path, sample: Path) -> None:
    """Write some rows of the sample, and name its models."""
    reviews, topics = sample / "reviews", sample / "topics"
    for name in ("mlm", "vectors.txt"):
        (folder / name).symlink_to(sample / name)
    task = (reviews / "reviews.toml").read_text()
    (folder / "reviews.toml").write_text(
        "\n".join(line for line in task.splitlines() if not line.startswith("test"))
    )
    for split, rows in (("train", 20), ("validation", 10)):
        frame = pd.read_csv(reviews / f"{split}.csv").groupby("label").head(rows)
        frame.to_csv(folder / f"{split}.csv", index=False)
    tickets = pd.read_csv(topics / "train.csv").set_axis(["message", "team"], axis=1)
    tickets.to_csv(folder / "tickets.csv", index=False)
    (folder / "more.jsonl").write_text('{"sentence": "Lovely soup.", "label": "positive"}\n')
    (folder / "corpus.txt").write_text(tickets.message.str.cat(sep="\n\n"))
    (folder / "glue").mkdir()
    (folder / "glue" / "SST-2.tsv").write_text("index\tprediction\n0\t1\n")
    (folder / "short.toml").write_text(RECIPE)


def run(module: ModuleType, name: str) -> list[str]:
    """Run the example of a public name; what went wrong."""
    found: Any = getattr(module, name)
    doc = found.__doc__ or ""
    test = doctest.DocTestParser().get_doctest(doc, {}, name, None, None)
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return said


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[f"{m.__name__}.{n}" for m, n in PUBLIC])
def test_examples_run(module: ModuleType, name: str, here: Path) -> None:
    if name == "__version__":
        return
    place = ELSEWHERE.get(name, name)
    assert ">>> " in getattr(module, place).__doc__
    assert place == name or name in getattr(module, place).__doc__
    if place == name:
        assert "".join(run(module, name)) == ""
