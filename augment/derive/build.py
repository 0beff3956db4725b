"""The story that all derived versions share: is it there, make its chunks, commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from augment.contract import Asset, Manifest, Parent, SourceSplit, Version, open_version
from augment.contract.files import disk_errors
from augment.contract.foreign import counted
from augment.contract.terminal import Gauge
from augment.contract.version import source_of
from augment.progress import Narrator
from augment.versions.rows import ChunkOutput
from augment.versions.staging import Staging, commit, find_committed, open_staging

_CHUNK = 1
"""Stands in the notes of chunks for how they are cut; another number whenever that changes."""


Outputs = Callable[[Sequence[int]], Generator[ChunkOutput]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a derived version, made when they are asked for.

    Attributes:
        chunks: Into how many chunks the training split is cut.
        outputs: Makes those of some numbers, in order.
        others: The rows of the other splits.
        counts: What was counted before the first chunk.
        unlabeled: How many chunks behind these are of the unlabeled split, if any are.
    """

    chunks: int
    outputs: Outputs
    others: Mapping[str, Iterable[pa.Table]]
    counts: Mapping[str, int]
    unlabeled: int = 0


def build(draft: Manifest, rows: Rows, out: Path, tell: Narrator) -> Version:
    """Make a version, or find it or a part of it from an earlier call.

    Raises:
        OutputBusy: Another process makes it.
        OutputUnwritable: There is no room; finished chunks are kept.
    """
    folder = out / draft.task.name
    if (present := find_committed(folder, draft.id)) is not None:
        tell.say("nothing to do", f"{present.reference} is already that ({draft.id[:12]})")
        return present
    with open_staging(folder, draft.id, _CHUNK) as staging:
        made = find_committed(folder, draft.id)
        if made is None:
            counts = _make(rows, staging, tell)
            final = draft.model_copy(update={"counts": dict(sorted(counts.items()))})
            with disk_errors(staging.path):
                path = commit(staging, final, rows.chunks, rows.others, unlabeled=rows.unlabeled)
            made = open_version(path)
        staging.remove()
    return made


def _make(rows: Rows, staging: Staging, tell: Narrator) -> Counter[str]:
    """Make the chunks that are not finished yet; the counts are those of all."""
    total = rows.chunks + rows.unlabeled
    counts, due = Counter[str](rows.counts), []
    for number in range(total):
        if (known := staging.finished(number)) is None:
            due.append(number)
        counts.update(known or {})
    if len(due) < total:
        tell.say("resuming", f"{total - len(due)} of {counted(total, 'chunk')} are done")
    gauge = Gauge(tell, "rows", (total - len(due)) / max(total, 1))
    try:
        with closing(rows.outputs(due)) as outputs:
            for done, output in enumerate(outputs, start=total - len(due) + 1):
                staging.keep(output)
                counts.update(output.counts)
                gauge.show(done / total, f"{done:,} of {counted(total, 'chunk')}")
    except KeyboardInterrupt:
        safe = sum(staging.finished(number) is not None for number in range(total))
        gauge.close()
        tell.say("stopped", f"{safe} of {counted(total, 'chunk')} are kept in {staging.path}")
        raise
    finally:
        gauge.close()
    return counts


def parents_of(versions: Iterable[Version]) -> tuple[Parent, ...]:
    """What a manifest says of the versions that another one was derived from."""
    return tuple(Parent(id=each.manifest.id, reference=each.reference) for each in versions)


def root_of(version: Version) -> Path:
    """The root that a version lies below."""
    return version.path.absolute().parents[1]


def distinct_assets(*groups: Iterable[Asset]) -> tuple[Asset, ...]:
    """All of them, each once."""
    found: dict[tuple[str, str], Asset] = {}
    for asset in chain.from_iterable(groups):
        found.setdefault((asset.kind, asset.sha256), asset)
    return tuple(found.values())


def sources_of(version: Version, *, soft_labels: bool) -> dict[str, SourceSplit]:
    """The source rows of each split as the id of a version with or without soft labels has them."""
    manifest = version.manifest
    if soft_labels == manifest.soft_labels:
        return {source.split: source for source in manifest.sources}
    return {split: source_of(version, split, soft_labels=True) for split in version.splits}
