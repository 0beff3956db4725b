"""Raw texts to answers: by a graph as by the model it was made from, in the order of the texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertTokenizerFast

from augment.contract import Fault, Label, TaskSpec
from distill import Classifier
from distill.errors import DataInvalid, ModelInvalid, ModelNotFound, UsageError
from distill.inference.classifier import WASTE, like_lengths
from distill.inference.forms import SMALL
from distill.inference.texts import WINDOW_CHARACTERS, windows
from distill.serving.export import export_model
from tests.unit.distill.helpers import make_bert, mood_rows, save, write_version

TEXTS = [str(row["sentence"]) for row in mood_rows(70, seed=9)] + [
    "",
    "good " * 90,
    "bad [SEP] \x07",
]


@pytest.fixture(scope="module")
def graph(exported: Path) -> Classifier:
    return Classifier.load(exported / "onnx")


PAIRS = TaskSpec(
    name="alike",
    text_columns=("a", "b"),
    label=Label(column="score", kind="regression"),
    metrics=("pearson",),
    selection_metric="pearson",
)


@pytest.fixture(scope="module")
def pair_folder(tokenizer: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regression of pairs, exported."""
    place = tmp_path_factory.mktemp("pairs")
    rows = [
        {"a": row["sentence"], "b": other["sentence"], "score": at / 3}
        for at, (row, other) in enumerate(zip(mood_rows(12, 1), mood_rows(12, 2), strict=True))
    ]
    version = write_version(place / "versions", PAIRS, {"train": rows, "validation": rows})
    model = save(make_bert(tokenizer, labels=("LABEL_0",), layers=1), tokenizer, place / "model")
    export_model(str(model), version, out=place / "out", forms=["onnx"], quiet=True)
    return place / "out" / "onnx"


def test_a_graph_answers_as_pytorch_does(graph: Classifier, teacher: Path) -> None:
    model = Classifier.load(teacher)

    assert np.abs(graph.logits(TEXTS) - model.logits(TEXTS)).max() < 1e-4
    assert graph.predict(TEXTS) == model.predict(TEXTS)
    assert graph.labels == model.labels == ("negative", "positive")
    assert graph.text_columns == ("sentence",)


def test_the_order_is_that_of_the_texts(graph: Classifier) -> None:
    alone = np.concatenate([graph.logits([text]) for text in TEXTS])

    for size in (1, 3, 32, 1000):
        assert np.abs(graph.logits(TEXTS, batch_size=size) - alone).max() < 1e-5
    assert graph.logits([]).shape == (0, 2)
    assert graph.predict([]) == []


def test_probabilities_are_those_of_the_logits(graph: Classifier) -> None:
    found = graph.predict_proba(TEXTS)
    expected = torch.softmax(torch.as_tensor(graph.logits(TEXTS)), -1).numpy()

    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-6


def test_calibration_is_that_of_the_config(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported / "onnx", tmp_path / "calibrated")
    plain = Classifier.load(folder)
    calibration = {"temperature": 2.0, "bias": [0.0, 50.0]}
    change(folder, lambda config: config["distill"].update(calibration=calibration))
    found = Classifier.load(folder)
    shifted = torch.as_tensor(plain.logits(TEXTS)) / 2 + torch.tensor([0.0, 50.0])

    assert np.abs(found.predict_proba(TEXTS) - torch.softmax(shifted, -1).numpy()).max() < 1e-6
    assert set(found.predict(TEXTS)) == {"positive"}
    assert np.array_equal(found.logits(TEXTS), plain.logits(TEXTS))


def test_it_abstains_below(graph: Classifier) -> None:
    sure = graph.predict_proba(TEXTS).max(axis=-1)
    middle = float(np.median(sure))
    answers = graph.predict(TEXTS, abstain_below=middle)

    assert [answer is None for answer in answers] == [bool(own < middle) for own in sure]
    assert graph.predict(["", "bad"], abstain_below=1.1) == [None, None]


