"""Folders of exported models that others wrote or changed: one sentence, nothing of a library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from distill import Classifier
from distill.errors import ModelInvalid, UsageError
from distill.models.folders import model_folder

HUGE = 10**400
TEXTS = ["good food " * 80, ""]


def change(file: Path, do: Callable[[Any], object]) -> None:
    found = json.loads(file.read_text())
    do(found)
    file.write_text(json.dumps(found))


def calibration(**settings: object) -> Callable[[Any], object]:
    return lambda config: config["distill"].update(calibration=settings)


def named(*labels: str) -> Callable[[Any], object]:
    return lambda config: config.update(id2label={str(at): own for at, own in enumerate(labels)})


CONFIGS: dict[str, Callable[[Any], object]] = {
    "a bias that no float holds": calibration(bias=[HUGE, 0]),
    "a bias that no sum holds": calibration(bias=[1e308, -1e308]),
    "a temperature that no float holds": calibration(temperature=HUGE),
    "half a surrogate pair as a label": named("\ud800", "b"),
    "a NUL in a label": named("a", "b\0"),
    "two labels of one name among many": named(*map(str, range(20_000)), "7"),
    "more labels than logits": named(*map(str, range(20_000))),
}
TOKENIZERS: dict[str, Callable[[Any], object]] = {
    "no tokens": lambda own: own["model"].update(vocab={}),
    "another unknown token": lambda own: own["model"].update(unk_token="nope"),
    "no room": lambda own: own["truncation"].update(max_length=1),
    "numbers that the model lacks": lambda own: own["model"].update(
        vocab={name: at + 1000 for name, at in own["model"]["vocab"].items()}
    ),
}
HARMLESS: dict[str, Callable[[Any], object]] = {
    "a step that is longer than a text": lambda own: own["truncation"].update(stride=500),
    "a way to cut that pairs alone allow": lambda own: own["truncation"].update(
        strategy="OnlySecond"
    ),
}


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "do"),
    [("config.json", do) for do in CONFIGS.values()]
    + [("tokenizer.json", do) for do in TOKENIZERS.values()],
    ids=[*CONFIGS, *TOKENIZERS],
)
def test_what_cannot_be_is_refused(
    folder: Path, file: str, do: Callable[[Any], object], capfd: pytest.CaptureFixture[str]
) -> None:
    change(folder / "onnx" / file, do)
    with pytest.raises(ModelInvalid) as caught:
        Classifier.load(folder / "onnx")

    assert len(str(caught.value)) < 600
    assert "onnxruntime:" not in capfd.readouterr().err


@pytest.mark.parametrize("do", HARMLESS.values(), ids=HARMLESS)
def test_cutting_is_ours(folder: Path, do: Callable[[Any], object]) -> None:
    expected = Classifier.load(folder / "onnx").logits(TEXTS)
    change(folder / "onnx" / "tokenizer.json", do)

    assert np.array_equal(Classifier.load(folder / "onnx").logits(TEXTS), expected)


@pytest.mark.parametrize(
    "record", [5, [], {}, {"forms": 5}, {"forms": [{"form": "onnx-int8", "drop": HUGE}, 3]}]
)
def test_a_record_that_says_nothing_leaves_the_plain_graph(folder: Path, record: object) -> None:
    (folder / "export.json").write_text(json.dumps(record))
    found: Any = Classifier.load(folder).backend

    assert found.head.name == str(folder / "onnx")


@pytest.mark.parametrize(
    "place", ["../../secret.bin", "{folder}/../../secret.bin", "link.bin"], ids=str
)
def test_weights_of_other_folders_are_not_read(folder: Path, place: str) -> None:
    onnx = pytest.importorskip("onnx")
    own = folder / "onnx"
    graph = onnx.load(own / "model.onnx")
    weight = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (folder.parent / "secret.bin").write_bytes(weight.raw_data)
    (own / "link.bin").symlink_to(folder.parent / "secret.bin")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=place.format(folder=own))
    (own / "model.onnx").write_bytes(graph.SerializeToString())

    with pytest.raises(ModelInvalid, match="cannot be read as an ONNX graph"):
        Classifier.load(own)


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (None, {}),
        (5, {}),
        ({"a": "b"}, {}),
        (["a", "b"], {"batch_size": 0}),
        (["a", "b"], {"batch_size": "x"}),
        (["a"], {"abstain_below": "0.5"}),
        (["a"], {"abstain_below": float("nan")}),
        (pd.DataFrame([["a", "b"]], columns=["sentence", "sentence"]), {}),
    ],
)
def test_arguments_that_mean_nothing(exported: Path, texts: Any, options: Any) -> None:
    with pytest.raises(UsageError):
        Classifier.load(exported / "onnx").predict(texts, **options)
    with pytest.raises(UsageError, match="threads is"):
        Classifier.load(exported / "onnx", threads=True)


def test_columns_need_not_be_named_by_text(exported: Path) -> None:
    found = Classifier.load(exported / "onnx")
    expected = found.predict(["good food", "bad"])

    for texts in (pd.DataFrame({0: ["good food", "bad"]}), pd.DataFrame({("a", "b"): TEXTS})):
        assert len(found.predict(texts)) == 2
    assert list(found.predict(pd.Index(["good food", "bad"]))) == expected


def test_a_graph_is_no_model_to_train_or_score(exported: Path) -> None:
    for place, says in ((exported, "transformers"), (exported / "onnx", "an exported graph")):
        with pytest.raises(ModelInvalid) as caught:
            model_folder(str(place))
        assert says in f"{caught.value} {caught.value.hint}"
        assert "onnx-int8" not in f"{caught.value} {caught.value.hint}"
    assert model_folder(str(exported / "transformers")) == exported / "transformers"
