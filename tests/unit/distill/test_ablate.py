"""The arms of the ablations, and a whole small ablation that shares what it can."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from augment.contract import Version
from distill.ablation import ARMS, BY_NAME, Arm, ablate_task, arm_recipe
from distill.cli import app
from distill.errors import MappingInvalid, RunDiffers, UsageError
from distill.evaluation.results import AblationResult
from distill.recipes.load import RECIPES, DistillRecipe, load_recipe
from distill.recipes.mixtures import Data, Part, Shares
from distill.runs.records import read_json
from tests.unit.distill.helpers import stopping

ROWS = {"original": 10, "augmented": 90, "unlabeled": 0}
BLIND = {**ROWS, "unlabeled": 40}
MORE = Shares(augmented=1, unlabeled=2)


@pytest.mark.parametrize(
    ("data", "rows", "no_da", "no_td"),
    [
        ("original", BLIND, "original", "original"),
        ("augmented", BLIND, "original", "augmented"),
        ("all", ROWS, "original", "augmented"),
        ("all", BLIND, Shares(original=10, unlabeled=40), "augmented"),
        ("unlabeled", BLIND, "unlabeled", "augmented"),
        (MORE, BLIND, Shares(unlabeled=2), Shares(augmented=1)),
        (Shares(augmented=1), ROWS, "original", Shares(augmented=1)),
        (Shares(unlabeled=1), BLIND, Shares(unlabeled=1), "augmented"),
    ],
)
def test_arms_leave_out_rows_of_mixtures(
    data: Data, rows: dict[Part, int], no_da: Data, no_td: Data
) -> None:
    """Without augmented rows the unlabeled ones stay; labels alone need labeled rows."""
    recipe = RECIPES.resolve({"intermediate": {"data": data}, "prediction": {"data": data}}, "x")
    without, labels = (arm_recipe(BY_NAME[name], recipe, 0, rows) for name in ("no-da", "no-td"))

    assert without.intermediate.draws_from == without.prediction.draws_from == no_da
    assert labels.prediction.draws_from == no_td
    assert arm_recipe(BY_NAME["no-pred"], recipe, 0, rows).prediction.draws_from == "original"
    assert arm_recipe(BY_NAME["whole"], recipe, 0, rows) == recipe


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_an_arm_changes_what_it_says_and_nothing_else(arm: Arm) -> None:
    recipe = load_recipe("quick", "cola")
    changed = arm_recipe(arm, recipe, 3, ROWS)
    whole = arm_recipe(BY_NAME["whole"], recipe, 3, ROWS)

    assert changed.seed == 3
    assert changed.teacher == whole.teacher
    assert changed.plain == whole.plain
    differs = arm.name not in ("whole", "no-gd")

    assert (changed != whole) is differs


def test_labels_take_the_logits_place() -> None:
    weights = arm_recipe(BY_NAME["no-pred"], DistillRecipe(), 0, ROWS).prediction.weights

    assert (weights.logits, weights.labels) == (0.0, 1.0)


def test_the_papers_figures() -> None:
    """Tables 2 to 4, TinyBERT4 on MNLI-m, MRPC and CoLA."""
    assert BY_NAME["whole"].paper == {"mnli": 82.8, "mrpc": 85.8, "cola": 50.8}
    assert BY_NAME["no-trm"].paper["cola"] == 11.2
    assert BY_NAME["bottom"].paper["mrpc"] == 84.6


def test_an_unknown_arm_is_named(version: Version, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such"):
        ablate_task(version, teacher="x", student="2x16-32-2", out=tmp_path, arms=["no-such"])
    for twice in ({"arms": ["no-da", "no-da"]}, {"seeds": (1, 1)}):
        with pytest.raises(UsageError, match="is named twice"):
            ablate_task(version, teacher="x", student="2x16-32-2", out=tmp_path, **twice)
    with pytest.raises(UsageError, match="general student"):
        ablate_task(version, teacher="x", student="2x16-32-2", out=tmp_path, arms=["no-gd"])


def test_a_refused_ablation_leaves_nothing_but_its_finished_arms(
    version: Version, teacher: Path, brief: Path, tmp_path: Path
) -> None:
    more = {"teacher": str(teacher), "recipe": brief, "arms": ["no-attn"], "quiet": True}
    out = tmp_path / "ablation"
    with pytest.raises(MappingInvalid, match="a student of 9 layers"):
        ablate_task(version, student="9x16-32-4", out=out, **more)

    assert not out.exists()
    with stopping("stage 2/2", 2):
        ablate_task(version, student="2x16-32-4", out=out, **more)
    with pytest.raises(RunDiffers, match="holds another run"):
        ablate_task(version, student="9x16-32-4", out=out, **more)

    assert (out / "arms" / "whole-seed0" / "run.json").is_file()


def test_arms_share_what_is_the_same(
    version: Version, teacher: Path, brief: Path, tmp_path: Path
) -> None:
    def go() -> AblationResult:
        return ablate_task(
            version,
            teacher=str(teacher),
            student="2x16-32-4",
            out=tmp_path / "ablation",
            recipe=brief,
            arms=["no-pred", "no-attn"],
            seeds=(0, 1),
            quiet=True,
        )

    result = go()
    stages = list((tmp_path / "ablation" / "work" / "first-stages").glob("[!.]*"))

    assert [line.arm for line in result.arms] == ["whole", "no-pred", "no-attn"]
    assert all(len(line.scores) == 2 for line in result.arms)
    assert len(stages) == 4, "no-pred has the first stage of whole, for each seed"
    assert not list((tmp_path / "ablation" / "arms").glob("*/work/tokens"))
    assert read_json(tmp_path / "ablation" / "result.json", AblationResult) == result
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ablation").rglob("*.json")}
    assert go() == result
    changed = [
        path
        for path, time in before.items()
        if path.stat().st_mtime_ns != time and path.parent.name != "ablation"
    ]

    assert not changed, "a finished arm is not run again"


def test_the_command_prints_a_line_for_each_arm(
    version: Version, teacher: Path, brief: Path, tmp_path: Path
) -> None:
    arguments = ["--teacher", str(teacher), "--student", "2x16-32-4", "--recipe", str(brief)]
    done = CliRunner().invoke(
        app,
        [
            "ablate",
            str(version.path),
            *arguments,
            "--arm",
            "no-da",
            "--out",
            str(tmp_path / "a"),
            "--quiet",
        ],
    )

    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines() if line.startswith("    ")] == [
        "arm",
        "whole",
        "no-da",
    ]
