"""The table of ``distill trim``: sizes before and after, and what became of each split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from augment.contract.foreign import counted, shown, sized
from augment.contract.terminal import labeled
from distill.evaluation.results import metric_columns
from distill.tables.cells import print_table

if TYPE_CHECKING:
    from distill.serving.trim import Sizes, TrimResult


def print_trim(result: TrimResult, console: Console) -> None:
    """Print what was left out, and what the columns mean."""
    console.print(labeled("trim", f"{result.model} · {result.version}"))
    found = result.scores
    metrics = [name for name, _ in metric_columns(found.before)] if found else []
    lines = []
    for name, sizes, scores in (
        ("before", result.before, found.before if found else {}),
        ("after", result.after, found.after if found else {}),
    ):
        lines.append([name, *(f"{v:.3f}" for _, v in metric_columns(scores)), *_size(sizes)])
    print_table(["", *metrics, "tokens", "table", "weights", "tokenizer"], lines, console)
    rows = [
        [
            split,
            f"{own.rows:,}",
            f"{own.same_rows / max(1, own.rows):.1%}",
            f"{own.kept_tokens / max(1, own.tokens):.2%}",
            f"{own.new_tokens / max(1, own.tokens) - 1:+.2%}",
            f"{own.new_unknown - own.unknown:+,}",
        ]
        for split, own in result.splits.items()
    ]
    print_table(["split", "rows", "same", "tokens kept", "length", "unknown"], rows, console)
    notes = [
        "same = rows whose pieces are those of before, length = change of all pieces",
        f"{counted(result.required, 'token', 'stay')} in any case: special ones and single "
        f"characters",
    ]
    if found:
        chosen = found.selection
        notes += [
            f"drop of {chosen.metric} on {chosen.split}: {found.drop:.4f} · rows with another "
            f"class: {found.answers_changed:,}",
            f"largest difference of a logit where the pieces are the same: "
            f"{found.logit_difference:.0e}",
        ]
    for note in notes:
        console.print(f"  {shown(note)}")


def _size(sizes: Sizes) -> list[str]:
    bytes_of = (sizes.table_bytes, sizes.weight_bytes, sizes.tokenizer_bytes)
    return [f"{sizes.tokens:,}", *map(sized, bytes_of)]
