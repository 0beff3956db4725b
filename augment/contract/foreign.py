"""Text of others as it may be shown: what steers a terminal, or hides in it, is made visible."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from html import escape
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import category

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.text import Text


Language = Literal["json", "toml"]
LONGEST = 2000
"""Characters of one text that are shown; what lies between its beginning and its end is counted."""

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's controls (C0, C1), formats (bidi, zero width), lone surrogates, line separators; to
them come its non-characters, which XML and YAML forbid."""


def shown(text: object, *, limit: int = LONGEST, lines: bool = False) -> str:
    r"""A text as a person may see it: ``\x1b``, ``\u202e``, ``\udc80`` for what else would act.

    Everything that comes from a file, a path or an argument passes here before it is printed. What
    is given to another program (JSON, TOML) passes through ``escaped``.

    Args:
        text: Anything; ``str()`` of it is shown.
        limit: The longest text that is shown whole.
        lines: Whether a newline stays one, where the lines are our own.
    """
    whole = str(text)
    if len(whole) > limit:
        head, tail = limit * 2 // 3, limit // 3
        whole = (
            f"{whole[:head]} … {counted(len(whole) - head - tail, 'character')} … {whole[-tail:]}"
        )
    if whole.isprintable():
        return whole
    return "".join(
        char.encode("unicode_escape").decode() if is_unseen(char, lines=lines) else char
        for char in whole
    )


def counted(count: float, noun: str, verb: str = "") -> str:
    """A number of things in words: ``1 row``, ``1,000 rows``, ``2 hidden layers``, ``0 classes``.

    Every count that a person reads beside its noun passes here; a test looks for those that do not.

    Args:
        count: How many there are.
        noun: What one of them is called.
        verb: What many of them do, such as ``are``: ``1 row is``, ``2 rows are``.
    """
    number = f"{count:,g}" if isinstance(count, float) else f"{count:,}"
    if count != 1:
        noun = re.sub("[^aeiou]y$", lambda end: end[0][0] + "ie", noun)
        noun += "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    elif verb:
        verb = {"are": "is", "were": "was", "have": "has"}.get(verb, f"{verb}s")
    return f"{number} {noun} {verb}".rstrip()


