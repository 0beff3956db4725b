"""GLUE's submission, file by file, and tables for everything else."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from transformers import BertForSequenceClassification, BertTokenizerFast
from typer.testing import CliRunner

from augment.contract import Label, Splits, TaskSpec, Version
from distill.cli import app
from distill.errors import DataInvalid, ModelInvalid, UsageError
from distill.evaluation.evaluate import finite
from distill.serving.glue_submission import (
    MOST_BYTES,
    SUBMISSION_FILES,
    CheckedFile,
    Submission,
    check_submission,
    faults,
    render,
    write_submission,
)
from distill.serving.predict import PredictionTable, write_predictions
from tests.unit.distill.helpers import Row, make_bert, mood_rows, save, write_version

ROWS = {
    "CoLA.tsv": 1063,
    "SST-2.tsv": 1821,
    "MRPC.tsv": 1725,
    "STS-B.tsv": 1379,
    "QQP.tsv": 390965,
    "MNLI-m.tsv": 9796,
    "MNLI-mm.tsv": 9847,
    "QNLI.tsv": 5463,
    "RTE.tsv": 3000,
    "WNLI.tsv": 146,
    "AX.tsv": 1104,
}
BITS = ("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "QQP.tsv", "WNLI.tsv")
THREE = ("MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv")
WORDS = {
    **{file: {"0", "1"} for file in BITS},
    **{file: {"entailment", "not_entailment"} for file in ("QNLI.tsv", "RTE.tsv")},
    **{file: {"entailment", "neutral", "contradiction"} for file in THREE},
}
TESTS = Splits(test=("test",))
WNLI = TaskSpec(
    name="wnli",
    text_columns=("sentence1", "sentence2"),
    label=Label(names=("not_entailment", "entailment")),
    metrics=("accuracy",),
    selection_metric="accuracy",
    splits=TESTS,
)
STSB = TaskSpec(
    name="stsb",
    text_columns=("sentence1", "sentence2"),
    label=Label(kind="regression"),
    metrics=("pearson",),
    selection_metric="pearson",
    splits=TESTS,
)
MNLI = TaskSpec(
    name="mnli",
    text_columns=("premise", "hypothesis"),
    label=Label(names=("entailment", "neutral", "contradiction")),
    metrics=("accuracy",),
    selection_metric="accuracy",
    splits=Splits(validation=("validation_matched",), test=("test_matched", "test_mismatched")),
)


def pairs(task: TaskSpec, count: int, label: int) -> list[Row]:
    """Unlabeled rows in another order than that of their numbers."""
    one, other = mood_rows(count, 1), mood_rows(count, 2)
    rows = [
        {task.text_columns[0]: a["sentence"], task.text_columns[1]: b["sentence"],
         "label": label, "idx": at}
        for at, (a, b) in enumerate(zip(one, other, strict=True))
    ]  # fmt: skip
    return rows[::-1]


def make_version(root: Path, task: TaskSpec, **tests: int) -> Version:
    some = pairs(task, 6, 0)
    splits = {"train": some, task.splits.validation[0]: some}
    return write_version(
        root, task, {**splits, **{k: pairs(task, n, -1) for k, n in tests.items()}}
    )


def lively(model: BertForSequenceClassification) -> BertForSequenceClassification:
    """A random model that does not give one answer to all."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=1.0)
    return model


