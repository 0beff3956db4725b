"""Chunks and workers on their own: what travels, and what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from augment.contract import Asset
from augment.errors import AssetChanged, AssetMissing, UsageError
from augment.executor.base import Chunk, Engine
from augment.executor.models import Models
from augment.executor.run import validate
from augment.executor.worker import RemoteWorker, WorkerSpec
from augment.recipes.schema import AugmentRecipe
from augment.tasks import get_task
from augment.versions.manifest import LIBRARIES, Assets


def source(rows: int) -> pa.Table:
    return pa.table(
        {
            "sentence": [f"a good film {i}" for i in range(rows)],
            "label": [0] * rows,
            "idx": list(range(rows)),
        }
    )


def test_chunks_cover_the_table_once() -> None:
    table = source(25)
    chunks = Engine(chunk_rows=10).chunks(table)

    assert [chunk.number for chunk in chunks] == [0, 1, 2]
    assert pa.concat_tables(chunk.rows for chunk in chunks) == table


def test_a_pickled_chunk_carries_its_own_rows_alone() -> None:
    chunk = Engine(chunk_rows=10).chunks(source(20_000))[1]
    packed = pickle.dumps(chunk)

    assert pickle.loads(packed) == chunk
    assert len(packed) < 5000


@pytest.mark.parametrize(
    "engine", [Engine("spark"), Engine(workers=0), Engine(chunk_rows=0), Engine(address="auto")]
)
def test_engines_that_cannot_be(engine: Engine) -> None:
    with pytest.raises(UsageError):
        validate(engine)


@pytest.mark.parametrize("device", ["quantum", "cuda:99", "meta"])
def test_a_device_that_is_not_here(device: str) -> None:
    models = Models("never looked at", "never looked at", device=device)
    with pytest.raises(UsageError, match=f"the device '{device}' cannot be used here"):
        models.load_finder(AugmentRecipe())


def test_threads_are_shared_out() -> None:
    assert Engine().threads_per_worker is None
    assert Engine(workers=100_000).threads_per_worker == 1
    assert Engine("ray").threads_per_worker == 1
    assert Engine(workers=2, threads=3).threads_per_worker == 3


def test_a_worker_with_anything_else_is_refused() -> None:
    expected = Assets.of([Asset(kind="masked_lm", name="mlm", sha256="a" * 64)])
    other = Assets.of([Asset(kind="masked_lm", name="mlm", sha256="b" * 64)])
    older = replace(expected, libraries={**dict.fromkeys(LIBRARIES, "0.1")})
    expected.refuse_other(expected)

    with pytest.raises(AssetChanged, match="the masked lm mlm is not what the run began with"):
        expected.refuse_other(other)
    with pytest.raises(AssetChanged, match="a worker found nothing"):
        expected.refuse_other(Assets.of([]))
    with pytest.raises(AssetChanged, match=r"a worker has augment-distill 0\.1, the run began"):
        expected.refuse_other(older)


def test_what_goes_wrong_in_another_process_is_an_answer(mlm_dir: Path, vectors_file: Path) -> None:
    task, chunk = get_task("sst2").spec, Chunk(0, source(3))
    recipe = AugmentRecipe(vector_rows=1000)
    absent = WorkerSpec(task, recipe, Models("./no/model", str(vectors_file)))
    present = WorkerSpec(task, recipe, Models(str(mlm_dir), str(vectors_file)))
    misfit = Chunk(0, chunk.rows.drop(["sentence"]))

    assert isinstance(RemoteWorker(absent).answer(chunk), AssetMissing)
    assert "a worker failed: KeyError" in str(RemoteWorker(present).answer(misfit))
