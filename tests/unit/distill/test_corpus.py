from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.contract.data_files import MAX_CHARACTERS
from distill.data.corpus import Source
from distill.data.corpus import open_corpus as open_source
from distill.data.text_files import PART_CHARACTERS
from distill.errors import DataInvalid

TEXTS = ["the first day was warm", "food", "the room was cold and dull"]


def open_corpus(place, **options):
    return open_source(Source(place, **options))


def read(place, **options):
    return [(part.document, part.text) for part in open_corpus(place, **options)]


def write(place, content):
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        place.write_text(content, encoding="utf-8", newline="")
    return place


@pytest.fixture
def every_kind(tmp_path):
    """One file for each kind, with the same documents."""
    pq.write_table(pa.table({"text": TEXTS, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    write(tmp_path / "b.jsonl", "".join(json.dumps({"text": t, "n": 1}) + "\n" for t in TEXTS))
    write(tmp_path / "c.txt", "\n".join(TEXTS) + "\n")
    return tmp_path


def test_each_kind_gives_the_same_documents(every_kind: Any) -> None:
    expected = list(enumerate(TEXTS))
    for name in ("a.parquet", "b.jsonl", "c.txt"):
        assert read(every_kind / name) == expected


def test_a_folder_is_read_in_the_order_of_its_names(every_kind: Any) -> None:
    (every_kind / "d").mkdir()
    write(every_kind / "d" / "e.txt", "weak\n")
    write(every_kind / ".hidden.txt", "never read\n")
    write(every_kind / "notes.md", "never read\n")
    for name in ("validation.txt", "test-00000.txt", "dev.jsonl"):
        write(every_kind / name, "never read\n")
    corpus = open_corpus(every_kind)

    assert [part.text for part in corpus] == [*TEXTS, *TEXTS, *TEXTS, "weak"]
    assert [part.document for part in corpus] == list(range(10))
    assert sorted(path.name for path in corpus.left_out) == [
        "dev.jsonl",
        "test-00000.txt",
        "validation.txt",
    ]
    assert list(corpus)[-1].bytes_read == corpus.size


@pytest.mark.parametrize(
    ("content", "documents", "found"),
    [
        ("a b\nc\n", "auto", ["a b", "c"]),
        ("a b\nc\n\nd\ne", "auto", ["a b c", "d e"]),
        ("a\n\n\n \t\nb\n\n", "auto", ["a", "b"]),
        ("a b\nc\n\nd\n", "line", ["a b", "c", "d"]),
        ("a\nb\n", "blank-line", ["a b"]),
        ("\n\na\nb\n", "auto", ["a", "b"]),
        ("a\r\nb\r\n\r\nc\r\n", "auto", ["a b", "c"]),
        ("\ufeffa\nb", "auto", ["a", "b"]),
        ("", "auto", []),
        ("\n \n\n", "auto", []),
    ],
)
def test_documents_of_a_text_file(tmp_path: Path, content: str, documents: str, found: Any) -> None:
    file = write(tmp_path / "a.txt", content)
    assert read(file, documents=documents) == list(enumerate(found))


@pytest.mark.parametrize("documents", ["line", "blank-line"])
@pytest.mark.parametrize("separator", ["", " "])
def test_an_oversized_line_comes_in_parts_of_one_document(
    tmp_path: Path, documents: str, separator: str
) -> None:
    long = separator.join("abcdefg" for _ in range(PART_CHARACTERS // 2))
    file = write(tmp_path / "a.txt", f"{long}\n\nnext\n")
    found = read(file, documents=documents)
    assert max(len(text) for _, text in found) <= 2 * PART_CHARACTERS
    parts = [text for document, text in found if document == 0]

    assert "".join(parts).replace(" ", "") == long.replace(" ", "")
    assert found[-1] == (1, "next")


def test_oversized_cells_come_in_parts(tmp_path: Path) -> None:
    long = "x" * (2 * PART_CHARACTERS + 5)
    pq.write_table(pa.table({"text": [long, "", None, "y"]}), tmp_path / "a.parquet")
    full = "x" * PART_CHARACTERS
    expected = [(0, full), (0, full), (0, "x" * 5), (1, ""), (2, ""), (3, "y")]

    assert read(tmp_path / "a.parquet") == expected


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_few_bytes_that_are_no_utf8_are_replaced_and_many_refused(
    tmp_path: Path, name: str
) -> None:
    def content(good: int) -> bytes:
        texts = ["caf\udce9", *["café"] * good]
        lines = texts if name != "a.jsonl" else [f'{{"text": "{text}"}}' for text in texts]
        header = ["text"] if name == "a.csv" else []
        return "\n".join([*header, *lines]).encode(errors="surrogateescape")

    found = read(write(tmp_path / name, content(200)))
    assert found[:2] == [(0, "caf\ufffd"), (1, "café")]
    with pytest.raises(DataInvalid, match=rf"{name} is not UTF-8: line") as caught:
        read(write(tmp_path / name, content(20)))
    assert "iconv" in caught.value.hint


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.TXT", "a.JSONL", "a.csv", "a.tsv", "a.json"])
def test_other_encodings_and_dialects(tmp_path: Path, name: str, encoding: str) -> None:
    content = {
        "a.TXT": "\r".join(TEXTS),
        "a.JSONL": "\r\n".join(json.dumps({"text": text}) for text in TEXTS),
        "a.json": json.dumps([{"text": text} for text in TEXTS]),
        "a.csv": "\n".join(["text;n", *(f"{text};1" for text in TEXTS)]),
        "a.tsv": "\n".join(["n\ttext", *(f'1\t"{text}"' for text in TEXTS)]),
    }[name]
    file = write(tmp_path / name, content.encode(encoding))

    column = None if "n" not in content.split("\n")[0] or name == "a.json" else "text"
    assert read(file, column=column) == list(enumerate(TEXTS))


def test_what_a_folder_holds_unread_is_said(every_kind: Any) -> None:
    for name in ("d.txt.gz", "e.csv", "notes.md", "meta.json", "f.JSONL.zst"):
        write(every_kind / name, "x")
    corpus = open_corpus(every_kind)

    assert [path.name for path in corpus.unread] == ["d.txt.gz", "e.csv", "f.JSONL.zst"]
    assert len(list(corpus)) == 9


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "a text".encode("utf-16-le"), "iconv -f UTF-16LE"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.txt", b"\x1f\x8b\x08", "gunzip"),
        ("a.txt.gz", b"\x1f\x8b\x08", "gunzip"),
        ("a.jsonl", b"PK\x03\x04", "zip archive"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.parquet", b"PAR1", "cut or damaged"),
    ],
)
def test_foreign_files_are_one_sentence(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    with pytest.raises(DataInvalid) as caught:
        read(write(tmp_path / name, content))

    assert sentence in f"{caught.value.problem} {caught.value.hint}"


def test_parquet_texts_that_are_none(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"caf\xe9"])
    text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(0, "fine"), (1, "caf\ufffd")]
    for column in (raw, pa.array([["a"], ["b"]])):
        pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
        with pytest.raises(DataInvalid, match="no text column 'text'"):
            read(tmp_path / "a.parquet")
    pq.write_table(pa.table({"body": [None, "x"], "n": [1, 2]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(0, ""), (1, "x")]


def test_a_stray_byte_in_a_long_line_is_replaced(tmp_path: Path) -> None:
    [(_, text)] = read(write(tmp_path / "a.txt", b"word " * 9999 + b"\xe9"))

    assert text.endswith("word \ufffd")


def test_a_null_character_is_no_reason_to_refuse_a_corpus(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", "one\nt\0wo\n")) == [(0, "one"), (1, "t\0wo")]


def test_half_a_character_in_json_is_replaced(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"text": "a \\ud800 b"}\n')
    [(_, text)] = read(file)

    assert text == "a \ufffd b"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"text": "a"}\n{"text": \n', "a.jsonl line 2 is not JSON"),
        ('{"text": ' + "[" * 100_000 + "\n", "line 1 is not JSON"),
        ('"text"\n', "line 1 is not a JSON object"),
        ('{"text": 3}\n', "line 1: 'text' is no text, found '3'"),
        ('{"text": "a"}\n{"body": "b"}\n', "line 2 has no text column 'text'. Found: body"),
        ('{"a": "x", "b": "y"}\n', "has no text column 'text'. Found: a, b"),
    ],
)
def test_lines_that_hold_no_text(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(DataInvalid) as caught:
        read(write(tmp_path / "a.jsonl", content))

    assert sentence in caught.value.problem
    assert caught.value.exit_code == 3


def test_an_oversized_json_line_is_refused_before_it_is_read(tmp_path: Path) -> None:
    line = json.dumps({"text": "x" * MAX_CHARACTERS}) + "\n"
    with pytest.raises(DataInvalid, match="line 1 is longer than 16,777,216 characters"):
        read(write(tmp_path / "a.jsonl", line))


def test_columns(tmp_path: Path) -> None:
    table = pa.table({"body": pa.array(TEXTS).dictionary_encode(), "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == list(enumerate(TEXTS))
    for column in ("n", "text"):
        with pytest.raises(DataInvalid, match=f"no text column '{column}'. Found: body"):
            read(tmp_path / "a.parquet", column=column)
    pq.write_table(pa.table({"a": TEXTS, "text": ["x"] * 3}), tmp_path / "b.parquet")

    assert read(tmp_path / "b.parquet", column="a") == list(enumerate(TEXTS))
    assert read(tmp_path / "b.parquet")[0] == (0, "x")


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", b"PAR1 this is not parquet")
    with pytest.raises(DataInvalid, match=r"a\.parquet cannot be read"):
        read(file)


@pytest.mark.parametrize("name", ["none", "./none.txt", "/no/such/place", "a/b/c"])
def test_no_such_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", _unknown)
    with pytest.raises(DataInvalid, match="there is no corpus"):
        open_corpus(name)


def _unknown(self, name):
    from huggingface_hub.errors import HFValidationError

    raise HFValidationError(name)


def test_a_folder_without_text(tmp_path: Path) -> None:
    write(tmp_path / "test.txt", "a")
    with pytest.raises(DataInvalid, match="holds no corpus"):
        open_corpus(tmp_path)


def test_the_digest_is_of_the_content_and_how_it_is_read(every_kind: Any, tmp_path: Path) -> None:
    file = every_kind / "c.txt"
    first = open_corpus(file).digest
    other = tmp_path / "other.txt"
    other.write_bytes(file.read_bytes())
    assert open_corpus(other).digest == first
    assert open_corpus(file, documents="line").digest == first
    assert open_corpus(file, documents="blank-line").digest != first
    other.write_text("something else")

    assert open_corpus(other).digest != first


class Info:
    sha = "0123abcd"


def test_hub_data_is_streamed_at_one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def load(name, config, **options):
        asked.update(name=name, config=config, **options)
        rows = datasets.Dataset.from_dict({"text": TEXTS, "id": [1, 2, 3]})
        return rows.to_iterable_dataset()

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda self, name: Info)
    monkeypatch.setattr("datasets.load_dataset", load)
    assert read("owner/name:part") == list(enumerate(TEXTS))
    assert asked == {
        "name": "owner/name",
        "config": "part",
        "split": "train",
        "streaming": True,
        "revision": "0123abcd",
    }
    with pytest.raises(
        DataInvalid, match=r"owner/name has no text column 'body'\. Found: text, id"
    ):
        read("owner/name", column="body")


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self, name):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", fail)
    with pytest.raises(DataInvalid, match="owner/name cannot be read: no route") as caught:
        open_corpus("owner/name")

    assert "download it" in caught.value.hint
