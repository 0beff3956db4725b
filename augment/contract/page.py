"""One HTML file for people: the skeleton and the parts that the reports of both packages share.

Nothing in a page comes from elsewhere: its policy lets a browser fetch nothing, and run only the
script below. Every text that a template is given passes ``html``; what is markup already was made
here or by a chart.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from augment.contract.errors import UsageError
from augment.contract.files import check_output, new_place, sole_writer, write_text
from augment.contract.foreign import shown
from augment.contract.task import GENERATOR
from augment.contract.version import Version

LONGEST_CELL = 600
"""Characters of one text that are shown whole."""
MOST_BYTES = 1_000_000
NOTHING = "–"


def html(text: object, limit: int = LONGEST_CELL) -> Markup:
    """Any value as a page shows it: controls made visible, markup escaped, the longest cut."""
    return text if isinstance(text, Markup) else escape(shown(text, limit=limit))


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What stands there.
        value: What it is sorted by where that is not its text.
        bar: A share from 0 to 1 that is drawn behind it; ``heat`` likewise, as its depth of color.
        foreign: Whether it is text of the data, which may run from right to left.
    """

    text: object
    value: float | None = None
    bar: float | None = None
    heat: float | None = None
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, what that means, and whether it holds numbers or a few choices."""

    heading: str
    meaning: str = ""
    number: bool = False
    choice: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page with a heading of its own, which the contents name."""

    title: str
    parts: tuple[Markup, ...]


def number(value: float | None, digits: int = 3) -> Cell:
    """A cell of a number; of None, or where it is none, a dash."""
    if value is None or not math.isfinite(value):
        return Cell(NOTHING)
    return Cell(f"{value:,.{0 if isinstance(value, int) else digits}f}", float(value))


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    filters: bool = False,
    sorts: bool = True,
) -> Markup:
    """A table whose first cell of a row is its heading; it may be sorted and filtered."""
    lines = [list(row) for row in rows]
    if not lines:
        return note(f"{caption}: none.")
    kind = " ".join(["sorts"] * sorts + ["filters"] * filters)
    return _render("table", kind=kind, caption=caption, columns=columns, rows=lines)


def facts(pairs: Mapping[str, object]) -> Markup:
    """Names and values, those without a value left out."""
    return _render(
        "facts", pairs={name: own for name, own in pairs.items() if own not in ("", None)}
    )


def figure(svg: Markup, alt: str, caption: str = "") -> Markup:
    """A chart with the sentence that stands for it where it cannot be seen."""
    return _render("figure", svg=svg, alt=alt, caption=caption)


def figures(drawn: Iterable[Markup]) -> Markup:
    """Charts side by side where there is room."""
    return Markup('<div class="charts">{}</div>').format(Markup("").join(drawn))


def note(sentence: object, kind: str = "note") -> Markup:
    """A sentence; ``warning`` is set apart."""
    return Markup('<p class="{}">{}</p>').format(kind, html(sentence, 2000))


def folded(title: str, *parts: Markup) -> Markup:
    """Parts that are unfolded on demand."""
    inside = Markup("").join(parts)
    return Markup("<details><summary>{}</summary>{}</details>").format(html(title), inside)


def heading(text: str) -> Markup:
    """A heading inside a section."""
    return Markup("<h3>{}</h3>").format(html(text))


def code(text: str) -> Markup:
    """A command or a digest, to be copied."""
    return Markup('<pre tabindex="0"><code>{}</code></pre>').format(html(text, 4000))


def marked(text: str, edits: Iterable[Mapping[str, Any]]) -> Markup:
    """A text with its replacements: what stood there, then what stands there now."""
    parts, at = [], 0
    for edit in edits:
        start, end = edit["start"], edit["end"]
        parts.append(html(text[at:start]))
        pair = (html(edit["before"]), html(edit["after"]), html(edit["source"]))
        parts.append(Markup('<del>{0}</del> <ins title="{2}">{1}</ins>').format(*pair))
        at = max(at, end)
    return Markup("").join([*parts, html(text[at:])])


def version_parts(version: Version, samples: int = 4) -> tuple[Markup, ...]:
    """What a version is made of: its facts, counts, digests, and rows with their edits marked.

    Raises:
        ContractError: A file is not the one that the manifest describes.
    """
    own, task, made = version.manifest, version.task, version.manifest.derivation
    about = {
        "version": version.reference,
        "rows": " · ".join(f"{name} {version.rows(name):,}" for name in version.splits),
        "texts": ", ".join(task.text_columns),
        "labels": ", ".join(task.label.names[:20]) + " …" * (len(task.label.names) > 20),
        "selects by": f"{task.selection_metric} on {task.splits.validation[0]}",
        "source": own.source,
        "made by": made.command if made else f"recipe {own.recipe.get('preset', '')}",
        "made of": ", ".join(each.reference for each in made.parents) if made else "",
        "created": own.created,
        "id": own.id,
    }
    most = max([1, *own.counts.values()])
    counts = [
        [Cell(_KINDS.get(kind, kind)), Cell(reason), Cell(f"{count:,}", count, count / most)]
        for key, count in own.counts.items()
        for kind, _, reason in [key.partition(".")]
    ]
    digests = [(f"{each.kind}: {each.name}", each.sha256) for each in own.assets]
    digests += [(f"source rows of {each.split}", each.sha256) for each in own.sources]
    digests += [(entry.path, entry.sha256) for entry in (*own.files, *own.rejected)]
    heads = Column("what"), Column("reason"), Column("number", number=True)
    return (
        facts(about),
        table("Counts by reason", heads, counts),
        _samples(version, samples),
        folded("Recipe and gates", facts({k: str(v) for k, v in sorted(own.recipe.items())})),
        folded("SHA-256", facts(dict(digests[:60]))),
    )


