"""Writes tables of pages from committed results: ``python -m docs.tools.table``; a test compares.

Each stands between two marks of its page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from augment.contract.foreign import markdown_table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: made by docs/tools/table.py -->", "<!-- end of results -->"
TASKS = {
    "sst2": "SST-2 (accuracy)",
    "mrpc": "MRPC (F1)",
    "stsb": "STS-B (correlation)",
    "cola": "CoLA (Matthews)",
}
ARMS = {
    "whole": "**student, distilled**, mean of 3 seeds",
    "labels only from: general student": "the same student on labels only, mean of 3 seeds",
    "labels only from: random": "the same shape on labels only, from random weights, 1 seed",
}
ANSWERS = {"tickets": "tickets", "sst2": "SST-2", "mrpc": "MRPC"}


def results(name: str) -> dict[str, Any]:
    """A file of results."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return found


def worth() -> str:
    """The teacher's scores, and what each student keeps of them in percent."""
    found = results("real_tasks.json")
    rows = [["teacher", *(f"{found['teachers'][task]:.3f}" for task in TASKS), ""]]
    for arm, title in ARMS.items():
        kept = found["retention_percent"][arm]
        rows.append([title, *(f"{kept[task]:.1f}%" for task in (*TASKS, "mean"))])
    return markdown_table(["", *TASKS.values(), "mean"], rows)


def answers() -> str:
    """What answers best, smallest and fastest: a table for each task."""
    tables = []
    for task, title in ANSWERS.items():
        found = results("student_to_answer.json")[task]
        head = ["", found["metric"].replace("_f1", " F1"), "95%", "MB", "ms, one", "ms, of 32"]
        rows = [
            [
                name,
                f"{own['score']:.3f}",
                f"{own['interval']['low']:.3f} to {own['interval']['high']:.3f}",
                f"{own['megabytes']:.2f}",
                f"{own['batch_1_ms']:.2f}",
                f"{own['batch_32_ms']:.2f}",
            ]
            for name, own in found["models"].items()
        ]
        tables.append(f"**{title}**\n\n{markdown_table(head, rows)}")
    return "\n".join(tables)


def long_texts() -> str:
    """What each way of reading long texts takes, and how near it comes to ``official``."""
    rows = [
        [
            f"**{name}**" if name.startswith("long") else name,
            str(own["texts"]),
            f"{own['seconds_a_text']:.2f}",
            f"{own['tokens_a_mask']:.0f}",
            f"{own['tokens_ratio']:.1f}",
            f"{own['time_ratio']:.1f}",
            f"{own['overlap']:.1%}",
            f"{own['equal_sets']:.1%}",
        ]
        for name, own in results("long_texts.json")["ways"].items()
    ]
    head = ["", "texts", "s a text", "tokens a word", "fewer tokens", "faster", "overlap"]
    return markdown_table([*head, "equal sets"], rows)


PAGES: dict[Path, Callable[[], str]] = {
    ROOT / "README.md": worth,
    ROOT / "docs" / "serving.md": answers,
    ROOT / "docs" / "howto" / "long-texts.md": long_texts,
}


def filled(text: str, table: str) -> str:
    """A page with a table between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    for page, table in PAGES.items():
        page.write_text(filled(page.read_text(encoding="utf-8"), table()), encoding="utf-8")