def span(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 05 s`` or ``1 h 12 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def sized(count: float) -> str:
    """Bytes as ``40 bytes``, ``12 kB``, ``57.4 MB`` or ``1.2 GB``."""
    if count < 1e3:
        return counted(int(count), "byte")
    if count < 1e5:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def columns() -> int:
    """Of the terminal that stderr is; 0 where nobody knows."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(2).columns
    except OSError:
        return 0


def between_words(text: str, width: int) -> str:
    """A sentence on several lines, none of which is wider, each below where the first began."""
    lines = []
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip()) or 7 * line.startswith("error: ")
        if len(line) <= width or width < 20:
            lines.append(line)
        else:
            lines += textwrap.wrap(
                line, width, subsequent_indent=" " * indent, break_on_hyphens=False
            )
    return "\n".join(lines)


def command_lines(command: str, width: int) -> list[str]:
    """A command as lines that a shell takes as one, cut between options, never inside quotes."""
    lines, word = [""], r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""
    for both in re.findall(rf"#.*|--?[a-z][a-z-]* (?!-){word}|{word}", command):
        for part in [both] if len(both) + 6 <= width else both.split(" ", both[0] == "-"):
            if lines[-1].strip() and len(lines[-1]) + len(part) + 3 > width:
                lines.append("    ")
            lines[-1] += f" {part}" if lines[-1].strip() else part
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


LABEL = 11
"""Characters of the name of a fact, see ``terminal.labeled``."""


def folded(text: Text, console: Console) -> Text:
    """A text without lines that are wider than a terminal: they go on below where they began."""
    from rich.cells import cell_len
    from rich.text import Text

    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        indent = len(line.plain) - len(line.plain.lstrip())
        named = any(own.style == "bold" and own.start == 2 for own in line.spans) * (LABEL + 3)
        if gap := re.match(r" +\S+(?: \S+)* {2,}", line.plain[: 2 * LABEL + 1]):
            named = max(named, gap.end())
        hang = named if named and console.width > 3 * LABEL else min(indent, 8)
        head, body = line.divide([hang])
        if cell_len(line.plain) <= console.width:
            lines.append(line)
        elif text.no_wrap:
            words = command_lines(body.plain, console.width - hang)
            lines.append(head + Text(f"\n{'':<{hang}}".join(words)))
        else:
            for part in body.wrap(console, console.width - hang):
                part.rstrip()
                lines.append(head + part)
                head = Text(" " * hang)
    return Text("\n").join(lines)


def is_unseen(char: str, *, lines: bool = False) -> bool:
    """Whether a character is not printed as itself but acts, or cannot be seen."""
    if char.isprintable() or (lines and char == "\n"):
        return False
    return category(char) in _UNSEEN or ord(char) & 0xFFFE == 0xFFFE


def escaped(document: str, language: Language, encoding: str = "utf-8") -> str:
    r"""A document with ``\u202e`` for what would act on a terminal: the same values to its reader.

    Such characters, and those that the terminal's encoding lacks, stand in strings, where both
    languages read escapes; newlines and tabs are layout.
    """
    steps = {ord("\n"): None, ord("\t"): None}
    if document.isascii() and document.translate(steps).isprintable():
        return document
    write = _in_json if language == "json" else _in_toml
    return "".join(
        write(char) if char != "\t" and _is_strange(char, encoding) else char for char in document
    )


def _is_strange(char: str, encoding: str) -> bool:
    if not char.isascii() and not encoding.lower().startswith("utf"):
        try:
            char.encode(encoding)
        except UnicodeEncodeError:
            return True
    return is_unseen(char, lines=True)


def _in_json(char: str) -> str:
    return json.dumps(char)[1:-1]


def _in_toml(char: str) -> str:
    return f"\\U{ord(char):08x}"


def markup(text: object) -> str:
    """A text as HTML shows it: what would act there, or on a terminal, is made visible."""
    return escape(shown(text))


def marked(text: str, edits: Iterable[Mapping[str, Any]]) -> str:
    """The original text as HTML, with the words that an edit takes out and puts in.

    Args:
        text: Before the edits.
        edits: With ``start`` and ``end`` in that text, ``before`` and ``after``; in order.
    """
    parts, at = [], 0
    for edit in edits:
        parts.append(markup(text[at : edit["start"]]))
        parts.append(f"<del style='opacity:.6'>{markup(edit['before'])}</del> ")
        parts.append(f"<ins style='{_INSERTED}'>{markup(edit['after'])}</ins>")
        at = edit["end"]
    return "".join([*parts, markup(text[at:])])


_INSERTED = "text-decoration:none;font-weight:bold;background:rgba(10,125,75,.22);border-radius:3px"


class Displayed:
    """A result as Python shows it: a short ``repr``, HTML in a notebook, rows as a data frame."""

    __slots__ = ()

    def to_pandas(self) -> pd.DataFrame:
        """The rows of the result, or the one row that it is; nested values as ``a.b``."""
        import pandas as pd

        values = _values(self)
        several = (v for v in values.values() if _is_table(v))
        return pd.json_normalize([_plain(row) for row in next(several, (self,))])

    def _facts(self) -> str:
        """What its ``repr`` says; a record with a better sentence than its fields has its own."""
        kept = {n: v for n, v in _values(self).items() if not (v is None or v in ("", (), {}, []))}
        return ", ".join(
            f"{name}: {len(value)}" if isinstance(value, _MANY) else f"{name}={_short(value)}"
            for name, value in kept.items()
        )

    def __repr__(self) -> str:
        text = shown(f"{type(self).__name__}({self._facts()})", limit=sys.maxsize)
        return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]} …)"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        frame = self.to_pandas()
        cells = frame.head(_ROWS).map(_cell)
        cells.columns = [shown(name) for name in cells.columns]
        table = cells.to_html(index=False, border=0)
        more = (
            f"<p>… and {counted(len(frame) - _ROWS, 'more row')}</p>" if len(frame) > _ROWS else ""
        )
        return f"<p>{markup(repr(self))}</p>{table}{more}"


def _cell(value: Any) -> Any:
    """A value in a table: four digits that count, of a large number all before the point."""
    if isinstance(value, str):
        return shown(value, limit=300)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if math.isnan(value):  # what pandas puts where there is none
        return ""
    whole = isinstance(value, int) or abs(value) >= _LARGE
    return f"{value:,.0f}" if whole else f"{value:.4g}"


_LARGE = 10_000
_MANY = (tuple, list, dict)
_SHORT, _ROWS, _LONG = 160, 20, 40


def _values(record: Any) -> dict[str, Any]:
    """The fields of a dataclass or a pydantic model."""
    names = getattr(record, "__dataclass_fields__", None) or type(record).model_fields
    return {name: getattr(record, name) for name in names if not name.startswith("_")}


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "model_dump"):
        found: dict[str, Any] = value.model_dump(mode="json", exclude_none=True)
        return found
    return asdict(value)


def _is_table(value: Any) -> bool:
    """Whether a value is a list of records."""
    if not isinstance(value, tuple) or not value:
        return False
    return (
        is_dataclass(value[0]) or isinstance(value[0], Mapping) or hasattr(value[0], "model_dump")
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, str | int | Path):
        return "…"
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def in_notebook() -> bool:
    """Whether a person looks at cells of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Cell:
    """What a notebook shows of a call at work: its lines, and a bar that moves in their place."""

    def __init__(self) -> None:
        self._lines = ""
        self._handle: Any = None

    def line(self, label: str, text: str) -> None:
        """One fact more."""
        left = "style='text-align:left'"
        self._lines += f"<tr><th {left}>{markup(label)}</th><td {left}>{markup(text)}</td></tr>"
        self.bar()

    def bar(self, title: str = "", share: float | None = None, note: str = "") -> None:
        """How far something is; nothing takes the bar away."""
        value = "" if share is None else f" value='{share:.3f}'"
        bar = f"<p>{markup(title)} <progress{value}></progress> {markup(note)}</p>" if title else ""
        show: Any = import_module("IPython.display")
        content = show.HTML(f"<table>{self._lines}</table>{bar}")
        if self._handle is None:
            self._handle = show.display(content, display_id=True)
        else:
            self._handle.update(content)


def as_code(value: object) -> str:
    """A value of others as Markdown, for any place in a line: a sentence, an item, a cell.

    It is code on one line, fenced by backticks enough. A ``|`` ends a cell even inside of code, and
    readers differ on what escapes it there: what holds one is text whose signs are all spelled as
    entities, which are the same to every reader; so is what cannot be seen.
    """
    text = shown(value) or " "
    if "|" in text or text.isspace():
        return _NOT_PLAIN.sub(lambda c: f"&#{ord(c[0])};", text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    outside = text[0] == text[-1] == " "
    fence, space = "`" * (longest + 1), " " * (longest > 0 or outside)
    return f"{fence}{space}{text}{space}{fence}"


_NOT_PLAIN = re.compile(r"[!-/:-@\[-`{-~]|^\s|\s$|(?<=\s)\s|[^\S ]")
"""Signs of ASCII, and spaces that Markdown would trim or join."""


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers.

    Args:
        heads: Above each column.
        rows: Cells in Markdown; names of others have passed ``as_code``.
    """
    lines = (heads, ("---", *["--:"] * (len(heads) - 1)), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def front_matter(values: Mapping[str, Any]) -> str:
    """The YAML head of a card: nested mappings, sequences and plain values, ``---`` around them.

    Every text is quoted and on one line, so that none is taken for a number, a word with a meaning
    (``no``, ``null``) or the end of the head, by readers of YAML 1.1 and 1.2 alike.
    """
    return "---\n" + "".join(f"{line}\n" for line in _yaml_lines(values)) + "---\n"


def _yaml_lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _yaml_entry(f"{key}:", item)]
    return [line for item in value for line in _yaml_entry("-", item)]


def _yaml_entry(head: str, item: Any) -> list[str]:
    if isinstance(item, Mapping | list | tuple):
        if not item:
            return [f"{head} {'{}' if isinstance(item, Mapping) else '[]'}"]
        below = _yaml_lines(item)
        if head == "-":
            return [f"- {below[0]}", *(f"  {line}" for line in below[1:])]
        return [head, *(f"  {line}" for line in below)]
    return [f"{head} {_yaml_scalar(item)}"]


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, float):  # without a point it is a text to readers of YAML 1.1
        return re.sub("^(-?[0-9]+)e", r"\1.0e", repr(value)) if isfinite(value) else ".nan"
    if not isinstance(value, str):
        return json.dumps(value)  # whole numbers, true, false, null
    quoted = json.dumps(shown(value), ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
