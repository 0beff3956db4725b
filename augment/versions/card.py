"""The data set card of a version: ``README.md``, whose YAML head names the files of each split."""

from __future__ import annotations

from typing import Any

from augment.contract import Manifest
from augment.contract.foreign import as_code, counted, front_matter, markdown_table
from augment.contract.manifest import UNKNOWN_LICENSE

_USE = """```python
from datasets import load_dataset

rows = load_dataset("{name}")  # this folder, seen from the one above; or its name on the hub
print(rows)
```

"""
_LOGITS_NOTE = (
    "`teacher_logits` are those of the asset `teacher` in manifest.json, in the order of the\n"
    "labels and rounded to multiples of 1/256; null in the splits that are not augmented.\n\n"
)
_SOFT_NOTE = (
    "`soft_labels` are distributions that came with the rows, in the order of the labels; null\n"
    "where a row has none. Generated rows have that of their original.\n\n"
)
_UNLABELED_NOTE = "The rows of the split `{split}` have no label: it is null.\n\n"
_REJECTED_NOTE = (
    "`rejected/` holds generated rows that were refused, with their reason: no data.\n\n"
)
_SIZES = {
    10**3: "n<1K",
    10**4: "1K<n<10K",
    10**5: "10K<n<100K",
    10**6: "100K<n<1M",
    10**7: "1M<n<10M",
    10**8: "10M<n<100M",
}


def card(manifest: Manifest) -> str:
    """The card as Markdown; the head is what ``datasets`` and the hub go by."""
    task = manifest.task
    rows = [(split, f"{_rows(manifest, split):,}") for split in _stored(manifest)]
    unlabeled = task.splits.unlabeled in _stored(manifest)
    notes = _origin(manifest)
    notes += _UNLABELED_NOTE.format(split=task.splits.unlabeled) * unlabeled
    notes += _SOFT_NOTE * manifest.soft_labels + _LOGITS_NOTE * manifest.teacher_logits
    notes += _REJECTED_NOTE * bool(manifest.rejected)
    counts = [(as_code(name), f"{count:,}") for name, count in sorted(manifest.counts.items())]
    recipe = "\n".join(f"- {as_code(k)} = {as_code(v)}" for k, v in manifest.recipe.items())
    return (
        f"{front_matter(_head(manifest))}\n"
        f"# {task.name} {manifest.version}, augmented\n\n"
        f"Made by augment-distill from {as_code(manifest.source)}; id `{manifest.id[:12]}`.\n"
        "Rows with `variant` 0 are the originals; the others carry their `edits` as character\n"
        "offsets into the original text. Validation and test splits are untouched.\n\n"
        f"{_USE.format(name=manifest.version)}{notes}"
        f"{markdown_table(('split', 'rows'), rows)}\n"
        f"{_columns(manifest)}"
        f"## Recipe\n\n{recipe or 'None: no rows were generated here.'}\n\n"
        f"## Counts\n\n{markdown_table(('what', 'count'), counts)}\n"
        f"## License\n\n{_license(manifest)}\n"
    )


def _head(manifest: Manifest) -> dict[str, Any]:
    """What the hub and ``datasets`` read of the card."""
    stored = _stored(manifest)
    splits = [{"split": name, "path": f"data/{name}-*.parquet"} for name in stored]
    total = sum(_rows(manifest, split) for split in stored)
    size = next((name for most, name in _SIZES.items() if total < most), "100M<n<1B")
    return {
        "pretty_name": f"{manifest.task.name} augmented",
        **({"language": manifest.language} if manifest.language else {}),
        "license": manifest.license or UNKNOWN_LICENSE,
        **_kind(manifest),
        "size_categories": [size],
        "tags": ["augment-distill", "croissant"],
        "configs": [{"config_name": manifest.config_name, "data_files": splits}],
    }


def _kind(manifest: Manifest) -> dict[str, list[str]]:
    """The task in the hub's words."""
    label, pair = manifest.task.label, len(manifest.task.text_columns) > 1
    if label.kind == "classification":
        several = {"task_ids": ["multi-class-classification"]} if len(label.names) > 2 else {}
        return {"task_categories": ["text-classification"], **several}
    if pair:
        return {
            "task_categories": ["sentence-similarity"],
            "task_ids": ["semantic-similarity-scoring"],
        }
    return {"task_categories": ["text-classification"], "task_ids": ["text-scoring"]}


def _stored(manifest: Manifest) -> list[str]:
    there = {entry.split for entry in manifest.files}
    return [name for name in manifest.task.splits.names if name in there]


def _rows(manifest: Manifest, split: str) -> int:
    return sum(entry.rows for entry in manifest.files if entry.split == split)


def _columns(manifest: Manifest) -> str:
    """What is read and what is predicted."""
    task = manifest.task
    texts = " and ".join(map(as_code, task.text_columns))
    if task.label.kind == "regression":
        return f"Text: {texts}. Label: {as_code(task.label.column)}, a number.\n\n"
    names = "\n".join(f"{number}. {as_code(name)}" for number, name in enumerate(task.label.names))
    return f"Text: {texts}. Label: {as_code(task.label.column)}, a number of\n\n{names}\n\n"


def _license(manifest: Manifest) -> str:
    if manifest.license:
        return f"{as_code(manifest.license)}, as the source of the rows says."
    return "The source of the rows names none: ask whoever made them before you pass them on."


def _origin(manifest: Manifest) -> str:
    """Which versions and rows a derived version was made of."""
    if (made := manifest.derivation) is None:
        return ""
    parents = (f"- version {as_code(each.reference)}, id `{each.id[:12]}`" for each in made.parents)
    added = (
        f"- {counted(each.rows, 'row')} by the generator {as_code(each.generator)}: "
        f"{as_code(each.name)}"
        for each in made.added
    )
    how = "write_version" if made.command == "write" else f"augment {made.command}"
    says = f"Made by `{how}`; the column `generator` says what made a row.\n"
    return "\n".join([says, *parents, *added]) + "\n\n"
