"""A version as a page: whatever it holds, every part of it is shown, and nothing of it acts."""

from __future__ import annotations

from pathlib import Path

import pytest

import augment
from augment.analysis.report import write_report
from augment.contract import VersionNotFound
from augment.contract.page import MOST_BYTES
from augment.contract.task import Label, Splits, TaskSpec
from tests.unit.distill.helpers import MIXED, blind, mood_rows, write_version
from tests.unit.distill.made_runs import NASTY

CONTRACT_1 = Path(__file__).parents[2] / "contract" / "contract_1"
NAMES = ("</script>", NASTY, *(f"class {i}" for i in range(198)))


def task(names: tuple[str, ...], columns: tuple[str, ...] = ("sentence",)) -> TaskSpec:
    """Of classes, or without names of scores."""
    kind, metric = ("classification", "accuracy") if names else ("regression", "pearson")
    label = Label.model_validate({"kind": kind, "names": names})
    return TaskSpec(
        name="odd",
        text_columns=columns,
        label=label,
        metrics=(metric,),
        selection_metric=metric,
        splits=Splits(),
    )


def edit(column: str, after: str) -> dict[str, object]:
    """Of the first letter of a text."""
    return {"column": column, "start": 0, "end": 1, "before": "a", "after": after, "source": "x"}


def test_two_hundred_classes_with_markup(tmp_path: Path) -> None:
    rows = [{"sentence": f"a {NASTY}", "label": i, "idx": i} for i in range(200)]
    more = [{**rows[0], "sentence": "b", "variant": 1, "edits": [edit("sentence", NASTY)]}]
    splits = {"train": [rows[0], *more, *rows[1:]], "validation": rows[:2]}
    version = write_version(tmp_path, task(NAMES), splits)

    page = augment.report(version, tmp_path / "page.html").read_text()

    assert "<img" not in page
    assert page.count("<script") == 1
    assert not set(page) & {"\x1b", "\u202e"}
    assert "<del>a</del> <ins" in page
    assert "class 197" in page
    assert len(page.encode()) < MOST_BYTES


def test_pairs_and_scores(tmp_path: Path) -> None:
    columns = ("first", "second")
    rows = [{"first": "a", "second": "مرحبا", "label": 0.5 * i} for i in range(4)]
    version = write_version(tmp_path, task((), columns), {"train": rows, "validation": rows})

    page = write_report(version, tmp_path / "page.html").read_text()

    assert 'dir="auto">مرحبا' in page
    assert "mean" in page
    assert "nan" not in page


def test_rows_without_labels_and_no_variants(tmp_path: Path) -> None:
    rows = mood_rows(6, 1)
    splits = {"train": rows, "validation": rows, "unlabeled": blind(mood_rows(4, 2))}
    version = write_version(tmp_path, MIXED, splits)

    page = write_report(str(version.path), tmp_path / "page.html").read_text()

    assert "unlabeled 4" in page
    assert "nan" not in page.lower().replace("ordinance", "")


def test_a_version_of_contract_1(tmp_path: Path) -> None:
    assert "masked_lm" in write_report(CONTRACT_1, tmp_path / "page.html").read_text()


def test_no_version_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(VersionNotFound):
        write_report(tmp_path / "none", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
