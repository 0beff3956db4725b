"""What is finished is read, listed, verified and found again without writing anything."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from augment import augment_task
from augment.cli import app
from augment.contract import OutputUnwritable, Version, open_version
from augment.progress import Narrator
from augment.recipes.schema import AugmentRecipe

Make = Callable[..., Version]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory, of which the test may take the right to write."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here (that takes root): {error}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def remount(disk: Path, right: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{right}", disk], check=True, capture_output=True)


@pytest.fixture
def make(mlm_dir: Path, vectors_file: Path, tmp_path: Path, disk: Path) -> Make:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.csv").write_text("sentence,label\na good film,1\nthe slow red dog,0\n")
    (source / "validation.csv").write_text("sentence,label\nfine,1\n")

    def go(variants: int = 5, **options: Any) -> Version:
        return augment_task(
            "sst2",
            source=str(source),
            mlm=str(mlm_dir),
            vectors=str(vectors_file),
            out=disk / "out",
            recipe=AugmentRecipe(variants=variants, top_k=5, keep_rejected=True),
            store=disk / "out" / ".candidates",
            **options,
        )

    return go


class Said(Narrator):
    """What a run says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, label: str, text: str) -> None:
        self.said.append(f"{label}: {text}")


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time."""
    stats = {str(path): path.stat() for path in folder.rglob("*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def test_a_finished_version_on_a_read_only_disk(make: Make, disk: Path) -> None:
    version = make()
    task = version.path.parent
    (task / f".lock-{'a' * 12}").touch()  # left by killed runs
    (task / f".partial-{'b' * 12}" / "chunks").mkdir(parents=True)
    before = everything(disk)
    remount(disk, "ro")
    place = str(version.path)
    commands = {
        "list": [str(disk / "out")], "show": [place], "verify": [place], "stats": [place],
        "diff": [place, place], "store": [str(disk / "out" / ".candidates")],
    }  # fmt: skip
    for command, arguments in {**commands, "show ": [place, "--rejected"]}.items():
        found = CliRunner().invoke(app, [command.strip(), *arguments])
        assert (found.exit_code, found.stdout != "") == (0, True), found.output
    said = Said()

    assert make(narrator=said).manifest == version.manifest
    assert any(line.startswith("nothing to do") for line in said.said)
    with pytest.raises(OutputUnwritable):
        make(variants=6)
    assert everything(disk) == before
    remount(disk, "rw")
    make()
    assert [path.name for path in task.iterdir()] == ["v0001"]


def test_a_finished_version_is_found_without_writing(make: Make, disk: Path) -> None:
    """Also where it could."""
    version = make()
    before = everything(disk)
    times = os.stat(version.path.parent).st_mtime_ns

    assert make().manifest == version.manifest
    assert everything(disk) == before
    assert os.stat(version.path.parent).st_mtime_ns == times


def test_a_damaged_neighbor_stops_nothing(make: Make, disk: Path) -> None:
    """Another version's manifest is no manifest: a run is found, a new one is made, all listed."""
    first, second = make(), make(variants=6)
    (first.path / "manifest.json").write_text("{")

    assert make(variants=6).path == second.path
    assert make(variants=7).path.name == "v0003"
    assert make().path.name == "v0004"  # what is not readable is made again
    root = second.path.parent
    assert open_version(f"{root}@{second.manifest.id[:8]}").path == second.path
    found = CliRunner().invoke(app, ["list", str(root)])
    assert all(name in found.stdout for name in ("v0002", "v0003", "v0004"))
    assert (found.exit_code, "manifest.json" in found.output) == (3, True)
