"""Versions made from versions: killed at every write, on a full disk, changed afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from augment import write_version
from augment.contract import (
    ContractError,
    ManifestInvalid,
    OutputUnwritable,
    Version,
    list_versions,
    open_version,
    verify,
)
from augment.derive.add import add_rows
from augment.derive.filter import filter_version
from augment.derive.merge import merge_versions
from tests.integration.test_full_disk import Disk, disk
from tests.unit.augment.derived import TEA, lines, parent

__all__ = ["disk"]

Make = Callable[[Path], Version]
COMMANDS = ("add", "filter", "merge", "write")


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Make]:
    """Each command as a function of the root that it writes to; what it reads lies elsewhere."""
    folder = tmp_path_factory.mktemp("parents")
    first = parent(folder)
    rows = lines(
        folder / "rows.jsonl",
        *({"sentence": f"made {i}", "idx": (0, 1, 7)[i % 3]} for i in range(30)),
        *({"sentence": f"new {i}", "label": "bad"} for i in range(5)),
        *({"sentence": f"free {i}"} for i in range(5)),
    )
    added = add_rows(first, rows, generator="para")
    splits = {split: added.table(split) for split in added.splits}
    return {
        "add": partial(_add, first, rows),
        "filter": lambda out: filter_version(added, recipe="official", out=out),
        "merge": lambda out: merge_versions([first, added], out=out),
        "write": lambda out: write_version(TEA, splits, out=out),
    }


def _add(first: Version, rows: Path, out: Path) -> Version:
    return add_rows(first, rows, generator="para", out=out)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.derive.groups.GROUPS_A_CHUNK", 1)
    monkeypatch.setattr("augment.derive.addition._FRESH_A_CHUNK", 3)
    monkeypatch.setattr("augment.derive.write._ROWS_A_CHUNK", 10)


def facts(version: Version) -> tuple[str, list[str], dict[str, int]]:
    """What must not depend on anything."""
    manifest = version.manifest
    return manifest.id, [entry.sha256 for entry in manifest.files], manifest.counts


def killed_at(make: Make, out: Path, write: int) -> bool:
    """Make a version in a child that dies when it brings its n-th file to the disk."""
    child = os.fork()
    if not child:
        from augment.contract import files

        left, sync = [write], files.sync

        def die(path: Path) -> None:
            left[0] -= 1
            if not left[0]:
                os._exit(9)
            sync(path)

        for module in ("contract.files", "versions.staging", "versions.parquet"):
            vars(__import__(f"augment.{module}", fromlist=["x"]))["sync"] = die
        try:
            make(out)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_every_write(makers: dict[str, Make], tmp_path: Path, command: str) -> None:
    """No version before it is whole; the same call goes on, to the same bytes."""
    make = makers[command]
    calm = facts(make(tmp_path / "calm"))
    write, out = 1, tmp_path / "killed"
    while killed_at(make, out, write):
        for version in list_versions(out):
            assert facts(version) == calm  # killed behind the commit
        write += 3
    assert write > 7
    assert facts(make(out)) == calm
    assert sorted(path.name for path in (out / "tea").iterdir()) == ["v0001"]


@pytest.mark.parametrize("command", COMMANDS)
def test_on_a_full_disk(makers: dict[str, Make], disk: Disk, tmp_path: Path, command: str) -> None:
    make, out = makers[command], disk.folder / "out"
    calm = facts(make(tmp_path / "calm"))
    faults: list[str] = []
    for pages in range(3, 1000, 3):
        disk.resize(pages, "remount")
        try:
            made = make(out)
        except OutputUnwritable as error:
            faults.append(str(error))
            faults += [version.reference for version in list_versions(out) if out.exists()]
        else:
            break

    assert len(faults) > 2
    assert all("no space is left" in fault for fault in faults)
    assert facts(made) == calm
    assert [path.name for path in (out / "tea").iterdir()] == ["v0001"]


def changed(version: Version, **keys: Any) -> Path:
    """A manifest with another derivation, and nothing else changed."""
    file = version.path / "manifest.json"
    raw = json.loads(file.read_text())
    raw["derivation"] |= keys
    file.write_text(json.dumps(raw))
    return version.path


@pytest.mark.parametrize(
    "keys",
    [
        {"command": "filter"},
        {"command": "other"},
        {"parents": []},
        {"added": []},
        {"added": [{"generator": "<b>", "name": "x", "rows": 1, "sha256": "0" * 64}]},
        {"added": [{"generator": "llm", "name": "rows.jsonl", "rows": 40, "sha256": "0" * 64}]},
        {"more": 1},
    ],
)
def test_another_origin_is_seen(
    makers: dict[str, Make], tmp_path: Path, keys: dict[str, Any]
) -> None:
    with pytest.raises(ManifestInvalid):
        open_version(changed(makers["add"](tmp_path), **keys))


def test_a_damaged_parent_is_not_built_on(makers: dict[str, Make], tmp_path: Path) -> None:
    version = makers["add"](tmp_path)
    file = version.files("train")[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    rows = lines(tmp_path / "rows.jsonl", {"sentence": "x"})
    other = makers["write"](tmp_path / "other")

    for make in (
        lambda: add_rows(version, rows, generator="x"),
        lambda: filter_version(version, recipe="official"),
        lambda: merge_versions([other, version]),
    ):
        with pytest.raises(ContractError):
            make()
    assert [path.name for path in version.path.parent.iterdir()] == ["v0001"]
    assert verify(other) == 4
