"""Figures of a version by hand, and the difference of two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from augment.analysis.stats import difference, version_stats
from augment.cli import app
from tests.contract.conftest import write_version


def test_figures_of_a_small_version(tmp_path: Path) -> None:
    """Three rows: "fine tea", its variant "good tea", and "cold “tea” <b>"."""
    stats = version_stats(write_version(tmp_path))

    assert (stats.rows, stats.source_rows, stats.duplicates) == (3, 2, 0)
    assert stats.replaced_per_row == {"masked_lm": 1.0}
    assert stats.replacement_rate == 0.5
    assert stats.distinct_1 == {"original": 1.0, "generated": 1.0}
    assert stats.words_per_text == {"original": 2.5, "generated": 2.0}
    assert stats.labels == {
        "original": {"bad": 0.5, "good": 0.5},
        "generated": {"bad": 0.0, "good": 1.0},
    }


def test_a_version_does_not_differ_from_its_copy(tmp_path: Path) -> None:
    first, second = write_version(tmp_path / "a"), write_version(tmp_path / "b")
    found = difference(first, second)

    assert (found.changed, found.only_in_first, found.only_in_second) == (0, 0, 0)
    assert found.recipe == found.task == found.assets == found.sources == {}


def test_differences_are_named(
    tmp_path: Path, mlm_dir: Path, vectors_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from augment import augment_task
    from augment.recipes.schema import AugmentRecipe

    (tmp_path / "train.csv").write_text("sentence,label\na good film,1\nthe slow red dog,0\n")
    (tmp_path / "validation.csv").write_text("sentence,label\nfine,1\n")
    for variants, seed in ((5, 0), (7, 1)):
        augment_task(
            "sst2", source=str(tmp_path), mlm=str(mlm_dir), vectors=str(vectors_file),
            out=tmp_path / "out", recipe=AugmentRecipe(variants=variants, seed=seed, top_k=5),
        )  # fmt: skip
    root = str(tmp_path / "out" / "sst2")
    arguments = ["diff", f"{root}@v0001", f"{root}@v0002"]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)

    assert found["recipe"] == {"seed": [0, 1], "variants": [5, 7]}
    assert found["task"] == found["sources"] == found["assets"] == {}
    assert found["changed"] > 0
    assert found["examples"][0]["first"] != found["examples"][0]["second"]
    shown = CliRunner().invoke(app, arguments).stdout
    assert "variants 5 → 7" in shown
    assert "distinct 1" in CliRunner().invoke(app, ["stats", root]).stdout
