"""The guarded door to files: whatever is wrong with one becomes a sentence with a remedy.

Files come from people, from other tools and from earlier calls, and each library fails on a bad one
in its own way. Every reader of a file opens it inside :func:`guarded`, or by the readers below.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augment.contract.errors import Fault

MAX_BYTES = 256 * 2**20
"""No file that is read as one text is larger; the tokenizers of the largest vocabularies are a
tenth of it."""
_HEAD = 512
_FOREIGN = (
    (b"version https://git-lfs", "It is a pointer of Git LFS, not the file: git lfs pull"),
    (b"\x1f\x8b", "It is packed with gzip; unpack it first: gunzip"),
    (b"BZh", "It is packed with bzip2; unpack it first: bunzip2"),
    (b"\xfd7zXZ", "It is packed with xz; unpack it first: unxz"),
    (b"\x28\xb5\x2f\xfd", "It is packed with zstd; unpack it first: unzstd"),
    (b"7z\xbc\xaf", "It is a 7z archive; unpack it first."),
    (b"\xff\xfe", "It is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    (b"\xfe\xff", "It is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    (b"PAR1", "It is a Parquet file."),
    (b"SQLite format 3", "It is an SQLite database."),
    (b"%PDF", "It is a PDF document."),
)
_ZIP = b"PK\x03\x04"
_ZIPPED_KINDS = (".bin", ".pt", ".pth", ".ckpt", ".npz", ".zip")


def remedy(path: Path) -> str:
    """What a file is instead of what its name says, and what to do; empty where none knows."""
    try:
        if not path.is_file():
            return _no_file(path)
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except (OSError, ValueError):
        return ""
    if not head:
        return "It is empty: get it again."
    if (path.suffix.lower(), head[:4]) == (".parquet", b"PAR1"):
        return ""  # as it should be: what is wrong with it lies behind its first bytes
    return remedy_of(head, path.suffix)


def remedy_of(content: bytes, suffix: str = "") -> str:
    """The remedy for a file that begins so; empty where none knows."""
    if content.startswith(_ZIP) and suffix not in _ZIPPED_KINDS:
        return "It is a zip archive or an Office document; unpack or export it first."
    if content[:_HEAD].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "It is a web page, not the file: download it again."
    return next((say for start, say in _FOREIGN if content.startswith(start)), "")


def _no_file(path: Path) -> str:
    if path.is_dir():
        return "It is a folder, not a file."
    return "It is not a regular file." if path.exists() else "It is not there."


@contextmanager
def guarded(path: Path, fault: type[Fault], what: str, hint: str = "") -> Iterator[None]:
    """Around any reading of a file: what a library raises becomes a fault of the given kind.

    ``what`` says what the file should be, such as ``a Parquet file``. The hint is said where the
    file itself does not tell what it is. A fault raised inside passes as it is.

    Raises:
        Fault: Of the kind ``fault``: the file is not there, cannot be read or is something else.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise IsADirectoryError("no regular file")
        yield
    except Fault:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        reason, says = reason_of(error), remedy(path)
        if isinstance(error, FileNotFoundError):  # which the reason says
            says = hint or says
        elif isinstance(error, PermissionError):
            says = "It is there, but you may not read it: its owner can give leave (chmod a+r)."
        raise fault(f"{path} cannot be read as {what}: {reason}.", says or hint) from error


def read_text(path: Path, fault: type[Fault], what: str, hint: str = "") -> str:
    """A UTF-8 text as a whole; a byte-order mark is not part of it.

    Raises:
        Fault: As :func:`guarded`, or the file has more than ``MAX_BYTES``.
    """
    with guarded(path, fault, what, hint):
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES // 2**20} MB")
        return path.read_bytes().decode("utf-8-sig")


def read_json(path: Path, fault: type[Fault], what: str, hint: str = "") -> Any:
    """The JSON value of a file.

    Raises:
        Fault: As :func:`read_text`; also where a key stands twice.
    """
    text = read_text(path, fault, what, hint)
    with guarded(path, fault, what, hint):
        return parse_json(text)


def parse_json(text: str | bytes) -> Any:
    """A JSON value in which no key stands twice.

    Raises:
        ValueError: It is not JSON, or a key stands twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r} stands twice")
        found[name] = value
    return found


def text_flaw(text: str) -> str:
    """What no text may hold, whatever kind of file spells it; empty where nothing is wrong."""
    if "\0" in text:
        return "holds a NUL character"
    return "" if encodes(text) else "holds half a surrogate pair, which is no character"


def encodes(text: str) -> bool:
    """Whether a text has characters alone: no half of a surrogate pair, no byte that was none."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_failure(error: BaseException) -> bool:
    """Whether a library failed; the panic of one in Rust is no ``Exception``."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def reason_of(error: BaseException) -> str:
    """What went wrong, in a line, without the path, which the sentence names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not {error.encoding.upper()}"
    said = str(error).strip() or type(error).__name__
    return said.splitlines()[0][:200].rstrip(".")
