"""``augment merge``: what several versions made of the same source rows, each row once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from augment import write_version
from augment.cli import app
from augment.contract import Label, UsageError, Version, verify
from augment.derive.add import add_rows
from augment.derive.filter import filter_version
from augment.derive.merge import merge_versions
from tests.unit.augment.derived import PAIRS, TEA, TRAIN, frame, lines, made_by, parent


def added(first: Version, generator: str, *records: dict[str, Any]) -> Version:
    rows = lines(first.path.parents[1] / "rows.jsonl", *records)
    return add_rows(first, rows, generator=generator)


@pytest.fixture
def branches(tmp_path: Path) -> tuple[Version, Version, Version]:
    """A version and two that were made from it, with rows that both have."""
    first = parent(tmp_path)
    one = added(
        first, "para",
        {"sentence": "nice tea", "idx": 0}, {"sentence": "so cold", "idx": 1},
        {"sentence": "a new one", "label": "good"}, {"sentence": "free"}, {"sentence": "both"},
    )  # fmt: skip
    two = added(
        first, "llm",
        {"sentence": "nice tea", "idx": 0}, {"sentence": "nicer tea", "idx": 0},
        {"sentence": "nice milk", "idx": 7}, {"sentence": "A new one", "label": "good"},
        {"sentence": "a newer one", "label": "bad"}, {"sentence": "BOTH"}, {"sentence": "other"},
    )  # fmt: skip
    return first, one, two


def test_every_row_once_and_behind_its_source_row(branches: tuple[Version, ...]) -> None:
    _, one, two = branches
    version = merge_versions([one, two])

    assert made_by(version, "word_replacement") == [("good tea", 1, 0, 1)]
    assert made_by(version, "para") == [
        ("nice tea", 1, 0, 2), ("so cold", 0, 1, 1), ("a new one", 1, 8, 1),
    ]  # fmt: skip
    assert made_by(version, "llm") == [
        ("nicer tea", 1, 0, 3), ("nice milk", 1, 7, 1), ("a newer one", 0, 9, 1),
    ]  # fmt: skip
    assert version.to_pandas("train").idx.tolist() == [0, 0, 0, 0, 1, 1, 7, 7, 8, 9]
    unlabeled = version.to_pandas("unlabeled")
    assert unlabeled.sentence.tolist() == ["free", "both", "other"]
    assert unlabeled.idx.tolist() == [0, 1, 2]
    assert version.manifest.counts == {
        "merged.repeated": 3,
        "rows.augmented": 7,
        "rows.source": 3,
        "unlabeled.merged.repeated": 1,
        "unlabeled.rows.augmented": 3,
        "unlabeled.rows.source": 0,
    }
    assert verify(version) == 4
    assert merge_versions([one, two]).path == version.path
    assert merge_versions([two, one]).manifest.id != version.manifest.id


def test_what_adds_nothing_leaves_the_rows_as_they_are(branches: tuple[Version, ...]) -> None:
    first, one, _ = branches
    strict = filter_version(one, recipe="official")
    version = merge_versions([one, first, strict])

    assert all(version.table(split).equals(one.table(split)) for split in one.splits)


def test_however_the_work_is_cut(
    branches: tuple[Version, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = merge_versions(branches, out=tmp_path / "calm")
    monkeypatch.setattr("augment.derive.groups.GROUPS_A_CHUNK", 1)
    cut = merge_versions(branches, out=tmp_path / "cut")

    assert [f.sha256 for f in cut.manifest.files] == [f.sha256 for f in calm.manifest.files]
    assert cut.manifest.counts == calm.manifest.counts


def test_unlabeled_splits_of_other_rows_are_united(tmp_path: Path) -> None:
    """Their source rows once, with what was generated from them; numbers go on."""
    one = frame(("a", 0, 0, None), ("aa", 0, 1, "word_replacement"), ("b", 3, 0, None),
                ("c", 4, 1, "llm"), columns="sentence idx variant generator")  # fmt: skip
    two = frame(("B", 0, 0, None), ("bb", 0, 1, "word_replacement"), ("d", 1, 0, None),
                ("dd", 1, 2, "para"), ("C", 2, 1, "llm"), ("e", 3, 1, "llm"),
                columns="sentence idx variant generator")  # fmt: skip
    versions = [
        parent(tmp_path / name, unlabeled=rows)
        for name, rows in (("one", one), ("two", two), ("none", None))
        if rows is not None
    ]
    version = merge_versions([*versions, parent(tmp_path / "none", train=TRAIN.drop(index=1))])
    rows = version.to_pandas("unlabeled")

    assert rows.sentence.tolist() == ["a", "aa", "b", "d", "dd", "c", "e"]
    assert rows.idx.tolist() == [0, 0, 3, 5, 5, 4, 6]
    assert rows.variant.tolist() == [0, 1, 0, 0, 2, 1, 1]
    assert version.manifest.counts["unlabeled.merged.repeated"] == 3
    assert verify(version) == 4
    sources = {source.split: source.rows for source in version.manifest.sources}
    assert sources["unlabeled"] == 3


def test_soft_labels_of_one_are_null_in_the_other(tmp_path: Path) -> None:
    first = parent(tmp_path)
    one = added(first, "para", {"sentence": "x", "idx": 0, "soft_labels": [0.5, 0.5]})
    version = merge_versions([first, one])
    soft = version.table("train")["soft_labels"].to_pylist()

    assert version.manifest.soft_labels
    assert soft == [None, None, [0.5, 0.5], None, None]
    assert verify(version) == 3


def other(version: Version, out: Path, **task: Any) -> Version:
    """The same rows under another task."""
    splits = {
        split: version.to_pandas(split).assign(label=lambda rows: rows.label.astype(int))
        for split in ("train", "validation")
    }
    return write_version(TEA.model_copy(update=task), splits, out=out)


def test_what_cannot_be_merged_is_said_in_a_sentence(tmp_path: Path) -> None:
    first = parent(tmp_path / "first")
    pair = frame(("a", "b", "good"), ("c", "d", "bad"), columns="one other label")
    frames = {"train": TRAIN, "validation": frame(("an other validation row", "good"))}
    cases = {
        "differ in task: tea against pairs": write_version(
            PAIRS, {"train": pair, "validation": pair}, out=tmp_path / "p"
        ),
        "order: bad, good against good, bad": other(
            first, tmp_path / "o", label=Label(names=("good", "bad"))
        ),
        "differ in metrics": other(first, tmp_path / "m", metrics=("f1",), selection_metric="f1"),
        "rows of split 'train'": parent(
            tmp_path / "s", train=pd.concat([TRAIN, TRAIN.tail(1).assign(idx=8)])
        ),
        "rows of split 'validation'": write_version(TEA, frames, out=tmp_path / "v"),
        "named twice": first,
    }
    for says, version in cases.items():
        with pytest.raises(UsageError, match=says) as caught:
            merge_versions([first, version])
        assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="one version alone"):
        merge_versions([first])


def test_the_command(branches: tuple[Version, ...]) -> None:
    first, one, two = (str(version.path) for version in branches)
    done = CliRunner().invoke(app, ["merge", one, two])
    wrong = CliRunner().invoke(app, ["merge", one, one])

    assert done.exit_code == 0
    assert "tea@v0004" in done.stdout
    assert wrong.exit_code == 2
    assert "named twice" in wrong.stderr
    assert CliRunner().invoke(app, ["verify", str(Path(first).with_name("v0004"))]).exit_code == 0
