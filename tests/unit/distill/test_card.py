"""The cards of models: what the hub reads of them, and that what they say to run runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from rich.markdown import Markdown

from augment.contract import Version
from distill import distill_task, distill_teacher
from distill.models.folders import folder_digest
from distill.runs.card import CARD, HERE, on_hub, result_card
from distill.runs.listing import Run, open_run
from distill.runs.records import flaw, read_seal
from tests.unit.distill.helpers import TINY_RECIPE

TITLES = {"student": "mood, distilled student", "teacher": "mood, teacher"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipes") / "short.toml"
    file.write_text(re.sub("epochs = .", "epochs = 1", TINY_RECIPE))
    return file


@pytest.fixture(scope="module")
def run(
    version: Version, teacher: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    out = tmp_path_factory.mktemp("runs") / "mood"
    return distill_task(
        version, teacher=str(teacher), student="2x16-32-2", out=out, recipe=recipe, plain=False,
        quiet=True,
    )  # fmt: skip


def blocks(card: str) -> Iterator[str]:
    yield from re.findall(r"```python\n(.*?)```", card, re.S)


def results(card: str) -> list[dict[str, Any]]:
    (entry,) = ModelCard(card).data.to_dict()["model-index"]
    found: list[dict[str, Any]] = entry["results"]
    return found


def runs_as_it_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every block of a card, run where the card lies, as it stands there."""
    monkeypatch.chdir(folder)
    made = []
    for block in blocks((folder / CARD).read_text()):
        names: dict[str, Any] = {}
        exec(block, names)
        made.append(names)
    return made


def test_a_student_has_its_card(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (run.student / CARD).read_text()
    (entry,) = results(card)

    assert entry["dataset"]["name"] == run.result.version
    assert entry["dataset"]["revision"] == run.result.version_id
    assert entry["metrics"][0]["value"] == run.result.made.scores["validation"]["accuracy"]
    assert f"# {TITLES['student']}" in card
    assert run.identity["teacher"][:12] in card
    assert f"`{run.result.version_id[:12]}`" in card
    assert "ms a text" in card
    assert json.loads(re.findall(r"```json\n(.*?)```", card, re.S)[0]) == run.identity["recipe"]
    assert str(run.path.parent) not in card
    assert len(runs_as_it_says(run.student, monkeypatch)) == 2
    said = capsys.readouterr().out
    assert "'score': " in said
    assert "[[" in said


def test_a_card_is_no_part_of_the_student(run: Run) -> None:
    """Neither of its digest nor of its seal: who wrote more into it has the same student."""
    sealed, digest = read_seal(run.student), folder_digest(str(run.student))
    (run.student / CARD).write_text((run.student / CARD).read_text() + "\nMore by hand.\n")

    assert sealed is not None
    assert CARD not in sealed.files
    assert not flaw(run.student, sealed.origin)
    assert folder_digest(str(run.student)) == digest
    assert open_run(run.path).outcome == run.outcome
    (run.student / CARD).write_text(result_card(run.student, run.result, run.identity))


def test_a_teacher_has_its_card_and_may_have_it_changed(
    version: Version, encoder: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "teacher"
    made = distill_teacher(version, init=str(encoder), out=out, recipe=recipe, quiet=True)
    card = (out / CARD).read_text()

    assert f"# {TITLES['teacher']}" in card
    assert results(card)
    assert str(tmp_path) not in card
    (out / CARD).write_text("mine")
    again = distill_teacher(version, init=str(encoder), out=out, recipe=recipe, quiet=True)
    assert again == made


def test_an_export_has_a_card_with_its_forms(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (exported / CARD).read_text()

    for form in ("pytorch", "transformers", "onnx", "onnx-int8"):
        assert f"| `{form}` |" in card
    assert {own["name"] for each in results(card) for own in each["metrics"]} >= {
        f"accuracy ({form})" for form in ("transformers", "onnx", "onnx-int8")
    }
    assert len(runs_as_it_says(exported, monkeypatch)) == 1
    assert "[[" in capsys.readouterr().out


def test_on_the_hub_the_blocks_name_the_model(run: Run) -> None:
    card = (run.student / CARD).read_text()
    there = on_hub(card, "owner/mood")

    assert card.count(HERE) == 2
    assert there.count('folder = "owner/mood"\n') == 2
    assert HERE not in there


def test_names_of_labels_stay_names(run: Run, tmp_path: Path) -> None:
    names = ["---\nlicense: mit", "`</script><b>`", "| x |\x1b[31m"]
    config = json.loads((run.student / "config.json").read_text())
    config["id2label"] = dict(enumerate(names))
    config.pop("distill", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    card = result_card(tmp_path, run.result, {**run.identity, "recipe": {"```": "\n```\n# no"}})
    tokens = Markdown(ModelCard(card).content.split("\n---\n", 1)[1]).parsed
    every = [*tokens, *(child for token in tokens for child in token.children or ())]

    assert not [token for token in every if "html" in token.type]
    assert next(token.tag for token in tokens if token.type == "heading_open") == "h1"
    assert sum(token.tag == "h1" for token in tokens if token.type == "heading_open") == 1
    assert "\x1b" not in card
    assert "license" not in ModelCard(card).data.to_dict()
