"""Rows of files of every kind to tables of every kind: own columns kept, nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import BertTokenizerFast
from typer.testing import CliRunner, Result

from augment.contract import Version
from distill import Classifier
from distill.cli import app
from distill.serving import writers
from distill.serving.answers import answer_file
from tests.conftest import ROOT
from tests.unit.distill.helpers import make_bert, mood_rows, save

TEXTS = [
    *(str(row["sentence"]) for row in mood_rows(40, seed=4)),
    "",
    'he said "good", x',
    "ü\ttab",
]
OURS = ["prediction", "confidence", "p_negative", "p_positive"]


@pytest.fixture(scope="module")
def model(exported: Path) -> Path:
    return exported / "onnx"


@pytest.fixture(scope="module")
def shares(model: Path) -> Any:
    return Classifier.load(model).predict_proba(TEXTS)


def ask(*words: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, words)], input=stdin)


def as_txt(file: Path) -> None:
    file.write_text("".join(f"{text}\n" for text in TEXTS))


def frame() -> pd.DataFrame:
    return pd.DataFrame({"id": range(len(TEXTS)), "sentence": TEXTS, "more": 0.5})


def as_delimited(delimiter: str) -> Callable[[Path], None]:
    return lambda file: frame().to_csv(file, sep=delimiter, index=False)


def as_jsonl(file: Path) -> None:
    frame().to_json(file, orient="records", lines=True)


SOURCES: dict[str, Callable[[Path], None]] = {
    ".txt": as_txt,
    ".csv": as_delimited(","),
    ".tsv": as_delimited("\t"),
    ".jsonl": as_jsonl,
    ".json": lambda file: file.write_text(frame().to_json(orient="records")),
    ".parquet": lambda file: frame().to_parquet(file, index=False),
}


def table(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    if file.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in file.read_text().splitlines()])
    return pd.read_csv(file, sep="," if file.suffix == ".csv" else "\t", keep_default_na=False)


@pytest.mark.parametrize("kind", SOURCES)
def test_each_kind_becomes_each_kind(model: Path, shares: Any, tmp_path: Path, kind: str) -> None:
    classifier = Classifier.load(model)
    source = tmp_path / f"in{kind}"
    SOURCES[kind](source)
    own = ["text"] if kind == ".txt" else ["id", "sentence", "more"]
    for ending in writers.TABLES:
        out = tmp_path / f"out{ending}"
        found = answer_file(classifier, str(source), out=out, quiet=True)
        written = table(out)

        assert (found.rows, found.left_out, found.columns) == (len(TEXTS), 0, tuple(OURS))
        assert list(written.columns) == [*own, *OURS]
        assert written[own[-2 if len(own) > 1 else 0]].tolist() == TEXTS
        assert written["prediction"].tolist() == classifier.predict(TEXTS)
        assert np.abs(written[OURS[2:]].to_numpy(float) - shares).max() < 2e-6
        assert np.abs(written["confidence"].astype(float) - shares.max(-1)).max() < 2e-6
        if own != ["text"]:
            assert written["id"].astype(int).tolist() == list(range(len(TEXTS)))
            assert set(written["more"].astype(float)) == {0.5}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [source.name, *(f"out{ending}" for ending in writers.TABLES)]
    )


def test_a_student_of_pytorch_answers_alike(model: Path, teacher: Path, tmp_path: Path) -> None:
    as_txt(tmp_path / "in.txt")
    for name, folder in (("graph", model), ("torch", teacher)):
        found = ask(folder, "--input", tmp_path / "in.txt", "--out", tmp_path / f"{name}.csv")
        assert found.exit_code == 0, found.output
    one, other = table(tmp_path / "graph.csv"), table(tmp_path / "torch.csv")

    assert one["prediction"].tolist() == other["prediction"].tolist()
    assert np.abs(one[OURS[1:]] - other[OURS[1:]]).max().max() < 1e-4


def test_rows_of_a_version_are_answered_alike(
    teacher: Path, version: Version, tmp_path: Path
) -> None:
    """Calibrated, with a bias that turns answers round."""
    folder = shutil.copytree(teacher, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["distill"] = {"format": 1, "calibration": {"temperature": 3.0, "bias": [20.0, 0.0]}}
    (folder / "config.json").write_text(json.dumps(config))
    rows = version.to_pandas("validation")
    rows[["sentence"]].to_csv(tmp_path / "in.csv", index=False)
    command = [folder, "--out", tmp_path / "rows.csv", "--input", tmp_path / "in.csv"]
    assert ask(*command).exit_code == 0
    found = ask(folder, version.path, "--split", "validation", "--out", tmp_path / "version.csv")
    assert found.exit_code == 0, found.output
    one, other = table(tmp_path / "rows.csv"), table(tmp_path / "version.csv")

    assert one["prediction"].tolist() == other["prediction"].tolist()
    assert np.abs(one[OURS[2:]] - other[OURS[2:]]).max().max() < 2e-6
    plain = Classifier.load(teacher).predict(rows["sentence"].tolist())
    assert one["prediction"].tolist() != plain


def test_pairs_stand_in_two_columns(tokenizer: BertTokenizerFast, tmp_path: Path) -> None:
    model = make_bert(tokenizer, layers=1)
    known = {"format": 1, "text_columns": ["first", "second"]}
    model.config.update({"distill": known})
    folder, source = save(model, tokenizer, tmp_path / "model"), tmp_path / "in.csv"
    source.write_text("second,first,id\ngood,bad,1\n,dull,2\n")
    found = ask(folder, "--input", source, "--out", tmp_path / "out.csv")
    assert found.exit_code == 0, found.output
    expected = Classifier.load(folder).predict_proba([("bad", "good"), ("dull", "")])
    assert np.abs(table(tmp_path / "out.csv")[OURS[2:]].to_numpy(float) - expected).max() < 2e-6

    said = json.loads(ask(folder, "--text", "bad", "--text-b", "good", "--json").stdout)
    assert said["answers"][0]["text"] == ["bad", "good"]
    assert said["answers"][0]["probabilities"] == pytest.approx(
        dict(zip(("negative", "positive"), expected[0].tolist(), strict=True)), abs=1e-6
    )
    other = ["--text-column", "id", "--text-column", "second"]
    assert ask(folder, "--input", source, "--out", tmp_path / "o.csv", *other).exit_code == 0
    for words, code, says in (
        (["--text", "bad"], 3, "row 0 is a text"),
        (["--input", source, "--out", tmp_path / "x.csv", *other[:2]], 2, "is given 1 times"),
        (["--input", tmp_path / "in.txt", "--out", tmp_path / "x.csv"], 2, "first and second"),
    ):
        (tmp_path / "in.txt").write_text("a\n")
        found = ask(folder, *words)
        assert (found.exit_code, says in found.stderr) == (code, True), found.output
    assert not (tmp_path / "x.csv").exists()


def test_scores_have_one_column(tokenizer: BertTokenizerFast, tmp_path: Path) -> None:
    model = make_bert(tokenizer, labels=("LABEL_0",), layers=1, problem_type="regression")
    folder, source = save(model, tokenizer, tmp_path / "model"), tmp_path / "in.txt"
    as_txt(source)
    for ending in writers.TABLES:
        out = tmp_path / f"out{ending}"
        assert ask(folder, "--input", source, "--out", out).exit_code == 0
        assert list(table(out).columns) == ["text", "prediction"]
        scores = Classifier.load(folder).predict(TEXTS)
        assert table(out)["prediction"].astype(float).tolist() == pytest.approx(scores, abs=1e-6)
    assert "score" in ask(folder, "--text", "good").stdout
    found = ask(folder, "--text", "good", "--abstain-below", 0.5)
    assert (found.exit_code, "has no confidence" in found.stderr) == (2, True), found.output


def test_stdin(model: Path, tmp_path: Path) -> None:
    lines = "".join(f"{text}\n" for text in TEXTS).encode()
    out = tmp_path / "out.csv"
    found = ask(model, "--input", "-", "--out", out, stdin=lines)
    assert found.exit_code == 0, found.output
    assert table(out)["text"].tolist() == TEXTS

    of_csv = b"id;sentence\n1;good room\n2;bad\n"
    found = ask(model, "--input", "-", "--stdin-kind", "csv", "--out", out, stdin=of_csv)
    assert found.exit_code == 0, found.output
    assert table(out)["sentence"].tolist() == ["good room", "bad"]

    found = ask(model, "--input", "-", "--out", out, stdin=b"good\n\xff\xfe\xff bad\n")
    assert found.exit_code == 3
    assert "stdin line 2 is not UTF-8" in found.stderr
    assert len(table(out)) == 2


def test_the_inputs_own_names_stay(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("sentence,prediction,p_positive,prediction_2\ngood,a,b,c\n")
    found = ask(model, "--input", source, "--out", out)

    header, row = csv.reader(io.StringIO(out.read_text()))
    own = ["sentence", "prediction", "p_positive", "prediction_2"]
    assert header == [*own, "prediction_3", "confidence", "p_negative", "p_positive_2"]
    assert row[:5] == ["good", "a", "b", "c", "positive"]
    assert "ours are prediction_3, p_positive_2" in found.stdout


def test_types_and_values_of_parquet_stay(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    rows = pa.table(
        {
            "small": pa.array([1, None], pa.int8()),
            "when": pa.array([10**9, None], pa.timestamp("us", tz="UTC")),
            "kind": pa.array(["x", None]).dictionary_encode(),
            "list": pa.array([[1, 2], None], pa.list_(pa.int16())),
            "deep": pa.array([{"a": "b"}, None]),
            "sentence": pa.array(["good", "bad"], pa.large_string()),
        }
    )
    pq.write_table(rows, source)
    assert ask(model, "--input", source, "--out", out).exit_code == 0
    written = pq.read_table(out)

    assert written.select(rows.schema.names).equals(rows)
    assert ask(model, "--input", source, "--out", tmp_path / "out.jsonl").exit_code == 0
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (first["list"], first["deep"], first["small"]) == ([1, 2], {"a": "b"}, 1)


def test_keys_of_json_may_differ(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.csv"
    rows = [
        {"sentence": "good", "a": 1, "deep": {"k": ["\ud800"]}},
        {"sentence": "bad", "b": True, "a": 2.5},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for ending in writers.TABLES:
        found = ask(model, "--input", source, "--out", out.with_suffix(ending))
        assert found.exit_code == 0, (ending, found.output)
    header, first, second = csv.reader(io.StringIO(out.read_text()))
    assert header[:4] == ["sentence", "a", "deep", "b"]
    assert first[:4] == ["good", "1", '{"k": ["\\ud800"]}', ""]
    assert second[:4] == ["bad", "2.5", "", "true"]
    back = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert [{k: v for k, v in row.items() if k not in OURS} for row in back] == rows


def test_it_abstains(model: Path, shares: Any, tmp_path: Path) -> None:
    as_txt(tmp_path / "in.txt")
    middle = float(np.median(shares.max(-1)))
    command = [model, "--input", tmp_path / "in.txt", "--abstain-below", middle]
    found = ask(*command, "--out", tmp_path / "out.csv", "--json")
    unsure = int((shares.max(-1) < middle).sum())

    assert json.loads(found.stdout)["abstained"] == unsure > 0
    assert (table(tmp_path / "out.csv")["prediction"] == "").sum() == unsure
    ask(*command, "--out", tmp_path / "out.parquet")
    assert table(tmp_path / "out.parquet")["prediction"].isna().sum() == unsure


def test_texts_on_the_command_line(model: Path) -> None:
    text = "a [bold]good[/bold] room \x1b[31m\u202e"
    found = ask(model, "--text", text, "--text", "bad", "--abstain-below", 0.999999)

    assert found.exit_code == 0
    assert "\x1b" not in found.stdout
    assert "a [bold]good[/bold] room \\x1b[31m\\u202e" in found.stdout
    assert "none: it is not sure enough" in found.stdout

    said = json.loads(ask(model, "--text", text, "--text", "bad", "--json").stdout)
    shares = Classifier.load(model).predict_proba([text, "bad"])
    for row, answer in zip(shares, said["answers"], strict=True):
        assert answer["prediction"] == ("negative", "positive")[row.argmax()]
        assert list(answer["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-6)
        assert answer["confidence"] == pytest.approx(row.max(), abs=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "nothing to answer"),
        (["v", "--text", "a"], 2, "a VERSION and --text do not go together"),
        (["--text", "a", "--input", "b"], 2, "--text and --input do not go together"),
        (["--text", "a", "--out", "b.csv"], 2, "--out does not go with --text"),
        (["--text", "a", "--split", "test"], 2, "--split does not go with --text"),
        (["v", "--out", "a.csv", "--form", "onnx"], 2, "--form does not go with a VERSION"),
        (["v"], 2, "--out is missing"),
        (["--input", "in.txt"], 2, "--out is missing"),
        (["--text", ""], 2, "--text is empty"),
        (["--text", "a", "--text-b", "b", "--text-b", "c"], 2, "--text-b 2 times"),
        (["--text", "a", "--text-b", "b"], 3, "row 0 is a pair of texts"),
        (["--text", "a", "--abstain-below", "2"], 2, "abstain-below"),
        (["--text", "a", "--form", "onnx"], 2, "is no export"),
        (["--input", "absent.csv", "--out", "out.csv"], 3, "absent.csv"),
        (["--input", "in.txt", "--out", "out.xlsx"], 2, "of an unknown kind"),
        (["--input", "in.txt", "--out", "folder.csv"], 2, "is a folder"),
        (["--input", "folder.csv", "--out", "out.csv"], 3, "folder.csv"),
        (["--input", "in.txt", "--out", "in.txt/out.csv"], 3, "is a file, not a folder"),
        (["--input", "in.csv", "--out", "in.csv"], 2, "in.csv is the input"),
        (["--input", "in.csv", "--out", "link.csv"], 2, "link.csv is the input"),
        (["--input", "in.csv", "--out", "out.csv"], 2, "there are id, words, more"),
        (["--input", "in.csv", "--out", "out.csv", "--text-column", "w"], 3, "has no column 'w'"),
        (
            ["--input", "in.csv", "--out", "out.csv", "--text-column", "id", "--text-column", "a"],
            2,
            "--text-column is given 2 times",
        ),
        (["--input", "in.log", "--out", "out.csv"], 2, "unknown kind"),
        (["--input", "empty.txt", "--out", "out.csv"], 3, "is empty"),
        (["--input", "empty.csv", "--out", "out.csv"], 3, "is empty"),
        (["--input", "empty.jsonl", "--out", "out.csv"], 3, "is empty"),
        (["--input", "empty.parquet", "--out", "out.csv"], 3, "empty"),
        (["--input", "header.csv", "--out", "out.csv"], 3, "no rows that can be answered"),
        (["--input", "none.json", "--out", "out.csv"], 3, "holds no rows"),
        (["--input", "latin.txt", "--out", "out.csv"], 3, "latin.txt line 2 is not UTF-8"),
        (["--input", "nul.txt", "--out", "out.csv"], 3, "NUL"),
        (["--input", "nul.jsonl", "--out", "out.csv"], 3, "line 2: 'sentence' holds a NUL"),
        (["--input", "half.jsonl", "--out", "out.csv"], 3, "half a surrogate pair"),
        (["--input", "null.jsonl", "--out", "out.csv"], 3, "line 2: 'sentence' is missing"),
        (["--input", "number.jsonl", "--out", "out.csv"], 3, "'sentence' is no text, but 3"),
        (["--input", "no-key.jsonl", "--out", "out.csv"], 3, "'sentence' is missing"),
        (["--input", "cut.csv", "--out", "out.csv"], 3, "cut.csv line 3 has 1 field"),
        (["--input", "zip.csv", "--out", "out.csv"], 3, "zip archive"),
    ],
)
def test_bad_input_is_a_sentence_and_nothing_is_written(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bad_files(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    found = ask(model, *words)

    assert found.exit_code == code, found.output
    assert says in found.stderr
    assert f"(exit {code})" in found.stderr
    assert "mistake of the program" not in found.stderr
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def make_bad_files(folder: Path) -> None:
    (folder / "in.txt").write_text("good\n")
    (folder / "in.log").write_text("good\n")
    (folder / "in.csv").write_text("id,words,more\n1,good,x\n")
    (folder / "link.csv").symlink_to("in.csv")
    (folder / "folder.csv").mkdir()
    for kind in ("txt", "csv", "jsonl", "parquet"):
        (folder / f"empty.{kind}").write_bytes(b"")
    (folder / "header.csv").write_text("sentence\n")
    (folder / "none.json").write_text("[]")
    (folder / "latin.txt").write_bytes("good\nschön\n".encode("latin-1"))
    (folder / "nul.txt").write_bytes(b"good\nbad\0\n")
    (folder / "nul.jsonl").write_text('{"sentence": "a"}\n{"sentence": "a\\u0000"}\n')
    (folder / "half.jsonl").write_text('{"sentence": "a"}\n{"sentence": "a\\ud800"}\n')
    (folder / "null.jsonl").write_text('{"sentence": "a"}\n{"sentence": null}\n')
    (folder / "number.jsonl").write_text('{"sentence": "a"}\n{"sentence": 3}\n')
    (folder / "no-key.jsonl").write_text('{"sentence": "a"}\n{"b": "a"}\n')
    (folder / "cut.csv").write_text("sentence,id\na,1\nb\n")
    (folder / "zip.csv").write_bytes(b"PK\x03\x04 and more")


@pytest.mark.parametrize(
    ("name", "kept", "left_out"),
    [("latin.txt", 1, 1), ("nul.jsonl", 1, 1), ("null.jsonl", 1, 1), ("cut.csv", 1, 1)],
)
def test_malformed_rows_may_be_left_out(
    model: Path, tmp_path: Path, name: str, kept: int, left_out: int
) -> None:
    make_bad_files(tmp_path)
    found = answer_file(
        Classifier.load(model),
        str(tmp_path / name),
        out=tmp_path / "out.csv",
        skip_malformed=True,
        quiet=True,
    )

    assert (found.rows, found.left_out) == (kept, left_out)
    assert len(table(tmp_path / "out.csv")) == kept


def test_texts_of_any_length(model: Path, tmp_path: Path) -> None:
    texts = ["", "good " * 20_000, "g" * 100_000, "\U0001f600" * 100_000, " " * 100_000, "bad"]
    source = tmp_path / "in.txt"
    source.write_text("".join(f"{text}\n" for text in texts))
    found = ask(model, "--input", source, "--out", tmp_path / "out.parquet")

    assert found.exit_code == 0, found.output
    written = table(tmp_path / "out.parquet")
    assert written["text"].tolist() == texts
    alone = Classifier.load(model)
    assert written["prediction"].tolist() == [alone.predict([text])[0] for text in texts]


def test_parquet_is_written_in_parts(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_GROUP_ROWS", 2000)
    source, out = tmp_path / "in.txt", tmp_path / "out.parquet"
    source.write_text("good\n" * 5000)
    answer_file(Classifier.load(model), str(source), out=out, quiet=True)

    assert pq.read_metadata(out).num_row_groups == 3
    assert pq.read_metadata(out).num_rows == 5000


def test_a_place_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    as_txt(tmp_path / "in.txt")
    if os.geteuid():
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        found = ask(model, "--input", tmp_path / "in.txt", "--out", closed / "out.csv")
        assert found.exit_code == 3
        assert "no permission" in found.stderr
    found = ask(model, "--input", tmp_path / "in.txt", "--out", "/proc/out.csv")
    assert found.exit_code == 3
    assert "cannot be written" in found.stderr or "cannot be used" in found.stderr


def test_stopped_halfway_nothing_is_left(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.csv"
    source.write_text("a very dull day and stale food\n" * 3_000_000)
    out.write_text("before")
    command = [sys.executable, "-m", "distill.cli", "predict", str(model), "--threads", "1"]
    process = subprocess.Popen(
        [*command, "--input", str(source), "--out", str(out)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = tmp_path / ".out.csv.partial"
    for _ in range(600):
        if partial.exists() and partial.stat().st_size:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert "stopped. No result was written." in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.csv"]
    assert out.read_text() == "before"
