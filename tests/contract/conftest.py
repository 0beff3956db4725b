"""A small committed version to open, read and damage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from augment.contract import (
    CONTRACT,
    Asset,
    Label,
    Manifest,
    Splits,
    TaskSpec,
    Version,
    arrow_schema,
    identity,
    open_version,
)
from augment.sources.examples import source_split
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
SOURCE_COLUMNS = ["sentence", "label", "idx"]


def rows(more: str = "", task: TaskSpec = TASK) -> pa.Table:
    """Two source rows and a generated one; ``more`` stands behind each text."""
    records = [
        {"sentence": "fine tea" + more, "label": 1, "idx": 0, "variant": 0, "edits": []},
        {"sentence": "good tea" + more, "label": 1, "idx": 0, "variant": 3, "edits": [EDIT]},
        {"sentence": "cold “tea” <b>" + more, "label": 0, "idx": 1, "variant": 0, "edits": []},
    ]
    return pa.Table.from_pylist(records, schema=arrow_schema(task))


def plain(label: int) -> pa.Table:
    table = pa.table({"sentence": ["tea"], "label": [label], "idx": [0]})
    return originals(table, TASK)


OTHERS = {"validation": [plain(1)], "test": [plain(-1)]}


def draft(
    seed: int = 0, task: TaskSpec = TASK, train: pa.Table | None = None, **more: Any
) -> Manifest:
    recipe = {"preset": "official", "variants": 3, "seed": seed, **more}
    tables = (rows() if train is None else train, *(table for (table,) in OTHERS.values()))
    sources = tuple(
        source_split(name, table.filter(pc.field("variant") == 0).select(SOURCE_COLUMNS))
        for name, table in zip(task.splits.names, tables, strict=True)
    )
    assets = (Asset(kind="vectors", name="vectors.txt", sha256="c" * 64),)
    return Manifest(
        contract=CONTRACT,
        algorithm=1,
        id=identity(
            algorithm=1,
            task=task,
            recipe={key: value for key, value in recipe.items() if key != "preset"},
            sources=sources,
            assets=assets,
        ),
        version="v0001",
        task=task,
        recipe=recipe,
        source=task.name,
        sources=sources,
        assets=assets,
        files=(),
        counts={"rows.source": 2, "rows.augmented": 1},
        libraries={},
        created="2026-01-01T00:00:00+00:00",
    )


def write_version(root: Path, seed: int = 0, more: str = "", task: TaskSpec = TASK) -> Version:
    made = draft(seed, task, rows(more, task))
    others = dict(zip(task.splits.names[1:], OTHERS.values(), strict=True))
    with open_staging(root / task.name, made.id, 512) as staging:
        staging.keep(ChunkOutput(0, rows(more, task), {"rows.source": 2}))
        return open_version(commit(staging, made, 1, others))


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return write_version(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def copy(committed: Version, tmp_path: Path) -> Path:
    """A copy of the version's directory that a test may damage."""
    target = tmp_path / "remarks" / "v0001"
    shutil.copytree(committed.path, target)
    return target
