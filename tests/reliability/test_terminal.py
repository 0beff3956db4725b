"""Text of others never acts on the terminal, through every command and every error."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import tomlkit
from typer.testing import CliRunner, Result

from augment.contract import Version
from augment.contract.foreign import is_unseen, shown
from tests.reliability.commands import APPS, COMMANDS, call, refused

NASTY = (
    "a [old] [/b] [red]c\x1b[31md\x1b]8;;http:⁄⁄x\x07e\x9b1mf\u202eg\u2066h\u200bi\u2028j\rk\x08l"
    "\x85m\x7fn\nerror: forged\U000e0041"
)
TEXTS = [
    (command, param.name)
    for command, found in COMMANDS.items()
    for param in found.params
    if param.type_descriptor.annotation in (str, Path, list[str], list[Path])
]


def inert(found: Result) -> None:
    """Nothing in what a command printed acts on a terminal; markup stands there as it is."""
    for printed in (found.stdout, found.stderr):
        acting = {char for char in printed if is_unseen(char, lines=True)}
        assert not acting, (acting, printed)
        assert "mistake of the program" not in printed, printed
        assert "\nerror: forged" not in f"\n{printed}", printed


@pytest.mark.parametrize(("command", "name"), TEXTS, ids=str)
def test_a_value_of_the_command_line(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = {param.name: "x" for param in COMMANDS[command].params if param.required}
    found = call(command, {**needed, "out": "x", name: NASTY})

    inert(found)
    if found.exit_code:
        assert found.exit_code in (2, 3, 4)
        refused(found)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task all of whose names and rows are nasty."""
    name = NASTY.replace("/", "-")
    column, label = f"{NASTY}1", f"{NASTY}2"
    names = [f"{NASTY}no", f"{NASTY}yes"]
    folder = tmp_path / "a [old] \x1b[31m\u202e"
    folder.mkdir()
    train = f"{name[:60]}.jsonl"
    rows = [{column: f"a good film {NASTY} {i}", label: names[i % 2]} for i in range(4)]
    for file in (train, "validation.jsonl"):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = folder / "task \x1b[0m.toml"
    told = {
        "name": "mood",
        "text_columns": [column],
        "metrics": ["accuracy"],
        "selection_metric": "accuracy",
        "label": {"column": label, "kind": "classification", "names": names},
        "splits": {"train": train, "validation": "validation.jsonl"},
    }
    task.write_text(tomlkit.dumps(told))
    return task


def test_rows_and_names_of_a_version(
    task: Path, mlm_dir: Path, vectors_file: Path, teacher: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out [x] [/y] \x1b[1m"
    reference = str(out / "mood")
    values = {
        "task": task, "mlm": mlm_dir, "vectors": vectors_file, "out": out, "text": NASTY,
        "reference": reference, "first": reference, "second": reference, "root": out,
        "folder": out / ".candidates",
    }  # fmt: skip
    texts = {name: str(value) for name, value in values.items()}
    printed = {}
    for command in ("run", "plan", "preview", "recipe", "show", "verify", "stats", "list", "store"):
        own = {name: text for name, text in texts.items() if (command, name) != ("run", "text")}
        found = printed[command] = call(f"augment {command}", own)
        inert(found)
        assert found.exit_code == 0, found.output
    refusal = call("distill evaluate", {"models": str(teacher), "version": reference})
    inert(refusal)
    refused(refusal)

    assert shown(NASTY) in printed["show"].stdout
    assert shown(NASTY) in printed["stats"].stdout
    assert "[old]" in printed["list"].stdout
    assert shown(NASTY) in refusal.stderr


def test_documents_keep_their_values(task: Path) -> None:
    data = next(path for path in task.parent.iterdir() if path.name.startswith("a "))
    found = call("augment init", {"data": str(data)})
    inert(found)

    told, draft = tomllib.loads(task.read_text()), tomllib.loads(found.stdout)
    for key in ("text_columns", "label"):
        assert draft[key] == told[key]


def test_json_keeps_its_values(
    task: Path, mlm_dir: Path, vectors_file: Path, tmp_path: Path
) -> None:
    values = {"task": task, "mlm": mlm_dir, "vectors": vectors_file, "text": NASTY}
    words = [f"--{name}={value}" for name, value in values.items() if name != "task"]
    found = CliRunner().invoke(APPS["augment"], ["preview", str(task), *words, "--json"])
    inert(found)

    assert json.loads(found.stdout)["text"] == NASTY


def test_models_and_recipes(
    teacher: Path, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of folders that hold good things, and keys and values of recipes."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / f"{NASTY[:40]} model".replace("/", "-")
    shutil.copytree(teacher, folder)
    values = {"model": str(folder), "models": str(folder), "version": str(version.path)}
    table = str(tmp_path / "o [x] [/y] \x1b[1m.csv")
    for command in ("distill predict", "distill evaluate"):
        found = call(command, {**values, "out": table, "split": "validation"})
        inert(found)
        assert found.exit_code == 0, found.output
        assert shown(folder.name if command == "distill evaluate" else table) in found.stdout
    recipe = tmp_path / "r.toml"
    recipe.write_text(tomlkit.dumps({NASTY: 1, "seed": NASTY}))
    for command in ("distill run", "augment recipe"):
        given = {**values, "teacher": str(teacher), "student": "2x16-32-4", "out": "x"}
        found = call(command, {**given, "task": "sst2", "recipe": "r.toml", "preset": "r.toml"})
        inert(found)
        assert found.exit_code == 2
        assert shown(NASTY) in refused(found)
