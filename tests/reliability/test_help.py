"""``--help`` of every command: short, grouped, with examples that the command itself takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer._click import shell_completion

from augment.cli.commands import app as augment_app
from augment.contract.process import PANELS, examples_of
from augment.contract.terminal import show_help
from distill.cli.commands import app as distill_app

GROUPS: dict[str, Any] = {
    "augment": typer.main.get_command(augment_app),
    "distill": typer.main.get_command(distill_app),
}
COMMANDS = {f"{p} {n}": own for p, group in GROUPS.items() for n, own in group.commands.items()}
MOST_ROWS = {80: 46, 100: 40}
"""By columns: a screen, and near it."""
Helps = Callable[..., str]


@pytest.fixture
def helps(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Helps:
    def of(name: str, width: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        show_help(name, COMMANDS.get(name) or GROUPS[name])
        return capsys.readouterr().out

    return of


@pytest.mark.parametrize("name", COMMANDS)
def test_two_examples_are_given_and_the_command_takes_them(name: str) -> None:
    examples = examples_of(COMMANDS[name].epilog)

    assert len(examples) >= 2
    for example in examples:
        words = shlex.split(example)
        if ">" in words:
            words = words[: words.index(">")]
        assert words[:2] == name.split()
        COMMANDS[name].make_context(name, words[2:])  # types, ranges and choices are checked


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(name: str, helps: Helps) -> None:
    shown = helps(name)

    for param in COMMANDS[name].params:
        for option in param.opts if param.param_type_name == "option" else ():
            assert len(re.findall(rf"[ /]{option}(?![a-z-])", shown.partition("Examples")[0])) >= 1
    assert any(f"\n {panel}" in shown for panel in PANELS)


@pytest.mark.parametrize("width", MOST_ROWS)
@pytest.mark.parametrize("name", [*GROUPS, *COMMANDS])
def test_help_fits_a_screen(name: str, width: int, helps: Helps) -> None:
    assert len(helps(name, width).splitlines()) <= MOST_ROWS[width]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", [*GROUPS, *COMMANDS])
def test_no_line_is_wider_than_the_terminal(name: str, width: int, helps: Helps) -> None:
    for line in helps(name, width).splitlines():
        assert len(line) <= width or len(line.split()) == 1  # the name of a model cannot be cut


def test_help_has_no_colors_where_nobody_wants_them(
    monkeypatch: pytest.MonkeyPatch, helps: Helps
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "\x1b[36m" not in helps("distill run")


@pytest.mark.parametrize("words", [["run", "--help"], ["run", "x", "--out", "y", "--help"]])
def test_help_is_given_whatever_stands_before(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        GROUPS["distill"].main(words)

    assert end.value.code == 0
    assert "Usage: distill run VERSION" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["rnu"], "'run'"),
        (["run", "--techer", "x"], "--teacher"),
        (["ablat", "--help"], "'ablate'"),
    ],
)
def test_a_wrong_word_is_answered_by_the_near_one(
    words: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        GROUPS["distill"].main(words)

    assert end.value.code == 2
    assert near in capsys.readouterr().err


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a version and files, in which one stands."""
    for name in ("v0001", "v0002"):
        (tmp_path / "data" / "tea" / name).mkdir(parents=True)
        (tmp_path / "data" / "tea" / name / "manifest.json").touch()
    for name in ("mine.toml", "rows.csv", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("distill run data/", ["data/tea"]),
        ("distill run data/tea@", ["data/tea@v0001", "data/tea@v0002"]),
        ("distill run data/tea@v0002", ["data/tea@v0002"]),
        ("distill run nowhere/", []),
        ("distill run mi", []),
        ("distill recipe pa", ["paper"]),
        ("distill run --recipe q", ["quick"]),
        ("distill run --recipe m", ["minilmv2", "mine.toml"]),
        ("augment plan ss", ["sst2"]),
        ("augment plan mi", ["mine.toml"]),
        ("augment run ro", ["rows.csv"]),
        ("augment run --recipe of", ["official"]),
        ("augment show data/t", ["data/tea"]),
        ("augment show nothing@", []),
        ("augment sho", ["show"]),
        ("distill run \x00", []),
    ],
)
def test_a_shell_completes_tasks_recipes_and_versions(
    typed: str, offered: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    name, *words = typed.split(" ")
    monkeypatch.setenv(f"_{name.upper()}_COMPLETE", "complete_bash")
    complete = shell_completion.get_completion_class("bash")
    group = GROUPS[name]
    found = complete(group, {}, name, f"_{name.upper()}_COMPLETE")  # type: ignore[misc]

    offers = found.get_completions(words[:-1], words[-1])

    assert [own.value.removesuffix("/") for own in offers] == offered


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_told_to_say_less_or_more(name: str) -> None:
    options = {option for param in COMMANDS[name].params for option in param.opts}

    assert {"-q", "--quiet", "-v", "--verbose"} <= options