@pytest.fixture(scope="module")
def wnli(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return make_version(tmp_path_factory.mktemp("v"), WNLI, test=146)


@pytest.fixture(scope="module")
def wnli_model(tokenizer: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose labels stand in another order than the data's."""
    model = lively(make_bert(tokenizer, labels=("entailment", "not_entailment"), layers=1))
    return str(save(model, tokenizer, tmp_path_factory.mktemp("m") / "wnli"))


@pytest.mark.parametrize("file", ROWS)
def test_every_file_of_the_submission_in_the_sites_format(file: str) -> None:
    expected, rows = SUBMISSION_FILES[file], ROWS[file]
    names = list(expected.words)
    if names:
        answers = [names[at % len(names)] for at in range(rows)]
    else:
        answers = [at / 200 - 1 for at in range(rows)]
    text = render(expected, range(rows), answers)

    assert faults(expected, text) == []
    frame = pd.read_csv(pd.io.common.StringIO(text), sep="\t", dtype={"prediction": str})

    assert list(frame.columns) == ["index", "prediction"]
    assert list(frame["index"]) == list(range(rows))
    if names:
        assert set(frame["prediction"]) == WORDS[file]
    else:
        assert frame["prediction"].str.fullmatch(r"[0-5]\.\d{3}").all()
        assert frame["prediction"].astype(float).agg(["min", "max"]).tolist() == [0.0, 5.0]

    assert set(ROWS) == set(SUBMISSION_FILES)


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("WNLI.tsv", lambda text: text.replace("index", "id", 1), "the header is"),
        ("WNLI.tsv", lambda text: text + "146\t1\n", "has 147 rows, GLUE's has 146"),
        ("WNLI.tsv", lambda text: text.replace("\n7\t", "\n8\t"), "line 9: index '8', not 7"),
        ("WNLI.tsv", lambda text: text.replace("7\t1", "7\t2", 1), "'2' is no answer"),
        ("WNLI.tsv", lambda text: text.replace("7\t1", "7\tentailment", 1), "is no answer"),
        ("WNLI.tsv", lambda text: text + "\n", "must end with one line break"),
        ("WNLI.tsv", lambda text: text.replace("\n", "\r\n"), "the header is"),
        ("RTE.tsv", lambda text: text.replace("entailment", "1", 1), "'not_1' is no answer"),
        ("STS-B.tsv", lambda text: text.replace("1.000", "5.001", 1), "'5.001' is no answer"),
        ("STS-B.tsv", lambda text: text.replace("1.000", "nan", 1), "'nan' is no answer"),
        ("STS-B.tsv", lambda text: text.replace("1.000", "-1.0", 1), "'-1.0' is no answer"),
    ],
)
def test_what_is_wrong_with_a_file_is_found(
    file: str, change: Callable[[str], str], sentence: str
) -> None:
    expected = SUBMISSION_FILES[file]
    answers = [list(expected.words)[-1] if expected.words else 1.0] * expected.rows
    text = render(expected, range(expected.rows), answers)

    assert faults(expected, text) == []
    assert any(sentence in fault for fault in faults(expected, change(text)))
    assert len(faults(expected, change(text))) <= 4


