"""Whole runs with every gate on: the same bytes whatever happens, and refused rows kept aside."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from augment.cli import app
from augment.contract import (
    FileDamaged,
    FileMissing,
    ManifestInvalid,
    Version,
    open_version,
    verify,
)
from augment.errors import AssetInvalid, UsageError
from augment.executor.base import Chunk
from augment.executor.models import Models
from augment.executor.worker import Worker, WorkerSpec
from augment.filters.scorer import Scorer
from augment.recipes.schema import AugmentRecipe
from augment.sources.read import read_source
from augment.tasks import get_task
from tests.integration.conftest import Interrupter, Run, augmented
from tests.unit.augment.conftest import make_classifier

ALL_GATES = AugmentRecipe(
    variants=6,
    top_k=5,
    vector_rows=1000,
    normalised_duplicates=True,
    min_similarity=0.7,
    teacher_agreement="unchanged",
    teacher_logits=True,
    keep_rejected=True,
)
MODEL_REASONS = {"dissimilar", "teacher_disagrees"}


@pytest.fixture
def run(
    mlm_dir: Path, classifier_dir: Path, vectors_file: Path, pair_source: Path, tmp_path: Path
) -> Run:
    def go(out: str = "out", recipe: AugmentRecipe = ALL_GATES, **options: Any) -> Version:
        where = {
            "mlm": str(mlm_dir),
            "vectors": str(vectors_file),
            "source": str(pair_source),
            "teacher": str(classifier_dir),
            "similarity_model": str(mlm_dir),
            "limit": 120,
            "threads": 1,
        }
        return augmented("rte", out=tmp_path / out, recipe=recipe, **{**where, **options})

    return go


@pytest.fixture
def worker(mlm_dir: Path, classifier_dir: Path, vectors_file: Path) -> Worker:
    folders = (str(mlm_dir), str(vectors_file), str(classifier_dir), str(mlm_dir))
    spec = get_task("rte").spec
    return Worker.load(WorkerSpec(spec, ALL_GATES, Models(*folders), threads=1))


@pytest.fixture
def chunk(pair_source: Path) -> Chunk:
    source = read_source(get_task("rte"), str(pair_source), limit=40)
    return Chunk(0, source.splits["train"])


def scorers(worker: Worker) -> list[Scorer]:
    assert worker.teacher is not None
    assert worker.similarity is not None
    return [worker.teacher.scorer, worker.similarity.scorer]


def digests(version: Version) -> list[str]:
    manifest = version.manifest
    return [entry.sha256 for entry in (*manifest.files, *manifest.rejected)]


def refused(version: Version) -> pd.DataFrame:
    return pd.concat(batch.to_pandas() for batch in version.rejected())


def test_every_drawn_row_is_kept_or_refused_with_its_reason(run: Run) -> None:
    version = run()
    kept, rejected = version.to_pandas("train"), refused(version)
    dropped = {
        name.removeprefix("dropped."): count
        for name, count in version.manifest.counts.items()
        if name.startswith("dropped.") and count
    }
    keys = pd.concat([kept, rejected])[["idx", "variant"]]

    assert dict(Counter(rejected.reason)) == dropped
    assert set(dropped) >= {"identity", "duplicate"} | MODEL_REASONS
    assert len(kept) + len(rejected) == 120 * (1 + 2 * ALL_GATES.variants)
    assert not keys.duplicated().any()
    assert (rejected.variant > 0).all()
    assert [len(logits) for logits in kept.teacher_logits] == [2] * len(kept)
    assert verify(version) == len(version.manifest.files) + 1


def test_gates_drop_rows_and_change_none(run: Run) -> None:
    """Rows that pass are those of a run without gates, byte for byte."""
    plain = AugmentRecipe(variants=6, top_k=5, vector_rows=1000)
    everything = run("plain", plain, teacher=None, similarity_model=None).to_pandas("train")
    everything = everything.drop(columns="label_name")
    version = run()
    passed = version.to_pandas("train").drop(columns=["teacher_logits", "label_name"])
    lost = refused(version)
    lost = lost[~lost.reason.isin(["identity", "duplicate"])].drop(columns="reason")
    both = pd.concat([passed, lost]).sort_values(["idx", "variant"], ignore_index=True)

    pd.testing.assert_frame_equal(both, everything)
    assert set(refused(version).reason) >= MODEL_REASONS


def test_how_the_work_is_cut_does_not_change_a_byte(run: Run) -> None:
    one = run("one", limit=40)
    two = run("two", limit=40, workers=2, chunk_rows=20)
    cut = run("three", limit=40, threads=2, chunk_rows=13)

    assert digests(two) == digests(cut) == digests(one)


def test_rows_scored_one_by_one_are_the_same(worker: Worker, chunk: Chunk) -> None:
    expected = worker.run(chunk)
    for scorer in scorers(worker):
        scorer.tokens_a_batch = 1

    assert worker.run(chunk) == expected


def test_gates_on_ray_refuse_the_same_rows(run: Run, ray_cluster: Any) -> None:
    here = run("here", limit=40)
    there = run("there", limit=40, engine="ray", address=ray_cluster.address, chunk_rows=20)

    assert digests(there) == digests(here)
    assert there.manifest.counts == here.manifest.counts
    assert set(refused(there).reason) >= MODEL_REASONS


def test_canonical_values_decide_as_batched_ones_do(worker: Worker, chunk: Chunk) -> None:
    """With every call a close one, all decisions and logits are float64's, and agree."""
    batched = worker.run(chunk)
    for scorer in scorers(worker):
        scorer.rounding = 1e9

    assert worker.run(chunk) == batched
    assert batched.rejected is not None
    assert set(batched.rejected["reason"].to_pylist()) >= MODEL_REASONS


