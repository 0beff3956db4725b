"""GloVe text, and word2vec or fastText text with its header line, in blocks of lines.

Where most of the first lines hold tabs, tabs part words and numbers as single spaces do.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from augment.contract.foreign import counted
from augment.errors import AssetInvalid
from augment.vectors.plausible import holds_number
from augment.vectors.table import Block

READ_BYTES = 4 * 2**20
LONGEST_LINE = 4 * 2**20
_SAMPLE_LINES = 100
_SPACE, _NEWLINE = 32, 10
_GZIP, _MARK = b"\x1f\x8b", b"\xef\xbb\xbf"
_HINT = "Expected GloVe or word2vec text: a word, then its numbers, by single spaces or tabs."


def read_text(path: Path, rows: int) -> Iterator[Block]:
    """The first rows of a text file, gzipped or not; a word may hold spaces.

    Bytes that are no UTF-8 become U+FFFD.

    Raises:
        AssetInvalid: A line is not a word and its numbers (with its number), the file is damaged,
            or it holds more or fewer rows than its header line says.
    """
    dimensions, promised, tabs = 0, None, False
    line, done, size = 1, 0, max(path.stat().st_size, 1)
    with path.open("rb") as raw:
        for lines in _whole_lines(_unpacked(raw), path.name):
            if not dimensions:
                lines = lines.removeprefix(_MARK)  # noqa: PLW2901
                tabs = _parted_by_tabs(lines)
            if tabs:
                lines = _without_end_blanks(lines.replace(b"\t", b" "))  # noqa: PLW2901
            if not dimensions:
                dimensions, promised = _layout(lines, path.name)
                if b"\0" in lines:
                    raise AssetInvalid(f"{path.name} is not text: it holds NUL bytes.", _HINT)
                if promised is not None:
                    line, lines = 2, lines[lines.index(b"\n") + 1 :]  # noqa: PLW2901
                    if not lines:
                        continue
            block = _parse(lines, dimensions, rows - done, f"{path.name} line", line)
            yield Block(block.words, block.matrix, min(1.0, raw.tell() / size))
            line += len(block.words)
            done += len(block.words)
            if done == rows:
                return
    if promised is not None and done != min(promised, rows):
        raise AssetInvalid(
            f"{path.name} holds {counted(done, 'row')}; its first line says {promised:,}.",
            "It may have been cut off: download it again."
            if done < promised
            else "Correct its first line, or take it out where it is no header.",
        )


def _unpacked(raw: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    magic = raw.read(2)
    raw.seek(0)
    return gzip.open(raw) if magic == _GZIP else raw


def _parted_by_tabs(lines: bytes) -> bool:
    sample = lines.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]
    return 2 * sum(b"\t" in line for line in sample) > sum(map(bool, sample))


def _without_end_blanks(lines: bytes) -> bytes:
    if b" \n" not in lines:
        return lines
    return b"\n".join(line.rstrip(b" ") for line in lines.split(b"\n"))


def _whole_lines(stream: IO[bytes] | gzip.GzipFile, name: str) -> Iterator[bytes]:
    """The file in pieces that end with a line; blanks at line ends and empty last lines go."""
    rest, lines = b"", 0
    while True:
        try:
            read = stream.read(READ_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise AssetInvalid(
                f"{name} cannot be read: {error}.", "It is damaged or was cut off: get it again."
            ) from error
        if not read:
            break
        data = _without_end_blanks((rest + read).replace(b"\r\n", b"\n"))
        whole = data[: data.rfind(b"\n") + 1].rstrip(b"\n")
        rest = data[len(whole) + 1 :] if whole else data
        if len(rest) > LONGEST_LINE:
            line = lines + whole.count(b"\n") + bool(whole) + 1
            raise AssetInvalid(f"{name} line {line} is longer than {LONGEST_LINE:,} bytes.", _HINT)
        if whole:
            lines += whole.count(b"\n") + 1
            yield whole + b"\n"
    if rest := rest.rstrip(b" \r\n"):
        yield rest + b"\n"


def _layout(lines: bytes, name: str) -> tuple[int, int | None]:
    """Numbers on each line, by the header or by most of the first lines; rows by the header."""
    sample = lines.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]
    first = sample[0].split(b" ")
    if len(first) == 2 and first[0].isdigit() and first[1].isdigit():
        promised, dimensions = (int(field[:18]) for field in first)
    else:
        promised = None
        counts = Counter(line.count(b" ") for line in sample if line)
        dimensions = max(counts, key=lambda count: (counts[count], count))
    if not 0 < dimensions <= LONGEST_LINE:
        raise AssetInvalid(f"{name} line 1 is not a word and its numbers: {_shown(first)}.", _HINT)
    return dimensions, promised


def _parse(lines: bytes, dimensions: int, rows: int, where: str, line: int) -> Block:
    """Whole lines as a block; at most so many rows.

    The separators before the last ``dimensions`` fields of each line part words from numbers.
    """
    text = np.frombuffer(lines, np.uint8)
    separators = np.flatnonzero((text == _SPACE) | (text == _NEWLINE))
    ends = np.flatnonzero(text[separators] == _NEWLINE)[:rows]
    firsts = ends - dimensions
    if (firsts <= np.append(-1, ends[:-1])).any():
        raise _fault(lines, dimensions, where, line)
    starts = np.append(0, separators[ends[:-1]] + 1)
    words = [
        lines[start:end].decode("utf-8", "replace")
        for start, end in zip(starts.tolist(), separators[firsts].tolist(), strict=True)
    ]
    fields = separators[firsts[:, None] + np.arange(dimensions + 1)]
    numbers = _numbers(text, fields)
    if numbers is None:
        raise _fault(lines, dimensions, where, line)
    for number, word in enumerate(words, start=line):
        if " " in word and holds_number(word):
            raise AssetInvalid(
                f"{where} {number} has more than {counted(dimensions, 'number')}: "
                f"{word[:60]!r} stands before "
                "the last ones.",
                _HINT,
            )
    return Block(words, numbers)


def _numbers(text: np.ndarray, fields: np.ndarray) -> np.ndarray | None:
    """The numbers between separators, float32, ``(lines, dimensions)``; None where one is none.

    ``fields``: where the separators around them stand, shape ``(lines, dimensions + 1)``.
    """
    lines, columns = fields.shape
    inside = np.zeros(len(text) + 1, np.int8)
    inside[fields[:, 0] + 1] += 1
    inside[fields[:, -1]] -= 1
    kept = np.cumsum(inside[:-1], dtype=np.int8).view(bool)
    kept[fields.ravel()] = False
    lengths = (fields[:, 1:] - fields[:, :-1] - 1).ravel()
    ends = np.append(0, np.cumsum(lengths)).astype(np.int32)
    strings = pa.StringArray.from_buffers(
        lines * (columns - 1), pa.py_buffer(ends), pa.py_buffer(text[kept])
    )
    try:
        numbers = strings.cast(pa.float32()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return numbers.reshape(lines, columns - 1) if np.isfinite(numbers).all() else None


def _fault(lines: bytes, dimensions: int, where: str, line: int) -> AssetInvalid:
    """What is wrong with the first faulty line."""
    fields: list[bytes] = []
    for number, found in enumerate(lines.split(b"\n"), start=line):
        fields = found.split(b" ")
        if len(fields) <= dimensions or not all(map(_is_number, fields[-dimensions:])):
            line = number
            break
    return AssetInvalid(
        f"{where} {line} is not a word and {counted(dimensions, 'number')}: {_shown(fields)}.",
        _HINT,
    )


def _is_number(field: bytes) -> bool:
    try:
        return bool(np.isfinite(pa.scalar(field.decode("ascii")).cast(pa.float32()).as_py()))
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return False


def _shown(fields: list[bytes]) -> str:
    text = b" ".join(fields).decode("utf-8", "replace")
    return repr(text[:60]) + ("…" if len(text) > 60 else "")
