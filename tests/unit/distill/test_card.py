"""The cards of models: what the hub reads of them, and that what they say to run runs."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from rich.markdown import Markdown

from augment.contract import Version
from distill import distill_task, distill_teacher
from distill.errors import ModelInvalid
from distill.evaluation.results import Selection
from distill.inference.classifier import Classifier
from distill.models.folders import folder_digest
from distill.runs.card import CARD, result_card
from distill.runs.listing import Run, open_run
from distill.runs.records import flaw, read_json, read_seal
from distill.runs.usage import HERE, on_hub
from distill.serving.export import FORMS, ExportResult
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


def test_an_export_has_a_card_with_its_forms(exported: Path) -> None:
    card = (exported / CARD).read_text()

    for form in ("pytorch", *FORMS):
        assert f"| `{form}` |" in card
    assert {own["name"] for each in results(card) for own in each["metrics"]} >= {
        f"accuracy ({form})" for form in FORMS
    }


EXPORTS = [
    ("transformers",), ("onnx",), ("onnx-int8",), ("onnx-small",),
    ("transformers", "onnx", "onnx-int8"), ("onnx", "onnx-small"),
]  # fmt: skip


def export_of(exported: Path, forms: tuple[str, ...], out: Path) -> ExportResult:
    """An export with these forms and no others."""
    whole = read_json(exported / "export.json", ExportResult)
    kept = [whole.forms[0]]
    for form in forms:
        shutil.copytree(exported / form, out / form)
        kept += [own for own in whole.forms if own.form == form]
    found = whole.model_copy(update={"forms": tuple(kept)})
    (out / "export.json").write_text(found.model_dump_json())
    return found


@pytest.mark.parametrize("forms", EXPORTS)
def test_what_the_card_of_an_export_says_to_run_runs_here_and_from_the_hub(
    exported: Path, forms: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = snapshot(tmp_path, monkeypatch)
    card = export_of(exported, forms, out).card(out)
    (out / CARD).write_text(card)
    head = ModelCard(card).data

    assert len(runs_as_it_says(out, monkeypatch)) == 1 + ("transformers" in forms)
    here = capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    for block in blocks(on_hub(card, "owner/mood")):
        exec(block, {})
    with pytest.raises(ModelInvalid) as refused:
        Classifier.load("owner/mood")
    assert "hf download owner/mood" in refused.value.hint
    assert capsys.readouterr().out == here
    assert here.startswith("[[")
    # the hub offers pipeline(model="owner/mood") to those of transformers: nothing is at the root
    assert head.library_name == (None if forms == ("transformers",) else "onnx")
    assert all(f'"{form}"' in card for form in forms if len(forms) > 1)


@pytest.mark.parametrize("form", ["transformers", "onnx"])
def test_the_card_of_a_form_by_itself(
    exported: Path, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = snapshot(tmp_path, monkeypatch)
    shutil.copytree(exported / form, out, dirs_exist_ok=True)
    card = read_json(exported / "export.json", ExportResult).card(exported, form)
    for block in blocks(on_hub(card, "owner/mood")):
        exec(block, {})

    assert "subfolder=" not in card
    assert [line.split("|")[1].strip() for line in card.splitlines() if line[:3] == "| `"] == [
        "`pytorch`", f"`{form}`",
    ]  # fmt: skip
    assert ModelCard(card).data.library_name == ("onnx" if form == "onnx" else "transformers")


def snapshot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place in a cache of the hub, which has the model as ``owner/mood`` there."""
    repo = folder / "hub" / "models--owner--mood"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    (repo / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return repo / "snapshots" / ("0" * 40)


def folder_of(config: dict[str, Any], out: Path) -> Path:
    out.mkdir()
    (out / "config.json").write_text(json.dumps(config))
    return out


PAIR = {"distill": {"format": 1, "text_columns": ["a", "b"]}}
SCORES = {"problem_type": "regression", "id2label": {"0": "LABEL_0"}}
CLASSES = {"id2label": {"0": "no", "1": "yes"}}


@pytest.mark.parametrize(
    ("config", "scores"),
    [
        (SCORES, {"validation": {"pearson": 1e-05, "spearman": -1e-300, "mse": float("nan")}}),
        (SCORES | PAIR, {"validation": {"pearson": 0.5}}),
        (CLASSES | PAIR, {"validation_matched": {"accuracy": 1.0}, "test": {"accuracy": 0.25}}),
        (CLASSES, {"dev": {"f1": 0.5, "macro_f1": 0.25, "weighted_f1": 0.75, "matthews": 1e16}}),
        (CLASSES, {"dev": {"accuracy": float("inf")}}),
    ],
)
def test_the_hub_reads_the_results_of_every_kind_of_task(
    run: Run, tmp_path: Path, config: dict[str, Any], scores: dict[str, dict[str, float]]
) -> None:
    """Strictly: what its client cannot parse, or holds no number, raises here."""
    config = {"architectures": ["BertForSequenceClassification"], **config}
    folder = folder_of(config, tmp_path / "model")
    models = [own.model_copy(update={"scores": scores}) for own in run.result.models]
    selection = Selection(metric=next(iter(next(iter(scores.values())))), split=next(iter(scores)))
    result = run.result.model_copy(update={"models": tuple(models), "selection": selection})
    card = ModelCard(result_card(folder, result, run.identity), ignore_metadata_errors=False)
    found = card.data.eval_results or []

    told = {(own.dataset_split, own.metric_name): own.metric_value for own in found}
    assert told == {
        (split, metric): value
        for split, own in scores.items()
        for metric, value in own.items()
        if math.isfinite(value)
    }
    assert all(type(own.metric_value) is float for own in found)
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
    (theirs, ours) = blocks(card.text)
    assert ("text_pair" in theirs) == ('("a text", "another")' in ours) == ("distill" in config)
    assert (
        ("function_to_apply" in theirs)
        == ("predict(" in ours)
        == (config["id2label"].keys() == {"0"})
    )


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
    models = [m.model_copy(update={"model": f"{m.model}|a|\\|"}) for m in run.result.models]
    result = run.result.model_copy(update={"models": tuple(models)})
    card = result_card(tmp_path, result, {**run.identity, "recipe": {"```": "\n```\n# no"}})
    tokens = Markdown(ModelCard(card).content.split("\n---\n", 1)[1]).parsed
    every = [*tokens, *(child for token in tokens for child in token.children or ())]

    assert not [token for token in every if "html" in token.type]
    assert next(token.tag for token in tokens if token.type == "heading_open") == "h1"
    assert sum(token.tag == "h1" for token in tokens if token.type == "heading_open") == 1
    columns = len(result.made.scores["validation"]) + 1
    cells = [token.type for token in tokens if token.type in ("th_open", "td_open")]
    assert len(cells) == columns * (1 + len(models) + len(result.baselines))
    assert "\x1b" not in card
    assert "license" not in ModelCard(card).data.to_dict()
