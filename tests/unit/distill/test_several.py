"""Two processes under torchrun end with the weights of one, and do each thing once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill.errors import UsageError
from distill.recipes.load import load_recipe
from distill.training import schedule
from tests.unit.distill.helpers import (
    MIXED,
    blind,
    make_bert,
    mood_rows,
    run_program,
    save,
    write_version,
)
from tests.unit.distill.several import distil
from tests.unit.distill.test_blocks import write_text

RECIPE = """
seed = 3
max_length = 16
precision = "float32"

[general]
length = 32
min_length = 6
dropout = 0.0
learning_rate = 1e-3
evaluations = 2

[intermediate]
epochs = 3
learning_rate = 1e-3
data = { original = 1, augmented = 1, unlabeled = 2 }
teacher_states_gb = 1.0

[prediction]
epochs = 6
learning_rate = 3e-3
evaluations = 8
patience = 1
data = "all"
weights = { labels = 0.7 }
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tokenizer, teacher):
    """Corpus, student without dropout (each process draws its own), version, teacher, recipe.

    Whole batches only: processes fill up the last batch of an epoch, one alone does not. A third
    of the rows has no label, so that processes have different numbers of them in a batch.
    """
    folder = tmp_path_factory.mktemp("several")
    rows = {"train": mood_rows(64, 1, variants=2), "validation": mood_rows(80, 2)}
    rows["unlabeled"] = blind(mood_rows(64, 4))
    version = write_version(folder / "versions", MIXED, rows)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    student = make_bert(tokenizer, layers=2, width=16, heads=4, seed=5, **still)
    (folder / "student").mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    return [
        write_text(folder / "text.txt", 20_000),
        save(student, tokenizer, folder / "student"),
        version.path,
        teacher,
        folder / "recipe.toml",
    ]


def weights(out):
    folders = ("general/student", "task/work/intermediate/student", "task/student")
    return {
        f"{folder} {name}": tensor
        for folder in folders
        for name, tensor in load_file(out / folder / "model.safetensors").items()
    }


def test_two_processes_equal_one(
    inputs: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    distil([*map(str, inputs), str(tmp_path / "one")])
    alone = capfd.readouterr().err
    several = run_program("several", *inputs, tmp_path / "two", processes=2)
    assert several.returncode == 0, several.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-5, msg=name)
    assert json.loads(several.stdout) == ["teacher", "student, distilled"]
    assert several.stderr.count("  student ") == alone.count("  student ") == 2
    assert several.stderr.count("are kept for stage 1") == alone.count("are kept for stage 1") == 1
    lines = (tmp_path / "two/task/metrics.jsonl").read_text().splitlines()
    steps = [(row["stage"], row["step"], "eval_accuracy" in row) for row in map(json.loads, lines)]

    assert len(set(steps)) == len(steps)


def test_processes_have_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    training = load_recipe("logits", "sst2").prediction.numbers
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="not a multiple of the 3 processes"):
        schedule.rows_a_process(training)
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert schedule.rows_a_process(training) == training.batch_size // 2
