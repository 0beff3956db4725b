"""PURE: what a run says of itself before it works, each a line."""

from __future__ import annotations

from augment.judges import Judges
from augment.recipe import AugmentRecipe
from augment.sources import Source
from augment.tasks import Task


def recipe_line(recipe: AugmentRecipe) -> str:
    """The numbers that matter most."""
    return (
        f"{recipe.preset} · N {recipe.variants} · K {recipe.top_k} · "
        f"p {recipe.probability:.2f} · seed {recipe.seed}"
    )


def source_line(task: Task, data: Source) -> str:
    """The splits with their rows."""
    parts = [f"{name} {table.num_rows:,}" for name, table in data.splits.items()]
    skipped = f" · {data.skipped} malformed rows left out" if data.skipped else ""
    return f"{task.spec.name}: " + " · ".join(parts) + skipped


def gates_line(judges: Judges) -> str:
    """Which models judge, and what a user should know of them; empty where none does."""
    rules = judges.rules
    parts = [
        f"similarity of at least {rules.min_similarity}" * rules.needs_encoder,
        f"teacher agreement ({rules.agreement})" * (rules.agreement != "off"),
        "teacher logits are kept" * rules.teacher_logits,
        judges.teacher.notice if judges.teacher else "",
    ]
    return " · ".join(part for part in parts if part)
