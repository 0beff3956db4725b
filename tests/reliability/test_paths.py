"""Places that cannot be used: every parameter of every command says so, with the exit code of it.

The parameters are those of the applications, so that a new option is tried without being named.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from augment.contract import Fault, Version
from distill import distill_general, distill_task
from distill.ablation import ablate_task
from distill.serving.export import export_model
from distill.serving.glue_submission import check_submission
from distill.serving.predict import write_predictions
from distill.serving.trim import trim_model
from distill.teacher import fine_tune_teacher
from tests.reliability.commands import Parameter, call, numbers, places, refused

NO_NAMES = (
    *("", "a\0b", "a\udcff", "n" * 300, "ü" * 128),
    *("runs/" + "n" * 256 + "/x", "n/" * 5000 + "n" * 256),
)
PLACES = list(places())
MAY_DO_WITHOUT = (
    "augment run --store", "augment run --vectors-cache", "augment plan --vectors-cache",
    "augment preview --vectors-cache", "augment list root", "augment store folder",
    "augment vectors folder",
)  # fmt: skip
"""What is kept there spares time, or nothing lies there."""
SOAK = bool(os.environ.get("RELIABILITY_SOAK"))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_what_can_be_no_name_is_refused(place: Parameter) -> None:
    at = PLACES.index(place)
    for value in NO_NAMES if SOAK else (NO_NAMES * 2)[at % len(NO_NAMES) :][:2]:
        found = call(place.command, {place.name: value})
        assert found.exit_code == 2, found.output
        assert (place.option or "an argument") in refused(found)


@pytest.mark.parametrize("asked", list(numbers()), ids=str)
def test_what_no_library_can_count_is_refused(asked: Parameter) -> None:
    for value in ("9" * 20, "nan", "1e400", "-1"):
        needed = {place.name: "x" for place in PLACES if place.command == asked.command}
        found = call(asked.command, needed | {asked.name: value})
        assert found.exit_code == 2, found.output
        assert asked.option in refused(found)


@pytest.mark.parametrize("value", [*NO_NAMES, "/dev/null/x", "."], ids=lambda value: value[:9])
def test_the_python_api_refuses_the_same_names(
    value: str, version: Version, teacher: Path, encoder: Path, recipe: Path, tmp_path: Path
) -> None:
    untuned, shape = {"teacher": encoder, "quiet": True}, {"student": "2x16-32-4", "out": value}
    tuned = {**untuned, "teacher": str(teacher)}
    (tmp_path / "text.txt").write_text("a good film\n" * 50)
    at = tmp_path / "here"
    at.mkdir()
    (at / "file").touch()
    with contextlib.chdir(at):
        for call_it in (
            lambda: distill_task(version, **{**shape, **tuned, "teacher": value, "out": "new"}),
            lambda: distill_general(value, **{**shape, **untuned, "out": "new"}),
            lambda: check_submission(Path(value)),
            lambda: distill_task(version, **shape, **tuned, recipe=recipe),
            lambda: distill_general(tmp_path / "text.txt", **shape, **untuned),
            lambda: ablate_task(version, **shape, **tuned, recipe=recipe),
            lambda: fine_tune_teacher(version, init=str(encoder), out=value, quiet=True),
            lambda: export_model(str(teacher), version, out=value, quiet=True),
            lambda: trim_model(str(teacher), version, out=value, quiet=True),
            lambda: write_predictions(str(teacher), version, out=value, quiet=True),
        ):
            with pytest.raises(Fault) as caught:
                call_it()
            assert caught.value.exit_code in (2, 3, 4), value

    assert [path.name for path in at.rglob("*")] == ["file"]


@pytest.fixture
def good(
    mlm_dir: Path,
    vectors_file: Path,
    version: Version,
    teacher: Path,
    encoder: Path,
    recipe: Path,
    tmp_path: Path,
) -> Callable[[str], dict[str, str]]:
    """Values with which a command would begin its work."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a good film\n" * 50)
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.csv").write_text("sentence,label\na good film,1\nthe slow red dog,0\n")
    (source / "validation.csv").write_text("sentence,label\nfine music,1\n")
    both = {"vectors": vectors_file, "mlm": mlm_dir, "version": version.path, "text": "a film"}
    of = {
        "augment": {"task": "sst2", "source": source, "reference": version.path,
                    "first": version.path, "second": version.path, "data": source / "train.csv",
                    "root": version.path.parent, "out": tmp_path / "out"},
        "distill": {"teacher": teacher, "student": "2x16-32-4", "out": tmp_path / "out",
                    "recipe": recipe, "init": encoder, "model": teacher, "models": teacher,
                    "corpus": corpus},
    }  # fmt: skip

    def values(command: str) -> dict[str, str]:
        found = {**both, **of[command.split(maxsplit=1)[0]]}
        if command == "distill general":
            found |= {"teacher": encoder}
            found.pop("recipe")
        if command == "augment add":
            (source / "rows.csv").write_text("sentence,label\nthe quick green cat,1\n")
            found |= {"rows": source / "rows.csv", "source": "paraphrase"}
        if command == "augment filter":
            found |= {"recipe": "official"}
        if command == "augment merge":
            (source / "more.csv").write_text("sentence,label\nthe quick green cat,1\n")
            rows = {"rows": str(source / "more.csv"), "source": "mt", "out": str(source)}
            call("augment add", {"version": str(version.path)} | rows)
            found |= {"versions": "\n".join(map(str, [version.path, *source.glob("*/v*")]))}
        if command == "augment init":
            (source / "rows.csv").write_text("sentence,label\n" + "good,1\ndull,0\nfine,1\nbad,0\n")
            found |= {"data": source / "rows.csv", "split": "50/50"}
        if command in ("distill predict", "augment run", "augment init"):
            found.pop("text")  # a version is answered; there it is a column
        if command == "distill report":
            found |= {"runs": teacher}
        if command in ("distill run", "distill general", "distill doctor", "distill ablate"):
            found.pop("init")
        if command in ("augment vectors", "augment store"):
            found = {}
        return {name: str(value) for name, value in found.items()}

    return values


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, Path]:
    """Places that are there and cannot be used, whatever for."""
    file, circle, pipe = tmp_path / "file", tmp_path / "circle", tmp_path / "pipe"
    file.write_text("x")
    circle.symlink_to(circle)
    os.mkfifo(pipe)
    return {"under": file / "x" / "y", "circle": circle, "device": Path("/dev/null"), "pipe": pipe}


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Nothing waits for a pipe that nobody writes to."""

    def late(*_: object) -> None:
        raise AssertionError("a command waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_place_that_cannot_be_used_is_refused(
    place: Parameter, good: Callable[[str], dict[str, str]], bad: dict[str, Path]
) -> None:
    few = list(bad) if place.name == "out" else ["under", "pipe"]
    if place.command == "distill doctor" and place.name == "out":
        few = []  # it looks at everything else first
    for kind in bad if SOAK else few:
        found = call(place.command, {**good(place.command), place.name: str(bad[kind])})
        if found.exit_code == 0 and str(place) in MAY_DO_WITHOUT:
            continue
        assert found.exit_code in (2, 3, 4), (kind, found.output)
        refused(found)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "read-only"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here (that takes root): {error}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("place", [p for p in PLACES if p.name == "out"], ids=str)
def test_a_read_only_place_is_refused(
    place: Parameter, good: Callable[[str], dict[str, str]], read_only: Path
) -> None:
    if place.command == "distill doctor" and not SOAK:
        pytest.skip("it looks at everything else first")
    end = ".html" if place.command.endswith(" report") else ""
    for out in (read_only, read_only / f"out{end}", read_only / "a" / f"b{end}"):
        found = call(place.command, {**good(place.command), "out": str(out)})
        assert found.exit_code in ((2, 3) if out == read_only else (3,)), found.output
        refused(found)
