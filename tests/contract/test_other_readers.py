"""Other tools read what is written as we do; above all ``datasets``, whose cache outlives a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from augment import augment_task
from augment.contract import Label, Splits, Version
from augment.contract.errors import PlaceUnusable
from tests.contract.conftest import TASK, write_version


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One cache of ``datasets`` for all loads of a test, as a user has it."""
    folder = str(tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    datasets.disable_progress_bars()
    yield folder
    datasets.enable_progress_bars()


def texts(loaded: Any) -> list[str]:
    return list(loaded["train"]["sentence"])


def test_versions_of_two_tasks_do_not_stand_for_each_other(tmp_path: Path) -> None:
    """Both folders are called v0001, have the same columns, splits and relative file names."""
    names = ("remarks", "reviews")
    tasks = [TASK.model_copy(update={"name": name}) for name in names]
    versions = [write_version(tmp_path, 0, task.name, task) for task in tasks]

    for _ in range(2):  # made, then found in the cache
        for name, version in zip(names, versions, strict=True):
            assert texts(datasets.load_dataset(str(version.path)))[0] == f"fine tea{name}"
            assert texts(version.load())[0] == f"fine tea{name}"


def test_versions_of_two_roots_do_not_stand_for_each_other(tmp_path: Path) -> None:
    versions = {more: write_version(tmp_path / more, more=more) for more in ("a", "b")}

    for more, version in versions.items():
        files = {split: [str(path) for path in version.files(split)] for split in version.splits}
        assert texts(datasets.load_dataset(str(version.path)))[0] == f"fine tea{more}"
        assert texts(datasets.load_dataset("parquet", data_files=files))[0] == f"fine tea{more}"
        assert texts(version.load())[0] == f"fine tea{more}"


def test_a_folder_that_was_replaced_is_not_read_from_the_cache(tmp_path: Path) -> None:
    """The same place and the same times, as after a restore from an archive."""
    first = write_version(tmp_path / "a", more="a")
    assert texts(first.load())[0] == "fine teaa"
    assert texts(datasets.load_dataset(str(first.path)))[0] == "fine teaa"
    other = write_version(tmp_path / "b", more="b")
    times = {path.name: path.stat() for split in first.splits for path in first.files(split)}
    shutil.rmtree(first.path)
    shutil.copytree(other.path, first.path)
    for split in other.splits:
        for path in other.files(split):
            stat = times[path.name]
            there = first.path / "data" / path.name
            os.utime(there, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    replaced = Version(first.path, other.manifest)

    assert texts(replaced.load())[0] == "fine teab"
    assert texts(datasets.load_dataset(str(replaced.path)))[0] == "fine teab"


def check_rows(version: Version) -> None:
    """``datasets`` finds the card's one config, and in it every row of every split as written."""
    place = str(version.path)
    (config,) = datasets.get_dataset_config_names(place)
    loaded, named = datasets.load_dataset(place), datasets.load_dataset(place, config)

    assert config == version.manifest.config_name
    assert list(loaded) == list(version.splits) == list(named)
    for split in version.splits:
        rows = version.table(split).to_pylist()
        assert loaded[split].to_list() == rows == named[split].to_list()
        assert rows == datasets.load_dataset(place, split=split).to_list()
        features = loaded[split].features
        assert list(features) == version.schema().names
        assert features["label"].names == list(version.task.label.names)
        assert features["sentence"] == datasets.Value("string")
        assert features["variant"] == datasets.Value("int32")
        assert features["edits"].feature["start"] == datasets.Value("int32")


def at(version: Version, folder: Path) -> Version:
    """A version that was put elsewhere, as by a person."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(version.path, folder)
    shutil.rmtree(version.path)
    return Version(folder, version.manifest)


def test_versions_of_one_task_side_by_side_give_their_own_rows(tmp_path: Path) -> None:
    """Made, then found in the cache; then the first is another's neighbor by its name."""
    both = [write_version(tmp_path, seed, f" {seed}") for seed in (0, 1)]

    assert {own.path.name for own in both} == {"v0001", "v0002"}
    assert both[0].path.parent == both[1].path.parent
    for own in (*both, *reversed(both)):
        check_rows(own)


def test_a_version_inside_of_another_ones_folder_gives_its_own_rows(tmp_path: Path) -> None:
    """The outer card names ``data/`` of its own folder, and nothing below it."""
    outer = write_version(tmp_path / "outer", more=" out")
    inner = write_version(tmp_path / "inner", 1, " in", TASK.model_copy(update={"name": "notes"}))
    deep = at(write_version(tmp_path / "deep", 2, " deep"), outer.path / "data" / "v0001")
    inner = at(inner, outer.path / "notes" / "v0001")

    for own in (outer, inner, deep, outer):
        check_rows(own)


def test_a_version_that_was_renamed_or_changed_places_gives_its_own_rows(tmp_path: Path) -> None:
    """Both places are in the cache already, with each other's rows."""
    one, two = (write_version(tmp_path, seed, f" {seed}") for seed in (0, 1))
    for own in (one, two):
        check_rows(own)
    away = tmp_path / "away"
    one.path.rename(away)
    two.path.rename(one.path)
    away.rename(two.path)
    one, two = Version(two.path, one.manifest), Version(one.path, two.manifest)
    for own in (one, two):
        check_rows(own)
    check_rows(at(one, tmp_path / "a name, (with) signs + é"))


@pytest.mark.parametrize("name", ["x[1]", "a [b] *c* ?", "{1,2}", "file:x", "a%20b#c"])
def test_a_folder_called_like_a_pattern_is_a_folder(tmp_path: Path, name: str) -> None:
    version = write_version(tmp_path / name, more=" own")
    write_version(tmp_path / "x1", more=" of a place that the pattern fits")

    assert version.load()["train"].to_list() == version.table("train").to_pylist()


def test_a_folder_that_datasets_takes_for_an_address_is_a_sentence(tmp_path: Path) -> None:
    version = write_version(tmp_path / "a::b")

    with pytest.raises(PlaceUnusable, match="to datasets, what stands behind ::"):
        version.load()


@pytest.mark.parametrize(
    "splits",
    [("on", "no", "null"), ("1", "1e3", "0x10"), ("train", "train_x", "trainx")],
)
def test_names_that_mean_something_else_in_yaml(tmp_path: Path, splits: tuple[str, ...]) -> None:
    train, validation, test = splits
    named = Splits(train=train, validation=(validation,), test=(test,))
    task = TASK.model_copy(update={"name": "1e3", "splits": named})
    version = write_version(tmp_path, task=task)
    loaded = datasets.load_dataset(str(version.path))

    assert {name: rows.num_rows for name, rows in loaded.items()} == dict(
        zip(splits, (3, 1, 1), strict=True)
    )


def test_names_of_classes_are_the_same_for_every_reader(tmp_path: Path) -> None:
    names = ("no", "null")
    task = TASK.model_copy(update={"label": Label(names=names)})
    version = write_version(tmp_path, task=task)

    for loaded in (datasets.load_dataset(str(version.path)), version.load()):
        assert loaded["train"].features["label"].names == list(names)


def test_rows_without_labels_open_in_a_line(tmp_path: Path) -> None:
    """One call of pandas, Polars, DuckDB and datasets: labels are null, soft labels are lists."""
    (tmp_path / "train.csv").write_text("text,label\nfine,good\npoor,bad\n")
    (tmp_path / "validation.csv").write_text("text,label\nso,good\n")
    (tmp_path / "more.jsonl").write_text(
        '{"text": "one", "soft_labels": [0.25, 0.75]}\n{"text": "fine"}\n{"text": "two"}\n'
    )
    (tmp_path / "t.toml").write_text(
        'name="t"\ntext_columns=["text"]\nmetrics=["f1"]\nselection_metric="f1"\n[label]\n'
        'names=["bad","good"]\n[splits]\ntrain="train.csv"\nvalidation="validation.csv"\n'
        'unlabeled="more.jsonl"\n'
    )
    path = augment_task(str(tmp_path / "t.toml"), variants=0, out=tmp_path / "out").path
    files, names = f"{path}/data/unlabeled-*.parquet", ["text", "label", "idx", "soft_labels"]
    expected = [("one", None, 0, [0.25, 0.75]), ("two", None, 2, None)]

    frame = pd.read_parquet(path / "data" / "unlabeled-00000-of-00001.parquet")
    assert frame.label.isna().all()
    assert frame.soft_labels[0].tolist() == [0.25, 0.75]
    assert frame.soft_labels[1] is None
    assert pl.read_parquet(files).select(names).rows() == expected
    assert duckdb.sql(f"select {', '.join(names)} from '{files}'").fetchall() == expected
    loaded = datasets.load_dataset(str(path), split="unlabeled")
    assert [tuple(row[name] for name in names) for row in loaded] == expected
    assert loaded.features["label"].names == ["bad", "good"]


def test_a_place_with_an_equals_sign_adds_no_column(tmp_path: Path) -> None:
    """Hive reads folders called key=value as columns."""
    version = write_version(tmp_path / "lang=en")
    (path,) = version.files("train")

    assert version.table("train").column_names == version.schema().names
    assert ds.dataset(version.path / "data").schema.names == version.schema().names
    assert pl.read_parquet(path).columns == version.schema().names
