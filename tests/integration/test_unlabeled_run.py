"""Whole runs with rows without labels and soft labels: the same bytes whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from augment.cli import app
from augment.contract import Version, open_version, verify
from augment.recipes.schema import AugmentRecipe
from tests.integration.conftest import SMALL, Interrupter, augmented, digests
from tests.unit.augment.conftest import make_classifier

ALSO = SMALL.model_copy(update={"augment_unlabeled": True})
WORDS = ["film", "movie", "story", "plot", "guitar", "piano", "music", "fox", "dog", "cat"]
MANY = [f"the {how} {what} was {like}" for how in ("quick", "slow", "red") for what in WORDS
        for like in ("good", "bad", "fine", "great")]  # fmt: skip

Go = Callable[..., Version]


@pytest.fixture
def go(mlm_dir: Path, vectors_file: Path, tmp_path: Path) -> Go:
    """120 rows, of them 40 with a label and 70 without; soft labels in every third."""
    held = ["text,label", *(f"{text},yes" for text in MANY[40:50])]
    (tmp_path / "validation.csv").write_text("\n".join(held))
    rows = [
        f"{text},{('no', 'yes')[at % 2]}," + ("0.25,0.75", ",", ",0.5")[at % 3]
        for at, text in enumerate(MANY[:40])
    ]
    (tmp_path / "train.csv").write_text("\n".join(["text,label,p_no,p_yes", *rows]))
    more = [
        {"text": text, **({"soft_labels": {"no": 1.0}} if at % 3 == 0 else {})}
        for at, text in enumerate([*MANY[50:], MANY[0], MANY[40], MANY[50].upper()])
    ]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in more))
    (tmp_path / "t.toml").write_text(
        'name="t"\ntext_columns=["text"]\nmetrics=["f1"]\nselection_metric="f1"\n[label]\n'
        'names=["no","yes"]\n[splits]\ntrain="train.csv"\nvalidation="validation.csv"\n'
        'unlabeled="more.jsonl"\n'
    )

    def run(out: str = "out", recipe: AugmentRecipe = ALSO, **options: Any) -> Version:
        where = {"mlm": str(mlm_dir), "vectors": str(vectors_file), "out": tmp_path / out}
        return augmented(str(tmp_path / "t.toml"), recipe=recipe, **{**where, **options})

    return run


def test_rows_without_labels_are_kept_as_they_are(go: Go) -> None:
    version = go(recipe=SMALL)
    frame = version.to_pandas("unlabeled")

    assert verify(version) == 3
    assert version.task.splits.unlabeled == "unlabeled"
    assert frame.text.tolist() == MANY[50:]
    assert frame.label.isna().all()
    assert (frame.variant == 0).all()
    assert frame.generator.isna().all()
    assert frame.idx.tolist() == list(range(70))
    assert frame.soft_labels.notna().sum() == 24
    counts = version.manifest.counts
    assert [counts[f"unlabeled.{why}"] for why in ("read", "in_train", "leak", "duplicate")] == [
        73, 1, 1, 1
    ]  # fmt: skip
    assert counts["rows.source"] == 40


def test_generated_rows_carry_the_distribution_of_their_original(go: Go) -> None:
    version = go(recipe=SMALL)
    frame = version.to_pandas("train")
    own = frame[frame.variant == 0].set_index("idx").soft_labels

    assert own[0].tolist() == [0.25, 0.75]
    assert own[1] is None
    assert own[2].tolist() == [0.5, 0.5]
    for row in frame.itertuples():
        given = own[row.idx]
        assert (row.soft_labels is None) == (given is None)
        assert given is None or row.soft_labels.tolist() == given.tolist()
    assert version.to_pandas("validation").soft_labels.isna().all()


def test_they_are_augmented_where_the_recipe_says_so(go: Go) -> None:
    plain, version = go("plain", recipe=SMALL), go()
    frame = version.to_pandas("unlabeled")
    generated = frame[frame.variant > 0]

    assert verify(version) == 3
    assert frame[frame.variant == 0].text.tolist() == MANY[50:]
    assert len(generated) > 200
    assert frame.label.isna().all()
    assert set(generated.generator) == {"word_replacement"}
    assert generated.soft_labels.notna().any()
    assert version.manifest.sources == plain.manifest.sources
    assert [d for d in digests(version) if d in digests(plain)] == digests(plain)[:2]
    assert version.manifest.counts["unlabeled.rows.augmented"] == len(generated)
    assert version.manifest.counts["rows.augmented"] == plain.manifest.counts["rows.augmented"]
    assert not {text.lower() for text in generated.text} & set(MANY[40:50])  # the leak guard


def test_chunks_and_interruptions_do_not_change_a_byte(go: Go) -> None:
    calm = go("calm")
    with pytest.raises(KeyboardInterrupt):
        go("stopped", chunk_rows=16, narrator=Interrupter())
    resumed = go("stopped", chunk_rows=16)

    assert digests(calm) == digests(resumed)
    assert calm.manifest.counts == resumed.manifest.counts


@pytest.mark.parametrize("agreement", ["unchanged", "gold"])
def test_a_teacher_compares_with_its_answer_where_there_is_no_label(
    go: Go, tmp_path: Path, agreement: str
) -> None:
    teacher = make_classifier(tmp_path / "teacher")
    gates = {"teacher_agreement": agreement, "teacher_logits": True, "keep_rejected": True}
    version = go(recipe=ALSO.model_copy(update=gates), teacher=str(teacher))
    frame = version.to_pandas("unlabeled")
    answers = pd.Series([logits.argmax() for logits in frame.teacher_logits], frame.index)
    original = answers[frame.variant == 0].set_axis(frame.idx[frame.variant == 0])

    assert verify(version) == 5
    assert (answers.to_numpy() == original[frame.idx].to_numpy()).all()
    assert version.manifest.counts["unlabeled.dropped.teacher_disagrees"] > 0


def test_readers_of_versions_cope(go: Go) -> None:
    first, second = go(recipe=SMALL), go()

    def said(*arguments: str) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    stats = said("stats", str(second.path))
    assert stats["unlabeled_rows"]["original"] == 70
    assert stats["unlabeled_rows"]["generated"] == second.rows("unlabeled") - 70
    assert stats["soft_labels"]["unlabeled"] == {"rows": 24, "entropy": 0.0}
    assert stats["soft_labels"]["train"]["rows"] == 27
    assert 0.5 < stats["soft_labels"]["train"]["entropy"] < 0.7
    found = said("diff", str(first.path), str(second.path))
    assert found["only_in_second"] == second.rows("unlabeled") - 70
    assert (found["changed"], found["only_in_first"]) == (0, 0)
    shown = CliRunner().invoke(app, ["list", str(first.path.parent)]).stdout
    assert [line.split()[4] for line in shown.splitlines()] == [
        "unlabeled", "70", str(second.rows("unlabeled"))
    ]  # fmt: skip
    assert "no label: it is null" in (first.path / "README.md").read_text()
    loaded = open_version(first.path).load()
    assert loaded["unlabeled"].num_rows == 70
    assert loaded["unlabeled"]["label"][0] is None


def test_the_command_line_names_more_files(go: Go, tmp_path: Path) -> None:
    where = go(recipe=SMALL).path.parents[2]
    extra = tmp_path / "extra.txt"
    extra.write_text("the music of the city\nthe story of paris\nthe quick film was good\n")
    done = CliRunner().invoke(app, [
        "run", str(tmp_path / "t.toml"), "--variants", "0", "--out", str(where / "cli"),
        "--unlabeled", str(extra), "--unlabeled", str(tmp_path / "extra.txt"),
    ])  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "79 rows read · 72 kept · 3 equal an earlier one · 3 equal a training row" in " ".join(
        done.stderr.split()
    )
    assert open_version(where / "cli" / "t").rows("unlabeled") == 72
