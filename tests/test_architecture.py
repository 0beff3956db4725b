"""Two packages, one contract: what may import what, what is public, what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import pytest

import augment
import augment.contract.errors
import augment.errors
import distill
import distill.errors
from tests.conftest import ROOT

# Each may import itself and what stands before it; ``distill`` also the contract.
LAYERS = {
    "augment": (
        "contract", "errors", "progress", "tasks", "tokenization", "vectors",
        "masked_lm", "recipes", "replacement", "sources", "versions", "filters", "executor",
        "derive", "analysis", "pipeline", "__init__", "cli",
    ),
    "distill": (
        "errors", "inference", "runs", "recipes",
        "models", "data", "stages", "evaluation", "training", "runs.listing", "runs.comparison",
        "runs.card",
        "pipeline", "teacher", "general", "ablation", "diagnosis", "serving", "tables", "reports",
        "__init__", "cli",
    ),
}  # fmt: skip
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in LAYERS
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(module: str) -> Iterator[str]:
    """Every module that a module imports, at any depth of it; the package's own as files."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in MODULES else node.module or ""


def layer(module: str) -> str:
    """The sub-package or top-level file that a module belongs to; or a file with its own layer."""
    package, _, inside = module.partition(".")
    return inside if inside in LAYERS[package] else inside.partition(".")[0] or "__init__"


@pytest.mark.parametrize("package", LAYERS)
def test_every_file_has_its_layer(package: str) -> None:
    found = {layer(module) for module in MODULES if module.split(".")[0] == package}

    assert found == set(LAYERS[package])


@pytest.mark.parametrize("package", LAYERS)
def test_no_import_runs_back_up(package: str) -> None:
    order = LAYERS[package]
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        if module.split(".")[0] == package
        for other in imports(module)
        if other.split(".")[0] == package and order.index(layer(other)) > order.index(layer(module))
    ]

    assert not wrong


def test_no_circle_of_modules() -> None:
    left = {module: {o for o in imports(module) if o in MODULES} - {module} for module in MODULES}
    while free := {module for module, others in left.items() if not others & left.keys()}:
        left = {module: others for module, others in left.items() if module not in free}

    assert not left


def test_distill_enters_by_the_contract_alone() -> None:
    names = {other for module in MODULES for other in imports(module) if module < "b"}
    foreign = {
        other
        for module in MODULES
        if module.split(".")[0] == "distill"
        for other in imports(module)
        if other.split(".")[0] == "augment"
    }

    assert not [name for name in names if name.split(".")[0] == "distill"]
    assert all(f"{name}.".startswith("augment.contract.") for name in foreign)
    assert foreign


@pytest.mark.parametrize("package", LAYERS)
def test_folders_can_be_read_at_a_glance(package: str) -> None:
    """At most 20 entries in a folder, one level of sub-packages, files of about 400 lines."""
    folders = [ROOT / package, *(path for path in (ROOT / package).iterdir() if path.is_dir())]
    kept = [path for path in folders if path.name != "__pycache__"]
    crowded = {
        folder.name: len(entries)
        for folder in kept
        if len(entries := [p for p in folder.iterdir() if p.name != "__pycache__"]) > 20
    }
    deep = [
        path for folder in kept[1:] for path in folder.iterdir()
        if path.is_dir() and path.name != "__pycache__"
    ]  # fmt: skip
    long = [m for m, path in MODULES.items() if len(path.read_text("utf-8").splitlines()) > 420]

    assert not crowded
    assert not deep
    assert not long


def reachable(module: str) -> set[str]:
    """Every module that a module imports, and what those of its own package import in turn."""
    seen, due = set(), [module]
    while due:
        for other in imports(due.pop()):
            if other in MODULES and other.split(".")[0] == module.split(".", maxsplit=1)[0]:
                due += {other} - seen
            seen.add(other)
    return seen


def test_what_is_called_pure_is_pure() -> None:
    """PURE in a module's docstring: no tensors, tables, files or clocks, not even indirectly."""
    impure = {
        "torch", "transformers", "datasets", "pyarrow", "pathlib", "os", "time", "importlib",
    }  # fmt: skip
    claims = [
        module
        for module, path in MODULES.items()
        if re.search(r"\bpure\b", ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "", re.I)
    ]
    wrong = {
        module: found
        for module in claims
        if (found := {other for other in reachable(module) if other.split(".")[0] in impure})
    }

    assert claims
    assert not wrong


def test_only_loaders_of_models_know_transformers() -> None:
    users = {
        module
        for module in MODULES
        for other in imports(module)
        if module.split(".")[0] == "augment" and other.split(".")[0] == "transformers"
    }

    loaders = {"augment.masked_lm.loading", "augment.filters.loading"}
    assert users == loaders | {f"augment.contract.{name}" for name in ("models", "checkpoint")}


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import augment.contract", {"torch", "transformers", "rich", "typer", "datasets"}),
        ("import augment, distill", {"torch", "transformers", "datasets"}),
        ("import augment.cli, distill.cli", {"torch", "transformers", "datasets", "gensim"}),
    ],
)
def test_imports_stay_light(code: str, heavy: set[str]) -> None:
    shown = f"{code}; import sys; print(*({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


@dataclass(frozen=True)
class Drawn:
    """An error as the tree in a docstring draws it."""

    name: str
    parent: str
    exit_code: int
    builtin: str


def drawn(doc: str) -> list[Drawn]:
    """The errors of a tree; an exit code that is not given is that of the parent."""
    found: list[Drawn] = []
    above: list[Drawn] = []
    for line in doc.splitlines():
        shape = re.fullmatch(r"([│├└─ ]*)([A-Z]\w+) {2,}(exit (\d))?.*?(\(([A-Z]\w+)\))?", line)
        if shape is None:
            continue
        above = above[: len(shape[1]) // 4]
        parent = above[-1] if above else Drawn("Exception", "", 1, "")
        code = int(shape[4]) if shape[3] else parent.exit_code
        above.append(Drawn(shape[2], parent.name, code, shape[6] or ""))
        found.append(above[-1])
    return found


@pytest.mark.parametrize("module", [augment.contract.errors, augment.errors, distill.errors])
def test_trees_of_errors_are_as_drawn(module: ModuleType) -> None:
    trees = drawn(module.__doc__ or "")
    own = {name for name, error in vars(module).items() if error_of(error) == module.__name__}

    assert own <= {error.name for error in trees}
    for error in trees:
        found = getattr(module, error.name, None) or getattr(augment.contract, error.name)
        bases = {base.__name__ for base in found.__bases__}
        assert bases == {error.parent, error.builtin} - {""}, error
        assert found.exit_code == error.exit_code, error


def error_of(value: object) -> str:
    """The module of a fault's class; nothing for all else."""
    is_fault = isinstance(value, type) and issubclass(value, augment.contract.Fault)
    return value.__module__ if is_fault else ""


def test_public_names() -> None:
    assert {"Version", "augment_task", "open_version", "write_version"} <= {*augment.__all__}
    shipped = {"Budget", "Classifier", "Source", "distill_general", "distill_task"}
    assert shipped <= {*distill.__all__}
    for module in (augment, distill, augment.contract, augment.errors, distill.errors):
        assert all(getattr(module, name) is not None for name in module.__all__)
        assert len(set(module.__all__)) == len(module.__all__)
