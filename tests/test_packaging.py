"""The built wheel: its top level is exactly the two packages, with everything they ship."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests import smoke
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


def test_a_release_has_one_number_and_says_how_to_cite_it() -> None:
    """pyproject.toml, CITATION.cff and the changelog agree; the paper is cited, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["version"] == project["version"]
    assert cited["license"] == project["license"]
    assert [each["doi"] for each in cited["references"]]
    assert re.search(rf"^## (\[?{re.escape(project['version'])}\]?|Unreleased)", changes, re.M)


def test_what_a_release_is_tried_with_are_commands_of_ours() -> None:
    """``make release-check`` runs these in an environment without extras."""
    assert {command[0] for command in smoke.COMMANDS} == set(project_scripts())
    assert all(path.exists() for path in (smoke.SAMPLE, smoke.TOPICS))


def project_scripts() -> dict[str, str]:
    """The commands that an installation brings."""
    read = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(read["project"]["scripts"])