def test_answers_are_those_of_the_model_in_order_of_the_rows(
    wnli: Version, wnli_model: str, tmp_path: Path
) -> None:
    result = write_predictions(wnli_model, wnli, out=tmp_path / "glue.zip", quiet=True)

    assert isinstance(result, Submission)
    assert result.written == ("WNLI.tsv",)
    assert len(result.missing) == 10
    with zipfile.ZipFile(tmp_path / "glue.zip") as archive, archive.open("WNLI.tsv") as file:
        frame = pd.read_csv(file, sep="\t")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(wnli_model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(wnli_model)
    test = wnli.to_pandas("test").sort_values("idx")

    assert list(test.index)[:2] == [145, 144]
    columns = [list(test[name]) for name in WNLI.text_columns]
    with torch.no_grad():
        logits = model(**tokenizer(*columns, padding=True, return_tensors="pt")).logits
    entailed = (logits.argmax(-1) == 0).long().tolist()  # "entailment" is the model's first label

    assert 0 < sum(entailed) < 146
    assert list(frame["prediction"]) == entailed


def test_a_submission_grows_task_by_task(
    wnli: Version, wnli_model: str, tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    place = tmp_path / "out" / "glue.zip"
    write_predictions(wnli_model, wnli, out=place, quiet=True)
    one = zipfile.ZipFile(place).read("WNLI.tsv")
    model = make_bert(tokenizer, labels=("LABEL_0",), layers=1)
    stsb = make_version(tmp_path / "v", STSB, test=1379)
    folder = save(model, tokenizer, tmp_path / "stsb")
    result = write_predictions(str(folder), stsb, out=place, quiet=True)

    assert isinstance(result, Submission)
    assert [file.file for file in result.files] == ["STS-B.tsv", "WNLI.tsv"]
    assert not any(file.faults for file in result.files)
    assert zipfile.ZipFile(place).read("WNLI.tsv") == one
    before = place.read_bytes()
    write_predictions(wnli_model, wnli, out=place, quiet=True)

    assert place.read_bytes() == before
    assert [path.name for path in place.parent.iterdir()] == ["glue.zip"]


def test_the_diagnostic_set_is_answered_by_a_model_of_mnli(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    model = lively(make_bert(tokenizer, labels=MNLI.label.names, layers=1))
    folder = str(save(model, tokenizer, tmp_path / "model"))
    version = make_version(tmp_path / "v", MNLI)
    rows = pairs(MNLI, 1104, -1)
    table = pa.Table.from_pylist(rows).select(["premise", "hypothesis", "idx"])
    pq.write_table(table, tmp_path / "ax.parquet")
    lines = ["index\tsentence1\tsentence2"]
    lines += [f"{row['idx']}\t{row['premise']}\t{row['hypothesis']}" for row in rows[::-1]]
    (tmp_path / "diagnostic.tsv").write_text("\n".join(lines) + "\n")
    found = []
    for name in ("ax.parquet", "diagnostic.tsv"):
        out = tmp_path / name.split(".")[0]
        result = write_predictions(folder, version, out=out, diagnostic=tmp_path / name, quiet=True)
        assert isinstance(result, Submission)
        assert result.written == ("AX.tsv",)
        assert result.files == (CheckedFile(file="AX.tsv", rows=1104, faults=()),)
        found.append((out / "AX.tsv").read_text())

    assert found[0] == found[1]
    assert len({line.split("\t")[1] for line in found[0].splitlines()[1:]}) > 1

    (tmp_path / "diagnostic.tsv").write_text("\n".join([*lines[:5], "5\tone field"]) + "\n")
    with pytest.raises(DataInvalid, match=r"diagnostic\.tsv line 6 has 2 fields in place of 3"):
        write_predictions(
            folder, version, out=out, diagnostic=tmp_path / "diagnostic.tsv", quiet=True
        )
    (tmp_path / "diagnostic.tsv").write_text("\n".join(lines[:8]) + "\n")
    with pytest.raises(DataInvalid, match=r"has 7 rows, GLUE's has 1,104"):
        write_predictions(
            folder, version, out=out, diagnostic=tmp_path / "diagnostic.tsv", quiet=True
        )


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_other_tasks_get_a_table(
    version: Version, teacher: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / f"answers.{form}"
    result = write_predictions(str(teacher), version, out=out, split="validation", quiet=True)
    read = {
        "csv": pd.read_csv,
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }
    frame = read[form](out)

    assert result == PredictionTable(place=str(out), splits=("validation",), rows=80)
    assert len(frame) == 80
    assert list(frame.columns) == ["idx", "prediction", "p_negative", "p_positive"]
    assert np.allclose(frame["p_negative"] + frame["p_positive"], 1, atol=2e-6)
    truth = version.to_pandas("validation").set_index("idx").loc[frame["idx"], "label"]
    right = frame["prediction"].to_numpy() == np.array(["negative", "positive"])[truth]

    assert right.mean() > 0.9


def test_variants_and_several_splits_are_told_apart(
    version: Version, teacher: Path, tmp_path: Path
) -> None:
    write_predictions(str(teacher), version, out=tmp_path / "a.csv", split="train", quiet=True)
    frame = pd.read_csv(tmp_path / "a.csv")

    assert list(frame.columns[:3]) == ["idx", "variant", "prediction"]
    assert frame[["idx", "variant"]].to_numpy().tolist()[:3] == [[0, 0], [0, 1], [1, 0]]


def test_refusals(
    version: Version,
    teacher: Path,
    wnli: Version,
    wnli_model: str,
    tokenizer: BertTokenizerFast,
    tmp_path: Path,
) -> None:
    def refused(
        kind: type[Exception], sentence: str, model: object, data: Version, out: str, **more: str
    ) -> None:
        with pytest.raises(kind, match=sentence):
            write_predictions(str(model), data, out=tmp_path / out, quiet=True, **more)

    refused(UsageError, "no file for split 'validation' of mood", teacher, version, "a.zip",
            split="validation")  # fmt: skip
    refused(DataInvalid, "has no split 'test'; it has train, validation", teacher, version, "a.csv")
    refused(UsageError, "is no place for predictions", teacher, version, "a.txt")
    refused(UsageError, "part of a GLUE submission", wnli_model, wnli, "a.csv", diagnostic="x")
    refused(UsageError, "no file for split 'diagnostic' of wnli", wnli_model, wnli, "a.zip",
            diagnostic="x")  # fmt: skip
    short = make_version(tmp_path / "v", WNLI, test=10)
    refused(DataInvalid, "has 10 rows, GLUE's WNLI.tsv has 146", wnli_model, short, "a.zip")
    named = WNLI.model_copy(update={"label": Label(names=("no", "yes"))})
    other = make_version(tmp_path / "w", named, test=146)
    folder = save(make_bert(tokenizer, labels=("no", "yes"), layers=1), tokenizer, tmp_path / "m")
    refused(UsageError, "wnli has the labels no, yes; GLUE's WNLI.tsv", folder, other, "a.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("../notes.txt", "x")
    refused(DataInvalid, "holds '../notes.txt', which is no file", wnli_model, wnli, "mine.zip")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("CoLA.tsv", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("CoLA.tsv", "two")
    refused(DataInvalid, r"holds CoLA\.tsv twice", wnli_model, wnli, "two.zip")
    (tmp_path / "no.zip").write_text("text")
    refused(DataInvalid, "cannot be read as a GLUE submission", wnli_model, wnli, "no.zip")

    assert not (tmp_path / "a.zip").exists()
    assert (tmp_path / "no.zip").read_text() == "text"


def test_a_whole_submission_is_checked_by_a_command(tmp_path: Path) -> None:
    files = {}
    for name, expected in SUBMISSION_FILES.items():
        answers = [next(iter(expected.words), 2.5)] * expected.rows
        files[name] = render(expected, range(expected.rows), answers)
    write_submission(tmp_path / "glue.zip", files)
    found = check_submission(tmp_path / "glue.zip")

    assert {file.file: file.rows for file in found.files} == ROWS
    assert not found.missing
    shown = CliRunner().invoke(app, ["submission", str(tmp_path / "glue.zip")])

    assert shown.exit_code == 0
    assert "missing" not in shown.stdout

    files = {"CoLA.tsv": files["CoLA.tsv"], "RTE.tsv": files["RTE.tsv"].replace("\t", " ")}
    write_submission(tmp_path / "folder", files)
    shown = CliRunner().invoke(app, ["submission", str(tmp_path / "folder")])

    assert shown.exit_code == 3
    assert "the header is 'index prediction'" in shown.stdout
    assert "missing: SST-2.tsv, MRPC.tsv" in shown.stdout
    data = json.loads(
        CliRunner().invoke(app, ["submission", str(tmp_path / "folder"), "--json"]).stdout
    )

    assert [bool(file["faults"]) for file in data["files"]] == [False, True]


def test_answers_that_are_no_numbers_are_none(
    wnli: Version, wnli_model: str, tmp_path: Path
) -> None:
    """The largest of them would be the first class."""
    damaged = tmp_path / "damaged"
    shutil.copytree(wnli_model, damaged)
    config = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps({**config, "layer_norm_eps": math.nan}))
    with pytest.raises(ModelInvalid, match="its answer to a text is no finite number"):
        write_predictions(str(damaged), wnli, out=tmp_path / "table.csv", quiet=True)
    with pytest.raises(ModelInvalid, match="m answers 1 of 2 rows with NaN or infinity"):
        finite("m", np.array([[0.0, 1.0], [0.0, np.inf]], dtype=np.float32))

    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_the_predict_command(wnli: Version, wnli_model: str, tmp_path: Path) -> None:
    arguments = ["predict", wnli_model, str(wnli.path), "--out"]
    shown = CliRunner().invoke(app, [*arguments, str(tmp_path / "glue")])

    assert shown.exit_code == 0, shown.stderr
    assert "warning     missing: CoLA.tsv" in shown.stdout
    shown = CliRunner().invoke(app, [*arguments, str(tmp_path / "rows.csv")])

    assert "146 rows of test" in shown.stdout


def test_a_folder_of_models_names_them(wnli: Version, wnli_model: str, tmp_path: Path) -> None:
    shutil.copytree(wnli_model, tmp_path / "all" / "transformers")
    with pytest.raises(ModelInvalid) as caught:
        write_predictions(str(tmp_path / "all"), wnli, out=tmp_path / "table.csv", quiet=True)

    assert caught.value.hint == "Name a folder in it that is one: transformers."


def test_a_file_that_is_too_large_is_not_unpacked(tmp_path: Path) -> None:
    write_submission(tmp_path / "glue.zip", {"WNLI.tsv": "0" * (MOST_BYTES + 1)})
    with pytest.raises(DataInvalid, match=r"'WNLI.tsv' has 67,108,865 bytes"):
        check_submission(tmp_path / "glue.zip")


def test_a_damaged_submission_is_one_sentence(tmp_path: Path) -> None:
    whole = tmp_path / "glue.zip"
    write_submission(whole, {"WNLI.tsv": "index\tprediction\n" + "0\t1\n" * 146})
    content = whole.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 0x5A
        whole.write_bytes(damaged)
        with contextlib.suppress(DataInvalid):
            check_submission(whole)
    whole.write_bytes(content[:40])
    with pytest.raises(DataInvalid, match="cannot be read as a GLUE submission"):
        check_submission(whole)
