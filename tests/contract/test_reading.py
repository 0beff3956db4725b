"""The guarded door to files: each kind of foreign file gets a sentence and a remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from augment.contract.errors import Fault, FileDamaged
from augment.contract.reading import guarded, parse_json, read_json, read_text, remedy

FOREIGN = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "gzip": (b"\x1f\x8b\x08\x00\x00", "gunzip"),
    "utf16": ("{}".encode("utf-16"), "iconv"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "page": (b"\n<!DOCTYPE html><html>", "download it again"),
    "empty": (b"", "get it again"),
    "parquet": (b"PAR1\x00\x00", "Parquet"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named(kind: str, tmp_path: Path) -> None:
    content, hint = FOREIGN[kind]
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(FileDamaged, match=r"config\.json cannot be read as JSON: ") as caught:
        read_json(tmp_path / "config.json", FileDamaged, "JSON", "put it back")

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": \xff}', "byte 6 is not UTF-8"),
        (b'{"a": ', "Expecting value"),
    ],
)
def test_bad_json_is_refused_with_the_hint(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "note.json"
    file.write_bytes(content)

    with pytest.raises(Fault, match=reason) as caught:
        read_json(file, FileDamaged, "JSON", "put it back")

    assert caught.value.hint == "put it back"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    for name, said in (("pipe", "regular file"), ("folder", "a folder"), ("none", "not there")):
        with pytest.raises(Fault) as caught:
            read_text(tmp_path / name, FileDamaged, "a text")
        assert said in caught.value.hint
    assert remedy(tmp_path / "\0") == "It is not there."
    with pytest.raises(Fault, match="no such file") as caught:
        read_text(tmp_path / "none", FileDamaged, "a text", "put it back")
    assert caught.value.hint == "put it back"


def test_what_may_not_be_read_is_not_to_be_restored(tmp_path: Path) -> None:
    door = guarded(tmp_path / "x", FileDamaged, "a text", "put it back")
    with pytest.raises(Fault, match="permission denied") as caught, door:
        raise PermissionError(errno.EACCES, "Permission denied")
    assert "chmod a+r" in caught.value.hint


def test_a_fault_inside_passes_as_it_is(tmp_path: Path) -> None:
    fault = Fault("its own sentence")
    with pytest.raises(Fault) as caught, guarded(tmp_path / "x", FileDamaged, "a text"):
        raise fault
    assert caught.value is fault


def test_good_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, "\xc3\xa9"]}')
    assert read_json(tmp_path / "a.json", FileDamaged, "JSON") == {"a": [1, "é"]}
    assert parse_json(b"[NaN]") is not None
