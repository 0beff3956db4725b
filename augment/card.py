"""The data set card: what a person and ``datasets.load_dataset`` read first."""

from __future__ import annotations

from augment.contract import Manifest

_LOGITS_NOTE = (
    "`teacher_logits` are those of the asset `teacher` in manifest.json, in the order of the\n"
    "labels and rounded to multiples of 1/256; null outside the training split.\n\n"
)
_REJECTED_NOTE = (
    "`rejected/` holds generated rows that were refused, with their reason: no data.\n\n"
)


def card(manifest: Manifest) -> str:
    """The card as Markdown with the YAML head that names the files of each split."""
    task = manifest.task
    stored = [name for name in task.splits.names if any(f.split == name for f in manifest.files)]
    kind = "text-classification" if task.label.kind == "classification" else "sentence-similarity"
    head = [
        "---",
        f"pretty_name: {task.name} augmented",
        "task_categories:",
        f"- {kind}",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split in stored:
        head += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    rows = "\n".join(
        f"| {split} | {sum(f.rows for f in manifest.files if f.split == split):,} |"
        for split in stored
    )
    notes = _LOGITS_NOTE * manifest.teacher_logits + _REJECTED_NOTE * bool(manifest.rejected)
    counts = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(manifest.counts.items()))
    recipe = "\n".join(f"- `{key}` = `{value}`" for key, value in manifest.recipe.items())
    return "\n".join(head) + (
        f"\n---\n\n# {task.name} {manifest.version}, augmented\n\n"
        f"Made by augment-distill from `{manifest.source}`; id `{manifest.id[:12]}`.\n"
        "Rows with `variant` 0 are the originals; the others carry their `edits` as character\n"
        "offsets into the original text. Validation and test splits are untouched.\n\n"
        f"{notes}"
        f"| split | rows |\n|---|--:|\n{rows}\n\n"
        f"## Recipe\n\n{recipe}\n\n"
        f"## Counts of the training split\n\n| what | count |\n|---|--:|\n{counts}\n"
    )
