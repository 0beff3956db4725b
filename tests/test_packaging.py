"""The built wheel: its top level is exactly the two packages, with everything they ship."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    wheel: Path = next(folder.glob("*.whl"))
    return zipfile.ZipFile(wheel).namelist()


def test_top_level(names: list[str]) -> None:
    top = {name.split("/")[0] for name in names}

    assert {name for name in top if not name.endswith(".dist-info")} == {"augment", "distill"}


@pytest.mark.parametrize("package", ["augment", "distill"])
def test_everything_is_shipped(names: list[str], package: str) -> None:
    """Modules, recipes, word lists and the typing marker: whatever lies in the source tree."""
    source = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]

    assert f"{package}/py.typed" in names
    assert sorted(source) == sorted(name for name in names if name.startswith(f"{package}/"))
    assert len(source) > 15
