"""stdout and stderr that are closed, full, cut off or of another encoding end no command."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from augment.contract import Version
from tests.conftest import ROOT


def shell(line: str, version: Version, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell, with the version as ``$V`` and the command ``augment`` as ``$A``."""
    command = f"{sys.executable} -m augment.cli"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, "A": command, "V": str(version.path), **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$A show $V | head -1 | grep -q mood", 0, ""),
        ("$A show $V --json | head -c 10 > /dev/null", 0, ""),
        ("$A --help | true", 0, ""),
        ("$A show $V >&-", 0, ""),
        ("$A show $V 2>&- | grep -q mood", 0, ""),
        ("$A show $V <&- >&- 2>&-", 0, ""),
        ("$A show $V > /dev/full", 3, "no space is left"),
        ("$A list /nowhere 2> /dev/full", 0, ""),
        ("$A show nothing 2> /dev/full", 3, ""),
    ],
)
def test_streams_that_fail(version: Version, line: str, code: int, said: str) -> None:
    found = shell(line, version)

    assert found.returncode == code, found
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert "Exception" not in found.stderr


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}]
)
def test_another_encoding(version: Version, environment: dict[str, str]) -> None:
    for line in ("$A show $V", "$A show $V --json", "$A recipe sst2", "$A --help", "$A show ünï"):
        found = shell(line, version, **environment)
        assert "Traceback" not in found.stderr
        assert found.returncode in ((2, 3) if "ünï" in line else (0,)), found
        if "--json" in line:
            assert json.loads(found.stdout)["id"] == version.manifest.id
