"""Encodings × line ends × delimiters × quotes × readers: read rightly, or one sentence.

Every cell is one file. Right means the very texts that were written; whatever is left out under
``--skip-malformed`` is counted. What must be read and what must be refused is in ``expected``.
"""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from augment.contract import Fault
from augment.sources.infer import sniff
from augment.sources.read import read_source
from augment.tasks import GLUE, Task, load_task
from distill.data.corpus import Source, open_corpus
from distill.serving.glue_diagnostic import read_diagnostic

ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 LE": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16 BE": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "UTF-16 LE without mark": lambda text: text.encode("utf-16-le"),
    "UTF-16 BE without mark": lambda text: text.encode("utf-16-be"),
    "Latin-1": lambda text: text.encode("latin-1"),
}
FOREIGN = ("UTF-16 LE without mark", "UTF-16 BE without mark", "Latin-1")
ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
DELIMITERS = ("\t", ",", ";")
QUOTES = ("none", "doubled", "open")


@dataclass(frozen=True)
class Cell:
    """A file, and the texts that were written to it."""

    path: Path
    encoding: str
    delimiter: str
    quotes: str
    texts: list[str]

    @property
    def must_be_read(self) -> bool:
        return self.encoding not in FOREIGN and self.quotes != "open"


def cell(folder: Path, names: tuple[str, str], encoding: str, at: tuple[str, str, str]) -> Cell:
    """A file with a text and a class, or a number, in each row."""
    end, delimiter, quotes = at
    texts = [f"café nummer {n} ist à la carte" for n in range(12)]
    if quotes == "doubled":
        texts[3] = f'he said "hé{delimiter} you",{ENDS[end]}and left'
        texts[4] = '"'
    rows = [
        f'"{text.replace(chr(34), chr(34) * 2)}"' if quotes == "doubled" else text for text in texts
    ]
    if quotes == "open":
        rows[3] = f'"{rows[3]}'
    lines = [delimiter.join(names)]
    lines += [f"{row}{delimiter}{number % 2}" for number, row in enumerate(rows)]
    path = folder / f"train{'.tsv' if delimiter == chr(9) else '.csv'}"
    path.write_bytes(ENCODINGS[encoding](ENDS[end].join([*lines, ""])))
    return Cell(path, encoding, delimiter, quotes, texts)


def cells(folder: Path, names: tuple[str, str], encoding: str) -> list[Cell]:
    found = []
    for number, at in enumerate(itertools.product(ENDS, DELIMITERS, QUOTES)):
        place = folder / str(number)
        place.mkdir()
        found.append(cell(place, names, encoding, at))
    return found


def sentence(fault: Fault) -> None:
    assert fault.exit_code == 3
    assert fault.problem.strip().endswith(".") or fault.hint
    assert "\n" not in fault.problem


def task_of(file: Path) -> Task:
    toml = file.with_name("task.toml")
    toml.write_text(
        'name="t"\ntext_columns=["text"]\nmetrics=["f1"]\nselection_metric="f1"\n'
        f'[label]\nnames=["0","1"]\n[splits]\ntrain="{file.name}"\nvalidation="v.jsonl"\n'
    )
    file.with_name("v.jsonl").write_text('{"text": "fine", "label": 1}\n')
    return load_task(toml)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_augment_sources(tmp_path: Path, encoding: str) -> None:
    for one in cells(tmp_path, ("text", "label"), encoding):
        try:
            train = read_source(task_of(one.path), None).splits["train"]
        except Fault as fault:
            sentence(fault)
            assert not one.must_be_read
        else:
            assert one.must_be_read
            assert train["text"].to_pylist() == one.texts
            assert train["label"].to_pylist() == [0, 1] * 6


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_augment_sources_without_malformed_rows(tmp_path: Path, encoding: str) -> None:
    """Whatever is skipped is counted, row by row; an open quote is never skipped."""
    for one in cells(tmp_path, ("text", "label"), encoding):
        try:
            source = read_source(task_of(one.path), None, skip_malformed=True)
        except Fault as fault:
            sentence(fault)
            assert not one.must_be_read
        else:
            read = source.splits["train"]["text"].to_pylist()
            assert one.quotes != "open"
            assert len(read) + source.skipped == len(one.texts)
            assert [text for text in one.texts if text in read] == read


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_glue_files(tmp_path: Path, encoding: str) -> None:
    """A quote is text in GLUE's files, so an open one is read as it stands."""
    for one in cells(tmp_path, ("sentence", "label"), encoding):
        path = one.path.rename(one.path.with_name("train.tsv"))
        path.with_name("dev.tsv").write_text("sentence\tlabel\nfine\t1\n")
        plain = one.encoding not in FOREIGN and one.quotes != "doubled" and one.delimiter == "\t"
        try:
            train = read_source(GLUE["sst2"], str(path.parent)).splits["train"]
        except Fault as fault:
            sentence(fault)
            assert not plain
        else:
            assert plain
            read = train["sentence"].to_pylist()
            assert [text.removeprefix('"') for text in read] == one.texts


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_augment_init(tmp_path: Path, encoding: str) -> None:
    for one in cells(tmp_path, ("text", "label"), encoding):
        try:
            draft = sniff(one.path)
        except Fault as fault:
            sentence(fault)
            assert not one.must_be_read
        else:
            assert one.must_be_read
            assert 'text_columns = ["text"]' in draft
            assert 'names = ["0", "1"]' in draft
            assert f"Drafted from {len(one.texts)} rows" in draft


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_corpora(tmp_path: Path, encoding: str) -> None:
    for one in cells(tmp_path, ("text", "n"), encoding):
        try:
            read = [part.text for part in open_corpus(Source(one.path, column="text"))]
        except Fault as fault:
            sentence(fault)
            assert not one.must_be_read
        else:
            assert one.must_be_read
            assert read == one.texts


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ENDS)
def test_corpora_of_lines(tmp_path: Path, encoding: str, end: str) -> None:
    texts = [f'café "nummer {n}' for n in range(12)]
    file = tmp_path / "a.txt"
    file.write_bytes(ENCODINGS[encoding](ENDS[end].join([*texts, ""])))
    try:
        read = [part.text for part in open_corpus(Source(file))]
    except Fault as fault:
        sentence(fault)
        assert encoding in FOREIGN
    else:
        assert encoding not in FOREIGN
        assert read == texts


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_predictions(tmp_path: Path, encoding: str) -> None:
    """GLUE's diagnostic set: a quote is text in a .tsv, as in all of GLUE's files."""
    for one in cells(tmp_path, ("premise", "hypothesis"), encoding):
        is_glue = one.delimiter == "\t"
        plain = one.must_be_read and not (is_glue and one.quotes == "doubled")
        literal = is_glue and one.quotes == "open" and one.encoding not in FOREIGN
        try:
            premises = list(read_diagnostic(one.path).premises)
        except Fault as fault:
            sentence(fault)
            assert not plain
            assert not literal
        else:
            assert plain or literal
            assert [text.removeprefix('"') if literal else text for text in premises] == one.texts
