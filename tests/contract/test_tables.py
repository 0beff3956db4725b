"""The one reader of files of rows: records, not lines; dialects; what no file may do to memory."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.contract.data_files import MAX_CHARACTERS, DataFile
from augment.contract.errors import Fault
from augment.contract.tables import open_table

ROWS = [["fine", "1"], ["a, b", "0"]]


class Refused(Fault):
    pass


@dataclass
class Read:
    rows: list[list[Any]]
    lines: list[str]
    malformed: list[str] = field(default_factory=list)


def read(folder: Path, name: str, content: bytes | str, wanted: Any = None) -> Read:
    """All rows; malformed ones are left out."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = Read([], [])
    table = open_table(DataFile(path, Refused, found.malformed.append), wanted)
    for record in table.records:
        found.rows.append(list(record.values.values()))
        found.lines.append(record.location.removeprefix(f"{name} "))
    return found


def refused(folder: Path, name: str, content: bytes | str) -> str:
    with pytest.raises(Refused) as caught:
        read(folder, name, content)
    return f"{caught.value.problem} {caught.value.hint}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\nfine,1\n"a, b",0\n'),
        ("a.CSV", "text;label\r\nfine;1\r\na, b;0\r\n"),
        ("a.csv", "text\tlabel\nfine\t1\na, b\t0"),
        ("a.csv", 'text,label\rfine,1\r"a, b",0\r'),
        ("a.csv", "\n \n\ufefftext;label\nfine;1\na, b;0\n\n  \n".removeprefix("\n \n")),
        ("a.csv", '\n \r\ntext,label\n\nfine,1\n"a, b",0\n'),
        ("a.csv", "sep=;\ntext;label\nfine;1\na, b;0\n"),
        ("a.tsv", 'text\tlabel\n"fine"\t1\na, b\t0\n'),
        ("a.tsv", 'text,label\nfine,1\n"a, b",0\n'),
        ("a.ndjson", "".join(json.dumps(dict(zip("tl", r, strict=True))) + "\n" for r in ROWS)),
        ("a.json", json.dumps([dict(zip("tl", r, strict=True)) for r in ROWS], indent=1)),
        ("a.jsonl", "\n" + json.dumps([dict(zip("tl", r, strict=True)) for r in ROWS])),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_dialects(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    marked = content if encoding == "utf-8" else content.removeprefix("\ufeff")
    assert read(tmp_path, name, marked.encode(encoding)).rows == ROWS


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r"])
def test_a_record_of_several_lines_is_one_row(tmp_path: Path, break_: str) -> None:
    content = f'text,label{break_}"two{break_}lines",1{break_}{break_}"a ""b""",0{break_}'
    found = read(tmp_path, "a.csv", content)

    assert found.rows == [[f"two{break_}lines", "1"], ['a "b"', "0"]]
    assert found.lines == ["line 2", "line 5"]
    content = content.replace("lines", "l\udcffnes")
    found = read(tmp_path, "a.csv", content.encode(errors="surrogateescape"))
    assert found.rows == [['a "b"', "0"]]
    assert len(found.malformed) == 1
    assert found.malformed[0].startswith("a.csv line 2 is not UTF-8")


GOOD = "text,label\nx,1\ny,0\n"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ('"he said "hi", then",1\n', "line 4 is not CSV"),
        ('"fine"ly,1\n', "line 4 is not CSV"),
        ("a\rb,1\n", "line 4 is not CSV"),
        ("a,b,c\n", "line 4 has 3 fields in place of 2"),
        ('"a\nb",1,c\n', "line 4 has 3 fields in place of 2"),
        ("a\0b,1\n", "line 4 holds a NUL character"),
    ],
)
def test_a_row_whose_end_is_certain_is_one_malformed_row(
    tmp_path: Path, rows: str, problem: str
) -> None:
    found = read(tmp_path, "a.csv", f"{GOOD}{rows}z,1\n")

    assert found.rows == [["x", "1"], ["y", "0"], ["z", "1"]]
    assert len(found.malformed) == 1
    assert problem in found.malformed[0]


