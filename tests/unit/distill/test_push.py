"""``distill push``: what goes to a hub on this machine is the model with its card, nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import distill
from distill.cli import app
from distill.errors import ModelInvalid, UsageError
from distill.inference.classifier import Classifier
from distill.runs.card import CARD, write_card
from tests.hub import Hub, Repo, hub
from tests.unit.distill.helpers import make_bert, make_tokenizer, save

__all__ = ["hub"]
NAME = "models/owner/mood"
MODEL = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
MINE = (".lock", ".model.safetensors.partial", "notes.txt", "key.pem", "training_args.bin",
        "optimizer.pt", "journal.jsonl", "report.html")  # fmt: skip
"""What may lie beside a model and is none of it."""


@pytest.fixture
def folder(teacher: Path, tmp_path: Path) -> Path:
    shutil.copytree(teacher, copy := tmp_path / "mood")
    return copy


def downloaded(hub: Hub, place: Path) -> Path:
    for name, content in hub.repos[NAME].files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def test_a_model_goes_alone(hub: Hub, folder: Path, tmp_path: Path) -> None:
    for name in MINE:
        (folder / name).write_text("secret")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "model.safetensors").write_text("secret")
    write_card(folder, '---\ntags: []\n---\n```python\n\nfolder = "."  # where this card lies, or '
                       "the name of the model on the hub\n```\n")  # fmt: skip
    done = distill.push(folder, "owner/mood")
    files = hub.repos[NAME].files

    assert {*files} == MODEL | {CARD}
    assert {*done.left_out} == {*MINE, "checkpoints/model.safetensors"}
    assert hub.repos[NAME].private
    assert b'folder = "owner/mood"\n' in files[CARD]
    before, after = (Classifier.load(p) for p in (folder, downloaded(hub, tmp_path / "there")))
    assert after.predict_proba(["good"]).tolist() == before.predict_proba(["good"]).tolist()


def test_an_export_goes_with_its_forms_and_without_its_places(
    hub: Hub, exported: Path, tmp_path: Path
) -> None:
    distill.push(exported, "owner/mood")
    files = hub.repos[NAME].files

    assert "onnx-int8/model.onnx" in files
    assert "/" not in json.loads(files["export.json"])["model"]
    assert b'snapshot_download("owner/mood")' in files[CARD]
    assert not [name for name, content in files.items() if str(tmp_path.parent).encode() in content]
    answers = Classifier.load(downloaded(hub, tmp_path / "there")).predict(["good"])
    assert answers == Classifier.load(exported).predict(["good"])


@pytest.mark.parametrize("form", ["transformers", "onnx"])
def test_a_form_of_an_export_goes_with_a_card_of_its_own(
    hub: Hub, exported: Path, form: str
) -> None:
    distill.push(exported / form, "owner/mood")
    card = hub.repos[NAME].files[CARD].decode()

    assert f"the form `{form}`" in card
    assert ('snapshot_download("owner/mood")' in card) == (form == "onnx")
    assert not (exported / form / CARD).exists()


def test_an_earlier_push_leaves_nothing_that_would_be_read(hub: Hub, folder: Path) -> None:
    distill.push(folder, "owner/mood")
    files = hub.repos[NAME].files
    files |= {"model.safetensors.index.json": b"{}", "onnx/model.onnx": b"", "picture.png": b""}
    distill.push(folder, "owner/mood")

    assert {*files} == MODEL | {"picture.png"}


@pytest.mark.parametrize("name", [".", "../mood", "checkpoints/.."])
def test_a_folder_may_be_pushed_from_inside(
    hub: Hub, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second push knows the first one again."""
    (folder / "checkpoints").mkdir()
    monkeypatch.chdir(folder)
    distill.push(name, "owner/mood")
    distill.push(name, "owner/mood")

    assert hub.repos[NAME].commits == ["distill push mood"] * 2


def test_a_form_pushed_from_inside_has_its_card(
    hub: Hub, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported / "onnx")
    distill.push(".", "owner/mood")

    assert b"the form `onnx`" in hub.repos[NAME].files[CARD]


def test_another_model_stays(hub: Hub, folder: Path) -> None:
    others = {"pytorch_model.bin": b"mine", "config.json": b"{}"}
    hub.repos[NAME] = Repo(True, dict(others), ["Upload model"])

    with pytest.raises(UsageError, match=r"no distill push brought there.*: config\.json"):
        distill.push(folder, "owner/mood")
    assert hub.repos[NAME].files == others


def test_a_dry_run_asks_nobody(hub: Hub, folder: Path) -> None:
    done = CliRunner().invoke(app, ["push", str(folder), "owner/mood", "--dry-run", "--json"])
    told = json.loads(done.stdout)

    assert hub.asked == []
    assert (told["private"], told["url"]) == (True, None)
    assert {each["path"] for each in told["files"]} == MODEL


def test_an_encoder_goes_too(hub: Hub, tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    distill.push(save(make_bert(tokenizer), tokenizer, tmp_path / "encoder"), "owner/mood")

    assert {*hub.repos[NAME].files} == MODEL


def test_what_is_damaged_or_foreign_is_refused(hub: Hub, folder: Path, tmp_path: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-8])
    with pytest.raises(ModelInvalid):
        distill.push(folder, "owner/mood")
    (folder / "model.safetensors").write_bytes(weights)
    (tmp_path / "secret").write_text("key")
    (folder / CARD).symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match="is a link"):
        distill.push(folder, "owner/mood")
    for name in ("owner/other", str(tmp_path / "none"), str(tmp_path / "secret")):
        with pytest.raises(UsageError, match="what is pushed lies here"):
            distill.push(name, "owner/mood")
    assert hub.asked == []


def test_a_place_of_this_machine_is_not_told(hub: Hub, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["_name_or_path"] = str(folder.parent / "secret-project")
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(UsageError, match=r"config\.json names a place of this machine"):
        distill.push(folder, "owner/mood")
    assert hub.asked == []
