"""Vectors files as tools and people write them: the same table, or one sentence; never a third."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import resource
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from augment.errors import AssetInvalid, AssetMissing
from augment.vectors import Vectors, load_vectors

WORDS = [
    "the",
    "film",
    "café",
    "naïve",
    ".",
    "New York",
    "don't",
    "straße",
    "élan",
    "crème",
    "über",
]
NUMBERS = np.random.default_rng(0).normal(size=(len(WORDS), 5)).round(3).astype(np.float32)
Write = Callable[[Path], object]


def lines(blank: str = " ", between: str = " ", quote: str = "") -> list[str]:
    """GloVe text with other separators after the word and between numbers."""
    rows = [between.join(f"{x:.3f}" for x in row) for row in NUMBERS]
    return [f"{quote}{word}{quote}{blank}{row}" for word, row in zip(WORDS, rows, strict=True)]


def text(content: list[str], end: str = "\n", encoding: str = "utf-8", head: str = "") -> Write:
    return lambda path: path.write_bytes((head + end.join([*content, ""])).encode(encoding))


def raw(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


def native(path: Path) -> None:
    """As gensim writes it, the vectors in a file of their own."""
    from gensim.models import KeyedVectors

    table = KeyedVectors(NUMBERS.shape[1])
    table.add_vectors(WORDS, NUMBERS)
    table.save(str(path), sep_limit=0, separately=["vectors"])


def without_vectors(path: Path) -> None:
    from gensim.models import KeyedVectors

    table = KeyedVectors(NUMBERS.shape[1])
    del table.vectors
    path.write_bytes(pickle.dumps(table))


GLOVE = ("\n".join([*lines(), ""])).encode()
HEADER = f"{len(WORDS)} {NUMBERS.shape[1]}"
READ: dict[str, tuple[str, Write]] = {
    "glove": ("v.txt", text(lines())),
    "no suffix": ("v", text(lines())),
    "tab after the word": ("v.txt", text(lines("\t"))),
    "tabs everywhere": ("v.tsv", text(lines("\t", "\t"))),
    "tabs at line ends": ("v.tsv", text([line + "\t" for line in lines("\t", "\t")])),
    "header": ("v.vec", text([HEADER, *lines()])),
    "header with tabs": ("v.vec", text([HEADER.replace(" ", "\t"), *lines("\t", "\t")])),
    "fastText": ("v.vec", text([HEADER, *(line + " " for line in lines())])),
    "byte-order mark": ("v.txt", text(lines(), encoding="utf-8-sig")),
    "byte-order mark, header": ("v.vec", text([HEADER, *lines()], encoding="utf-8-sig")),
    "CRLF": ("v.txt", text(lines(), "\r\n")),
    "CRLF and tabs": ("v.txt", text(lines("\t"), "\r\n")),
    "accents apart": ("v.txt", text([unicodedata.normalize("NFD", line) for line in lines()])),
    "gzip": ("v.txt.gz", raw(gzip.compress(GLOVE))),
    "gzip, byte-order mark": ("v.gz", raw(gzip.compress(b"\xef\xbb\xbf" + GLOVE))),
    "gensim in two files": ("v.kv", native),
}


@pytest.mark.parametrize("name", READ)
def test_the_same_table(name: str, tmp_path: Path) -> None:
    file, write = READ[name]
    write(tmp_path / file)
    found = load_vectors(str(tmp_path / file), 100)

    assert list(found.words) == WORDS
    assert np.array_equal(found.table.matrix, NUMBERS)
    assert "élan" in found.words


def wider(line: str) -> str:
    return f"{line} 0.125"


FAULTS: dict[str, tuple[str, Write, str]] = {
    "commas": ("v.csv", text(lines(",", ",")), "single spaces or tabs"),
    "comma after the word": ("v.csv", text(lines(",")), "two ways"),
    "semicolons": ("v.csv", text(lines(";", ";")), "single spaces or tabs"),
    "semicolon after the word": ("v.csv", text(lines(";")), "two ways"),
    "colon after the word": ("v.txt", text(lines(":")), "two ways"),
    "bar after the word": ("v.txt", text(lines("|")), "two ways"),
    "decimal commas": ("v.txt", text([x.replace(".", ",") for x in lines()]), "line 1"),
    "quotes": ("v.txt", text(lines(quote='"')), "in quotes"),
    "byte strings": ("v.txt", text([f"b'{w}' 1 2" for w in WORDS]), "in quotes"),
    "two blanks": ("v.txt", text(lines("  ")), "line 1"),
    "no words": ("v.txt", text([x.split(" ", 1)[1] for x in lines()][:3] * 9), "numbers where"),
    "numbers first": ("v.txt", text([" ".join(x.split(" ")[::-1]) for x in lines()]), "line 1"),
    "names of columns": ("v.txt", text(["word a b c d e", *lines()]), "line 1"),
    "a comment": ("v.txt", text(["# made by hand", *lines()]), "line 1"),
    "JSON": ("v.json", raw(b'{"the": [0.1, 0.2], "film": [0.3, 0.4]}'), "line 1"),
    "wider in the middle": ("v.txt", text([*lines()[:5], wider(lines()[0]), *lines()[6:]]), "6"),
    "narrower in the middle": ("v.txt", text([*lines()[:5], "cat 0.1", *lines()[6:]]), "line 6"),
    "two files in one": ("v.vec", text([HEADER, *lines(), "11 5", *lines()]), "line 13"),
    "more than the header says": ("v.vec", text(["3 5", *lines()]), "first line says 3"),
    "fewer than the header says": ("v.vec", text(["99 5", *lines()]), "first line says 99"),
    "another width in the header": ("v.vec", text(["11 6", *lines()]), "line 2"),
    "NaN": ("v.txt", text([*lines()[:4], "cat 1 2 nan 4 5"]), "line 5"),
    "infinite": ("v.txt", text([*lines()[:4], "cat 1 2 inf 4 5"]), "line 5"),
    "too large": ("v.txt", text([*lines()[:4], "cat 1 2 1e99 4 5"]), "line 5"),
    "UTF-16": ("v.txt", text(lines(), encoding="utf-16"), "UTF-16"),
    "Latin-1": ("v.txt", text(lines(), encoding="latin-1"), "not UTF-8"),
    "CR": ("v.txt", text(lines(), "\r"), "line 1"),
    "pointer": ("v.txt", raw(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "pointer, binary": ("v.bin", raw(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs"),
    "page": ("v.txt", raw(b"<!doctype html><html></html>"), "web page"),
    "empty": ("v.txt", raw(b""), "empty"),
    "empty, binary": ("v.bin", raw(b""), "empty"),
    "empty, native": ("v.kv", raw(b""), "empty"),
    "zip": ("v.zip", raw(b"PK\x03\x04" + bytes(99)), "unpack"),
    "bzip2": ("v.bz2", raw(b"BZh9" + bytes(99)), "bunzip2"),
    "gzip, cut": ("v.gz", raw(gzip.compress(GLOVE)[:-20]), "cannot be read"),
    "gzip of a tar": ("v.tgz", raw(gzip.compress(bytes(512) + GLOVE)), "not text"),
    "fastText model": ("v.bin", raw(b"\xba\x16\x4f\x2f" + bytes(99)), ".vec"),
    "binary, cut": ("v.bin", raw(b"2 3\nthe " + bytes(9)), "cut off"),
    "binary, huge": ("v.bin", raw(b"2 999999999\nthe " + bytes(9)), "999,999,999"),
    "binary, many": ("v.bin", raw(b"9999999999 300\nthe " + bytes(9)), "cut off"),
    "binary, negative": ("v.bin", raw(b"-2 3\nthe " + bytes(99)), "-2"),
    "binary of text": ("v.bin", text(lines()), "binary"),
    "text of binary": ("v.txt", raw(b"2 3\nthe " + struct.pack("3f", 1, 2, 3)), "line 2"),
    "native, text": ("v.kv", text(lines()), "gensim table"),
    "native, no vectors": ("v.kv", without_vectors, "no vectors"),
    "native, a list": ("v.kv", raw(pickle.dumps([1, 2])), "list of words"),
    "an array": ("v.npy", raw(b"\x93NUMPY\x01\x00" + bytes(99)), "line 1"),
    "a line of blanks": ("v.txt", raw(b"the 1 2" + b" " * 10**5 + b"x\n"), "line 1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_sentence(name: str, tmp_path: Path) -> None:
    file, write, says = FAULTS[name]
    write(tmp_path / file)

    with pytest.raises(AssetInvalid) as caught:
        load_vectors(str(tmp_path / file), 100)
    assert caught.value.hint
    assert says in f"{caught.value} {caught.value.hint}"
    assert file in caught.value.problem


@pytest.mark.parametrize("name", ["none.txt", "none.vec", "none.bin", "no/ne", "."])
def test_a_place_without_vectors_asks_nobody(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gensim.downloader.load", None)

    with pytest.raises(AssetMissing, match=rf"{re.escape(name)} is neither") as caught:
        load_vectors(name, 100)
    assert caught.value.hint


def test_a_native_file_cannot_name_another_that_runs_code(tmp_path: Path) -> None:
    """gensim unpickles companions of sparse arrays; here none is read."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    native(tmp_path / "v.kv")
    with (tmp_path / "v.kv").open("rb") as stream:
        table = pickle.load(stream)
    vars(table)["__scipys"] = ["evil"]
    (tmp_path / "v.kv").write_bytes(pickle.dumps(table))
    (tmp_path / "v.kv.evil").write_bytes(pickle.dumps(Evil()))

    assert list(load_vectors(str(tmp_path / "v.kv"), 100).words) == WORDS
    assert not (tmp_path / "ran").exists()


def test_a_damaged_native_file_takes_no_memory(tmp_path: Path) -> None:
    """The unpickler in C makes room for as many objects as a number in the file says."""
    (tmp_path / "v.kv").write_bytes(b"\x80\x04]r" + struct.pack("<I", 10**9) + b".")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(AssetInvalid, match="list of words"):
        load_vectors(str(tmp_path / "v.kv"), 100)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_line_that_ends_in_many_blanks_is_read_in_time(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(b"the 1 2" + b" " * 3_000_000 + b"\nfilm 1 2\n")

    assert list(load_vectors(str(tmp_path / "v.txt"), 100).words) == ["the", "film"]


def test_a_word_that_stands_twice_is_found_once(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("the 1 0\nthe 0 1\nfilm 1 0\nplot 0 1\n")
    found = load_vectors(str(tmp_path / "v.txt"), 100)

    assert isinstance(found, Vectors)
    assert found.neighbors(["the"], 9)[0].words == ("film", "plot")
    assert found.neighbors(["film"], 9)[0].words == ("the", "plot")
