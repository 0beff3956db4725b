"""Tables of answers: other programs read the rows that were meant, in the words of the data."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import BertTokenizerFast

from distill import Classifier
from distill.errors import UsageError
from distill.models.labels import label_settings
from distill.serving.answers import answer_file
from distill.serving.predict import write_table
from tests.unit.distill.helpers import SENTIMENT, make_bert, make_tokenizer, save

ENDS = ("a\rb", "a\r\nb", "a\nb", "\r", 'he "said"\r', "a\tb,c;d")


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = tmp_path_factory.mktemp("models") / "model"
    return Classifier.load(save(make_bert(tokenizer, layers=1, width=16), tokenizer, folder))


def rows_of(file: Path) -> list[dict[str, str]]:
    """As pandas reads it, to which a CR outside of quotes ends a line, too."""
    delimiter = "\t" if file.suffix == ".tsv" else ","
    frame = pd.read_csv(file, sep=delimiter, dtype=str, keep_default_na=False)
    text = file.read_bytes().decode()
    assert not text.startswith("\r")
    plain = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    found = frame.to_dict("records")
    assert [{str(name): own for name, own in row.items()} for row in found] == plain
    return plain


@pytest.mark.parametrize("kind", [".csv", ".tsv"])
def test_a_line_end_within_a_text_ends_no_row(model: Classifier, kind: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / f"out{kind}"
    source.write_text("".join(f"{json.dumps({'text': text, 'id': 7})}\n" for text in ENDS))
    answer_file(model, str(source), out=out, quiet=True)

    assert [row["text"] for row in rows_of(out)] == list(ENDS)
    assert out.read_bytes().splitlines()[0].endswith(b"p_positive")
    write_table(pd.DataFrame({"text": ENDS, "share": 0.5}), out, kind)
    assert [row["text"] for row in rows_of(out)] == list(ENDS)
    assert out.read_bytes().startswith(b"text,share\n" if kind == ".csv" else b"text\tshare\n")


def test_two_columns_of_other_names_are_no_pair(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    """An id and a text would be answered as if they were one."""
    bert: Any = make_bert(tokenizer, layers=1, width=16)
    bert.config.update({"distill": {"format": 1, "text_columns": ["a", "b"]}})
    pairs = Classifier.load(save(bert, tokenizer, tmp_path / "model"))
    for header in ("id,text", "a,text", "text,b"):
        (tmp_path / "in.csv").write_text(f"{header}\n1,good\n")
        with pytest.raises(UsageError, match=r"in.csv has no columns a and b"):
            answer_file(pairs, str(tmp_path / "in.csv"), out=tmp_path / "out.csv", quiet=True)
    named = {"text_columns": ("text", "b"), "quiet": True}
    done = answer_file(pairs, str(tmp_path / "in.csv"), out=tmp_path / "out.csv", **named)
    assert done.rows == 1


def test_labels_have_the_names_of_the_data_in_the_order_of_the_model() -> None:
    assert label_settings(SENTIMENT)["id2label"] == {0: "negative", 1: "positive"}
    three = SENTIMENT.model_copy(
        update={"label": SENTIMENT.label.model_copy(update={"names": ("x", "y", "z")})}
    )
    # the logits of x, y and z are in the columns 1, 2 and 0
    assert label_settings(three, (1, 2, 0))["id2label"] == {0: "z", 1: "x", 2: "y"}
    assert label_settings(three, (1, 2, 0))["label2id"] == {"z": 0, "x": 1, "y": 2}
