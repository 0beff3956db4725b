"""What a run ends with (pages, exports, cards, results), on full disks and in killed processes.

A kill falls just before a change of the disk. Afterwards the result is not there, or is the whole
one, and the same call ends with it; nothing is left beside it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from augment.analysis import report as of_version
from augment.contract import OutputUnwritable, Version, sha256_file
from augment.contract.page import write_page
from distill import pipeline
from distill.inference.forms import chosen_form
from distill.reports import writing as of_runs
from distill.runs.directory import PLAIN_STUDENT, STUDENT, RunDirectory
from distill.runs.listing import State, Unreadable, open_run
from distill.runs.records import read_json
from distill.serving import smallest
from tests.reliability.faults import PAGE, Disk
from tests.unit.distill.made_runs import make_answers, make_result, make_run

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
MOMENTS = (1, 2, 3, 5, 9, 17, 31, 63)


@dataclass(frozen=True)
class Job:
    """Something that is written last.

    Attributes:
        begin: Puts into a folder what comes before it.
        make: Makes it there; the same call again finds it there.
        found: Digests of what must be the same however it came about; nothing where it is not
            there. It fails where something half-written is taken for it.
    """

    make: Callable[[Path], object]
    found: Callable[[Path], dict[str, str]]
    begin: Callable[[Path], object] = lambda _: None

    def folder(self, place: Path) -> Path:
        """A new folder where it can be made."""
        place.mkdir()
        self.begin(place)
        return place


def digests(*files: Path) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in files if file.exists()}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a run."""
    folder = tmp_path_factory.mktemp("pages")
    return of_runs.write_report(make_run(folder / "run"), folder / "page.html").read_text()


@pytest.fixture
def jobs(
    page: str,
    teacher: Path,
    version: Version,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Job]:
    """Each costs some hundredths of a second: what is measured and drawn is made before."""
    monkeypatch.setattr("distill.evaluation.cost.REPEATS", 1)
    monkeypatch.setattr("distill.evaluation.end_to_end.MOST_SECONDS", 0.0)
    monkeypatch.setattr(smallest, "_forms", lambda _: ("transformers",))
    done = make_run(tmp_path / "done")
    result = make_result(make_answers(("negative", "positive"), 60, "row"), "mood", "a" * 64)

    def report(folder: Path) -> None:
        with mock.patch.object(of_runs, "_fitting", return_value=page):
            of_runs.write_report(done, folder / "page.html")

    def export(folder: Path) -> None:
        smallest.export_smallest(str(teacher), version, out=folder / "export", quiet=True)

    def exported(folder: Path) -> dict[str, str]:
        out = folder / "export"
        if not out.exists():
            return {}
        assert (out / "README.md").read_text().startswith("---")
        return digests(chosen_form(out) / "model.safetensors")

    def trained(folder: Path) -> None:
        run = make_run(folder / "run", finished=False)
        shutil.copytree(teacher, run / STUDENT)
        (run / PLAIN_STUDENT).mkdir()

    def end(folder: Path) -> None:
        identity = read_json(folder / "run" / "run.json", dict[str, Any])
        context = mock.Mock(run=RunDirectory(folder / "run").of(identity))
        with mock.patch.object(pipeline, "compare", return_value=result):
            pipeline.finish(context, mock.Mock(), {}, identity, (STUDENT, PLAIN_STUDENT))

    def ended(folder: Path) -> dict[str, str]:
        run = folder / "run"
        try:
            finished = open_run(run).state is State.FINISHED
        except Unreadable as cut:
            finished = "Repeat the command" not in cut.hint
        if not finished:
            return {}
        assert (run / STUDENT / "README.md").read_text().startswith("---")
        return digests(run / "result.json", run / STUDENT / "model.safetensors")

    return {
        "distill report": Job(report, lambda folder: digests(folder / "page.html")),
        "augment report": Job(
            lambda folder: of_version.write_report(version, folder / "page.html"),
            lambda folder: digests(folder / "page.html"),
        ),
        "export": Job(export, exported),
        "card and result": Job(end, ended, trained),
    }


NAMES = ("distill report", "augment report", "export", "card and result")


def survives(work: Callable[[], object], place: Path, changes: int) -> bool:
    """Whether some work in a fork of this process ends before so many changes of the disk."""
    pid = os.fork()
    if not pid:
        count = itertools.count(1)

        def before(event: str, given: tuple) -> None:
            written = event == "open" and given[2] & os.O_ACCMODE != os.O_RDONLY
            ours = (event in CHANGES or written) and str(given[0]).startswith(str(place))
            if ours and next(count) == changes:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(before)
            work()
        finally:
            os._exit(0)
    return not os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def left(folder: Path) -> list[str]:
    """Hidden files and folders beside what was made."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", NAMES)
def test_killed_before_any_change_it_is_made_by_the_same_call(
    jobs: dict[str, Job], name: str, tmp_path: Path
) -> None:
    job, killed = jobs[name], 0
    calm = job.folder(tmp_path / "calm")
    job.make(calm)
    expected = job.found(calm)
    assert expected
    for moment in MOMENTS:
        place = job.folder(tmp_path / f"killed-{moment}")
        if survives(lambda place=place: job.make(place), place, moment):
            break
        killed += 1
        assert job.found(place) in ({}, expected), moment
        job.make(place)
        assert job.found(place) == expected, moment
        assert not left(place), moment
    assert killed >= 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        made = Disk(tmp_path / "disk")
    except Exception as error:
        pytest.skip(f"a small disk cannot be mounted here (that takes root): {error}")
    yield made
    made.remove()


@pytest.mark.parametrize("name", NAMES)
def test_on_a_full_disk_it_is_a_sentence_and_what_was_there_stays(
    jobs: dict[str, Job], name: str, tmp_path: Path, disk: Disk
) -> None:
    job, refused = jobs[name], list[OutputUnwritable]()
    calm = job.folder(tmp_path / "calm")
    job.make(calm)
    expected = job.found(calm)
    for pages in (1, 3):
        place = job.folder(disk.folder / f"room-{pages}")
        stat = os.statvfs(disk.folder)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        disk.change(f"size={used + pages * PAGE}")
        try:
            job.make(place)
        except OutputUnwritable as full:
            refused.append(full)
        finally:
            disk.heal()
        assert job.found(place) in ({}, expected)
        job.make(place)
        assert job.found(place) == expected
        assert not left(place)
    assert refused
    assert all("no space is left" in own.problem and own.exit_code == 3 for own in refused)


def test_a_page_that_was_there_is_kept_on_a_full_disk(disk: Disk) -> None:
    page = disk.folder / "page.html"
    write_page(page, lambda: "first")
    stat = os.statvfs(disk.folder)
    disk.change(f"size={(stat.f_blocks - stat.f_bfree) * stat.f_frsize}")
    with pytest.raises(OutputUnwritable):
        write_page(page, lambda: "second " * 10_000)
    disk.heal()
    assert page.read_text() == "first"
    assert os.listdir(disk.folder) == ["page.html"]