def test_an_interrupted_run_goes_on(run: Run, tmp_path: Path) -> None:
    calm = run("calm", limit=50, chunk_rows=20)
    with pytest.raises(KeyboardInterrupt):
        run(limit=50, chunk_rows=20, narrator=Interrupter())
    sorted((tmp_path / "out" / "rte").glob(".partial-*/chunks/*.rejected"))[1].unlink()

    assert digests(run(limit=50, chunk_rows=20)) == digests(calm)


def test_the_id_follows_the_models_and_not_their_places(
    run: Run, classifier_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(classifier_dir, tmp_path / "moved")
    labels = ("not_entailment", "entailment")
    other = make_classifier(tmp_path / "other", labels, seed=9)
    first, moved = run("a", limit=10), run("b", limit=10, teacher=str(tmp_path / "moved"))

    assert moved.manifest.id == first.manifest.id
    assert run("b", limit=10, teacher=str(other)).manifest.id != first.manifest.id
    teacher = moved.manifest.asset("teacher")
    assert teacher is not None
    assert teacher.name == "moved"


def test_readers_see_no_refused_row(run: Run, tmp_path: Path) -> None:
    import datasets

    version = run(limit=30)
    loaded = datasets.load_dataset(str(version.path), cache_dir=str(tmp_path / "cache"))

    assert loaded["train"].num_rows == version.rows("train")
    assert len(loaded["train"][0]["teacher_logits"]) == 2
    assert loaded["validation"][0]["teacher_logits"] is None
    assert version.load()["train"].num_rows == version.rows("train")
    assert len(pd.read_parquet(version.path / "data")) == sum(map(version.rows, version.splits))
    assert "reason" not in loaded["train"].column_names


def test_a_student_reads_the_rows_that_pass(run: Run, mlm_dir: Path, tmp_path: Path) -> None:
    from transformers import BertTokenizerFast

    from augment.contract.version import open_checked
    from distill.data.versions import tokenize

    version = run(limit=30)
    tokenizer = BertTokenizerFast.from_pretrained(mlm_dir)
    tokens = tokenize(open_checked(version.path), tokenizer, 32, tmp_path / "tokens")

    assert len(tokens.train) == version.rows("train")


def test_damaged_refused_rows_are_found(run: Run) -> None:
    version = run(limit=20)
    file = version.path / version.manifest.rejected[0].path
    content = file.read_bytes()
    file.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    with pytest.raises(FileDamaged, match=r"rejected/.* has digest"):
        verify(open_version(version.path))
    file.unlink()
    with pytest.raises(FileMissing, match="rejected/"):
        open_version(version.path)
    manifest = version.path / "manifest.json"
    raw = json.loads(manifest.read_text())
    raw["files"] += raw["rejected"]
    manifest.write_text(json.dumps(raw))
    with pytest.raises(ManifestInvalid, match="does not lie in data/"):
        open_version(version.path)


def test_refused_rows_are_shown(run: Run) -> None:
    version = run(limit=20)
    show = ["show", str(version.path), "--rejected"]
    shown = CliRunner().invoke(app, [*show, "--rows", "1"])
    listed = json.loads(CliRunner().invoke(app, [*show, "--json", "--rows", "2"]).stdout)
    plain = run("plain", AugmentRecipe(variants=2), teacher=None, similarity_model=None, limit=5)
    none = CliRunner().invoke(app, ["show", str(plain.path), "--rejected"])

    assert shown.exit_code == 0, shown.output
    assert all(reason in shown.stdout for reason in listed)
    assert "variant" in shown.stdout
    assert set(listed) >= MODEL_REASONS
    assert max(map(len, listed.values())) == 2
    assert "keep_rejected = true" in none.stderr


def test_models_and_recipe_must_agree(run: Run, mlm_dir: Path, tmp_path: Path) -> None:
    asks = AugmentRecipe(teacher_agreement="gold")
    with pytest.raises(UsageError, match="not named") as caught:
        run(recipe=asks, teacher=None, similarity_model=None)
    assert "--teacher" in caught.value.hint
    with pytest.raises(UsageError, match="no use for it") as caught:
        run(recipe=asks)
    assert "min_similarity" in caught.value.hint
    three = make_classifier(tmp_path / "three", ("a", "b", "c"))
    with pytest.raises(AssetInvalid, match="has the labels a, b, c; rte has entailment, not"):
        run(recipe=asks, teacher=str(three), similarity_model=None)
    assert not (tmp_path / "out").exists()
