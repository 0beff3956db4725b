"""Where the code of others comes from: what is declared, what the locks pin, what is installed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT

BASE, DEV = "requirements.lock", "requirements-dev.lock"
LOCKS = [BASE, DEV, "requirements-cpu.lock", "requirements-cuda.lock"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
BUILD = {name: Requirement(name) for name in ("hatchling", "editables")}
"""What installs the checkout itself."""

FREE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python"),
    *("ISC", "LLVM-exception", "MIT", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib"),
}
"""SPDX names of licenses that ask for no more than a notice."""
SPOKEN = {
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages without an SPDX expression call theirs."""
UNSAID = {"mlcroissant": "Apache-2.0"}
"""What a package's repository says, where its wheel says nothing."""
COPYLEFT = {
    "certifi": "MPL-2.0",
    "gensim": "LGPL-2.1-only",
    "hypothesis": "MPL-2.0",
    "pathspec": "MPL-2.0",
    "tqdm": "MPL-2.0",
}
"""Used unchanged, as libraries, and not shipped: what these ask for is kept by that."""
TOOLS = {"atheris", "IPython"}
"""What longer checks ask for by name, and whose shell a notebook may be; neither is needed."""


@dataclass(frozen=True)
class Pin:
    """A package of a lock with the digests of the files that may be installed."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version:
        return Version(str(self.requirement.specifier).removeprefix("=="))

    @property
    def wanted(self) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def pins(lock: str) -> list[Pin]:
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    parts = [re.split(r"\s+--hash=", line.strip()) for line in lines]
    return [Pin(Requirement(pin), tuple(hashes)) for pin, *hashes in parts]


LOCKED = {pin.name: pin for lock in ("requirements-cuda.lock", DEV, BASE) for pin in pins(lock)}


def declared(extra: str | None = None) -> dict[str, Requirement]:
    lines = PROJECT["dependencies"] if extra is None else EXTRAS[extra]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(each.name): each for each in found if each.name != PROJECT["name"]}


def reached(*groups: dict[str, Requirement]) -> dict[str, Distribution]:
    """What is installed and needed by these groups, with what that needs."""
    todo = [requirement for group in groups for requirement in group.values()]
    seen: set[str] = set()
    found: dict[str, Distribution] = {}
    while todo:
        requirement = todo.pop()
        package = found.setdefault(
            canonicalize_name(requirement.name), distribution(requirement.name)
        )
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        for each in map(Requirement, package.requires or []):
            names = {"", *requirement.extras}
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in names):
                todo.append(each)
    return found


@pytest.fixture(scope="module")
def base_used() -> dict[str, Distribution]:
    """What a user without extras needs."""
    return reached(declared(), BUILD)


@pytest.fixture(scope="module")
def used() -> dict[str, Distribution]:
    """What the project and all its extras need."""
    return reached(declared(), BUILD, *map(declared, EXTRAS))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_each_package_once_by_the_digests_of_its_files(lock: str) -> None:
    """And by nothing else: no address, no index, no option, no range."""
    found = pins(lock)

    assert found
    assert sorted({pin.name for pin in found}) == [pin.name for pin in found]
    for pin in found:
        assert re.fullmatch(r"==[\w.+!]+", str(pin.requirement.specifier)), pin
        assert pin.requirement.url is None
        assert pin.hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in pin.hashes)
        assert len(set(pin.hashes)) == len(pin.hashes)
    assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


def test_the_cpu_build_is_one_of_those_the_lock_allows() -> None:
    (cpu,) = pins("requirements-cpu.lock")

    assert cpu.name == "torch"
    assert cpu.version.public == str(LOCKED["torch"].version)
    assert set(cpu.hashes) <= set(LOCKED["torch"].hashes)


def test_setup_installs_by_digest_alone() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert "install --require-hashes --no-deps --only-binary :all:\n" in make
    assert set(re.findall(r"install .* -r (\S+)|LOCKED\).* -r (\S+)", make)) == {
        ("", lock) for lock in LOCKS
    }
    assert re.findall(r"--no-binary (\S+)", make) == ["jsonpath-rw"]


def test_what_the_project_needs_is_installed_as_locked(used: dict[str, Distribution]) -> None:
    """Everything that is reached, at the version that stands in the lock."""
    assert len(used) > 50
    assert {
        name: package.version
        for name, package in used.items()
        if name not in LOCKED or Version(package.version).public != str(LOCKED[name].version)
    } == {}


def test_what_is_locked_is_installed() -> None:
    wanted = {
        pin.name: str(pin.version) for lock in (BASE, DEV) for pin in pins(lock) if pin.wanted
    }

    assert {name: Version(version(name)).public for name in wanted} == wanted


def test_a_user_without_extras_installs_what_the_base_needs_and_no_more(
    base_used: dict[str, Distribution], used: dict[str, Distribution]
) -> None:
    """The demo waits for these downloads; what builds the project itself is among them."""
    base, dev = ({pin.name for pin in pins(lock) if pin.wanted} for lock in (BASE, DEV))

    assert base == set(base_used)
    assert dev == set(used) - base


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_pins_are_within_what_is_declared(extra: str | None) -> None:
    for name, requirement in declared(extra).items():
        assert requirement.url is None
        assert requirement.specifier.contains(LOCKED[name].version), requirement


def test_nothing_is_installed_from_an_address(used: dict[str, Distribution]) -> None:
    """pip leaves the address of what came from one, a repository or a folder."""
    assert [name for name, each in used.items() if each.read_text("direct_url.json")] == []


def licenses(package: Distribution) -> set[str]:
    data = package.metadata
    if expression := data.get("License-Expression"):
        return set(re.findall(r"[\w.+-]+", expression)) - {"AND", "OR", "WITH"}
    classifiers = [each for each in data.get_all("Classifier") or [] if each.startswith("License")]
    spoken = [each.rpartition(" :: ")[2] for each in classifiers]
    spoken = spoken or re.split(
        r" AND | OR ", data.get("License") or UNSAID.get(data["Name"], "none")
    )
    return {SPOKEN.get(each, each) for each in spoken}


def test_licenses_are_known_and_compatible(used: dict[str, Distribution]) -> None:
    ours = {name: each for name, each in used.items() if not name.startswith(("nvidia-", "cuda-"))}

    assert {
        name: found
        for name, package in ours.items()
        if (found := licenses(package) - FREE - {COPYLEFT.get(name)})
    } == {}


def imports(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            yield from (name.partition(".")[0] for name in names)


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (["augment", "distill"], ["onnx", "ray"]),
        (["tests", "data"], [*EXTRAS]),
    ],
)
def test_what_is_imported_is_declared(folders: list[str], extras: list[str]) -> None:
    own = {path.stem for folder in folders for path in (ROOT / folder).rglob("*.py")}
    own |= {*sys.stdlib_module_names, *TOOLS, "augment", "distill", "tests", "benchmarks", "docs"}
    found = {name for folder in folders for name in imports(ROOT / folder)} - own
    allowed = {name for extra in (None, *extras) for name in declared(extra)}
    owners = packages_distributions()

    assert {
        name
        for name in found
        if allowed.isdisjoint(canonicalize_name(each) for each in owners.get(name, []))
    } == set()


def test_each_direct_dependency_has_its_purpose_in_contributing() -> None:
    """A row each, in the table of its group, and no row of what is gone."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Dependencies")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| (.+) \|$", section, re.MULTILINE)
    groups = {"always": declared(), **{extra: declared(extra) for extra in EXTRAS}}

    assert sorted((canonicalize_name(name), group) for name, group, _ in rows) == sorted(
        (name, group) for group, names in groups.items() for name in names
    )
    assert all(len(purpose) > 4 for _, _, purpose in rows)


def test_a_wrong_digest_is_refused(tmp_path: Path) -> None:
    """Nothing is asked of an index: the file lies beside the lock."""
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", "--no-deps"]
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"not what was locked")
    (tmp_path / "lock").write_text(f"thing==1.0 --hash=sha256:{'0' * 64}\n")
    done = subprocess.run(
        [*command, "--find-links", str(tmp_path), "--require-hashes", "-r", str(tmp_path / "lock")],
        capture_output=True,
        text=True,
    )

    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
