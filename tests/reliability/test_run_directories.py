"""Run directories after bad days: the complete result with its digest, or a sentence.

One finished and one half-finished run, copied for each damage; then the same command again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from filelock import FileLock

from augment.contract import Fault, sha256_file
from distill import distill_task
from distill.ablation import ablate_task
from distill.data.scratch import scratch
from distill.errors import ModelInvalid
from distill.evaluation import evaluate as evaluation
from distill.evaluation.compare import evaluate_models
from distill.evaluation.evaluate import Fitness
from distill.evaluation.results import Latency
from distill.general import distill_general
from distill.teacher import fine_tune_teacher
from distill.training.budget import Budget
from tests.unit.distill.helpers import (
    SENTIMENT,
    at_step,
    make_bert,
    make_tokenizer,
    mood_rows,
    save,
    stopping,
    write_version,
    written,
)
from tests.unit.distill.test_blocks import write_text

RECIPE = """
seed = {seed}
max_length = 16
precision = "float32"

[teacher]
max_steps = 4
batch_size = 8
evaluations = 2

[intermediate]
max_steps = 4
batch_size = 8

[prediction]
max_steps = 8
batch_size = 8
learning_rate = 2e-3
evaluations = 4

[plain]
max_steps = 2
batch_size = 8
evaluations = 1

[general]
length = 32
min_length = 6
evaluations = 2
held_out = 0.1
"""
LAST = "work/prediction/checkpoints/checkpoint-6"
Go = Callable[..., Any]
Damage = Callable[[Path], object]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One thread, and nothing is timed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    speed = Latency(batch_1=1.0, throughput_32=1.0, device="cpu", threads=1)
    with mock.patch.object(evaluation, "measure_latency", lambda targets: [speed] * len(targets)):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version, a teacher, an encoder, a text and two recipes."""
    place, reader = tmp_path_factory.mktemp("place"), make_tokenizer()
    splits = {"train": mood_rows(48, 1, variants=2), "validation": mood_rows(16, 2)}
    write_version(place, SENTIMENT, splits)
    save(make_bert(reader, layers=2), reader, place / "teacher")
    write_text(place / "text.txt", 6_000)
    for seed in (3, 4):
        (place / f"{seed}.toml").write_text(RECIPE.format(seed=seed))
    return place


@pytest.fixture(scope="module")
def go(place: Path) -> Go:
    version = next(place.glob("*/v0001"))

    def run(out: Path, *, seed: int = 3, **changes: Any) -> Any:
        settings = {"version": version, "teacher": place / "teacher", "student": "1x16-32-4"}
        more = {"recipe": place / f"{seed}.toml", "allow_weak_teacher": True}
        return distill_task(out=out, **(settings | more | changes))

    return run


@pytest.fixture(scope="module")
def calm(go: Go, place: Path) -> Path:
    return go(place / "calm").path


@pytest.fixture(scope="module")
def half(go: Go, place: Path) -> Path:
    """In stage 2, after three checkpoints of four."""
    with stopping("stage 2/2", step=7):
        go(place / "half")
    assert sorted(path.name for path in (place / "half" / LAST).parent.iterdir())[-1] in LAST
    return place / "half"


@pytest.fixture(scope="module")
def other(go: Go, place: Path) -> Path:
    """Another run, as far."""
    with stopping("stage 2/2", step=7):
        go(place / "other", seed=4)
    return place / "other"


def copy(run: Path, to: Path) -> Path:
    shutil.copytree(run, to / "run")
    return to / "run"


def outcome(run: Path) -> Any:
    """Digests of both students, and what was measured."""
    files = [run / at / "model.safetensors" for at in ("student", "plain-student")]
    scores = json.loads((run / "result.json").read_text())["models"]
    return [sha256_file(file) for file in files], [model["scores"] for model in scores]


def replace_by_folder(file: Path) -> None:
    file.unlink()
    (file / "in").mkdir(parents=True)


def negate(file: Path) -> None:
    """All as long as before; of JSON, one digit is another one."""
    body = file.read_bytes()
    if file.suffix in (".json", ".seal"):
        digit = next(chr(x) for x in body if chr(x).isdigit())
        file.write_bytes(body.replace(digit.encode(), b"7" if digit != "7" else b"1"))
    else:
        file.write_bytes(bytes(byte ^ 0x80 for byte in body))