def test_an_open_quote_in_the_last_line_is_one_malformed_row(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", f'{GOOD}"open,1\n')

    assert len(found.rows) == 2
    assert found.malformed == ["a.csv line 4 is not CSV: unexpected end of data."]


@pytest.mark.parametrize(
    "rows",
    [
        '"open,1\ngood,0\ngood,1\n',
        '"open,1\ngood,0\n"good",1\n',
        '"open,1\ngood,0\na disk of 5",1\n',
        '"open,1\na disk of 5",1\n',
        '"open,1\ngood,0\nx,""\n',
        '"a\nb","1\ngood,0\n',
        '"he said "hi" and\nleft",1\n',
        '"one\ntwo, three\n4",1,good\n',
    ],
)
def test_an_open_quote_never_swallows_rows(tmp_path: Path, rows: str) -> None:
    """Whoever skips malformed rows: the file is refused with the line of the quote."""
    expected = "line 5" if rows.startswith('"a\nb') else "line 4"

    assert expected in refused(tmp_path, "a.csv", f"{GOOD}{rows}z,1\n")
    assert "A double quote that is text is doubled" in refused(
        tmp_path, "a.csv", f"{GOOD}{rows}z,1\n"
    )


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("text,label", ["Well, I\nam 5", "0"]),
        ("text,label", ["Great!\nI, too", "1"]),
        ("label,text", ["1", "x\nI, too"]),
        ("label,text", ["1", "One\nno, two, three\n\nend"]),
    ],
)
def test_lines_of_prose_are_no_rows(tmp_path: Path, header: str, row: list[str]) -> None:
    first = 'x,1\n"Great!",0\n' if header == "text,label" else '1,x\n0,"Great!"\n'
    content = f"{header}\n{first}" + ",".join(f'"{value}"' for value in row) + "\n"

    assert read(tmp_path, "a.csv", content).rows[-1] == row


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"t\xe9xt,label\na,1\n", "line 1, the header, is not UTF-8"),
        ("a.csv", '"text,label\na,1\n', "line 1 opens a double quote"),
        ("a.csv", "text,text\na,1\n", "has the column 'text' twice"),
        ("a.csv", "text,label\na,1\n".encode("utf-16-le"), "iconv -f UTF-16LE"),
        ("a.csv", "text,label\na,é\n".encode("utf-16")[:-1], "cannot be read as a text file"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n\n", "is empty"),
        ("a.jsonl", b"", "is empty"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\nsize 1\n", "git lfs pull"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\nsize 1\n", "git lfs pull"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\nsize 1\n", "git lfs pull"),
        ("a.csv", b"\x1f\x8b\x08\0", "gunzip"),
        ("a.csv.gz", b"\x1f\x8b\x08\0", "gunzip"),
        ("a.json", b"PK\x03\x04\x14", "zip archive"),
        ("a.csv.zip", b"PK\x03\x04\x14", "Unpack it first"),
        ("a.xlsx", b"PK\x03\x04\x14", "Office document"),
        ("a.tsv", b"<!DOCTYPE html><html>", "web page"),
        ("a.csv", b"PAR1\x15\x04", "It is a Parquet file"),
        ("a.parquet", b"PAR1\x15\x04", "cut or damaged"),
        ("a.md", b"text", "Known: .parquet, .csv"),
        ("a.json", b'[{"a": 1},\n{"a": ]', "out of order at line 2"),
        ("a.json", b'[{"a": 1},\n{"a": 2}', "out of order at line 2"),
        ("a.json", b'[{"a": 1},]', "out of order at line 1"),
        ("a.json", b'[{"a": 1}] and', "out of order at line 1"),
    ],
)
def test_faults_of_a_file(tmp_path: Path, name: str, content: bytes | str, sentence: str) -> None:
    assert sentence in refused(tmp_path, name, content)


