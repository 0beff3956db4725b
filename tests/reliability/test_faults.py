"""A short, fixed part of the soak: one fault of each kind, each command struck at least once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.reliability.faults import FAULTS
from tests.reliability.jobs import JOBS


@pytest.mark.skipif(os.geteuid() != 0, reason="small disks are mounted, which takes root")
def test_after_each_fault_the_same_command_ends_with_the_complete_result(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.reliability.soak",
            "--faults",
            str(len(FAULTS)),
            "--json",
            str(counts),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if "must be superuser" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr[-200:]}")
    found = json.loads(counts.read_text())
    assert found["wrong"] == []
    assert set(found["by fault"].values()) == {1}
    assert found["by fault"].keys() == FAULTS.keys()
    assert found["by command"].keys() == {job.name for job in JOBS}
    assert done.returncode == 0
