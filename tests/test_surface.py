"""The two surfaces: every command has one Python call, and its options are its parameters."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
import typer

import augment
import distill
from augment.cli import app as augment_app
from distill.cli import app as distill_app

EVERYWHERE = {
    "verbose": "of a terminal",
    "json": "a record has to_json or is a dataclass",
    "threads": "of a process: torch.set_num_threads, before anything is trained",
    "no_vectors_cache": "vectors_cache=False",
    "narrator": "hears what a terminal shows",
}


@dataclass(frozen=True)
class Call:
    """What a command is in Python; ``differs`` has the reason for each name of one side alone."""

    name: str
    differs: dict[str, str] = field(default_factory=dict)


CORPUS = "a field of Source, which is the corpus where more than its place is to be said"
SHOWN = "a version shows itself; to_pandas(split) and rejected() have the rows"
CALLS = {
    "augment run": Call("augment_task", {"keep": "store=None is the default: nothing is kept"}),
    "augment plan": Call("plan"),
    "augment preview": Call("preview", {"top": "to_pandas() has all candidates"}),
    "augment recipe": Call("load_recipe", {"preset": "source", "source": "preset"}),
    "augment init": Call("draft_task"),
    "augment add": Call("add_rows", {"source": "generator", "generator": "source"}),
    "augment filter": Call("filter_version"),
    "augment merge": Call("merge_versions"),
    "augment list": Call("list_versions", {"skip_unreadable": "the command shows the others"}),
    "augment show": Call("open_version", dict.fromkeys(("rows", "variants", "rejected"), SHOWN)),
    "augment verify": Call("verify", {"reference": "version", "version": "reference", "whole": ""}),
    "augment store": Call("candidate_store", {"prune": "prune_gb", "prune_gb": "prune"}),
    "augment vectors": Call("vector_tables"),
    "augment report": Call("report", {"reference": "version", "version": "reference"}),
    "augment stats": Call("stats", {"reference": "version", "version": "reference"}),
    "augment diff": Call("diff"),
    "augment push": Call("push"),
    "distill teacher": Call("distill_teacher"),
    "distill run": Call("distill_task"),
    "distill recipe": Call("load_recipe", {"name": "source", "source": "name", "task": ""}),
    "distill general": Call(
        "distill_general",
        {"hours": "a field of Budget", "tokens": "likewise", "budget": "hours, tokens"}
        | dict.fromkeys(("take", "column", "documents", "cache", "processes"), CORPUS),
    ),
    "distill ablate": Call("ablate_task", {"arm": "arms", "arms": "arm"}),
    "distill evaluate": Call("evaluate"),
    "distill export": Call("export", {"to": "forms", "forms": "to"}),
    "distill submission": Call("check_submission"),
    "distill doctor": Call("doctor", {"calibrate": "tests put a clock of their own there"}),
    "distill predict": Call(
        "predict",
        dict.fromkeys(("version", "text", "text_b", "input", "stdin_kind"), "data says what it is")
        | {"data": "version, text or input", "text_column": "text_columns", "text_columns": ""},
    ),
    "distill report": Call("report"),
    "distill errors": Call("write_mistakes"),
    "distill thresholds": Call("find_thresholds"),
    "distill trim": Call("trim"),
    "distill list": Call("list_runs"),
    "distill show": Call("open_run", {"run": "path", "path": "run"}),
    "distill compare": Call("compare"),
    "distill push": Call("push"),
}
APPS: dict[str, tuple[ModuleType, typer.Typer]] = {
    "augment": (augment, augment_app),
    "distill": (distill, distill_app),
}
COMMANDS = {
    f"{name} {command}": found
    for name, (_, app) in APPS.items()
    for command, found in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}


def test_every_command_has_a_call() -> None:
    assert {*CALLS} == {*COMMANDS}


@pytest.mark.parametrize("command", CALLS)
def test_options_are_parameters(command: str) -> None:
    call, module = CALLS[command], APPS[command.split(maxsplit=1)[0]][0]
    options = {option.opts[-1].lstrip("-").replace("-", "_") for option in COMMANDS[command].params}
    parameters = {*inspect.signature(getattr(module, call.name)).parameters} - {"quiet"}

    assert (options ^ parameters) - {"quiet"} - {*EVERYWHERE} == {*call.differs} - {*EVERYWHERE}


@pytest.mark.parametrize("module", [augment, distill])
def test_public_names_are_there_and_documented(module: ModuleType) -> None:
    assert {*module.__all__} <= {*dir(module)}
    assert module.__all__ == sorted(module.__all__)
    assert module.__version__
    for name in {*module.__all__} - {"__version__"}:
        assert callable(getattr(module, name)), name
        assert getattr(module, name).__doc__, name


@pytest.mark.parametrize("module", [augment, distill])
def test_no_module_stands_where_a_public_name_is(module: ModuleType) -> None:
    """A module that is imported becomes an attribute of its package, before any lazy name."""
    inside = {place.stem for place in Path(str(module.__file__)).parent.iterdir()}

    assert not inside & {*module.__all__}
