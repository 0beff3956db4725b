"""A small committed version to open, read and damage."""

from __future__ import annotations

import shutil
from pathlib import Path

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


OTHERS = {"validation": plain(1), "test": plain(-1)}
SPLITS = {"train": rows(), **OTHERS}


def draft(seed: int = 0) -> Manifest:
    recipe = {"preset": "official", "variants": 3, "seed": seed}
    sources = tuple(
        source_split(name, table.filter(pc.field("variant") == 0).select(SOURCE_COLUMNS))
        for name, table in SPLITS.items()
    )
    assets = (Asset(kind="vectors", name="vectors.txt", sha256="c" * 64),)
    return Manifest(
        contract=CONTRACT,
        algorithm=1,
        id=identity(
            algorithm=1,
            task=TASK,
            recipe={key: recipe[key] for key in ("variants", "seed")},
            sources=sources,
            assets=assets,
        ),
        version="v0001",
        task=TASK,
        recipe=recipe,
        source="remarks",
        sources=sources,
        assets=assets,
        files=(),
        counts={"rows.source": 2, "rows.augmented": 1},
        libraries={},
        created="2026-01-01T00:00:00+00:00",
    )


def write_version(root: Path, seed: int = 0) -> Version:
    made = draft(seed)
    with open_staging(root / TASK.name, made.id, 512) as staging:
        staging.keep(ChunkOutput(0, rows(), {"rows.source": 2}))
        return open_version(commit(staging, made, 1, OTHERS))


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return write_version(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def copy(committed: Version, tmp_path: Path) -> Path:
    """A copy of the version's directory that a test may damage."""
    target = tmp_path / "remarks" / "v0001"
    shutil.copytree(committed.path, target)
    return target
