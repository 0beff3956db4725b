"""Writes README's table of results from ``benchmarks/results/real_tasks.json``.

``python -m docs.tools.table`` puts it between its two marks; a test compares it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from augment.contract.foreign import markdown_table

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results" / "real_tasks.json"
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


def table() -> str:
    """The teacher's scores, and what each student keeps of them in percent."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = [["teacher", *(f"{found['teachers'][task]:.3f}" for task in TASKS), ""]]
    for arm, title in ARMS.items():
        kept = found["retention_percent"][arm]
        rows.append([title, *(f"{kept[task]:.1f}%" for task in (*TASKS, "mean"))])
    return markdown_table(["", *TASKS.values(), "mean"], rows)


def filled(text: str) -> str:
    """README with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
