"""What a person sees of a version's rows: originals, variants with marked replacements, refused."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from augment.cli.output import derivation_line, generates_nothing, marked, stderr, stdout
from augment.contract import GENERATOR, SOFT_LABELS, WORD_REPLACEMENT, TaskSpec, Version
from augment.contract.foreign import counted, shown
from augment.contract.terminal import labeled, print_json
from augment.replacement.edits import Edit, undo_edits

_MOST_SHOWN = 5
"""Classes of a row's distribution that are shown."""


def show_origin(version: Version) -> None:
    """What the recipe does, and where rows came from that no recipe made."""
    from augment.analysis.stats import made_by

    recipe = version.manifest.recipe
    used = {key: value for key, value in recipe.items() if value and value != "off"}
    line = " · ".join(
        key if value is True else f"{key} {_said(value)}" for key, value in used.items()
    )
    if generates_nothing(recipe):
        line = "variants 0: the rows as they are"
    if line:
        stdout.print(labeled("recipe", line))
    if version.manifest.derivation is not None:
        stdout.print(labeled("made", derivation_line(version.manifest.derivation)))
        for split, counts in made_by(version).items():
            parts = (f"{count:,} {name}" for name, count in counts.items())
            stdout.print(labeled(f"{split} by", " · ".join(parts)))


def _said(value: Any) -> str:
    """A value of a recipe; of a table its keys with theirs."""
    if not isinstance(value, dict):
        return str(value)
    return "(" + ", ".join(f"{shown(key)} {own}" for key, own in value.items()) + ")"


def labels_of(task: TaskSpec) -> str:
    """The classes in the order of their numbers, or what the score is called."""
    names = task.label.names
    numbered = (f"{at} {shown(name)}" for at, name in enumerate(names))
    return f"{shown(task.label.column)}: " + (" · ".join(numbered) or "a number")


def _label_name(task: TaskSpec, value: int | float | None) -> str:
    """What a row's label is called; a row of a split that hides them has none."""
    names = task.label.names
    if value is None or (names and not 0 <= value < len(names)):
        return "none"
    return shown(names[int(value)]) if names else f"{value:g}"


def _soft_labels(task: TaskSpec, values: list[float] | None) -> str:
    """A row's distribution, best classes first; of a score the number."""
    if values is None:
        return ""
    named = sorted(zip(values, task.label.names or ["score"], strict=False), reverse=True)
    parts = [f"{shown(name)} {value:.2f}" for value, name in named[:_MOST_SHOWN]]
    return f" · soft {', '.join(parts)}" + ", …" * (len(named) > _MOST_SHOWN)


def show_rows(version: Version, rows: int, variants: int) -> None:
    """The first source rows, each with its first variants."""
    seen = drawn = 0
    original: dict[str, str] = {}
    for batch in version.batches(version.task.splits.train, rows=1024):
        for record in batch.to_pylist():
            if record["variant"] == 0:
                seen, drawn, original = seen + 1, 0, record
                if seen > rows:
                    return
                texts = _texts(version.task, record)
                label = _label_name(version.task, record[version.task.label.column])
                soft = _soft_labels(version.task, record.get(SOFT_LABELS))
                stdout.print(f"\n  row {record['idx']} · label {label}{soft}:", Text(shown(texts)))
            elif drawn < variants:
                drawn += 1
                _show_made(version.task, record, original)


def _show_made(task: TaskSpec, record: dict[str, Any], original: dict[str, Any]) -> None:
    """A row that is no source row: with its replacements marked, or as another tool made it."""
    if record["edits"] and record["idx"] == original.get("idx"):
        column = record["edits"][0]["column"]
        text = marked(original[column], _edits_of(record))
        stdout.print(f"  {record['variant']:4} {shown(column)}", text)
        return
    label = record[task.label.column]
    is_own = record["idx"] != original.get("idx") or label != original[task.label.column]
    says = f" · label {_label_name(task, label)}" * is_own
    whose = f"row {record['idx']} ·" if record["idx"] != original.get("idx") else ""
    place = f"{whose} {record['variant']:4} {record.get(GENERATOR) or ''}{says}"
    stdout.print(f"  {shown(place)}", Text(shown(_texts(task, record))))


def _edits_of(record: dict[str, Any]) -> list[Edit]:
    return [
        Edit(e["start"], e["end"], e["before"], e["after"], e["source"]) for e in record["edits"]
    ]


def show_rejected(version: Version, rows: int, as_json: bool) -> None:
    """Refused rows, the first ones of each reason, with their replacements marked."""
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in version.rejected():
        for record in batch.to_pylist():
            examples = found.setdefault(record["reason"], [])
            if len(examples) < rows:
                examples.append(record)
    if as_json:
        print_json(found)
        return
    if not version.manifest.rejected:
        stderr.print(
            f"{shown(version.reference)} keeps no refused rows; to keep them: keep_rejected = true "
            "in the recipe"
        )
    for reason, examples in sorted(found.items()):
        counts = version.manifest.counts
        names = (f"dropped.{reason}", f"unlabeled.dropped.{reason}")
        count = sum(counts.get(name, 0) for name in names)
        stdout.print("\n ", Text(shown(reason), style="bold"), f"· {counted(count, 'row')}")
        for record in examples:
            edits = _edits_of(record)
            name = record["edits"][0]["column"] if record["edits"] else version.task.text_columns[0]
            place = f"  row {record['idx']} variant {record['variant']}"
            text = marked(undo_edits(record[name], edits), edits)
            if (made_by := record.get(GENERATOR, WORD_REPLACEMENT)) != WORD_REPLACEMENT:
                place += f" {shown(made_by)}"
                text = Text(shown(_texts(version.task, record)))
            stdout.print(place, text)


def _texts(task: TaskSpec, record: dict[str, Any]) -> str:
    return " | ".join(record[name] for name in task.text_columns)
