"""The teacher asked once: states of rows that are drawn often are kept, and read at every step."""

from __future__ import annotations

import io
import json
import re
from collections import namedtuple
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from augment.contract import OutputUnwritable, RecipeInvalid, Version, sha256_file
from distill.data.batching import TEACHER_STATES, model_inputs
from distill.diagnosis.calibrate import StageName, Timings
from distill.diagnosis.diagnose import diagnose
from distill.diagnosis.forecast import Forecast, Rows, StatesKept, make_forecast
from distill.errors import TrainingFailed
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe, load_recipe
from distill.recipes.schema import Intermediate, LossWeights, Relations
from distill.runs.records import seal_of
from distill.runs.row_files import RowFile
from distill.stages import IntermediateStage
from distill.training import teacher_states
from tests.unit.distill.helpers import TINY_RECIPE, make_bert, stopping
from tests.unit.distill.test_capture import build, inputs
from tests.unit.distill.test_stages import batch, frozen, intermediate

FIRST = Path("work", "intermediate", "student", "model.safetensors")
FILE = Path("work", "intermediate", "teacher-states.f32")


def row(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[:1] for name, tensor in model_inputs(inputs).items()}


@pytest.mark.parametrize("longest", [192, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attention": "relations", "relations": Relations(query=0.0, value=0.5)},
        {"weights": LossWeights(attention=(0.0, 1.0), hidden=(1.0, 0.0))},
        {"weights": LossWeights(attention=0.0)},
    ],
)
def test_losses_of_kept_states_are_those_of_asking(
    tokenizer: PreTrainedTokenizerBase, settings: dict[str, Any], longest: int
) -> None:
    recipe = Intermediate(**settings)
    student, teacher = make_bert(tokenizer, layers=2, width=16, seed=1), make_bert(tokenizer)
    stage = IntermediateStage(
        student, frozen(teacher), (2, 4), recipe=recipe, max_score_length=longest
    ).eval()
    rows = batch(tokenizer)
    asked = stage(**rows)
    assert not stage.plan_states(row(rows))
    states = stage.states(model_inputs(rows))
    padding = ~rows["attention_mask"].bool()
    states[padding] = 7.0
    found = stage(**rows, **{TEACHER_STATES: states})

    assert states.shape == (*padding.shape, stage.layout.numbers)  # type: ignore[union-attr]
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in asked.items()}


@pytest.mark.parametrize("name", ["deberta-v2", "modernbert", "mpnet"])
def test_scores_that_are_more_than_products_are_not_kept(name: str) -> None:
    stage = intermediate(build(name), build(name), (1, 2, 3, 4))

    assert (
        stage.plan_states(inputs())
        == "its attention scores are not products of queries and keys alone"
    )
    assert stage.layout is None


def test_padding_that_counts_is_not_kept(tokenizer: PreTrainedTokenizerBase) -> None:
    student = make_bert(tokenizer, layers=2, width=16)
    stage = IntermediateStage(
        student, frozen(make_bert(tokenizer)), (2, 4), recipe=Intermediate(), reduction="official"
    )

    assert "padding" in stage.plan_states(row(batch(tokenizer)))


Run = Callable[..., tuple[Path, str]]


