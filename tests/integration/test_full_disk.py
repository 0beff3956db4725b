"""A disk that runs full: a sentence or a completed run, and the same command goes on after it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from augment.contract import OutputUnwritable, list_versions
from tests.integration.conftest import Run, digests
from tests.integration.test_engines import Meddler

PAGE = os.sysconf("SC_PAGE_SIZE")
LIMIT = 200


class Disk:
    """A file system of a few pages in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, pages: int, *flags: str) -> None:
        options = ",".join([*flags, f"size={pages * PAGE}"])
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)],
            check=True,
            capture_output=True,
        )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = Disk(folder)
    try:
        made.resize(1000)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here (that takes root): {error}")
    yield made
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def run(run: Run) -> Run:
    """Runs in small chunks."""
    return partial(run, chunk_rows=20)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_output_on_a_full_disk(run: Run, disk: Disk, workers: int) -> None:
    """From no room for the first chunk to none for the last file of the version."""
    calm = run("calm", limit=LIMIT)
    options = {"out": str(disk.folder / "out"), "limit": LIMIT, "workers": workers, "threads": 1}
    task, faults = disk.folder / "out" / "rte", []
    for pages in range(4, 1000, 9 if workers == 1 else 40):
        disk.resize(pages, "remount")
        try:
            made = run(**options)
        except OutputUnwritable as error:
            faults.append(error)
            assert not list(list_versions(task))
        else:
            break

    assert len(faults) >= (5 if workers == 1 else 2)
    assert all("no space is left" in str(fault) and fault.exit_code == 3 for fault in faults)
    assert digests(made) == digests(calm)
    assert [path.name for path in task.iterdir()] == ["v0001"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("pages", [1, 12, 40])
def test_a_store_on_a_full_disk(run: Run, disk: Disk, pages: int, workers: int) -> None:
    """It stores what it can, says so, and costs nothing but time."""
    calm = run("calm", limit=LIMIT)
    disk.resize(pages, "remount")
    narrator = Meddler()
    made = run(
        limit=LIMIT, workers=workers, threads=1, store=disk.folder / "store", narrator=narrator
    )

    assert digests(made) == digests(calm)
    assert any(
        line.startswith("store: the candidate store") and "nothing more was stored" in line
        for line in narrator.said
    )
    disk.resize(1000, "remount")
    again = run("again", limit=LIMIT, store=disk.folder / "store")
    assert digests(again) == digests(calm)
