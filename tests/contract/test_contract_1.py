"""Versions of contract 1 stay readable for ever; columns do not change without a new number."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from augment.contract import (
    CONTRACT,
    ContractError,
    Label,
    ManifestInvalid,
    TaskSpec,
    arrow_schema,
    open_version,
    rejected_schema,
    verify,
)
from augment.contract.manifest import checksum_of
from augment.contract.task import CONTRACTS
from distill.data.versions import count_split

GOLDEN = Path(__file__).parent / "contract_1"

CLASSES = TaskSpec(
    name="reviews",
    text_columns=("sentence",),
    label=Label(names=("negative", "positive")),
    metrics=("accuracy",),
    selection_metric="accuracy",
)
SCORES = TaskSpec(
    name="alike",
    text_columns=("one", "other"),
    label=Label(column="score", kind="regression"),
    metrics=("pearson",),
    selection_metric="pearson",
)
SCHEMAS = {
    1: "61f48b427c4be774a1754b930b0773befdcddd4611ad8788c9fad83f4cb017c5",
    2: "0bd26fec7bbb9213ec8c0610543228ad9d59673652a1997a7908b6a2ac2cd20f",
}


def digest(contract: int) -> str:
    """SHA-256 over every schema of a contract, their metadata included."""
    more = {"soft_labels": True, "teacher_logits": True} if contract > 1 else {}
    schemas = [
        schema
        for task in (CLASSES, SCORES)
        for schema in (
            arrow_schema(task, contract=contract),
            arrow_schema(task, contract=contract, teacher_logits=True),
            arrow_schema(task, contract=contract, **more),
            rejected_schema(task, contract=contract),
        )
    ]
    told = [[str(schema), json.loads(schema.metadata[b"huggingface"])] for schema in schemas]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def test_the_golden_version_is_read_whole() -> None:
    version = open_version(GOLDEN)

    assert version.manifest.contract == 1
    assert verify(version) == 4
    assert {split: version.rows(split) for split in version.splits} == {
        "train": 31,
        "validation": 6,
        "test": 4,
    }
    assert [batch.num_rows for batch in version.rejected()] == [1]
    frame = version.to_pandas()
    assert (frame.variant == 0).sum() == 8
    assert "generator" not in frame
    assert version.load()["train"].features["label"].names == ["negative", "positive"]
    assert count_split(version, "train").original == 8


@pytest.mark.parametrize(
    ("key", "value"),
    [("soft_labels", True), ("derivation", {"command": "add"})],
)
def test_contract_1_has_nothing_of_contract_2(tmp_path: Path, key: str, value: object) -> None:
    shutil.copytree(GOLDEN, place := tmp_path / "v0001")
    raw = json.loads((place / "manifest.json").read_text())
    raw[key] = value
    raw["checksum"] = checksum_of(raw)
    (place / "manifest.json").write_text(json.dumps(raw))

    with pytest.raises(ContractError):
        open_version(place)


def test_a_contract_to_come_is_refused_in_words(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, place := tmp_path / "v0001")
    raw = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**raw, "contract": CONTRACT + 1}))

    with pytest.raises(ManifestInvalid, match=f"contract number {CONTRACT + 1}; this program"):
        open_version(place)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_columns_do_not_change_without_a_new_number(contract: int) -> None:
    assert digest(contract) == SCHEMAS[contract], "give the changed columns a new contract number"


def test_a_contract_adds_columns_and_changes_none() -> None:
    first, second = (arrow_schema(CLASSES, contract=contract) for contract in CONTRACTS)

    assert list(second)[: len(first)] == list(first)
    assert pa.schema(list(second)[len(first) :]).names == ["generator"]
