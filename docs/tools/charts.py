"""Pictures of results as SVG files that are read in light and dark, by matplotlib.

They are drawn as the charts of reports are; what a page gives those, a file has itself: colors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from distill.reports.charts import INK, LINE, SERIES, drawn_for_a_page, plain_numbers, svg

STYLE = """
svg { color: #1f2328; --paper: #fff; --line: #c4cad1; --c1: #0969da; --c2: #bc4c00; --c3: #1a7f37;
  --c4: #8250df; --c5: #cf222e; --c6: #6e7781 }
text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif }
@media (prefers-color-scheme: dark) {
  svg { color: #e6edf3; --paper: #0d1117; --line: #484f58; --c1: #58a6ff; --c2: #ffa657;
    --c3: #3fb950; --c4: #d2a8ff; --c5: #ff7b72; --c6: #8b949e }
}
"""
WIDTH, HEIGHT = 9.6, 3.4
"""Inches of 72 units."""
MARKS = "osD^vPX*hp"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a series looks like in every panel: one of six colors, and a shape or a line."""

    name: str
    color: int
    mark: str = "o"
    line: str = "-"


@dataclass(frozen=True, slots=True)
class Mark:
    """A point, and where it may lie as well."""

    kind: Kind
    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bars:
    """A series of bars, one a group; an error of None is not known."""

    kind: Kind
    values: Sequence[float]
    errors: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points, and how far they spread, where that is known."""

    kind: Kind
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the axes side by side: its title, and what draws it."""

    title: str
    draw: Callable[[Any], None]


def marks(own: Sequence[Mark], x: str, y: str) -> Callable[[Any], None]:
    """Points with intervals over a logarithmic scale."""

    def draw(axes: Any) -> None:
        for mark in own:
            color = SERIES[mark.kind.color - 1]
            axes.vlines(mark.x, mark.low, mark.high, color=color, alpha=0.45, linewidth=1.2)
            axes.plot(
                mark.x, mark.y, mark.kind.mark, color=color, markersize=6, label=mark.kind.name
            )
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
        axes.margins(x=0.08, y=0.08)
        axes.set(xlabel=x, ylabel=y)

    return draw


def bars(groups: Sequence[str], own: Sequence[Bars], y: str, line: float) -> Callable[[Any], None]:
    """Bars in groups, their errors, and a line to compare with."""

    def draw(axes: Any) -> None:
        width = 0.84 / len(own)
        for at, series in enumerate(own):
            places = [group - 0.42 + width * (at + 0.5) for group in range(len(groups))]
            color = SERIES[series.kind.color - 1]
            axes.bar(
                places, series.values, 0.9 * width, color=color, alpha=0.75, label=series.kind.name
            )
            for place, value, error in zip(places, series.values, series.errors, strict=True):
                if error:
                    axes.errorbar(place, value, error, color=INK, capsize=2.5, linewidth=1)
        axes.axhline(line, color=INK, linewidth=0.9, linestyle="--")
        axes.set_xticks(range(len(groups)), groups)
        axes.grid(visible=False, axis="x")
        axes.set(ylabel=y)

    return draw


def curves(own: Sequence[Curve], x: str, y: str) -> Callable[[Any], None]:
    """Lines over steps with a band of how far they spread."""

    def draw(axes: Any) -> None:
        for curve in own:
            color = SERIES[curve.kind.color - 1]
            axes.plot(
                curve.x, curve.y, color=color, linestyle=curve.kind.line, linewidth=1.6,
                marker=curve.kind.mark, markersize=3.5, label=curve.kind.name,
            )  # fmt: skip
            if curve.spread:
                around = list(zip(curve.y, curve.spread, strict=True))
                low, high = [a - b for a, b in around], [a + b for a, b in around]
                axes.fill_between(curve.x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.set(xlabel=x, ylabel=y)

    return draw


def picture(title: str, panels: Sequence[Panel], about: str, height: float = HEIGHT) -> str:
    """Panels side by side with one legend below, as a whole SVG document.

    Args:
        title: Tells pictures apart that are drawn alike.
        panels: From left to right.
        about: The sentence that stands for it where it cannot be seen.
        height: In inches.

    Returns:
        The document; nothing where there is no panel.
    """
    if not panels:
        return ""
    from matplotlib.figure import Figure

    with drawn_for_a_page(title):
        drawing = Figure(figsize=(WIDTH, height), layout="constrained")
        known: dict[str, Any] = {}
        (row,) = drawing.subplots(1, len(panels), squeeze=False)
        for panel, axes in zip(panels, row, strict=True):
            panel.draw(axes)
            axes.set_title(panel.title, fontsize=10, loc="left", fontweight="bold")
            for own in axes.spines.values():
                own.set_color(LINE)
            handles, names = axes.get_legend_handles_labels()
            known = dict(zip(names, handles, strict=True)) | known
        drawing.legend(
            known.values(), known.keys(), loc="outside lower center", fontsize=8.5,
            ncols=min(5, len(known)), handlelength=1.6,
        )  # fmt: skip
        drawn = str(svg(drawing))
    size = f'width="{WIDTH * 96:.0f}" height="{height * 96:.0f}"'
    opening = f'{size} role="img" aria-label="{escape(about)}"'
    lines = drawn.replace('aria-hidden="true"', opening, 1).replace("><", ">\n<")
    return re.sub(r">", f">\n<style>{STYLE}</style>", lines, count=1) + "\n"
