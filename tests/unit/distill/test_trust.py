"""What stops a run says why, and leaves behind what was good."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from augment.contract import OutputUnwritable, Version, open_version
from distill import distill_task
from distill.errors import ModelNotFound, RunDiffers, TrainingFailed
from distill.runs.listing import Run
from tests.unit.distill.helpers import SENTIMENT, Go, mood_rows, stopping, write_version


@pytest.fixture
def go(version: Version, teacher: Path, recipe: Path) -> Go:
    def run(out: Path, **changes: Any) -> Run:
        settings = {"teacher": teacher, "student": "2x16-32-4", "recipe": recipe, "plain": False}
        return distill_task(
            changes.pop("version", version), out=out, quiet=True, **(settings | changes)
        )

    return run


@pytest.fixture
def frequent(recipe: Path, tmp_path: Path) -> Path:
    """Stage 1 of 52 steps with a checkpoint every 5."""
    file = tmp_path / "frequent.toml"
    text = recipe.read_text()
    file.write_text(text.replace("[intermediate]", "[intermediate]\nevaluations = 11"))
    return file


def checkpoints(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("work/*/checkpoints/checkpoint-*"))


def test_a_loss_that_is_no_number_names_its_rows(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row at fault in the second half of stage 1: every batch with it has no finite loss."""
    from distill.stages import IntermediateStage

    terms, seen = IntermediateStage.terms, set()

    def spoilt(self: Any, batch: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        rows = list(zip(batch["idx"].tolist(), batch["variant"].tolist(), strict=True))
        seen.update(rows)
        for name, term in terms(self, batch):
            late = len(seen) == 400 and (17, 1) in rows  # every row was seen: after epoch 1
            yield name, term * float("nan") if late and name == "hidden" else term

    monkeypatch.setattr(IntermediateStage, "terms", spoilt)
    with pytest.raises(TrainingFailed) as caught:
        go(tmp_path / "run")

    assert "because of the rows (idx/variant) 17/1." in str(caught.value)
    assert caught.value.exit_code == 5
    kept = list((tmp_path / "run").glob("work/intermediate/checkpoints/*"))

    assert kept
    for folder in kept:
        assert (folder / "complete").is_file()
        weights = load_file(folder / "model.safetensors")
        assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


def test_where_no_single_row_is_at_fault_ten_rows_of_the_batch_are_named(version: Version) -> None:
    from distill.training.finite_checks import not_finite

    class Stage(torch.nn.Module):
        def forward(self, labels, **_):
            return {"loss": torch.tensor(float("nan") if len(labels) > 1 else 1.0)}

    batch = {name: torch.arange(12) for name in ("idx", "variant", "labels")}
    text = str(not_finite("stage 1/2", 7, Stage(), batch))

    assert "at step 7; in a batch of the rows (idx/variant) 0/0, 1/1" in text
    assert text.endswith("9/9 and 2 more.")


def test_answers_of_a_teacher_that_are_no_numbers_name_their_rows(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill.training import teacher_logits

    batched_logits = teacher_logits.batched_logits

    def spoilt(answers: Any, rows: Any) -> Any:
        logits = batched_logits(answers, rows)
        logits[np.asarray(rows["idx"]) == 17, 1] = np.inf
        return logits

    monkeypatch.setattr(teacher_logits, "batched_logits", spoilt)
    with pytest.raises(TrainingFailed, match=r"answers to the rows \(idx/variant\) 17/0, 17/1 are"):
        go(tmp_path / "run")

    assert (tmp_path / "run" / "work" / "intermediate" / "student").is_dir()


def test_weights_that_are_no_numbers_are_never_saved(
    go: Go, frequent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient without end spoils the weights while the loss is still finite."""
    step = torch.optim.AdamW.step

    def spoil(self: Any, *arguments: Any, **more: Any) -> None:
        step(self, *arguments, **more)
        spoil.steps += 1
        if spoil.steps == 25:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(float("inf"))

    spoil.steps = 0
    monkeypatch.setattr(torch.optim.AdamW, "step", spoil)
    with pytest.raises(TrainingFailed, match="weights are not finite numbers after step 25"):
        go(tmp_path / "run", recipe=frequent)

    assert checkpoints(tmp_path / "run") == ["checkpoint-15", "checkpoint-20"]


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk of its own can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_keeps_the_checkpoint_before_and_the_run_goes_on(
    go: Go, frequent: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, megabytes=4):
        with stopping("stage 1/2", step=12):
            go(disk / "run", recipe=frequent)
        assert checkpoints(disk / "run") == ["checkpoint-10", "checkpoint-5"]
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 60_000))
        with pytest.raises(OutputUnwritable, match=r"no space is left on .*run.*a checkpoint"):
            go(disk / "run", recipe=frequent)
        assert checkpoints(disk / "run") == ["checkpoint-10", "checkpoint-5"]
        assert not list(disk.glob("run/**/*.partial"))
        filler.unlink()
        assert go(disk / "run", recipe=frequent).student.is_dir()
        assert not checkpoints(disk / "run")


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), RuntimeError("I/O error (os error 28)")],
    ids=["number", "text"],
)
def test_what_says_that_a_disk_is_full(tmp_path: Path, error: Exception) -> None:
    from augment.contract.files import commit_folder

    def fill(folder: Path) -> None:
        (folder / "half").touch()
        raise error

    with pytest.raises(OutputUnwritable, match="no space is left") as caught:
        commit_folder(tmp_path / "deep" / "model", fill)

    assert caught.value.exit_code == 3
    assert list((tmp_path / "deep").iterdir()) == []


def test_other_errors_while_writing_are_told_as_they_are(tmp_path: Path) -> None:
    from augment.contract.files import commit_folder

    def fill(folder: Path) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        commit_folder(tmp_path / "model", fill)


def test_a_run_whose_teacher_or_version_went_away(
    go: Go, tmp_path: Path, teacher: Path, version: Version
) -> None:
    here = tmp_path / "teacher"
    shutil.copytree(teacher, here)
    with stopping("stage 1/2", step=12):
        go(tmp_path / "run", teacher=here)
    here.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelNotFound, match="there is no model folder") as caught:
        go(tmp_path / "run", teacher=here)

    assert "was begun with a model of that name" in caught.value.hint

    splits = {"train": mood_rows(100, 7), "validation": mood_rows(20, 8)}
    other = write_version(tmp_path / "versions", SENTIMENT, splits)
    with pytest.raises(RunDiffers, match=f"version: {version.manifest.id[:12]} there") as caught:
        go(tmp_path / "run", teacher=tmp_path / "elsewhere", version=other)

    assert f"@{version.manifest.id[:12]}" in caught.value.hint

    assert go(tmp_path / "run", teacher=tmp_path / "elsewhere").student.is_dir()


def test_a_version_whose_files_changed_is_refused_at_resume(
    go: Go, tmp_path: Path, version: Version
) -> None:
    copy = tmp_path / "mood" / "v0001"
    shutil.copytree(version.path, copy)
    with stopping("stage 1/2", step=12):
        go(tmp_path / "run", version=open_version(copy))
    file = next(copy.glob("data/train-*"))
    body = bytearray(file.read_bytes())
    body[100] ^= 1
    file.write_bytes(body)
    with pytest.raises(Exception, match="has digest") as caught:
        go(tmp_path / "run", version=str(copy))

    assert caught.value.exit_code == 3
