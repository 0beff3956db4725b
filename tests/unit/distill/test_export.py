"""Every form answers as the model does, opens without this package, and tells what it lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import datasets
import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from tokenizers import Tokenizer
from transformers import BertTokenizerFast
from typer.testing import CliRunner

from augment.contract import Label, Splits, TaskSpec, Version
from distill.cli import app
from distill.data.versions import token_columns
from distill.errors import ExtraMissing, UsageError
from distill.evaluation.evaluate import batched_logits
from distill.evaluation.target import EvaluationTarget
from distill.models.loading import load_classifier
from distill.runs.records import read_json
from distill.serving import onnx as onnx_model
from distill.serving.export import FORMS, ExportResult, export_model
from tests.unit.distill.helpers import (
    SENTIMENT,
    make_bert,
    make_good_teacher,
    mood_rows,
    save,
    write_version,
)

TEXTS = [
    "the room was good and fresh",
    "bad",
    "we had the dull stale food and it was very weak " * 4,
]


@pytest.fixture(scope="module")
def reversed_teacher(
    tokenizer: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its labels stand in another order than the data's."""
    model = make_good_teacher(tokenizer, labels=("positive", "negative"), layers=2)
    return save(model, tokenizer, tmp_path_factory.mktemp("models") / "reversed")