_KINDS = {
    "rows": "training rows", "dropped": "generated rows left out", "words": "words, by route",
    "replaced": "words replaced, by route", "source": "source rows", "unlabeled": "unlabeled rows",
    "added": "rows of other tools", "relabeled": "rows with another label than their source",
}  # fmt: skip


def _samples(version: Version, rows: int, variants: int = 3) -> Markup:
    """Some of the first original rows, with variants of each whose edits are marked."""
    task, found = version.task, dict[int, list[dict[str, Any]]]()
    batch = next(version.batches(task.splits.train, rows=2048), None)
    for row in batch.to_pylist() if batch is not None else ():
        found.setdefault(row["idx"], []).append(row)
    groups = [own for own in found.values() if own[0]["variant"] == 0]
    lines = []
    for group in groups[:: max(1, len(groups) // rows)][:rows]:
        for row in group[: variants + 1]:
            texts = []
            for name in task.text_columns:
                edits = [edit for edit in row["edits"] or () if edit["column"] == name]
                text = marked(group[0][name], edits) if edits else row[name]
                texts.append(Cell(text, foreign=True))
            by = (row.get(GENERATOR) or "generated") if row["variant"] else "original"
            label = (
                task.label.names[row[task.label.column]]
                if task.label.names
                else row[task.label.column]
            )
            lines.append([number(row["idx"]), *texts, Cell(label), Cell(by)])
    names = ("row", *task.text_columns, "label", "made by")
    heads = [Column(name, number=not at) for at, name in enumerate(names)]
    return table("Rows, with what stood there struck out before what stands there", heads, lines)


def page(title: str, lead: object, sections: Sequence[Section]) -> str:
    """A whole page."""
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _render(
        "page", title=title, lead=html(lead, 2000), sections=[s for s in sections if s.parts],
        script=script, style=_style(), digest=digest,
    )  # fmt: skip


def write_page(out: str | Path, make: Callable[[], str]) -> Path:
    """Make a page and write it in one atomic step; its place is checked before any work is done.

    Args:
        out: The new file; its name ends in ``.html``.
        make: Gives the page.

    Returns:
        Where it was written.

    Raises:
        UsageError: The name is not that of a page.
        OutputUnwritable: Nothing can be written there; what was there before is kept.
    """
    place = new_place(out)
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{out} is no name of a page.", "End it in .html")
    check_output(place)
    text = make()
    with sole_writer(place):
        write_text(place, text)
    return place


def _render(name: str, **values: Any) -> Markup:
    return Markup(_TEMPLATES.get_template(name).render(**values))  # noqa: S704 - autoescaped


_THEMES = {
    "light": "--paper:#fff;--ink:#1d2430;--soft:#5b6472;--line:#d5dae1;--band:#f3f5f8;"
    "--accent:#2458b8;--warn:#fff3d6;"
    "--c1:#2458b8;--c2:#b3541e;--c3:#1d7a55;--c4:#8a3d8f;--c5:#8b6d00;--c6:#53606f",
    "dark": "--paper:#14181f;--ink:#e6e9ee;--soft:#a2abb8;--line:#39414d;--band:#1d232c;"
    "--accent:#8ab4ff;--warn:#3b3014;"
    "--c1:#8ab4ff;--c2:#f0a46c;--c3:#6fd0a4;--c4:#dc9ae0;--c5:#e0c25a;--c6:#aab6c4",
}


def _style() -> str:
    light, dark = (f"{{color-scheme:{name};{own}}}" for name, own in _THEMES.items())
    asked = f"@media(prefers-color-scheme:dark){{:root:not([data-theme]){dark}}}"
    return f":root{light}{asked}:root[data-theme=dark]{dark}{_part('page.css')}"


_PARTS = files("augment") / "page"


def _part(name: str) -> str:
    """A template, a style or a script, as it lies beside the code."""
    return (_PARTS / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    """Templates by name; what they print passes ``html``."""
    from jinja2 import FunctionLoader

    return Environment(
        loader=FunctionLoader(lambda name: _part(f"{name}.html")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=html,
    )


_TEMPLATES = _environment()