@pytest.fixture(scope="module")
def run(version: Version, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Distil with so many gigabytes until stage 2 begins; its folder, and what was said."""
    out = tmp_path_factory.mktemp("runs")
    (out / "recipe.toml").write_text(TINY_RECIPE)
    recipe = load_recipe(out / "recipe.toml", "mood")

    def distil(name: str, gigabytes: float, stop: int = 0, **first: Any) -> tuple[Path, str]:
        changes = {"teacher_states_gb": gigabytes, "data": "original", "epochs": 3.0, **first}
        section = recipe.intermediate.model_copy(update=changes)
        changed = recipe.model_copy(update={"intermediate": section})
        told, last = io.StringIO(), ("stage 1/2", stop) if stop else ("stage 2/2", 1)
        with redirect_stderr(told), stopping(*last):
            distill_task(
                version, teacher=teacher, student="2x16-32-4", out=out / name, recipe=changed,
                plain=False,
            )  # fmt: skip
        return out / name, " ".join(told.getvalue().split())

    return distil


@pytest.fixture(scope="module")
def asked(run: Run) -> tuple[Path, str]:
    return run("asked", 0.0)


@pytest.fixture(scope="module")
def calm(run: Run) -> tuple[Path, str]:
    return run("calm", 1.0)


def test_weights_are_those_of_asking_but_for_rounding(
    asked: tuple[Path, str], calm: tuple[Path, str]
) -> None:
    for name, weight in load_file(asked[0] / FIRST).items():
        torch.testing.assert_close(load_file(calm[0] / FIRST)[name], weight, rtol=1e-3, atol=1e-4)

    assert "states" not in asked[1]
    assert "the teacher's of 200 rows are kept for stage 1" in calm[1]
    left = {path.name for path in (calm[0] / FILE.parent).iterdir()}

    assert left == {"student", ".student.seal"}


def test_what_does_not_fit_is_not_kept(run: Run, asked: tuple[Path, str]) -> None:
    folder, told = run("small", 1e-5)

    assert "the teacher's are not kept: they take 0.00 GB, and teacher_states_gb is 1e-05" in told
    assert sha256_file(folder / FIRST) == sha256_file(asked[0] / FIRST)


def test_rows_that_are_drawn_twice_are_asked_twice(run: Run) -> None:
    _, told = run("twice", 1.0, epochs=2.0)

    assert "the teacher's are not kept: a row is drawn 2.0 times, it pays above 2" in told


def test_a_run_that_goes_on_has_the_same_bytes(
    run: Run, calm: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted while the teacher is asked, then in stage 1; its file is changed in between."""
    asked, states = [], IntermediateStage.states

    def failing(stage: IntermediateStage, rows: dict[str, Tensor]) -> Tensor:
        asked.append(len(rows["input_ids"]))
        if len(asked) == 5:
            raise KeyboardInterrupt
        return states(stage, rows)

    monkeypatch.setattr(IntermediateStage, "states", failing)
    run("again", 1.0)
    file = run("again", 1.0, stop=9)[0] / FILE

    assert asked == [32, 32, 32, 32, 32, 32, 32, 8]  # the first four were sealed
    with file.open("r+b") as stream:
        stream.write(b"torn")
    _, told = run("again", 1.0, stop=12)

    assert "teacher-states.f32 was changed after it was written; it is made again" in told
    seal = seal_of(file)
    of_another = json.loads(seal.read_text())
    of_another["origin"]["made_from"] = "0" * 64
    seal.write_text(json.dumps(of_another))
    again, told = run("again", 1.0)

    assert "teacher-states.f32 was made from something else; it is made again" in told
    assert sha256_file(again / FIRST) == sha256_file(calm[0] / FIRST)


def test_a_small_disk_is_said_before_anything_is_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(teacher_states.shutil, "disk_usage", lambda _: usage(10, 0, 10))
    monkeypatch.setattr(RowFile, "write", None)
    with pytest.raises(OutputUnwritable, match=r"the teacher's states take .* are free") as caught:
        run("full", 1.0)

    assert caught.value.exit_code == 3
    assert "teacher_states_gb = 0" in caught.value.hint


def test_states_that_are_not_finite_name_their_rows(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = IntermediateStage.states

    def broken(stage: IntermediateStage, rows: dict[str, Tensor]) -> Tensor:
        found = states(stage, rows)
        found[3, 1] = float("inf")
        return found

    monkeypatch.setattr(IntermediateStage, "states", broken)
    with pytest.raises(
        TrainingFailed, match=r"rows \(idx/variant\) \d+/0 are not finite"
    ) as caught:
        run("infinite", 1.0)

    assert caught.value.exit_code == 5


@pytest.mark.parametrize("value", ["-1", "nan", '"much"', "true"])
def test_gigabytes_are_a_number(tmp_path: Path, value: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(f"[intermediate]\nteacher_states_gb = {value}\n")
    with pytest.raises(RecipeInvalid, match="teacher_states_gb") as caught:
        load_recipe(file, "mood")

    assert caught.value.exit_code == 2


def test_runs_without_it_are_those_they_were() -> None:
    assert "teacher_states_gb" not in DistillRecipe().model_dump(mode="json")["intermediate"]


def forecast_of(gigabytes: float, numbers: int = 1_000) -> Forecast:
    """1,000 rows of 8 tokens, each drawn four times; the teacher answers 10 rows a second."""
    section = {"epochs": 4.0, "batch_size": 10, "teacher_states_gb": gigabytes}
    plain = {"intermediate": section, "prediction": {"max_steps": 7}}
    steps: dict[StageName, float] = {"intermediate": 2.0}
    pace = Timings(steps, 100.0, 10.0, 20.0, tokens=8, peak_bytes=5, state_numbers=numbers)
    return make_forecast(DistillRecipe.model_validate(plain), Rows(1000, 1000, 60, 40), pace, 1_000)


def test_a_forecast_counts_them() -> None:
    asked, kept = forecast_of(0.0, 0), forecast_of(1.0)

    assert asked.states is None
    assert kept.states == StatesKept(bytes=1000 * 8 * 1000 * 4, seconds=100.0, saved=400.0)
    assert kept.seconds == asked.seconds + 100 - 400
    assert kept.disk_bytes == asked.disk_bytes + kept.states.bytes
    assert forecast_of(0.03).states is None


def test_doctor_says_what_they_take_and_save(version: Version, teacher: Path, recipe: Path) -> None:
    first = {"teacher_states_gb": 1.0, "epochs": 40.0}
    own = load_recipe(recipe, "mood")
    section = own.intermediate.model_copy(update=first)
    file = recipe.with_name("states.toml")
    file.write_text(
        recipe.read_text().replace("epochs = 4\n", "epochs = 40\nteacher_states_gb = 1\n")
    )
    assert load_recipe(file, "mood").intermediate == section
    found = diagnose(
        str(teacher), version, student="2x16-32-4", recipe=file, plain=False, quiet=True
    )
    time = next(check.finding for check in found.checks if check.name == "time")

    assert re.search(r"the teacher's states take [\d.]+ [KM]B and save", time)
    assert "teacher's states" in {part.name for part in found.forecast.parts}  # type: ignore[union-attr]