@pytest.fixture(scope="module")
def exported(
    reversed_teacher: Path, version: Version, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("exports") / "mood"
    export_model(str(reversed_teacher), version, out=out, quiet=True)
    return out


@pytest.fixture(scope="module")
def record(exported: Path) -> ExportResult:
    return read_json(exported / "export.json", ExportResult)


def test_a_model_without_a_calibration_is_given_one_and_another_keeps_its_own(
    tokenizer: BertTokenizerFast, version: Version, tmp_path: Path
) -> None:
    shy = make_good_teacher(tokenizer, labels=("positive", "negative"), layers=2)
    with torch.no_grad():
        for weight in shy.classifier.parameters():
            weight.mul_(0.1)
    source = save(shy, tokenizer, tmp_path / "shy")
    for place, model in (("first", source), ("second", tmp_path / "first" / "transformers")):
        export_model(str(model), version, out=tmp_path / place, forms=["transformers"], quiet=True)
    configs = [
        json.loads((tmp_path / place / "transformers" / "config.json").read_text())
        for place in ("first", "second")
    ]

    assert configs[0]["distill"]["calibration"]["temperature"] < 0.5
    assert configs[0]["distill"]["calibration"] == configs[1]["distill"]["calibration"]
    assert "distill" not in json.loads((source / "config.json").read_text())


def test_every_form_is_measured_against_the_model(
    record: ExportResult, exported: Path, version: Version
) -> None:
    forms = {form.form: form for form in record.forms}
    best = forms["pytorch"].scores["validation"]["accuracy"]
    file = exported / "onnx-int8" / "model.onnx"

    assert list(forms) == ["pytorch", *FORMS]
    assert best > 0.9
    for name, form in forms.items():
        assert form.drop == best - form.scores["validation"]["accuracy"], name
        assert form.latency.batch_1 > 0
        for times in form.end_to_end:
            for shares in (times.shares_1, times.shares_32):
                assert shares.tokenize + shares.model + shares.rest == pytest.approx(1)
                assert min(shares.tokenize, shares.model) > 0
    assert [times.threads for times in forms["onnx"].end_to_end] == sorted(
        {1, torch.get_num_threads()}
    )
    assert forms["onnx"].nodes["MultiHeadAttention"] == 2
    assert forms["onnx-int8"].nodes["MatMulIntegerToFloat"] == 13
    assert forms["onnx-small"].nodes["BitShift"] == 13
    assert forms["pytorch"].nodes == {}

    assert forms["transformers"].logit_difference == 0
    assert 0 < forms["onnx"].logit_difference < 1e-4
    assert 1e-4 < forms["onnx-int8"].logit_difference < 0.5
    assert forms["onnx"].answers_changed == 0
    assert forms["onnx-int8"].file_bytes == file.stat().st_size < forms["onnx"].file_bytes
    assert record.version_id == version.manifest.id
    assert record.rows == {"validation": 80}
    assert list(record.to_json()) == [
        "model", "model_sha256", "version", "version_id", "task", "selection", "rows",
        "max_length", "libraries", "forms", "processor",
    ]  # fmt: skip
    assert not list(exported.parent.glob(".*"))


@pytest.mark.parametrize("form", ["onnx", "onnx-int8"])
def test_a_graph_and_its_tokenizer_serve_without_transformers(
    exported: Path, reversed_teacher: Path, form: str
) -> None:
    """The tokenizer cuts and pads by itself; names come in the model's own order."""
    tokenizer = Tokenizer.from_file(str(exported / form / "tokenizer.json"))
    encoded = tokenizer.encode_batch(TEXTS)

    assert {len(one.ids) for one in encoded} == {46}
    session = onnxruntime.InferenceSession(exported / form / "model.onnx")
    feed = {
        "input_ids": np.array([one.ids for one in encoded]),
        "attention_mask": np.array([one.attention_mask for one in encoded]),
        "token_type_ids": np.array([one.type_ids for one in encoded]),
    }
    (logits,) = session.run(None, feed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(reversed_teacher).eval()
    reader = transformers.AutoTokenizer.from_pretrained(reversed_teacher)
    with torch.no_grad():
        expected = model(**reader(TEXTS, padding=True, return_tensors="pt")).logits.numpy()

    assert np.abs(logits - expected).max() < (1e-4 if form == "onnx" else 0.5)
    names = json.loads((exported / form / "config.json").read_text())["id2label"]

    assert [names[str(at)] for at in logits.argmax(-1)] == ["positive", "negative", "negative"]


def test_the_transformers_form_opens_with_its_names(exported: Path) -> None:
    folder = exported / "transformers"
    classify = transformers.pipeline("text-classification", model=str(folder))

    assert [found["label"] for found in classify(TEXTS)] == ["positive", "negative", "negative"]
    assert folder.joinpath("model.safetensors").stat().st_mode & 0o044


SPECIAL = ["bad [SEP] good", "[CLS] very dull", "[MASK] good", "", " ", "good " * 99 + "bad"]


def test_other_readers_take_special_tokens_in_texts_for_text(
    exported: Path, reversed_teacher: Path, version: Version
) -> None:
    """As ours do: ``[SEP]`` in a review ends nothing."""
    classifier = load_classifier(str(reversed_teacher), version.task)
    ours = token_columns([SPECIAL], classifier.tokenizer, 64)["input_ids"]
    assert ours[0] != classifier.tokenizer(SPECIAL[0])["input_ids"]

    for form in ("transformers", "onnx"):
        reader = transformers.AutoTokenizer.from_pretrained(exported / form)
        assert reader(SPECIAL, truncation=True)["input_ids"] == ours
    raw = Tokenizer.from_file(str(exported / "onnx" / "tokenizer.json"))
    raw.no_padding()
    raw.encode_special_tokens = True
    assert [raw.encode(text).ids for text in SPECIAL] == ours


def test_a_pipeline_gives_our_probabilities(
    exported: Path, reversed_teacher: Path, version: Version
) -> None:
    classifier = load_classifier(str(reversed_teacher), version.task)
    rows = datasets.Dataset.from_dict(token_columns([SPECIAL], classifier.tokenizer, 64))
    logits = batched_logits(EvaluationTarget("ours", classifier, {}, 64).logits, rows)
    expected = torch.softmax(torch.as_tensor(np.asarray(logits)), -1)
    classify = transformers.pipeline("text-classification", model=str(exported / "transformers"))
    found = classify(SPECIAL, truncation=True, top_k=None)

    for row, answers in zip(expected, found, strict=True):
        named = {answer["label"]: answer["score"] for answer in answers}
        assert [named[name] for name in version.task.label.names] == pytest.approx(
            row.tolist(), abs=1e-5
        )


def test_a_model_that_names_no_labels_gets_the_tasks(
    tokenizer: BertTokenizerFast, version: Version, tmp_path: Path
) -> None:
    model = make_bert(tokenizer, labels=("LABEL_0", "LABEL_1"), layers=1)
    folder = save(model, tokenizer, tmp_path / "model")
    export_model(str(folder), version, out=tmp_path / "out", forms=["transformers"], quiet=True)
    config = json.loads((tmp_path / "out" / "transformers" / "config.json").read_text())

    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert config["problem_type"] == "single_label_classification"


def test_a_text_beyond_the_models_length_is_cut(exported: Path) -> None:
    tokenizer = Tokenizer.from_file(str(exported / "onnx" / "tokenizer.json"))

    assert len(tokenizer.encode("very " * 100).ids) == 64
    reader = transformers.AutoTokenizer.from_pretrained(exported / "onnx")

    assert len(reader("very " * 100, truncation=True)["input_ids"]) == 64
    assert len(reader("very")["input_ids"]) == 3


def test_pairs_regression_and_two_validation_splits(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    """Only int8: the graph that it is made from is not kept."""
    task = TaskSpec(
        name="alike",
        text_columns=("a", "b"),
        label=Label(column="score", kind="regression"),
        metrics=("pearson",),
        selection_metric="pearson",
        splits=Splits(validation=("validation_near", "validation_far")),
    )
    rows = [
        {"a": row["sentence"], "b": other["sentence"], "score": at / 3}
        for at, (row, other) in enumerate(zip(mood_rows(12, 1), mood_rows(12, 2), strict=True))
    ]
    splits = {"train": rows, "validation_near": rows, "validation_far": rows[:5]}
    version = write_version(tmp_path / "versions", task, splits)
    model = make_bert(tokenizer, labels=("LABEL_0",), layers=1)
    folder = save(model, tokenizer, tmp_path / "model")
    found = export_model(
        str(folder), version, out=tmp_path / "out", forms=["onnx-int8"], quiet=True
    )

    assert found.rows == {"validation_near": 12, "validation_far": 5}
    assert [form.form for form in found.forms] == ["pytorch", "onnx-int8"]
    assert set(found.forms[1].scores) == {"validation_near", "validation_far"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "export.json",
        "onnx-int8",
    ]
    config = json.loads((tmp_path / "out" / "onnx-int8" / "config.json").read_text())
    assert config["problem_type"] == "regression"  # else a pipeline gives a sigmoid of the score


def test_refusals_write_nothing(
    teacher: Path, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="there is no form 'gguf'"):
        export_model(str(teacher), version, out=out, forms=["gguf"])
    monkeypatch.setattr(onnx_model, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match="not installed: onnx, onnxscript") as caught:
        export_model(str(teacher), version, out=out, forms=["onnx"])
    assert 'pip install "augment-distill[onnx]"' in caught.value.hint
    assert not out.exists()
    export_model(str(teacher), version, out=out, forms=["transformers"], quiet=True)
    before = os.stat(out).st_mtime_ns
    with pytest.raises(UsageError, match="out exists"):
        export_model(str(teacher), version, out=out, forms=["transformers"])

    assert os.stat(out).st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_prints_a_table(teacher: Path, version: Version, tmp_path: Path) -> None:
    arguments = ["export", str(teacher), str(version.path), "--to", "transformers"]
    found = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])

    assert found.exit_code == 0, found.stderr
    lines = found.stdout.splitlines()

    assert lines[0].split()[0] == "export"
    assert lines[1].split()[:3] == ["form", "accuracy", "drop"]
    assert [line.split()[0] for line in lines[2:4]] == ["pytorch", "transformers"]
    assert "drop = accuracy on validation lost against pytorch" in found.stdout
    assert "from raw texts to labels" in found.stdout


def test_a_version_of_validation_rows_alone_fixes_the_ranges_by_them(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    model = save(make_bert(tokenizer, layers=1), tokenizer, tmp_path / "model")
    rows = {"validation": mood_rows(12, 2)}
    alone = write_version(tmp_path / "alone", SENTIMENT, rows)
    empty = write_version(tmp_path / "empty", SENTIMENT, {"train": [], **rows})
    for at, found in enumerate((alone, empty)):
        result = export_model(
            str(model), found, out=tmp_path / f"out{at}", forms=["onnx-int8"], quiet=True
        )
        assert [form.form for form in result.forms] == ["pytorch", "onnx-int8"]
