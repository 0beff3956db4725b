"""Two houses, one door: which package may import what, and what the wheel holds."""

from __future__ import annotations

import ast
from pathlib import Path

import augment
from tests.conftest import ROOT


def imports(folder: str) -> list[tuple[Path, str]]:
    """Every imported module name of a package, with the file it stands in."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(path, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append((path, node.module or ""))
    return found


def test_augment_never_imports_distill() -> None:
    names = imports("augment")

    assert not [entry for entry in names if entry[1].split(".")[0] == "distill"]
    assert len({path for path, _ in names}) >= 20


def test_distill_enters_by_the_contract_alone() -> None:
    names = imports("distill")
    foreign = [name for _, name in names if name.split(".")[0] == "augment"]

    assert set(foreign) == {"augment.contract"}
    assert len({path for path, _ in names}) >= 10


def test_pure_files_import_no_models_and_no_files() -> None:
    heavy = {"torch", "transformers", "datasets", "pyarrow", "pathlib", "os"}
    for name in ("words", "replace", "alignment"):
        used = {module.split(".")[0] for path, module in imports("augment") if path.stem == name}
        assert not used & heavy, name


def test_only_the_loaders_know_transformers() -> None:
    users = {path.stem for path, name in imports("augment") if name.split(".")[0] == "transformers"}

    assert users == {"models", "gate_models"}


def test_public_names() -> None:
    assert augment.__all__ == ["Version", "augment_task", "open_version"]
    assert all(hasattr(augment, name) for name in augment.__all__)