DAMAGES: dict[str, Damage] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_bytes(b"\xff\xfe not what it was \x00"),
    "list": lambda file: file.write_text("[]"),
    "null": lambda file: file.write_text("null"),
    "gone": lambda file: file.unlink(),
    "folder": replace_by_folder,
    "negated": negate,
}
MADE_AGAIN = (
    "work/teacher-judgment.json",
    "work/tokens/train-*.arrow",
    "work/tokens/validation-*.arrow",
    "work/tokens/.train-*.seal",
    "work/soft-labels/soft-labels-1.f32",
    "work/soft-labels/.soft-labels-1.f32.seal",
    "work/intermediate/student/model.safetensors",
    "work/intermediate/student/config.json",
    "work/intermediate/student/tokenizer.json",
    "work/intermediate/.student.seal",
    f"{LAST}/model.safetensors",
    f"{LAST}/optimizer.pt",
    f"{LAST}/scheduler.pt",
    f"{LAST}/rng_state.pth",
    f"{LAST}/trainer_state.json",
    f"{LAST}/complete",
    ".run.json.seal",
    "metrics.jsonl",
)


def found(run: Path, pattern: str) -> Path:
    return next(run.glob(pattern))


def test_a_log_or_a_seal_that_is_a_folder(half: Path, calm: Path, go: Go, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    for name in ("metrics.jsonl", ".run.json.seal"):
        DAMAGES["folder"](run / name)
    with pytest.raises(Fault, match=r"metrics\.jsonl cannot be read") as caught:
        go(run, quiet=True)

    assert "folder" in caught.value.hint
    shutil.rmtree(run / "metrics.jsonl")
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)


@pytest.mark.parametrize("damage", ["cut", "null", "negated"])
def test_whatever_can_be_made_again_is(
    damage: str, half: Path, calm: Path, go: Go, tmp_path: Path
) -> None:
    """Everything at once, but for what tells whose run it is and the log."""
    run = copy(half, tmp_path)
    for pattern in MADE_AGAIN[:-2]:
        DAMAGES[damage](found(run, pattern))
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)


GROUPS = [MADE_AGAIN[at::6] for at in range(6)]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: Path(group[0]).name)
def test_some_files_each_in_its_own_way(
    group: tuple[str, ...], half: Path, calm: Path, go: Go, tmp_path: Path
) -> None:
    run, first = copy(half, tmp_path), GROUPS.index(group)
    for number, pattern in enumerate(group):
        damage = list(DAMAGES)[(first + 3 * number) % len(DAMAGES)]
        if (pattern, damage) != ("metrics.jsonl", "folder"):
            DAMAGES[damage](found(run, pattern))
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)


@pytest.mark.parametrize("damage", ["empty", "list", "negated", "folder"])
def test_what_the_run_is_made_of_is_known_from_its_seal(
    damage: str, half: Path, calm: Path, go: Go, tmp_path: Path
) -> None:
    run = copy(half, tmp_path)
    DAMAGES[damage](run / "run.json")
    with pytest.raises(Fault, match="run") as caught:
        go(run, seed=4, quiet=True)

    assert caught.value.hint
    if damage == "folder":
        with pytest.raises(Fault, match=r"run\.json .*changed"):
            go(run, quiet=True)
        shutil.rmtree(run / "run.json")
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)
    assert sha256_file(run / "run.json") == sha256_file(calm / "run.json")


def test_a_damaged_checkpoint_gives_way_to_an_older_one(
    half: Path, calm: Path, go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(half, tmp_path)
    steps = sorted(int(p.name.split("-")[1]) for p in (run / LAST).parent.iterdir())
    DAMAGES["negated"](run / LAST / "model.safetensors")
    go(run)
    told = capsys.readouterr().err

    assert "checkpoint-6 was changed after it was written (model.safetensors)" in told
    assert f"at step {steps[0]} of 8" in told
    assert outcome(run) == outcome(calm)


FOREIGN = (
    LAST,
    "work/soft-labels",
    "work/intermediate",
    "work/teacher-judgment.json",
    "work/.teacher-judgment.json.seal",
)


@pytest.mark.parametrize("part", [*FOREIGN[:2], "all"])
def test_parts_of_another_run_change_nothing(
    part: str, half: Path, other: Path, calm: Path, go: Go, tmp_path: Path
) -> None:
    run = copy(half, tmp_path)
    for name in FOREIGN if part == "all" else (part,):
        if (run / name).is_dir():
            shutil.rmtree(run / name)
            shutil.copytree(other / name, run / name)
        else:
            shutil.copy(other / name, run / name)
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)


