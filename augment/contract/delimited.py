r"""Records of delimited text: CSV with quotes, and GLUE's TSV without.

A quoted field may hold line breaks, so a record is one or more physical lines, and whatever is
wrong in one of them faults that record, which is one row and is named by its first line. Where a
record ends is certain when its quotes are in order. It is also certain of a record out of order

- that is one line with an even number of double quotes, as ``"he said "hi", then",1``, or
- that is the last line of the file.

All other records out of order may have swallowed rows that are good, and nobody can say how many:
the file is refused, whoever skips malformed rows, with the line that opens the quote. So it is
where the quotes are in order but a line within a quoted field reads as a row of its own: it has as
many fields as the header, one of them a value that the rows so far have in a column of few short
values, such as the label's. ::

    "The best,1        opens a quote that was meant as text ...
    so dull,0
    a disk of 5",0     ... and is closed here: three rows, not one
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, dropwhile
from typing import NoReturn

from augment.contract.data_files import (
    MAX_CHARACTERS,
    MAX_COLUMNS,
    DataFile,
    Line,
    Record,
    Table,
    read_lines,
    refuse_twice,
)
from augment.contract.foreign import counted

_MEND = (
    "A double quote that is text is doubled, in a field within double quotes. Mend the line: "
    "where its row ends cannot be told."
)
_MOST_LINES = 100_000
_SHORT, _FEW, _WATCHED = 32, 100, 64
_BREAK = re.compile("\r\n?|\n")


def open_delimited(file: DataFile, delimiters: str) -> Table:
    """A file of records with quotes, as RFC 4180 has them.

    The delimiter is the first of those given that the header holds outside of quotes, or the one
    that a first line such as ``sep=;`` names.

    Raises:
        Fault: The file is empty, its header is out of order, or the end of a record is uncertain.
    """
    lines = _from_first(file)
    first = next(lines)
    if named := re.fullmatch(r"sep=([,;\t|])\s*", first.text, re.IGNORECASE):
        delimiter = named[1]
    else:
        delimiter = _delimiter(first.text, delimiters)
        lines = chain([first], lines)
    reader = _Reader(file, lines, delimiter)
    header = reader.header()
    return Table(reader.rows(header), header, header)


def open_unquoted(file: DataFile, header: tuple[str, ...] = ()) -> Table:
    """A file of fields between tabs, in which a double quote is text.

    The header is the first line's, unless one is given for a file without.

    Raises:
        Fault: The file is empty, its header cannot be read, or most fields of a column are quoted.
    """
    lines = _from_first(file)
    if not header:
        first = next(lines)
        if first.flaw:
            file.refuse(f"line {first.number}, the header, {first.flaw}.")
        header = _checked(file, _fields(first.text, "\t"))
    return Table(_unquoted_rows(file, lines, header), header, header)


def _unquoted_rows(
    file: DataFile, lines: Iterator[Line], header: tuple[str, ...]
) -> Iterator[Record]:
    rows, quoted = 0, [0] * len(header)
    for line in lines:
        location, fields = f"{file} line {line.number}", _fields(line.text, "\t")
        if line.flaw:
            file.malformed(f"{location} {line.flaw}.")
        elif len(fields) == len(header):
            if '"' in line.text:
                quoted = [n + _is_quoted(f) for n, f in zip(quoted, fields, strict=True)]
            rows += 1
            yield Record(location, dict(zip(header, fields, strict=True)), line.bytes_read)
        elif len(fields) > 1 or fields[0].strip():
            file.malformed(_miscounted(location, len(fields), len(header)))
    for name, count in zip(header, quoted, strict=True):
        if count * 2 > rows:
            file.refuse(
                f"has {count:,} of {counted(rows, 'field')} in double quotes in "
                f"column {name!r}; in a file "
                "of this kind they would be text.",
                "Write it without quotes, or as a CSV file or Parquet.",
            )


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] == '"'


def _from_first(file: DataFile) -> Iterator[Line]:
    """The lines from the first that is not blank."""
    lines = dropwhile(lambda line: not line.text.strip(), read_lines(file))
    first = next(lines, None)
    if first is None:
        file.refuse("is empty.", "Expected a header and rows.")
    return chain([first], lines)


def _delimiter(header: str, delimiters: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return next((one for one in delimiters if one in bare), delimiters[0])


def _fields(line: str, delimiter: str) -> list[str]:
    return line.removesuffix("\n").removesuffix("\r").split(delimiter)


def _miscounted(location: str, found: int, expected: int) -> str:
    return f"{location} has {counted(found, 'field')} in place of {expected}."


def _checked(file: DataFile, header: list[str]) -> tuple[str, ...]:
    """The header, if no name stands twice; names may be empty, as those of surplus columns are."""
    if len(header) > MAX_COLUMNS:
        file.refuse(f"has {counted(len(header), 'column')}; at most {MAX_COLUMNS:,} are read.")
    refuse_twice(file, header)
    return tuple(header)


@dataclass(slots=True)
class _Values:
    """The values of a column so far, while they are few and short, as those of labels."""

    found: set[str] = field(default_factory=set)
    are_few: bool = True

    def add(self, value: str) -> None:
        if self.are_few:
            self.found.add(value)
            short = len(value) <= _SHORT and not _BREAK.search(value)
            self.are_few = short and len(self.found) <= _FEW

    def hold(self, value: str) -> bool:
        return self.are_few and bool(value) and value in self.found


@dataclass(slots=True)
class _Reader:
    """Records of a file, with the lines that each was made of."""

    file: DataFile
    lines: Iterator[Line]
    delimiter: str
    _record: list[Line] = field(default_factory=list)
    _size: int = 0
    _columns: list[_Values] = field(default_factory=list)

    def header(self) -> tuple[str, ...]:
        """The first record."""
        fields, error = self._next(self._reader())
        location = f"line {self._record[0].number}, the header,"
        if error:
            self._refuse_quote(f"{error}, in the header")
        if flaw := self._flaw():
            self.file.refuse(f"{location} {flaw}.")
        header = _checked(self.file, fields)
        self._columns = [_Values() for _ in header[:_WATCHED]]
        return header

    def rows(self, header: tuple[str, ...]) -> Iterator[Record]:
        """All others."""
        reader, count = self._reader(), len(header)
        while True:
            fields, error = self._next(reader)
            if not self._record:
                return
            location = f"{self.file} line {self._record[0].number}"
            if error:
                self._require_certain_end(error)
                self.file.malformed(f"{location} is not CSV: {error}.")
            elif self._is_blank(fields, count):
                continue
            elif self._has_swallowed(fields, count):
                self._refuse_quote("lines within it read as rows of their own")
            elif flaw := self._flaw():
                self.file.malformed(f"{location} {flaw}.")
            elif len(fields) != count:
                self.file.malformed(_miscounted(location, len(fields), count))
            else:
                done = self._record[-1].bytes_read
                yield Record(location, dict(zip(header, fields, strict=True)), done)

    def _reader(self) -> Iterator[list[str]]:
        csv.field_size_limit(2 * MAX_CHARACTERS)
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        """Lines, one after the other as long as a quoted field is open."""
        for line in self.lines:
            self._record.append(line)
            self._size += len(line.text)
            if line.is_cut:
                self.file.refuse(f"line {line.number} {line.flaw}.", "Take it out of the file.")
            if self._size > MAX_CHARACTERS or len(self._record) > _MOST_LINES:
                self._refuse_quote("it goes on for too long")
            yield line.text

    def _next(self, reader: Iterator[list[str]]) -> tuple[list[str], str]:
        """The fields of the next record, or what is wrong with its quotes."""
        self._record, self._size = [], 0
        try:
            return next(reader, []), ""
        except csv.Error as error:
            return [], str(error).partition(" - ")[0]

    def _flaw(self) -> str:
        return next((line.flaw for line in self._record if line.flaw), "")

    def _is_blank(self, fields: list[str], count: int) -> bool:
        """Whether a line is blank; in a file of one column spaces are a value."""
        return not fields or (count > len(fields) == 1 and not self._record[0].text.strip())

    def _require_certain_end(self, error: str) -> None:
        """Refuse the file where nobody knows the end of a record whose quotes are out of order."""
        line, *others = self._record
        if others or (line.text.count('"') % 2 and next(self.lines, None) is not None):
            self._refuse_quote(error)

    def _has_swallowed(self, fields: list[str], count: int) -> bool:
        """Whether a line of a record of several reads as a row of its own; see the module."""
        if len(fields) == count:
            for values, value in zip(self._columns, fields, strict=False):
                values.add(value)
        if len(self._record) == 1:
            return False
        bare = [_fields(line.text.replace('"', ""), self.delimiter) for line in self._record]
        if len(fields) != count:
            return any(len(one) == count for one in bare[1:])
        opened = next((at for at, value in enumerate(fields) if _BREAK.search(value)), 0)
        return any(
            len(one) == count
            and any(v.hold(one[at]) for at, v in enumerate(self._columns) if line or at > opened)
            for line, one in enumerate(bare[:-1])
        )

    def _refuse_quote(self, problem: str) -> NoReturn:
        text = "".join(line.text for line in self._record)
        number = self._record[0].number + self._line_ends_before_quote(text)
        what = "opens a double quote that seems to be text" if '"' in text else "is out of order"
        self.file.refuse(f"line {number} {what}: {problem}.", _MEND)

    def _line_ends_before_quote(self, text: str) -> int:
        """How many line ends of a record come before the quoted field that is at fault."""
        ends = re.escape(self.delimiter) + "\r\n"
        whole = re.compile(rf'"[^"]*+(?:""[^"]*+)*+"(?=[{ends}]|\Z)|[^"{ends}][^{ends}]*+|[{ends}]')
        at, spanning = 0, None
        while found := whole.match(text, at):
            if spanning is None and len(found[0]) > 1 and _BREAK.search(found[0]):
                spanning = at
            at = found.end()
        return len(_BREAK.findall(text, 0, at if at < len(text) else spanning or 0))
