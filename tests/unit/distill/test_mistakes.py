"""Wrong rows as a table: the surest first, harmless in a terminal and in a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from transformers import BertTokenizerFast

from augment.contract import Label, Splits, TaskSpec, Version
from distill.cli import app
from distill.errors import DataInvalid, UsageError
from distill.inference.settings import KEY, Calibration, ServingSettings
from distill.serving import mistakes
from distill.serving.mistakes import write_mistakes
from distill.tables.mistakes import print_mistakes
from tests.unit.distill.helpers import SENTIMENT, make_bert, mood_rows, save, write_version

NASTY = ('=HYPERLINK("http://x","y") good', "+1 good", "-1 good", "@SUM(A1) good", "\tgood", "good")
READ: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".tsv": lambda path: pd.read_csv(path, sep="\t"),
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".parquet": pd.read_parquet,
}


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Good sentences that are labeled bad, among right ones; a generated row of each."""
    wrong = [
        {"sentence": text, "label": 0, "idx": 100 + at, "variant": variant}
        for at, text in enumerate(NASTY)
        for variant in (0, 1)
    ]
    escape = {"sentence": "a fine \x1b[31m day, good " * 9, "label": 0, "idx": 7000}
    rows = [*mood_rows(20, 1), *wrong]
    validation = [*mood_rows(10, 2), escape]
    folder = tmp_path_factory.mktemp("versions")
    return write_version(folder, SENTIMENT, {"train": rows, "validation": validation})


@pytest.mark.parametrize("kind", READ)
def test_wrong_rows_are_written_surest_first(
    nasty: Version, teacher: Path, kind: str, tmp_path: Path
) -> None:
    out = tmp_path / f"errors{kind}"
    found = write_mistakes(str(teacher), nasty, out=out, split="train")
    table = READ[kind](out)

    assert list(table) == [
        "idx", "sentence", "label", "prediction", "confidence", "label_probability"
    ]  # fmt: skip
    assert found.rows == {"train": 26}
    assert len(table) == found.wrong == len(NASTY)
    assert sorted(table["idx"]) == [*range(100, 106)]
    assert table["confidence"].is_monotonic_decreasing
    assert {*table["label"]} == {"negative"}
    assert {*table["prediction"]} == {"positive"}
    assert np.allclose(table["confidence"] + table["label_probability"], 1, atol=1e-5)
    texts = dict(zip(table["idx"], table["sentence"], strict=True))
    escaped = "'" if kind in (".csv", ".tsv") else ""
    assert texts == {100 + at: escaped * (at < 5) + text for at, text in enumerate(NASTY)}
    assert [own.idx for own in found.first] == list(table["idx"][:5])


def test_what_is_printed_cannot_act(
    nasty: Version, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = write_mistakes(str(teacher), nasty, out=tmp_path / "e.csv")
    print_mistakes(found, Console(soft_wrap=True, width=200))
    printed = capsys.readouterr().out

    assert "1 of 11 rows are wrong" in printed
    assert "\\x1b[31m" in printed
    assert "\x1b" not in printed
    assert max(map(len, printed.splitlines())) < 200


def test_confidence_is_what_the_calibration_says(
    nasty: Version, tokenizer: BertTokenizerFast, teacher: Path, tmp_path: Path
) -> None:
    """A model of the other order of labels, with a bias that makes one of them certain."""
    model = make_bert(tokenizer, labels=("positive", "negative"), layers=1)
    settings = ServingSettings(calibration=Calibration(1.0, (50.0, 0.0)))
    setattr(model.config, KEY, settings.to_json())
    folder = save(model, tokenizer, tmp_path / "biased")
    found = write_mistakes(str(folder), nasty, out=tmp_path / "e.jsonl")

    assert found.wrong == found.sure == 6
    assert {own.prediction for own in found.first} == {"positive"}


@pytest.mark.parametrize("kind", READ)
def test_no_wrong_row_is_a_table_too(teacher: Path, kind: str, tmp_path: Path) -> None:
    rows = {"train": mood_rows(4, 1), "validation": mood_rows(6, 9)}
    perfect = write_version(tmp_path, SENTIMENT, rows)
    found = write_mistakes(str(teacher), perfect, out=tmp_path / f"none{kind}")

    assert (found.wrong, found.first) == (0, ())
    assert (tmp_path / f"none{kind}").is_file()


def test_of_a_regression_the_largest_error_comes_first(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    task = TaskSpec(
        name="near",
        text_columns=("prediction", "second"),
        label=Label(kind="regression"),
        metrics=("pearson",),
        selection_metric="pearson",
    )
    rows = [
        {"prediction": "good", "second": f"day {at}", "label": float(at), "idx": at}
        for at in range(8)
    ]
    made = write_version(tmp_path, task, {"train": rows, "validation": rows})
    model = save(make_bert(tokenizer, labels=("score",)), tokenizer, tmp_path / "model")
    found = write_mistakes(str(model), made, out=tmp_path / "e.csv")
    table = pd.read_csv(tmp_path / "e.csv")

    assert list(table) == ["idx", "prediction", "second", "label", "prediction_", "error"]
    assert list(table["idx"]) == [*range(7, -1, -1)]
    assert np.allclose((table["label"] - table["prediction_"]).abs(), table["error"], atol=1e-5)
    assert found.first[0].error == pytest.approx(table["error"][0], abs=1e-5)


def test_bad_places_and_splits_are_sentences(nasty: Version, teacher: Path, tmp_path: Path) -> None:
    def go(out: str, **more: Any) -> None:
        write_mistakes(str(teacher), nasty, out=tmp_path / out, **more)

    unread = mock.patch.object(mistakes, "open_classifier", side_effect=AssertionError)
    with unread, pytest.raises(UsageError, match="unknown kind"):
        go("errors.xlsx")
    blind = [{**row, "label": -1} for row in mood_rows(4, 3)]
    folder = tmp_path / "blind"
    task = SENTIMENT.model_copy(update={"splits": Splits(test=("test",))})
    made = write_version(folder, task, {"train": mood_rows(4, 1), "test": blind})
    with pytest.raises(DataInvalid, match="'test' has no labels"):
        write_mistakes(str(teacher), made, out=tmp_path / "e.csv", split="test")
    assert not list(tmp_path.glob("*.csv"))


def test_the_command(nasty: Version, teacher: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    arguments = ["errors", str(teacher), str(nasty.path), "--out", str(tmp_path / "e.csv")]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0
    assert "wrong       1 of 11 rows are wrong" in result.stdout
    assert "written" in result.stdout
