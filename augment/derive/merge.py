"""Versions of one task, made from the same source rows, united into one."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from augment.contract import (
    Derivation,
    SourceSplit,
    TaskSpec,
    UsageError,
    Version,
    arrow_schema,
    open_checked,
)
from augment.contract.data_files import listed
from augment.derive.build import Rows, build, distinct_assets, parents_of, root_of, sources_of
from augment.derive.groups import conformed_split
from augment.derive.union import Union
from augment.progress import Narrator
from augment.versions.manifest import Made
from augment.versions.rows import ChunkOutput


def merge_versions(
    versions: Sequence[Version | str | Path],
    *,
    out: str | Path | None = None,
    narrator: Narrator | None = None,
) -> Version:
    """Unite versions: the source rows that all share, with all that was made from them or added.

    A row that an earlier version has of the same source row, with the same label, is left out.
    Unlabeled splits may differ: they are united row by row.

    Args:
        versions: Two or more; rows of the first keep their numbers.
        out: The root of all versions; that of the first by default.
        narrator: Hears what is going on.

    Raises:
        UsageError: They are of other tasks, or of other source rows.
        Fault: Something is not usable; nothing half-written remains.

    Examples:
        >>> from augment import add_rows, merge_versions
        >>> first = "data/versions/reviews"
        >>> more = add_rows(first, "more.jsonl", generator="paraphrase", out="data/more")
        >>> merge_versions([first, more], out="data/merged").rows("train") == more.rows("train")
        True
    """
    tell = narrator or Narrator()
    opened = [open_checked(version) for version in versions]
    _refuse_few(opened)
    for other in opened[1:]:
        _refuse_other_task(opened[0], other)
    soft = any(version.manifest.soft_labels for version in opened)
    sources = [sources_of(version, soft_labels=soft) for version in opened]
    for other, found in zip(opened[1:], sources[1:], strict=True):
        _refuse_other_rows(opened[0], sources[0], other, found)
    logits = _share_logits(opened)
    if not logits and any(version.manifest.teacher_logits for version in opened):
        tell.say("logits", "they are left out: not all rows have those of one teacher")
    task = next((v.task for v in opened if v.task.splits.unlabeled in v.splits), opened[0].task)
    schema = arrow_schema(task, soft_labels=soft, teacher_logits=logits)
    kept = {split: sources[0][split] for split in sources[0] if split in task.splits.labeled}
    named = list(zip(opened, sources, strict=True))
    train = Union.of(named, task.splits.train, task, schema)
    unlabeled = None
    if split := task.splits.unlabeled:
        unlabeled = Union.of([each for each in named if split in each[1]], split, task, schema)
        kept[split] = unlabeled.source()
    made = _made(opened, task, tuple(kept.values()), soft, logits)
    others = {
        split: conformed_split(opened[0], split, schema)
        for split in (*task.splits.validation, *task.splits.test)
        if split in opened[0].splits
    }
    count, more = len(train.pieces), len(unlabeled.pieces) if unlabeled else 0

    def outputs(due: Sequence[int]) -> Generator[ChunkOutput]:
        yield from train.outputs([number for number in due if number < count])
        if unlabeled:
            yield from unlabeled.outputs([n - count for n in due if n >= count], count)

    rows = Rows(count, outputs, others, {}, unlabeled=more)
    root = root_of(opened[0]) if out is None else Path(out)
    return build(made.draft(), rows, root, tell)


def _made(
    versions: Sequence[Version],
    task: TaskSpec,
    sources: tuple[SourceSplit, ...],
    soft: bool,
    logits: bool,
) -> Made:
    """What the manifest says of the union; a license that not all versions have is none."""
    every = [version.manifest for version in versions]
    first = every[0]
    return Made(
        task=task,
        derivation=Derivation(command="merge", parents=parents_of(versions)),
        recipe={},
        source=" + ".join(dict.fromkeys(own.source for own in every)),
        sources=sources,
        assets=distinct_assets(*(own.assets for own in every)),
        soft_labels=soft,
        teacher_logits=logits,
        label_rule=first.label_rule,
        limit=first.limit,
        license=first.license if len({own.license for own in every}) == 1 else None,
        language=tuple(dict.fromkeys(code for own in every for code in own.language)),
    )


def _refuse_few(versions: Sequence[Version]) -> None:
    ids = [version.manifest.id for version in versions]
    if len(ids) < 2:
        raise UsageError("one version alone cannot be merged.", "Name two or more.")
    for at, version in enumerate(versions):
        if version.manifest.id in ids[:at]:
            raise UsageError(f"{version.reference} is named twice.", "Name each version once.")


def _refuse_other_task(first: Version, other: Version) -> None:
    """Versions of one task have its name, columns, classes and splits in common."""
    one, two = _told(first), _told(other)
    for what, value in one.items():
        if value != two[what]:
            raise UsageError(
                f"{first.reference} and {other.reference} differ in {what}: {value} against "
                f"{two[what]}.",
                "Only versions of one task can be merged; write_version writes rows under another.",
            )


def _told(version: Version) -> dict[str, str]:
    """What must agree, in the order in which it is looked at."""
    task = version.task
    return {
        "task": task.name,
        "text columns": listed(task.text_columns),
        "label column": f"{task.label.column} ({task.label.kind})",
        "labels or their order": listed(task.label.names),
        "splits": listed(task.splits.labeled),
        "metrics": listed((*task.metrics, f"selected by {task.selection_metric}")),
    }


def _refuse_other_rows(
    first: Version, own: Mapping[str, SourceSplit], other: Version, its: Mapping[str, SourceSplit]
) -> None:
    for split in first.task.splits.labeled:
        if own.get(split) != its.get(split):
            raise UsageError(
                f"{first.reference} and {other.reference} differ in the source rows of split "
                f"{split!r}.",
                "Merge what was made from one source; add rows of another with augment add.",
            )


def _share_logits(versions: Sequence[Version]) -> bool:
    """Whether all rows have logits of one teacher."""
    teachers = {
        asset.sha256 if version.manifest.teacher_logits and asset else None
        for version in versions
        for asset in [version.manifest.asset("teacher")]
    }
    return len(teachers) == 1 and None not in teachers
