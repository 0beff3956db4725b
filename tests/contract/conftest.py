"""A small committed version to open, read and damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from augment.contract import (
    CONTRACT,
    Asset,
    Label,
    Manifest,
    SourceSplit,
    Splits,
    TaskSpec,
    Version,
    arrow_schema,
    open_version,
)
from augment.versions.rows import ChunkOutput, originals
from augment.versions.staging import commit, open_staging

TASK = TaskSpec(
    name="remarks",
    text_columns=("sentence",),
    label=Label(names=("bad", "good")),
    metrics=("accuracy", "f1"),
    selection_metric="accuracy",
    splits=Splits(test=("test",)),
)
EDIT = {"column": "sentence", "start": 0, "end": 4, "before": "fine", "after": "good",
        "source": "masked_lm"}  # fmt: skip


def rows() -> pa.Table:
    records = [
        {"sentence": "fine tea", "label": 1, "idx": 0, "variant": 0, "edits": []},
        {"sentence": "good tea", "label": 1, "idx": 0, "variant": 3, "edits": [EDIT]},
        {"sentence": "cold “tea” <b>", "label": 0, "idx": 1, "variant": 0, "edits": []},
    ]
    return pa.Table.from_pylist(records, schema=arrow_schema(TASK))


def plain(label: int) -> pa.Table:
    table = pa.table({"sentence": ["tea"], "label": [label], "idx": [0]})
    return originals(table, TASK)


def draft(identity: str = "a" * 64) -> Manifest:
    return Manifest(
        contract=CONTRACT,
        algorithm=1,
        id=identity,
        version="v0001",
        task=TASK,
        recipe={"preset": "official", "variants": 3},
        source="remarks",
        sources=(SourceSplit(split="train", rows=2, sha256="b" * 64),),
        assets=(Asset(kind="vectors", name="vectors.txt", sha256="c" * 64),),
        files=(),
        counts={"rows.source": 2, "rows.augmented": 1},
        libraries={},
        created="2026-01-01T00:00:00+00:00",
    )


def write_version(root: Path, identity: str = "a" * 64) -> Version:
    with open_staging(root / TASK.name, identity, 512) as staging:
        staging.keep(ChunkOutput(0, rows(), {"rows.source": 2}))
        others = {"validation": plain(1), "test": plain(-1)}
        return open_version(commit(staging, draft(identity), 1, others))


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return write_version(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def copy(committed: Version, tmp_path: Path) -> Path:
    """A copy of the version's directory that a test may damage."""
    target = tmp_path / "remarks" / "v0001"
    shutil.copytree(committed.path, target)
    return target
