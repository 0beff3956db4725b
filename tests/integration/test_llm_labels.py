"""docs/llm-labels.md: its commands run as they are printed, and what it quotes is there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import augment.cli
import distill.cli
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "llm-labels.md").read_text(encoding="utf-8")
TOPICS = ROOT / "data" / "sample" / "topics"
APPS = {"augment": augment.cli.app, "distill": distill.cli.app}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like the repository's root, in which the commands have run."""
    root, before = tmp_path_factory.mktemp("root"), torch.get_num_threads()
    for name in ("topics", "mlm"):
        shutil.copytree(TOPICS.parent / name, root / "data" / "sample" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        torch.set_num_threads(1)
        for line in "".join(blocks("bash")).splitlines():
            program, *words = shlex.split(line)
            done = CliRunner().invoke(APPS[program], words)
            assert done.exit_code == 0, f"{line}\n{done.output}"
    torch.set_num_threads(before)
    return root


def test_the_student_learns_more_than_the_labels_say(place: Path) -> None:
    alone, mixed = (
        json.loads((place / "topics" / run / "result.json").read_text()) for run in ("run", "mixed")
    )
    scores = {
        model["model"]: model["scores"]["validation"]["accuracy"] for model in alone["models"]
    }

    assert list(scores) == ["student, labels only", "student, distilled"]
    assert scores["student, distilled"] > scores["student, labels only"]
    assert scores["student, distilled"] >= 0.6
    assert alone["soft_labels"]["rows"] == mixed["soft_labels"]["rows"] == 148
    assert alone["soft_labels"]["labels"] == 32
    assert next(model["model"] for model in mixed["models"]) == "teacher"


def test_the_answers_are_a_table(place: Path) -> None:
    table = pd.read_csv(place / "topics" / "answers.csv")

    assert len(table) == 148


def test_what_is_quoted_is_in_the_files() -> None:
    rows = (TOPICS / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    quoted = [line for block in blocks("json") for line in block.splitlines()]

    assert len(quoted) == 3
    assert set(quoted) <= set(rows)
    assert len(rows) == 148
    assert blocks("toml") == [(TOPICS / "topics.toml").read_text(encoding="utf-8")]
