"""Soft labels that a version keeps: runs that learn from them, alone or beside a teacher."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from augment.contract import Splits, Version
from distill import distill_task
from distill.evaluation.results import Run
from distill.models.guides import LABELS
from tests.unit.distill.helpers import SENTIMENT, TINY_RECIPE, Row, mood_rows, write_version

TASK = SENTIMENT.model_copy(update={"splits": Splits(unlabeled="unlabeled")})


def said(rows: Sequence[Row], *, sure: float = 0.9, seed: int = 0) -> list[Row]:
    """Rows with a distribution that is right about so often as it is sure."""
    draw, found = random.Random(seed), []
    for row in rows:
        right = row["label"] if draw.random() < 0.95 else 1 - row["label"]
        found.append({**row, "soft_labels": [sure, 1 - sure] if right == 0 else [1 - sure, sure]})
    return found


def unlabeled(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "label": None} for row in rows]


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Rows of every kind: label alone, label and distribution, distribution alone, neither."""
    train = [*mood_rows(40, 1), *said([{**r, "idx": 40 + r["idx"]} for r in mood_rows(260, 2)])]
    blind = [*said(mood_rows(200, 3)), *({**r, "idx": 200 + r["idx"]} for r in mood_rows(20, 4))]
    return write_version(
        tmp_path_factory.mktemp("versions"),
        TASK,
        {"train": train, "validation": mood_rows(80, 5), "unlabeled": unlabeled(blind)},
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    recipe = tmp_path_factory.mktemp("recipes") / "longer.toml"
    recipe.write_text(TINY_RECIPE.replace("[prediction]\nepochs = 3", "[prediction]\nepochs = 9"))
    return {"teacher": LABELS, "student": "2x16-32-4", "recipe": recipe, "quiet": True}


@pytest.fixture(scope="module")
def finished(soft: Version, settings: dict[str, Any], encoder: Path, tmp_path_factory: Any) -> Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    return distill_task(soft, out=out, encoder=encoder, **settings)


def test_a_run_needs_no_teacher(finished: Run) -> None:
    table = finished.table()

    assert list(table["model"]) == ["student, labels only", "student, distilled"]
    assert "retention %" not in table.columns
    assert table["accuracy"].iloc[-1] > 0.8
    assert finished.result.baseline is None