def test_a_checkpoint_of_another_step_or_stage_is_none(
    half: Path, calm: Path, go: Go, tmp_path: Path
) -> None:
    run = copy(half, tmp_path)
    shutil.copytree(run / LAST, (run / LAST).with_name("checkpoint-8"))
    shutil.copytree(run / LAST, run / "work/plain/checkpoints/checkpoint-2")
    (run / LAST).with_name("checkpoint-x").mkdir()
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)
    assert not list(run.glob("work/*/checkpoints"))


def test_a_result_of_another_run_finishes_nothing(
    half: Path, calm: Path, go: Go, tmp_path: Path
) -> None:
    run = copy(half, tmp_path)
    shutil.copy(calm / "result.json", run)
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)


@pytest.mark.parametrize("damage", ["cut", "list", "negated", "folder"])
def test_a_damaged_result_is_measured_again(
    damage: str, calm: Path, go: Go, tmp_path: Path
) -> None:
    run = copy(calm, tmp_path)
    before = outcome(run)
    DAMAGES[damage](run / "result.json")
    if damage == "folder":
        with pytest.raises(Fault, match=r"result\.json is a folder"):
            go(run, quiet=True)
        shutil.rmtree(run / "result.json")
    shutil.rmtree(run / "work")  # whatever was in it is not needed for that
    go(run, quiet=True)

    assert outcome(run) == before
    assert not (run / "work" / "intermediate").exists()


@pytest.mark.parametrize("damage", ["cut", "list", "gone", "folder"])
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_student_is_named_by_every_command(
    file: str, damage: str, calm: Path, go: Go, place: Path, tmp_path: Path
) -> None:
    run = copy(calm, tmp_path)
    DAMAGES[damage](run / "student" / file)
    version = next(place.glob("*/v0001"))
    for command in (lambda: go(run, quiet=True), lambda: evaluate_models([str(run)], version)):
        with pytest.raises(ModelInvalid) as caught:
            command()
        assert str(run / "student") in caught.value.problem
        assert file in caught.value.problem
        assert "Put it back" in caught.value.hint


def test_a_student_that_is_gone_or_another_runs(
    calm: Path, go: Go, place: Path, tmp_path: Path
) -> None:
    run = copy(calm, tmp_path)
    shutil.rmtree(run / "student")
    go(run, quiet=True)

    assert outcome(run) == outcome(calm)
    shutil.rmtree(run / "student")
    shutil.copytree(place / "teacher", run / "student")
    with pytest.raises(ModelInvalid, match="student was changed after it was written"):
        go(run, quiet=True)
    with pytest.raises(ModelInvalid, match="student was changed after it was written"):
        evaluate_models([str(run)], next(place.glob("*/v0001")))
    shutil.rmtree(run / "student")
    (run / "student").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelInvalid, match="student is not there"):
        go(run, quiet=True)


def test_a_finished_run_is_read_without_writing(calm: Path, go: Go) -> None:
    before = written(calm)
    with mock.patch("distill.runs.directory.locked", side_effect=OSError(30, "read-only")):
        go(calm, quiet=True)
        go(calm, plain=False, quiet=True)
    assert written(calm) == before


def test_what_killed_processes_left_goes(half: Path, go: Go, tmp_path: Path) -> None:
    run = copy(half, tmp_path)
    (run / ".student.partial").mkdir()
    (run / ".student.partial" / "model.safetensors").touch()
    for name in (".result.json.partial", "work/tokens/.x.arrow.partial", "work/.y.json.partial"):
        (run / name).touch()
    for name in ("work/tokens", "work/prediction", "work/plain"):
        shutil.rmtree(run / name, ignore_errors=True)
        (run / name).touch()
    go(run, quiet=True)

    assert not [path for path in run.rglob("*") if "partial" in path.name]


