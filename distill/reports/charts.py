"""Charts as SVG that takes its colors from the page: it is read in light and in dark."""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

from augment.contract.foreign import counted, shown
from augment.contract.page import figure, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.4, 2.9
"""Inches of 72 units."""
MOST_POINTS = 200
"""Of a curve."""
MOST_NAMED = 8
"""Points of a chart that have their names beside them."""
NAME_LENGTH = 28
INK, PAPER, LINE = "#010203", "#010204", "#010205"
SERIES = [f"#0102{10 + at}" for at in range(6)]
"""Stand for colors of the page: ``svg`` puts these in their places."""
_COLORS = {INK: "currentColor", PAPER: "var(--paper)", LINE: "var(--line)"} | {
    own: f"var(--c{at})" for at, own in enumerate(SERIES, start=1)
}
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
_MARKERS = "osD^vP"


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points, left to right."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """A point with a name, and the group whose color and shape it has."""

    name: str
    group: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A mean with its deviation, where there is one."""

    name: str
    value: float
    deviation: float | None = None


def curves(
    title: str, lines: Sequence[Curve], *, x: str, y: str, log: bool = False, alt: str = ""
) -> Markup:
    """Lines over steps; on a logarithmic scale where they are of different sizes."""
    with _axes(title, x, y) as axes:
        for at, own in enumerate(lines):
            step = max(1, -(-len(own.x) // MOST_POINTS))
            keep = sorted({*range(0, len(own.x), step), len(own.x) - 1})
            marker = "o" if len(keep) < 2 else None
            axes.plot(
                [own.x[i] for i in keep], [own.y[i] for i in keep], label=_name(own.name),
                color=SERIES[at % 6], linestyle=_DASHES[at % 6], marker=marker, linewidth=1.6,
            )  # fmt: skip
        if log and all(value > 0 for own in lines for value in own.y):
            axes.set_yscale("log")
            plain_numbers(axes.yaxis)
        _legend(axes, len(lines))
        ends = "; ".join(f"{own.name} from {own.y[0]:.3g} to {own.y[-1]:.3g}" for own in lines)
        return _drawn(axes, f"{alt or title}. {ends}", title)


def points(
    title: str,
    own: Sequence[Point],
    *,
    x: str,
    y: str,
    log: bool = True,
    alt: str = "",
    groups: Sequence[str] = (),
) -> Markup:
    """Named points with their intervals; of many, names are in the table and under the pointer.

    ``groups`` in the order of another chart's give each the color and shape that it has there.
    """
    own = [point for point in own if math.isfinite(point.x) and math.isfinite(point.y)]
    if not own:
        return note(f"{title}: nothing that could be drawn.")
    drawn = {point.group for point in own}
    order = list(dict.fromkeys([*groups, *(point.group for point in own)]))
    with _axes(title, x, y) as axes:
        for at, group in ((at, group) for at, group in enumerate(order) if group in drawn):
            for point in (each for each in own if each.group == group):
                if point.low is not None and point.high is not None:
                    axes.vlines(point.x, point.low, point.high, color=SERIES[at % 6], alpha=0.5)
            some = [each for each in own if each.group == group]
            axes.plot(
                [each.x for each in some], [each.y for each in some], _MARKERS[at % 6],
                color=SERIES[at % 6], label=_name(group), markersize=6, linestyle="none",
            )  # fmt: skip
        if log and all(point.x > 0 for point in own):
            axes.set_xscale("log")
            plain_numbers(axes.xaxis)
        axes.margins(x=0.12, y=0.12)
        if len(own) <= MOST_NAMED and len({p.name for p in own if p.name}) > 1:
            for point in own:
                axes.annotate(
                    _name(point.name), (point.x, point.y), xytext=(5, 5), fontsize=7.5,
                    textcoords="offset points", color=INK,
                )  # fmt: skip
        _legend(axes, len(drawn))
        says = "; ".join(f"{p.group} {p.name}: {x} {p.x:.3g}, {y} {p.y:.3f}" for p in own[:20])
        return _drawn(axes, f"{alt or title}. {says}", title)


def bars(
    title: str, own: Sequence[Bar], *, x: str, line: tuple[str, float] | None = None
) -> Markup:
    """Horizontal bars with error bars, and a line to compare with."""
    own = [bar for bar in own if math.isfinite(bar.value)]
    if not own:
        return note(f"{title}: nothing that could be drawn.")
    with _axes(title, x, "", height=0.9 + 0.27 * len(own)) as axes:
        places = list(range(len(own)))[::-1]
        axes.barh(places, [b.value for b in own], color=SERIES[0], alpha=0.55, height=0.65)
        known = [
            (at, b.value, b.deviation) for at, b in zip(places, own, strict=True) if b.deviation
        ]
        if known:
            ats, values, errors = zip(*known, strict=True)
            axes.errorbar(values, ats, xerr=errors, fmt="none", ecolor=INK, capsize=3)
        axes.set_yticks(places, [_name(b.name) for b in own])
        low = min(b.value - (b.deviation or 0) for b in own)
        high = max([b.value + (b.deviation or 0) for b in own] + ([line[1]] if line else []))
        axes.set_xlim(max(0, low - 0.25 * (high - low or high)) if low > 0 else None, None)
        if line:
            axes.axvline(line[1], color=SERIES[1], linestyle="--", linewidth=1.2, label=line[0])
            _legend(axes, 2)
        says = "; ".join(f"{b.name} {b.value:.3f}" for b in own)
        return _drawn(axes, f"{title}. {says}", title)


def reliability(title: str, lines: Sequence[Curve]) -> Markup:
    """Accuracy against confidence; on the diagonal a model is as right as it is sure."""
    with _axes(title, "confidence", "share that is right") as axes:
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2)
        for at, own in enumerate(lines):
            axes.plot(
                own.x, own.y, _MARKERS[at % 6], color=SERIES[at % 6], label=_name(own.name),
                linestyle=_DASHES[at % 6], linewidth=1.4, markersize=4.5,
            )  # fmt: skip
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
        _legend(axes, 2)
        says = "; ".join(f"{own.name}: {counted(len(own.x), 'bin')}" for own in lines)
        return _drawn(axes, f"{title}. {says}", title)


def mapping(layers: Sequence[int], teacher: int) -> Markup:
    """Which teacher layer each student layer learns from."""
    says = ", ".join(f"{at} from {of}" for at, of in enumerate(layers, start=1))
    title = "Student layers and the teacher layers they learn from"
    with _axes("", "", "", height=1.1 + 0.24 * max(teacher, len(layers))) as axes:
        axes.axis("off")
        step = (teacher - 1) / max(1, len(layers) - 1) if len(layers) > 1 else 1
        rows = {at: 1 + step * (at - 1) for at in range(1, len(layers) + 1)}
        for layer in range(1, teacher + 1):
            edge = SERIES[0] if layer in layers else LINE
            axes.text(
                0.28, layer, f"teacher {layer}", ha="center", va="center", fontsize=8.5, color=INK,
                bbox={"boxstyle": "round,pad=.35", "fc": PAPER, "ec": edge},
            )  # fmt: skip
        for at, of in enumerate(layers, start=1):
            axes.text(
                0.78, rows[at], f"student {at}", ha="center", va="center", fontsize=8.5, color=INK,
                bbox={"boxstyle": "round,pad=.35", "fc": PAPER, "ec": SERIES[1]},
            )  # fmt: skip
            axes.annotate(
                "", (0.655, rows[at]), (0.405, of),
                arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.1},
            )  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0.3, max(teacher, len(layers)) + 0.7))
        return _drawn(axes, f"{title}: {says}", title)


