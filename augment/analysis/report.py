"""``augment report``: what a version holds, as one page for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from augment.analysis.stats import VersionStats, version_stats
from augment.contract import Version, open_version
from augment.contract.foreign import counted
from augment.contract.page import (
    Cell,
    Column,
    Section,
    number,
    page,
    table,
    version_parts,
    write_page,
)

MOST_CLASSES = 200


def write_report(version: Version | str | Path, out: str | Path) -> Path:
    """Write what a version holds as one HTML file: facts, counts, figures, rows, digests.

    Args:
        version: A version or a reference to one.
        out: The new file; its name ends in ``.html``.

    Returns:
        Where it was written.

    Raises:
        UsageError: ``out`` is no name of a page.
        ContractError: The version is not as its manifest describes it.
        OutputUnwritable: The file cannot be written.

    Examples:
        >>> from augment import report
        >>> report("data/versions/reviews", "data.html").name
        'data.html'
    """
    return write_page(out, lambda: _page(version))


def _page(version: Version | str | Path) -> str:
    opened = version if isinstance(version, Version) else open_version(version)
    found, train = version_stats(opened), opened.rows(opened.task.splits.train)
    lead = (
        f"{counted(train, 'training row')} of task {opened.task.name}, from "
        f"{counted(found.source_rows, 'original')}"
    )
    sections = [
        Section("The version", version_parts(opened, samples=8)),
        Section("Figures", _figures(found)),
        Section("Labels", _labels(found)),
    ]
    return page(f"Data: {opened.reference}", lead, sections)


def _figures(found: VersionStats) -> tuple[Markup, ...]:
    """Originals and generated rows side by side."""
    lines = [
        _pair("distinct words of all words", found.distinct_1),
        _pair("distinct pairs of neighboring words", found.distinct_2),
        _pair("words of a text, mean", found.words_per_text),
    ]
    single = {
        "words replaced, of all words of generated rows": found.replacement_rate,
        **{f"words replaced in a row, by {n}": own for n, own in found.replaced_per_row.items()},
        "samples equal to their original, of all drawn": found.identity_rate,
        "generated rows that occur twice": found.duplicates,
    }
    heads = [Column("figure"), *(Column(name, number=True) for name in ("originals", "generated"))]
    more = [Column("of generated rows"), Column("value", number=True)]
    rows = [[Cell(name), number(value)] for name, value in single.items()]
    return (table("Originals and generated rows", heads, lines), table("Figures", more, rows))


def _pair(name: str, values: dict[str, float]) -> Sequence[Cell]:
    return [Cell(name), number(values.get("original")), number(values.get("generated"))]


def _labels(found: VersionStats) -> tuple[Markup, ...]:
    """The share of each class, or mean and deviation of a regression's scores."""
    before, after = found.labels["original"], found.labels["generated"]
    bars = "mean" not in before
    lines = [
        [
            Cell(name if len(name) < 80 else f"{name[:80]}…", foreign=True),
            *(_share(own.get(name), bars) for own in (before, after)),
        ]
        for name in list(before)[:MOST_CLASSES]
    ]
    heads = [Column("label"), *(Column(name, number=True) for name in ("originals", "generated"))]
    parts = [table("Share of each label among training rows", heads, lines)]
    if found.soft_labels:
        soft = [
            [Cell(split), *(number(own.get(key)) for key in ("rows", "entropy"))]
            for split, own in found.soft_labels.items()
        ]
        heads = [Column("split"), Column("rows", number=True), Column("mean entropy", number=True)]
        parts.append(table("Soft labels that came with the rows", heads, soft))
    return tuple(parts)


def _share(value: float | None, bars: bool) -> Cell:
    if value is None or math.isnan(value):  # without generated rows there is no mean of them
        return number(None)
    return Cell(f"{value:.1%}", value, min(1.0, value)) if bars else number(value)