def test_pandas_in_pandas_out(graph: Classifier) -> None:
    series = pd.Series(TEXTS, index=[f"row {at}" for at in range(len(TEXTS))])
    frame = pd.DataFrame({"id": range(len(TEXTS)), "sentence": TEXTS}, index=series.index)

    for given in (series, frame, frame[["sentence"]], frame[["sentence"]].set_axis(["t"], axis=1)):
        answers, shares = graph.predict(given), graph.predict_proba(given)
        assert answers.index.equals(series.index)
        assert answers.tolist() == graph.predict(TEXTS)
        assert list(shares.columns) == ["negative", "positive"]
        assert shares.index.equals(series.index)
    with pytest.raises(UsageError, match="there are id, t"):
        graph.predict(frame.rename(columns={"sentence": "t"}))
    with pytest.raises(DataInvalid, match="row 1 holds no text, but a missing value"):
        graph.predict(pd.Series(["a", None]))


def test_pairs_and_scores(pair_folder: Path) -> None:
    found = Classifier.load(pair_folder)
    pairs = [("good room", "bad food"), ("a", ""), ("very " * 80, "it " * 80)]
    frame = pd.DataFrame(pairs, columns=["a", "b"])
    scores = found.predict(pairs)

    assert found.labels == ()
    assert found.text_columns == ("a", "b")
    assert all(isinstance(score, float) for score in scores)
    assert found.predict(frame.assign(more=1)).tolist() == scores
    assert found.predict([list(pair) for pair in pairs]) == scores
    with pytest.raises(UsageError, match="no probabilities"):
        found.predict_proba(pairs)
    with pytest.raises(UsageError, match="no confidence"):
        found.predict(pairs, abstain_below=0.5)
    with pytest.raises(DataInvalid, match=r"row 0 is a text; .* reads a pair of texts"):
        found.predict(["alone"])


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([("a", "b")], "row 0 is a pair of texts; .* reads a text"),
        ([["a", "b"]], "row 0 is a pair of texts"),
        (["a", None], "row 1 holds no text, but a missing value"),
        (["a", float("nan")], "a missing value"),
        (["a", b"b"], "but bytes"),
        ([7], "but int"),
        ([("a", "b", "c")], "but tuple"),
        ([("a", None)], "but tuple"),
        (["\ud800"], "half a surrogate pair"),
        (["fine", "\udcff not"], "half a surrogate pair"),
    ],
)
def test_what_is_no_text_is_named(graph: Classifier, texts: list[Any], says: str) -> None:
    with pytest.raises(DataInvalid, match=says):
        graph.predict(texts)


def test_one_text_is_no_list(graph: Classifier) -> None:
    with pytest.raises(UsageError, match="one text was given") as caught:
        graph.predict("good")

    assert "Give a list" in caught.value.hint


def test_a_model_that_says_no_columns_reads_either(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported / "onnx", tmp_path / "other")
    change(folder, lambda config: config.pop("distill"))
    found = Classifier.load(folder)

    assert len(found.predict([("a", "b"), ("c", "d")])) == 2
    with pytest.raises(DataInvalid, match="row 1 is a text; the rows before it are a pair"):
        found.predict([("a", "b"), "c"])


def test_the_form_that_answers(exported: Path, tmp_path: Path) -> None:
    def named(folder: Path, **wanted: Any) -> str:
        return Path(Classifier.load(folder, **wanted).backend.head.name).name

    assert named(exported) == "onnx-small"
    assert named(exported, form="onnx") == "onnx"
    assert named(exported, form="transformers") == "transformers"
    with pytest.raises(UsageError, match="holds no form 'gguf'"):
        Classifier.load(exported, form="gguf")
    with pytest.raises(UsageError, match="is no export"):
        Classifier.load(exported / "onnx", form="onnx")

    copy = shutil.copytree(exported, tmp_path / "copy")
    record = json.loads((copy / "export.json").read_text())
    for form in record["forms"]:
        form["drop"] = 0.02 if form["form"] in SMALL else 0.0
    (copy / "export.json").write_text(json.dumps(record))
    assert named(copy) == "onnx"
    shutil.rmtree(copy / "onnx")
    assert named(copy) == "transformers"
    shutil.rmtree(copy / "transformers")
    assert named(copy) == "onnx-int8"
    shutil.rmtree(copy / "onnx-small")
    assert named(copy) == "onnx-int8"
    shutil.rmtree(copy / "onnx-int8")
    with pytest.raises(ModelInvalid, match="holds no form"):
        Classifier.load(copy)


