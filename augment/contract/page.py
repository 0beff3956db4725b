"""One HTML file for people: the skeleton and the parts that the reports of both packages share.

Nothing in a page comes from elsewhere: its policy lets a browser fetch nothing, and run only the
script below. Every text that a template is given passes ``html``; what is markup already was made
here or by a chart.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    script = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return _render(
        "page", title=title, lead=html(lead, 2000), sections=[s for s in sections if s.parts],
        script=_SCRIPT, style=_style(), digest=script,
    )  # fmt: skip


def page_place(out: str | Path) -> Path:
    """Where a page will be written, before any work is done for it.

    Raises:
        UsageError: Its name is not that of a page.
        OutputUnwritable: Nothing can be written there.
    """
    place = new_place(out)
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{out} is no name of a page.", "End it in .html")
    check_output(place)
    return place


def write_page(place: Path, text: str) -> Path:
    """Write a page in one atomic step.

    Raises:
        OutputUnwritable: What was there before is kept.
    """
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
    return f":root{light}{asked}:root[data-theme=dark]{dark}{_CSS}"


_CSS = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
:root{--fill:color-mix(in srgb,var(--accent) 28%,transparent)}
main,header{max-width:76rem;margin:0 auto;padding:0 1rem}header{padding-top:1.2rem}
h1{font-size:1.6rem;line-height:1.2;margin:.2rem 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.4rem 0 .4rem}p,dd,dt,summary{overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:46rem}a{color:var(--accent)}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;padding:0;margin:.8rem 0}
nav a{display:inline-block;padding:.3rem 0}
button,input,select{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--soft);
border-radius:.3rem;padding:.3rem .5rem;max-width:100%}button{cursor:pointer}
:focus-visible{outline:3px solid var(--accent);outline-offset:1px}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;background:var(--paper);padding:.5rem}
.top{display:flex;justify-content:space-between;align-items:start;gap:1rem}
.note{color:var(--soft);font-size:.9rem}
.warning{background:var(--warn);border-left:4px solid var(--c5);padding:.5rem .8rem}
.scroll{overflow-x:auto;max-width:100%;margin:.6rem 0}
table{border-collapse:collapse;font-size:.9rem;min-width:min(100%,24rem)}
caption{text-align:left;color:var(--soft);padding:.2rem 0;max-width:90vw}
th,td{padding:.3rem .45rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
tbody th{font-weight:600;max-width:18rem;overflow-wrap:anywhere}tbody th:not(.n){min-width:8rem}
thead th{background:var(--band);vertical-align:bottom;font-weight:600}
thead button{border:0;background:none;padding:0;font-weight:inherit;text-align:inherit}
thead button::after{content:"\\2195";color:var(--soft)}
th[aria-sort=ascending] button::after{content:"\\2191"}
th[aria-sort=descending] button::after{content:"\\2193"}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.foreign{max-width:36rem;overflow-wrap:break-word;unicode-bidi:plaintext}
.long{min-width:15rem;overflow-wrap:anywhere}
.bar{background:linear-gradient(to right,var(--fill) calc(var(--b)*100%),transparent 0)}
.heat{background:color-mix(in srgb,var(--accent) calc(var(--b,0)*70%),transparent)}
.tools{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;margin:.4rem 0}
.tools select{max-width:60vw}
dl{display:grid;grid-template-columns:fit-content(45%) 1fr;gap:.2rem 1rem;margin:.6rem 0}
dt{color:var(--soft)}dd{margin:0}
pre{background:var(--band);padding:.6rem .8rem;overflow-x:auto;border-radius:.3rem;
white-space:pre-wrap;overflow-wrap:anywhere}code{font:.88rem/1.45 ui-monospace,monospace}
details{margin:.6rem 0}summary{cursor:pointer;padding:.2rem 0}del{color:var(--soft)}
ins{background:color-mix(in srgb,var(--c3) 25%,transparent);text-decoration:none;font-weight:600;
border-radius:.2rem;padding:0 .15rem}
.charts{display:grid;align-items:start;
grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1rem}
figure{margin:0;min-width:0}figure svg{width:100%;height:auto;display:block;max-width:30rem}
figure svg text{font-family:system-ui,sans-serif!important}
figcaption{font-size:.9rem;color:var(--soft)}[hidden]{display:none!important}
@media(max-width:600px){h1{font-size:1.35rem}th,td{padding:.3rem .4rem}.long{min-width:12rem}}
@media print{.skip,.tools,#theme,nav{display:none}.scroll{overflow:visible}}
"""
_SCRIPT = """
'use strict';
const all = (what, within = document) => [...within.querySelectorAll(what)];
const root = document.documentElement, theme = document.getElementById('theme');
const dark = () => root.dataset.theme ? root.dataset.theme === 'dark'
  : matchMedia('(prefers-color-scheme: dark)').matches;
const name = () => { theme.textContent = dark() ? 'Light colors' : 'Dark colors'; };
theme.hidden = false; name();
theme.addEventListener('click', () => { root.dataset.theme = dark() ? 'light' : 'dark'; name(); });
const text = (row, at) => row.cells[at].textContent.trim();
const key = (row, at) => 'v' in row.cells[at].dataset ? +row.cells[at].dataset.v : text(row, at);
const order = (a, b) => typeof a !== typeof b ? (typeof a === 'number' ? -1 : 1)
  : typeof a === 'number' ? a - b : a.localeCompare(b);
for (const table of all('table.sorts')) all('thead th', table).forEach((head, at, heads) => {
  const button = document.createElement('button'), body = table.tBodies[0];
  button.type = 'button'; button.append(...head.childNodes); head.append(button);
  button.addEventListener('click', () => {
    const sign = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
    heads.forEach(one => one.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', sign < 0 ? 'descending' : 'ascending');
    body.append(...[...body.rows].sort((a, b) => sign * order(key(a, at), key(b, at))));
  });
});
for (const table of all('table.filters')) {
  const tools = document.createElement('div'), found = document.createElement('output');
  const rows = [...table.tBodies[0].rows], checks = [];
  const show = () => {
    rows.forEach(row => { row.hidden = !checks.every(fits => fits(row)); });
    found.textContent = `shown: ${rows.filter(row => !row.hidden).length} of ${rows.length}`;
  };
  const add = (title, field, fits) => {
    const label = document.createElement('label');
    label.append(title + ' ', field); tools.append(label); checks.push(fits);
    field.addEventListener('input', show);
  };
  const search = document.createElement('input'); search.type = 'search';
  const holds = row => row.textContent.toLowerCase().includes(search.value.trim().toLowerCase());
  add('Filter', search, holds);
  all('thead th', table).forEach((head, at) => {
    if (!('choice' in head.dataset)) return;
    const select = document.createElement('select'), texts = new Set(rows.map(r => text(r, at)));
    for (const each of ['all', ...[...texts].sort()]) select.append(new Option(each));
    add(head.textContent.trim(), select,
      row => !select.selectedIndex || text(row, at) === select.value);
  });
  tools.className = 'tools'; tools.append(found); table.parentNode.before(tools); show();
}
"""
_TABLE = """
<div class="scroll" role="region" aria-label="{{ caption }}" tabindex="0"><table class="{{ kind }}">
<caption>{{ caption }}</caption><thead><tr>{% for own in columns %}<th scope="col"
{%- if own.number %} class="n"{% endif %}{% if own.choice %} data-choice{% endif %}
{%- if own.meaning %} title="{{ own.meaning }}"{% endif %}>{{ own.heading }}</th>{% endfor -%}
</tr></thead><tbody>{% for row in rows %}<tr>{% for own in row %}
{%- set tag = 'td' if loop.index0 else 'th scope="row"'|safe -%}
<{{ tag }} class="{{ 'n ' if columns[loop.index0].number }}{{ 'bar ' if own.bar is not none }}
{{- 'heat ' if own.heat is not none }}{{ 'foreign ' if own.foreign }}
{{- 'long' if own.text|string|length > 30 }}"{% if own.foreign %} dir="auto"{% endif %}
{%- if own.value is not none %} data-v="{{ own.value }}"{% endif %}
{%- set share = own.heat if own.bar is none else own.bar %}
{%- if share is not none %} style="--b:{{ '%.4f' % share }}"{% endif -%}
>{{ own.text }}</{{ tag[:2] }}>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
"""
_FIGURE = """<figure><div role="img" aria-label="{{ alt }}">{{ svg }}</div>
{%- if caption %}<figcaption>{{ caption }}</figcaption>{% endif %}</figure>"""
_FACTS = """<dl>{% for name, own in pairs.items() %}<dt>{{ name }}</dt><dd>{{ own }}</dd>
{%- endfor %}</dl>"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'sha256-{{ digest }}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">
<title>{{ title }}</title><style>{{ style|safe }}</style></head><body>
<a class="skip" href="#content">Skip to the content</a>
<header><div class="top"><h1>{{ title }}</h1>
<button id="theme" type="button" hidden></button></div><p>{{ lead }}</p>
<nav aria-label="Contents"><ul>{% for own in sections %}
<li><a href="#s{{ loop.index }}">{{ own.title }}</a></li>{% endfor %}</ul></nav></header>
<main id="content">{% for own in sections %}
<section aria-labelledby="s{{ loop.index }}"><h2 id="s{{ loop.index }}">{{ own.title }}</h2>
{% for part in own.parts %}{{ part }}{% endfor %}</section>{% endfor %}</main>
<script>{{ script|safe }}</script></body></html>
"""


def _environment() -> Environment:
    """Templates by name; what they print passes ``html``."""
    from jinja2 import DictLoader

    templates = {"page": _PAGE, "table": _TABLE, "figure": _FIGURE, "facts": _FACTS}
    return Environment(
        loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, finalize=html
    )


_TEMPLATES = _environment()