def test_rows_of_json_are_malformed_one_by_one(tmp_path: Path) -> None:
    lines = ['{"a": 1, "a": 2}', "[1]", '{"a": ', "[" * 99_999, '{"a": "\0"}', '{"a": 3}']
    found = read(tmp_path, "a.jsonl", "\n".join(['{"a": 0}', *lines]))

    assert found.rows == [[0], [3]]
    assert [say.split()[2] for say in found.malformed] == ["2", "3", "4", "5", "6"]
    found = read(tmp_path, "a.json", b'[{"a": 0},\n\n2,\n{"a": "\xe9"}, {"a": 1, "a": 1},{"a": 3}]')
    assert found.rows == [[0], [3]]
    assert [say.split()[2] for say in found.malformed] == ["3", "4", "4"]


def test_long_lines_and_many_columns(tmp_path: Path) -> None:
    long = "x" * (MAX_CHARACTERS + 9)
    found = read(tmp_path, "a.jsonl", f'{{"a": "{long}"}}\n{{"a": 1}}\n')
    assert (found.rows, found.lines, len(found.malformed)) == ([[1]], ["line 2"], 1)
    assert "line 2 is longer than 16,777,216" in refused(tmp_path, "a.csv", f"t,l\n{long},1\na,1\n")
    assert "it goes on for too long" in refused(tmp_path, "a.csv", 't,l\n"' + "a,1\n" * 100_001)
    names = ",".join(map(str, range(10_001)))
    assert "10,001 columns" in refused(tmp_path, "a.csv", f"{names}\n")


def parquet(table: pa.Table, folder: Path, **options: Any) -> bytes:
    pq.write_table(table, folder / "made", **options)
    return (folder / "made").read_bytes()


def test_a_byte_that_is_not_utf8_in_parquet_faults_its_row(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"caf\xe9", None, b"fine"])
    text = pa.Array.from_buffers(pa.string(), 4, raw.buffers())
    for column in (text, text.dictionary_encode(), text.cast(pa.large_string(), safe=False)):
        content = parquet(pa.table({"text": column, "label": [0, 1, 0, 1]}), tmp_path)
        found = read(tmp_path, "a.parquet", content)
        assert found.rows == [["fine", 0], [None, 0], ["fine", 1]]
        assert found.malformed == ["a.parquet row 1 is not UTF-8."]
        assert len(read(tmp_path, "a.parquet", content, wanted=["label"]).rows) == 4


def test_parquet_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.contract.tables.ALWAYS_READ", 1 << 25)
    one = pa.array(["x" * 900_000])
    many = pa.DictionaryArray.from_arrays(pa.array([0] * 99_999, pa.int32()), one)
    for stored in (True, False):
        content = parquet(pa.table({"text": many}), tmp_path, store_schema=stored)
        assert len(content) < 50_000
        assert "unpacks to over 1,000 times its size" in refused(tmp_path, "a.parquet", content)
    nothing = pa.table({"text": pa.nulls(5_000_000, pa.string())})
    assert "unpacks to over" in refused(tmp_path, "a.parquet", parquet(nothing, tmp_path))
    twice = pa.table([[1], [2]], names=["a", "a"])
    assert "column 'a' twice" in refused(tmp_path, "a.parquet", parquet(twice, tmp_path))


def test_a_damaged_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    table = pa.table({"text": [f"row {i}" for i in range(2000)], "label": range(2000)})
    whole = parquet(table, tmp_path)
    for cut in (4, 100, len(whole) // 2, len(whole) - 1):
        assert "cannot be read as a whole Parquet" in refused(tmp_path, "a.parquet", whole[:cut])
    for at in range(len(whole) - 400, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        with suppress(Refused):
            read(tmp_path, "a.parquet", bytes(damaged))
