"""The contract: what readers get, references, immutability, and hostile directories."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.contract import (
    Asset,
    ContractError,
    FileDamaged,
    FileMissing,
    Manifest,
    ManifestInvalid,
    SchemaMismatch,
    SourceSplit,
    SplitNotFound,
    UnsafePath,
    Version,
    VersionNotFound,
    identity,
    list_versions,
    open_version,
    verify,
)
from augment.versions.rows import ChunkOutput
from augment.versions.staging import commit, next_name, open_staging
from tests.contract.conftest import OTHERS, TASK, draft, rows, write_version

TRAIN = "data/train-00000-of-00001.parquet"


def test_datasets_reads_every_split_with_class_labels(committed: Version, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(committed.path), cache_dir=str(tmp_path))

    assert {name: split.num_rows for name, split in loaded.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
    assert loaded["train"].features["label"] == datasets.ClassLabel(names=["bad", "good"])
    assert loaded["train"][1]["edits"][0]["after"] == "good"
    assert loaded["test"]["label"][:] == [-1]


def test_pandas_polars_and_duckdb_read_it(committed: Version) -> None:
    path = committed.path / TRAIN
    expected = ["fine tea", "good tea", "cold “tea” <b>"]

    assert pd.read_parquet(path)["sentence"].tolist() == expected
    assert len(pd.read_parquet(committed.path / "data")) == 5
    assert pl.read_parquet(path)["sentence"].to_list() == expected
    query = f"select sentence, edits[1].after from read_parquet('{path}') where variant = 3"
    assert duckdb.sql(query).fetchall() == [("good tea", "good")]


def test_version_gives_frames_tables_and_data_sets(committed: Version) -> None:
    assert committed.to_pandas("train")["variant"].tolist() == [0, 3, 0]
    assert committed.load()["train"].features["label"].names == ["bad", "good"]
    assert (committed.rows("train"), committed.splits) == (3, ("train", "validation", "test"))
    with pytest.raises(SplitNotFound, match="no split 'dev'"):
        committed.files("dev")


def test_manifest_round_trips(committed: Version) -> None:
    raw = (committed.path / "manifest.json").read_text()

    assert Manifest.model_validate_json(raw) == committed.manifest
    assert committed.manifest.to_json() == raw


def test_ids_stay_what_they_were() -> None:
    """An id by the first program that wrote contract 2: no new key changes it."""
    sources = (SourceSplit(split="train", rows=2, sha256="b" * 64),)
    assets = (Asset(kind="vectors", name="vectors.txt", sha256="c" * 64),)
    recipe = {"probability": 0.4, "seed": 0, "protect_words": ["é"]}
    found = identity(algorithm=1, task=TASK, recipe=recipe, sources=sources, assets=assets)

    assert found == "7114257ad16779aede1c797fa2feb4ee90772db14163239b3c636c9d7e31312d"


def test_the_same_rows_are_the_same_bytes(committed: Version, tmp_path: Path) -> None:
    again = write_version(tmp_path)

    assert again.manifest.files == committed.manifest.files
    assert verify(again) == 3


def test_references(tmp_path: Path) -> None:
    first, second = write_version(tmp_path), write_version(tmp_path, seed=1)
    root = tmp_path / "remarks"

    assert open_version(root).path == second.path
    assert open_version(f"{root}@v0001").path == first.path
    assert open_version(f"{root}@{first.manifest.id[:6]}").path == first.path
    assert open_version(first.path).reference == "remarks@v0001"
    assert [v.reference for v in list_versions(tmp_path)] == ["remarks@v0001", "remarks@v0002"]
    named = root.rename(tmp_path / "v2024")  # a task may be called so
    assert open_version(named).path.name == second.path.name
    root = named.rename(root)
    for reference, message in ((f"{root}@v0009", "v0009"), (tmp_path / "other", "no version")):
        with pytest.raises(VersionNotFound, match=message):
            open_version(reference)


@pytest.mark.parametrize(
    "reference",
    ["a" * 300, f"x@{'f' * 300}", f"v{'1' * 300}", "x\0y", "\udcff/x", "@", "", "/", "/dev/zero",
     "/etc/passwd/x", f"/tmp/{'b' * 5000}"],
)  # fmt: skip
def test_references_that_name_nothing(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VersionNotFound):
        open_version(reference)


def test_an_ambiguous_id(tmp_path: Path) -> None:
    version = write_version(tmp_path)
    shutil.copytree(version.path, version.path.with_name("v0002"))

    with pytest.raises(VersionNotFound, match="more than one"):
        open_version(tmp_path / f"remarks@{version.manifest.id[:4]}")


def test_a_taken_name_is_never_overwritten(tmp_path: Path) -> None:
    """Two runs that chose the same name: the second takes the next one."""
    first = write_version(tmp_path)
    before = (first.path / "manifest.json").read_bytes()
    other = draft(seed=1)
    with open_staging(tmp_path / "remarks", other.id, 512) as staging:
        staging.keep(ChunkOutput(0, rows(), {}))
        path = commit(staging, other, 1, OTHERS)

    assert path.name == "v0002"
    assert (first.path / "manifest.json").read_bytes() == before
    assert next_name(path.parent) == "v0003"


def edit_manifest(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    raw = json.loads((path / "manifest.json").read_text())
    change(raw)
    raw.pop("checksum")  # as a version of before had none: what else finds the change?
    (path / "manifest.json").write_text(json.dumps(raw))


def set_path(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda raw: raw["files"][0].update(path=name)


@pytest.mark.parametrize(
    "name",
    ["../../secret.parquet", "/etc/passwd", "data/../../x", "data/a/b.parquet", "README.md",
     "data\\x", "data/\0"],
)  # fmt: skip
def test_paths_that_leave_the_directory(copy: Path, name: str) -> None:
    edit_manifest(copy, set_path(name))

    with pytest.raises(UnsafePath, match=r"files\.\d+\.path|not a file of the version"):
        open_version(copy)


def test_a_link_that_leaves_the_directory(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.parquet"
    (copy / TRAIN).rename(outside)
    (copy / TRAIN).symlink_to(outside)

    with pytest.raises(UnsafePath, match="link"):
        open_version(copy)


def test_hostile_manifests(copy: Path) -> None:
    for change, message in (
        (lambda raw: raw.update(contract=3), "contract number 3"),
        (lambda raw: raw.update(extra=1), "extra"),
        (lambda raw: raw.pop("files"), "files"),
        (lambda raw: raw["task"]["label"].update(names=["one"]), "two names"),
        (lambda raw: raw["files"][0].update(sha256="zz"), "sha256"),
    ):
        raw = (copy / "manifest.json").read_text()
        edit_manifest(copy, change)
        with pytest.raises(ManifestInvalid, match=message):
            open_version(copy)
        (copy / "manifest.json").write_text(raw)
    for text in ("", "[]", "{", "[" * 100_000):
        (copy / "manifest.json").write_text(text)
        with pytest.raises(ManifestInvalid):
            open_version(copy)


def test_an_oversized_manifest(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augment.contract.version.MAX_MANIFEST_BYTES", 10)

    with pytest.raises(ManifestInvalid, match="larger than 10"):
        open_version(copy)


def test_a_truncated_shard(copy: Path) -> None:
    whole = (copy / TRAIN).read_bytes()
    (copy / TRAIN).write_bytes(whole[:-8])
    with pytest.raises(FileDamaged, match="bytes"):
        open_version(copy)
    (copy / TRAIN).write_bytes(whole[:-8] + b"\0" * 8)
    with pytest.raises(FileDamaged, match="cannot be read as a Parquet file"):
        open_version(copy)
    (copy / TRAIN).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(FileDamaged) as caught:
        open_version(copy)
    assert "git lfs pull" in caught.value.hint


def test_a_missing_shard(copy: Path) -> None:
    (copy / TRAIN).unlink()

    with pytest.raises(FileMissing, match="not there"):
        open_version(copy)


def test_a_file_that_is_not_listed_or_listed_twice(copy: Path) -> None:
    """Readers of the folder would take a stray file for data; a doubled one would count twice."""
    stray = copy / "data" / "train-00001-of-00001.parquet"
    stray.write_bytes((copy / TRAIN).read_bytes())
    with pytest.raises(FileDamaged, match="not listed"):
        open_version(copy)
    stray.unlink()
    edit_manifest(copy, lambda raw: raw["files"].append(dict(_entry(raw), split="test")))
    with pytest.raises(ManifestInvalid, match="listed twice"):
        open_version(copy)


def test_one_flipped_byte_is_found_by_verify(copy: Path) -> None:
    content = bytearray((copy / TRAIN).read_bytes())
    content[20] ^= 1
    (copy / TRAIN).write_bytes(bytes(content))

    with pytest.raises(FileDamaged, match="digest"):
        verify(open_version(copy))


def replace_table(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path / TRAIN)
    size = (path / TRAIN).stat().st_size
    edit_manifest(path, lambda raw: _entry(raw).update(bytes=size))


def _entry(raw: dict[str, Any]) -> dict[str, Any]:
    return next(entry for entry in raw["files"] if entry["path"] == TRAIN)


def test_a_schema_that_differs(copy: Path) -> None:
    replace_table(copy, rows().drop_columns("edits"))
    with pytest.raises(SchemaMismatch, match="columns"):
        open_version(copy)


def test_a_row_count_that_differs(copy: Path) -> None:
    replace_table(copy, rows().slice(0, 2))
    with pytest.raises(FileDamaged, match="2 rows, the manifest says 3"):
        open_version(copy)


def test_every_error_has_an_exit_code_and_a_builtin(copy: Path) -> None:
    (copy / TRAIN).unlink()
    with pytest.raises(ContractError) as caught:
        open_version(copy)

    assert caught.value.exit_code == 3
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, ValueError)


def test_the_contract_is_light() -> None:
    code = "import sys, augment.contract; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_how_labels_were_read_is_said_without_touching_ids() -> None:
    """Versions of class names are described as before; those of positions have one key more."""
    by_name = draft()
    by_position = by_name.model_copy(update={"label_rule": "positions"})

    assert "label_rule" not in json.loads(by_name.to_json())
    assert json.loads(by_position.to_json())["label_rule"] == "positions"
    assert by_name.id == by_position.id
    assert Manifest.model_validate_json(by_name.to_json()) == by_name


def test_a_reference_one_folder_too_high_names_the_tasks(tmp_path: Path) -> None:
    made = write_version(tmp_path)
    with pytest.raises(VersionNotFound, match="holds no version") as caught:
        open_version(tmp_path)

    assert caught.value.hint == f"They lie one level down: {made.path.parent}"