def change(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    how(config)
    file.write_text(json.dumps(config))


def no_truncation(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncation": None}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda folder: (folder / "model.onnx").write_bytes(b""),
            "cannot be read as an ONNX graph",
        ),
        (lambda folder: (folder / "model.onnx").write_bytes(b"\x08" * 99), "as an ONNX graph"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "cannot be read as a tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "read as a tokenizer"),
        (lambda folder: (folder / "config.json").unlink(), "the configuration of a model"),
        (lambda folder: (folder / "config.json").write_text("[]"), "no object of keys"),
        (lambda folder: change(folder, lambda c: c.update(distill={"format": 9})), "newer version"),
        (lambda folder: change(folder, lambda c: c.update(distill=3)), "not as we write it"),
        (
            lambda folder: change(folder, lambda c: c["distill"].update(vocabulary="00")),
            "was trimmed, and the tokenizer beside it is another one",
        ),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text(
                '{"trimmed_vocabulary": "00"}'
            ),
            "was trimmed, the model was not",
        ),
        (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), "no object of keys"),
        (
            lambda folder: change(folder, lambda c: c["distill"].update(text_columns="ab")),
            "not as we write it",
        ),
        (lambda folder: change(folder, lambda c: c.update(id2label={"1": "a"})), "without a gap"),
        (
            lambda folder: change(folder, lambda c: c.update(id2label={"0": "a", "1": "a"})),
            "names two labels 'a'",
        ),
        (
            lambda folder: change(folder, lambda c: c.update(id2label={"0": "a"})),
            "answers with the shape",
        ),
        (
            lambda folder: change(
                folder, lambda c: c.update(problem_type="multi_label_classification")
            ),
            "several labels at once",
        ),
        (lambda folder: change(folder, lambda c: c.update(problem_type="regression")), "2 labels"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    exported: Path, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    folder = shutil.copytree(exported / "onnx", tmp_path / "damaged")
    damage(folder)

    with pytest.raises(ModelInvalid, match=says):
        Classifier.load(folder)


def test_a_tokenizer_of_another_exporter(exported: Path, tmp_path: Path) -> None:
    """It cuts nothing by itself: the length stands beside it, or nowhere."""
    folder = shutil.copytree(exported / "onnx", tmp_path / "other")
    no_truncation(folder)
    long = ["good " * 200]
    expected = Classifier.load(exported / "onnx").logits(long)
    assert np.array_equal(Classifier.load(folder).logits(long), expected)

    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelInvalid, match="does not say how many tokens"):
        Classifier.load(folder)


def test_what_is_no_model(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(ModelNotFound):
        Classifier.load(tmp_path / "absent")
    with pytest.raises(ModelInvalid, match=r"no config\.json"):
        Classifier.load(tmp_path)
    with pytest.raises(Fault):
        Classifier.load(exported / "export.json")
    with pytest.raises(UsageError, match="threads is 0"):
        Classifier.load(exported, threads=0)


def test_batches_hold_rows_of_like_length() -> None:
    lengths = [3, 90, 4, 3, 128, 60, 3, 4, 127, 5, 64] * 9
    batches = list(like_lengths(lengths, 8))

    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    for batch in batches:
        longest, tokens = max(lengths[at] for at in batch), sum(lengths[at] for at in batch)
        assert len(batch) <= 8
        assert WASTE * (longest * len(batch) - tokens) <= tokens


def test_windows_bound_what_is_tokenized_at_once() -> None:
    long = "x" * (WINDOW_CHARACTERS - 1)
    texts = ["a", long, "b", ("c", long), "d", *["e"] * 7]
    found = list(windows(texts, 4))

    assert [len(window) for window in found] == [2, 1, 1, 4, 4]
    assert [text for window in found for text in window] == texts
    assert list(windows([], 4)) == []