def test_a_run_whose_folder_or_version_is_removed_meanwhile(
    place: Path, calm: Path, go: Go, tmp_path: Path
) -> None:
    version = tmp_path / "mood" / "v0001"
    shutil.copytree(next(place.glob("*/v0001")), version)
    with at_step("stage 1/2", 2, lambda: shutil.rmtree(version)):
        go(tmp_path / "one", version=version, quiet=True)

    assert outcome(tmp_path / "one") == outcome(calm)
    two = tmp_path / "two"
    with (
        at_step("stage 1/2", 2, lambda: shutil.rmtree(two)),
        pytest.raises(Fault, match="two is gone: it was removed") as caught,
    ):
        go(two, quiet=True)

    assert caught.value.exit_code == 3
    assert not two.exists()


def test_a_teacher_and_what_it_was_made_in(place: Path, tmp_path: Path) -> None:
    out, work = tmp_path / "t", tmp_path / ".t.work"
    more = {"init": str(place / "teacher"), "recipe": place / "3.toml", "quiet": True}
    version = next(place.glob("*/v0001"))
    first = fine_tune_teacher(version, out=out, **more)
    (work / "work").mkdir(parents=True)
    with FileLock(work / ".lock"):
        assert fine_tune_teacher(version, out=out, **more) == first
        assert work.is_dir(), "a living process is at work there"
    assert fine_tune_teacher(version, out=out, **more) == first
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    for damage in ("cut", "negated", "gone", "folder"):
        for name in ("model.safetensors", "teacher.json", ".seal"):
            shutil.rmtree(tmp_path / "kept", ignore_errors=True)
            shutil.copytree(out, tmp_path / "kept")
            DAMAGES[damage](tmp_path / "kept" / name)
            with pytest.raises(Fault, match=r"kept (exists|was|cannot)") as caught:
                fine_tune_teacher(version, out=tmp_path / "kept", **more)
            assert caught.value.hint


def test_a_general_run(place: Path, tmp_path: Path) -> None:
    def go() -> Any:
        result = distill_general(
            place / "text.txt",
            teacher=place / "teacher",
            student="1x16-32-4",
            out=tmp_path / "run",
            recipe=place / "3.toml",
            budget=Budget(tokens=1_500),
            quiet=True,
        )
        return result, sha256_file(tmp_path / "run" / "student" / "model.safetensors")

    first = go()
    for number, name in enumerate(("result.json", "plan.json", "run.json", "metrics.jsonl")):
        DAMAGES[list(DAMAGES)[number]](tmp_path / "run" / name)
        assert go() == first
    for pattern in ("blocks.arrow", "counts.json"):
        DAMAGES["negated"](found(tmp_path / "run", f"work/tokens/*/{pattern}"))
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(tmp_path / "run" / "student")

    assert go() == first
    DAMAGES["negated"](tmp_path / "run" / "student" / "model.safetensors")
    with pytest.raises(ModelInvalid, match="student was changed"):
        go()


def test_an_ablation_shares_only_what_is_whole(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "ablation"

    def go() -> Any:
        return ablate_task(
            next(place.glob("*/v0001")),
            teacher=str(place / "teacher"),
            student="1x16-32-4",
            out=out,
            recipe=place / "3.toml",
            arms=["no-pred"],
            quiet=True,
        )

    with mock.patch("distill.pipeline.fitness", return_value=Fitness(1.0, 0.5, "")):
        first = go()
        students = {file: sha256_file(file) for file in out.glob("arms/*/student/*.safetensors")}
        for pattern in ("work/first-stages/*/model.safetensors", "work/tokens/train-*.arrow"):
            DAMAGES["negated"](found(out, pattern))
        shutil.rmtree(out / "arms" / "no-pred-seed0" / "student")
        DAMAGES["cut"](out / "result.json")

        assert go() == first
    assert {file: sha256_file(file) for file in students} == students


def test_scratch_folders_of_killed_processes_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("distill-dead", "distill-living", "other-dead"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".lock").touch()
    with FileLock(tmp_path / "distill-living" / ".lock"), scratch() as folder:
        left = sorted(path.name for path in tmp_path.iterdir() if path != folder)

        assert left == ["distill-living", "other-dead"]