@contextmanager
def _axes(title: str, x: str, y: str, height: float = HEIGHT) -> Iterator[Axes]:
    """Empty axes in the page's colors."""
    with drawn_for_a_page(title):
        from matplotlib.figure import Figure

        drawing: Figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = drawing.add_subplot()
        axes.set(xlabel=shown(x), ylabel=shown(y))
        yield axes


@contextmanager
def drawn_for_a_page(title: str) -> Iterator[None]:
    """Settings for what ``svg`` writes; the state of matplotlib is as before afterwards."""
    import matplotlib as mpl

    settings: Any = {
        "svg.fonttype": "none", "svg.hashsalt": shown(title),
        "font.size": 9, "font.family": "sans-serif",
        "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.edgecolor": LINE, "axes.facecolor": "none", "figure.facecolor": "none",
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
        "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.5, "path.simplify": True,
        "text.parse_math": False, "xtick.major.size": 0, "ytick.major.size": 0,
        "xtick.minor.size": 0, "ytick.minor.size": 0,
    }  # fmt: skip
    with mpl.rc_context(settings):
        yield


def _name(text: str) -> str:
    return shown(text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 1]}…")


def plain_numbers(axis: Any) -> None:
    """Numbers instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes, count: int) -> None:
    if count > 1:
        drawing: Any = axes.figure
        drawing.legend(fontsize=8, loc="outside upper left", ncols=2, handlelength=2.4)


def _drawn(axes: Axes, alt: str, caption: str) -> Markup:
    drawing: Any = axes.figure
    return figure(svg(drawing), alt, caption)


_NUMBER, _NAMED = re.compile(r"-?\d+\.\d{2,}"), re.compile(r"#([\w.-]+)")
_SVG, _LINKS = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def svg(drawing: Figure) -> Markup:
    """A figure as SVG for a page: short numbers, ids of its own, the page's colors and fonts."""
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # that its own font lacks a letter of a name
        drawing.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(stream.getvalue())  # noqa: S314 - written the line above
    salt = f"f{hashlib.sha256(stream.getvalue()).hexdigest()[:8]}"
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    wanted = {name for own in root.iter() for text in own.attrib.values() for name in _refs(text)}
    for own in root.iter():
        own.attrib = {
            key: _attribute(key, text, salt)
            for key, text in own.attrib.items()
            if key != "id" or text in wanted
        }
        own.text, own.tail = (text and (text.strip() or None) for text in (own.text, own.tail))
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true"}
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINKS)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - escaped as XML


def _refs(text: str) -> list[str]:
    return _NAMED.findall(text) if "url(#" in text or text.startswith("#") else []


def _attribute(key: str, text: str, salt: str) -> str:
    if key == "id":
        return f"{salt}-{text}"
    if _refs(text) and text not in _COLORS:
        return text.replace("#", f"#{salt}-")
    text = _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", text).replace("\n", "")
    for own, color in _COLORS.items():
        text = text.replace(own, color)
    return re.sub(
        r"font-family:[^;]*;?|font: ", lambda own: own[0][:6] * (own[0] == "font: "), text
    )
