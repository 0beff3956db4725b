"""``augment filter``: a recipe's gates on the rows of a version, whoever made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from augment.cli import app
from augment.contract import LOGITS, Fault, Version, verify
from augment.derive.add import add_rows
from augment.derive.filter import filter_version
from tests.unit.augment.conftest import make_classifier
from tests.unit.augment.derived import frame, lines, made_by, parent

MADE = frame(
    ("fine tea", "good", 0, 0, None),
    ("Fine  tea", "good", 0, 1, "word_replacement"),
    ("a validation row", "good", 0, 2, "word_replacement"),
    ("good tea", "good", 0, 3, "para"),
    ("good tea", "good", 0, 4, "llm"),
    ("fine tea", "good", 0, 5, "llm"),
    ("cold tea", "bad", 1, 0, None),
    ("new tea", "bad", 9, 1, "llm"),
    ("A Test row", "bad", 10, 1, "llm"),
    columns="sentence label idx variant generator",
)


def recipe(folder: Path, **keys: Any) -> str:
    path = folder / "gates.toml"
    written = {True: "true", False: "false"}
    path.write_text("".join(f"{key} = {written.get(v, repr(v))}\n" for key, v in keys.items()))
    return str(path)


def refused(version: Version) -> dict[tuple[int, int], str]:
    batches = [batch.to_pandas() for batch in version.rejected()]
    rows = pd.concat(batches)
    return {(row.idx, row.variant): row.reason for row in rows.itertuples()}


def test_rules_are_applied_to_rows_of_every_generator(tmp_path: Path) -> None:
    gates = recipe(tmp_path, normalised_duplicates=True, keep_rejected=True)
    version = filter_version(parent(tmp_path, train=MADE), recipe=gates)

    assert refused(version) == {
        (0, 1): "normalised_duplicate",
        (0, 2): "leak",
        (0, 4): "duplicate",
        (0, 5): "identity",
        (10, 1): "leak",
    }
    assert version.to_pandas("train").sentence.tolist() == [
        "fine tea", "good tea", "cold tea", "new tea",
    ]  # fmt: skip
    assert version.manifest.counts == {
        "dropped.duplicate": 1,
        "dropped.identity": 1,
        "dropped.leak": 2,
        "dropped.normalised_duplicate": 1,
        "rows.augmented": 2,
        "rows.source": 2,
    }
    assert verify(version) == len(version.manifest.files) + 1


def test_a_gate_that_is_off_drops_nothing(tmp_path: Path) -> None:
    first = parent(tmp_path, train=MADE)
    version = filter_version(first, recipe=recipe(tmp_path, distinct=False, leak_guard=False))

    assert version.table("train").equals(first.table("train"))
    assert version.manifest.id != first.manifest.id
    assert filter_version(
        first, recipe=recipe(tmp_path, distinct=False, leak_guard=False)
    ).path == (version.path)


def test_a_teacher_judges_and_its_logits_are_kept(tmp_path: Path, mlm_dir: Path) -> None:
    teacher = str(make_classifier(tmp_path / "teacher", ("bad", "good")))
    other = str(make_classifier(tmp_path / "other", ("bad", "good"), seed=9))
    gates = recipe(
        tmp_path, teacher_agreement="gold", teacher_logits=True, min_similarity=0.1, distinct=False
    )
    models = {"teacher": teacher, "similarity_model": str(mlm_dir)}
    version = filter_version(parent(tmp_path, train=MADE), recipe=gates, **models)
    kept = version.to_pandas("train")
    logits = {tuple(row.teacher_logits) for row in kept.itertuples() if row.sentence == "good tea"}

    assert version.manifest.teacher_logits
    assert [len(row) for row in kept[LOGITS]] == [2] * len(kept)
    assert all(
        (row.teacher_logits[1] > row.teacher_logits[0]) == (row.label == 1)
        for row in kept[kept.variant > 0].itertuples()
    )
    assert len(logits) <= 1
    assert verify(version) == 3
    again = filter_version(version, recipe="official")
    assert again.manifest.teacher_logits  # nobody was asked: they stay
    judged = filter_version(
        version, recipe=recipe(tmp_path, teacher_agreement="gold"), teacher=other
    )
    assert not judged.manifest.teacher_logits  # whose would they be?
    assert LOGITS not in judged.schema().names


def test_rows_without_labels_are_judged_where_they_were_generated(tmp_path: Path) -> None:
    unlabeled = frame(
        ("tea?", 0, 0, None), ("TEA?", 0, 1, "word_replacement"), ("what", 4, 1, "llm"),
        columns="sentence idx variant generator",
    )  # fmt: skip
    teacher = str(make_classifier(tmp_path / "teacher", ("bad", "good")))
    gates = recipe(
        tmp_path, normalised_duplicates=True, keep_rejected=True, teacher_agreement="unchanged"
    )
    version = filter_version(parent(tmp_path, unlabeled=unlabeled), recipe=gates, teacher=teacher)

    assert version.to_pandas("unlabeled").sentence.tolist() == ["tea?", "what"]
    assert version.manifest.counts["unlabeled.dropped.normalised_duplicate"] == 1
    assert verify(version) == 6


def test_models_and_gates_must_agree(tmp_path: Path, mlm_dir: Path) -> None:
    version = parent(tmp_path)
    for gates, models in (
        (recipe(tmp_path, min_similarity=0.5), {}),
        ("official", {"teacher": str(mlm_dir)}),
        ("official", {"similarity_model": str(mlm_dir), "device": "nowhere"}),
    ):
        with pytest.raises(Fault) as caught:
            filter_version(version, recipe=gates, **models)
        assert caught.value.exit_code == 2


def test_filtering_what_was_added(tmp_path: Path) -> None:
    """Rows that one recipe let pass, another one drops; generators and edits stay."""
    rows = lines(
        tmp_path / "r.jsonl", {"sentence": "FINE TEA", "idx": 0}, {"sentence": "x", "idx": 0}
    )
    added = add_rows(parent(tmp_path), rows, generator="para")
    version = filter_version(added, recipe=recipe(tmp_path, normalised_duplicates=True))

    assert made_by(version, "para") == [("x", 1, 0, 3)]
    assert made_by(version, "word_replacement") == [("good tea", 1, 0, 1)]


def test_the_command(tmp_path: Path) -> None:
    version = parent(tmp_path, train=MADE)
    command = ["filter", str(version.path), "--recipe"]
    done = CliRunner().invoke(app, [*command, "official"])
    wrong = CliRunner().invoke(app, [*command, recipe(tmp_path, min_similarity=2)])

    assert done.exit_code == 0
    assert "2 leak" in done.stdout
    assert wrong.exit_code == 2
