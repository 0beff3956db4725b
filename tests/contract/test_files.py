"""Places on a disk: what cannot be used is said, and told apart from what is not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from augment.contract import OutputUnwritable, UsageError
from augment.contract.errors import PlaceUnusable
from augment.contract.files import check_output, locked, os_fault


def test_a_lock_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable, match="it is a folder"), locked(tmp_path):
        pass


def test_a_place_for_a_result(tmp_path: Path) -> None:
    file, circle = tmp_path / "file", tmp_path / "circle"
    file.write_text("x")
    circle.symlink_to(circle)
    for good in (tmp_path, file, tmp_path / "a" / "b", Path("relative")):
        check_output(good)
    for bad in (file / "x", circle, circle / "x"):
        with pytest.raises(OutputUnwritable, match="cannot be written"):
            check_output(bad)
    with pytest.raises(UsageError, match="a name of 300 bytes"):
        check_output(tmp_path / ("n" * 300))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "file"]


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, OutputUnwritable, "no space is left on the disk of x"),
        (errno.EACCES, PlaceUnusable, "x cannot be used: there is no permission"),
        (errno.ESTALE, PlaceUnusable, "x cannot be used: stale file handle"),
    ],
)
def test_what_the_system_refused(number: int, kind: type[Exception], said: str) -> None:
    fault = os_fault(OSError(number, os.strerror(number), "x"))

    assert type(fault) is kind
    assert fault.exit_code == 3
    assert said in str(fault)
