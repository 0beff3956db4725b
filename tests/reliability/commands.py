"""Every command of both packages with all its parameters, as the applications list them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner, Result

import augment.cli
import distill.cli

APPS = {"augment": augment.cli.app, "distill": distill.cli.app}
COMMANDS: dict[str, Any] = {
    f"{name} {command}": found
    for name, app in APPS.items()
    for command, found in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
WITHOUT_PLACES = (
    "device",
    "address",
    "engine",
    "split",
    "column",
    "arm",
    "text",
    "text_b",
    "label",
    "text_column",
)
"""Parameters of text that name no file, folder or model."""


@dataclass(frozen=True)
class Parameter:
    """A parameter that names a file, a folder or a model."""

    command: str
    name: str
    option: str

    def __str__(self) -> str:
        return f"{self.command} {self.option or self.name}"


def places() -> Iterator[Parameter]:
    """All parameters that name a place; new ones are among them by themselves."""
    for command, found in COMMANDS.items():
        for param in found.params:
            if param.type_descriptor.annotation in (str, Path, list[str], list[Path]):
                option = param.opts[0] if param.opts[0].startswith("-") else ""
                if param.name not in WITHOUT_PLACES:
                    yield Parameter(command, param.name, option)


def numbers() -> Iterator[Parameter]:
    """All parameters that take a number; new ones are among them by themselves."""
    for command, found in COMMANDS.items():
        for param in found.params:
            if param.type_descriptor.annotation in (int, float):
                yield Parameter(command, param.name, param.opts[0])


def call(command: str, values: dict[str, str]) -> Result:
    """Run a command in this process with these values of its parameters, several a line each."""
    app, name = command.split()
    words = [name]
    for param in COMMANDS[command].params:
        if param.name in values:
            option = [param.opts[0]] if param.opts[0].startswith("-") else []
            given = values[param.name]
            words += [*option, *(given.split("\n") if param.nargs == -1 else [given])]
    return CliRunner().invoke(APPS[app], words)


def refused(found: Result) -> str:
    """The sentence of a command that refused, having checked that it is one."""
    said = found.stderr
    assert "Traceback" not in said
    assert "mistake of the program" not in said, said
    assert "mistake of the program" not in found.stdout, found.stdout
    if "\n  doctor " not in f"\n{found.stdout}":  # the doctor tells of errors in its own table
        assert "\nerror: " in f"\n{said}", (found.exit_code, found.output)
        assert f"(exit {found.exit_code})" in said
    return said
