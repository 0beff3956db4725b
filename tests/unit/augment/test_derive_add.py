"""``augment add``: rows of other tools go where they belong, or are refused with file and row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from augment import write_version
from augment.cli import app
from augment.contract import Fault, Version, open_version, verify
from augment.derive.add import add_rows
from augment.derive.filter import filter_version
from augment.derive.merge import merge_versions
from augment.versions import staging
from tests.unit.augment.conftest import make_classifier
from tests.unit.augment.derived import PAIRS, SCORES, frame, lines, made_by, parent

CONTRACT_1 = Path(__file__).parents[2] / "contract" / "contract_1"


def added(out: Path, *records: dict[str, Any], to: Version | None = None, **how: Any) -> Version:
    how = {"generator": "para", **how}
    return add_rows(to or parent(out), lines(out / "rows.jsonl", *records), out=out, **how)


def test_each_row_goes_where_it_belongs(tmp_path: Path) -> None:
    version = added(
        tmp_path,
        {"sentence": "scalding milk", "idx": 7},
        {"sentence": "nice tea", "idx": 0},
        {"sentence": "horrid tea", "idx": 0, "label": "bad"},
        {"sentence": "tea is fine", "label": "good"},
        {"sentence": "what is tea"},
        {"sentence": "nicer tea", "idx": "0", "label": ""},
    )

    assert made_by(version, "para") == [
        ("nice tea", 1, 0, 2),
        ("horrid tea", 0, 0, 3),
        ("nicer tea", 1, 0, 4),
        ("scalding milk", 1, 7, 1),
        ("tea is fine", 1, 8, 1),
    ]
    assert made_by(version, "para", "unlabeled") == [("what is tea", None, 0, 1)]
    assert version.to_pandas("train").idx.tolist() == [0, 0, 0, 0, 0, 1, 7, 7, 8]
    assert version.manifest.counts == {
        "added.para": 5,
        "relabeled.para": 1,
        "rows.augmented": 6,
        "rows.source": 3,
        "source.skipped": 0,
        "unlabeled.added": 1,
    }
    derivation = version.manifest.derivation
    assert derivation is not None
    assert [each.reference for each in derivation.parents] == ["tea@v0001"]
    assert [(each.generator, each.name, each.rows) for each in derivation.added] == [
        ("para", "rows.jsonl", 6)
    ]
    assert verify(version) == 4


def test_rows_are_dropped_with_their_reason(tmp_path: Path) -> None:
    version = added(
        tmp_path,
        {"sentence": "fine tea", "idx": 0},
        {"sentence": "good tea", "idx": 0},
        {"sentence": "nice tea", "idx": 0},
        {"sentence": "nice tea", "idx": 0},
        {"sentence": "Another ", "idx": 1},
        {"sentence": "Cold  TEA", "label": "bad"},
        {"sentence": "new tea", "label": "bad"},
        {"sentence": "New tea", "label": "good"},
        {"sentence": "a Test row", "label": "good"},
        {"sentence": "a test row"},
        {"sentence": "NEW TEA"},
        {"sentence": "hot milk"},
        {"sentence": "free"},
        {"sentence": "Free"},
    )
    counts = version.manifest.counts

    assert [row[0] for row in made_by(version, "para")] == ["nice tea", "new tea"]
    assert [row[0] for row in made_by(version, "para", "unlabeled")] == ["free"]
    assert {name: n for name, n in counts.items() if name.startswith(("drop", "unl"))} == {
        "dropped.duplicate": 4,
        "dropped.identity": 1,
        "dropped.leak": 2,
        "unlabeled.added": 1,
        "unlabeled.duplicate": 1,
        "unlabeled.in_train": 2,
        "unlabeled.leak": 1,
    }


def test_gates_of_the_recipe_are_asked(tmp_path: Path, mlm_dir: Path) -> None:
    """Near duplicates, likeness and a teacher; a row of its own label is held to that."""
    recipe = tmp_path / "my.toml"
    recipe.write_text(
        "normalised_duplicates = true\nmin_similarity = 0.2\nkeep_rejected = true\n"
        'teacher_agreement = "unchanged"\n'
    )
    teacher = make_classifier(tmp_path / "teacher", ("bad", "good"))
    models = {"teacher": str(teacher), "similarity_model": str(mlm_dir)}
    rows = [
        {"sentence": f"{text} {end}", "idx": 0, **label}
        for text in ("GOOD", "fox", "the lazy dog", "a fine film", "quick guitar")
        for end, label in (("tea", {}), ("cat", {"label": "bad"}), ("dog", {"label": "good"}))
    ]
    version = added(tmp_path, *rows, recipe=str(recipe), **models)
    refused = pd.concat(batch.to_pandas() for batch in version.rejected())
    counts = version.manifest.counts

    assert set(refused.reason) >= {"normalised_duplicate", "teacher_disagrees"}
    assert len(refused) + counts["added.para"] == len(rows)
    assert {str(asset.kind) for asset in version.manifest.assets} == {"teacher", "sentence_encoder"}
    recipe.write_text("teacher_logits = true\n")
    with pytest.raises(Fault, match="teacher_logits = true"):
        added(tmp_path, *rows, recipe=str(recipe), **models)


def test_soft_labels_are_inherited_with_the_label(tmp_path: Path) -> None:
    train = frame(
        ("fine tea", "good", [0.3, 0.7]),
        ("cold tea", "bad", None),
        columns="sentence label soft_labels",
    )
    version = added(
        tmp_path,
        {"sentence": "a", "idx": 0},
        {"sentence": "b", "idx": 0, "label": "bad"},
        {"sentence": "c", "idx": 0, "soft_labels": {"good": 0.5}},
        {"sentence": "d", "soft_labels": "good"},
        to=parent(tmp_path / "first", train=train),
    )
    soft = version.table("train").to_pylist()

    assert [row["soft_labels"] for row in soft if row["generator"]] == [
        pytest.approx([0.3, 0.7]), None, [0.5, 0.5],
    ]  # fmt: skip
    assert version.table("unlabeled")["soft_labels"].to_pylist() == [[0, 1]]
    assert verify(version) == 4


def test_soft_labels_come_into_a_version_without_any(tmp_path: Path) -> None:
    version = added(tmp_path, {"sentence": "a", "idx": 0, "p_bad": 0.25, "p_good": 0.75})

    assert version.manifest.soft_labels
    assert made_by(version, "para") == [("a", 1, 0, 2)]
    assert verify(version) == 3


def test_a_score_of_minus_one_is_a_score(tmp_path: Path) -> None:
    rows = pd.DataFrame({"sentence": ["a", "b"], "label": [0.5, -1.0]})
    scores = write_version(SCORES, {"train": rows, "validation": rows}, out=tmp_path)
    version = added(
        tmp_path,
        {"sentence": "c", "idx": 0, "label": -1},
        {"sentence": "d", "idx": 1, "label": -1.0},
        {"sentence": "e", "idx": 0, "label": float("nan")},
        {"sentence": "f", "label": "-1"},
        to=scores,
    )

    assert [row[:3] for row in made_by(version, "para")] == [
        ("c", -1, 0), ("e", 0.5, 0), ("d", -1, 1), ("f", -1, 2),
    ]  # fmt: skip
    assert version.manifest.counts["relabeled.para"] == 1


def test_both_texts_of_a_pair_count(tmp_path: Path) -> None:
    pair = frame(("a", "b", "good"), ("c", "d", "bad"), columns="one other label")
    held_out = frame(("e", "f", "good"), columns="one other label")
    pairs = write_version(PAIRS, {"train": pair, "validation": held_out}, out=tmp_path)
    version = added(
        tmp_path,
        {"one": "A!", "other": "B!", "idx": 0},
        {"one": "a", "other": "b", "idx": 0},
        {"one": "E ", "other": "F", "idx": 0},
        {"one": "e", "other": "b", "idx": 0},
        to=pairs,
    )

    assert version.manifest.counts["dropped.identity"] == 1
    assert version.manifest.counts["dropped.leak"] == 1
    assert [row["one"] for row in version.table("train").to_pylist()] == ["a", "A!", "e", "c"]


def test_a_version_of_contract_1_is_built_on(tmp_path: Path) -> None:
    folder = tmp_path / "versions" / "reviews" / "v0001"
    shutil.copytree(CONTRACT_1, folder)
    old = open_version(folder)
    number = int(old.to_pandas("train").idx[0])
    version = add_rows(old, lines(tmp_path / "r.jsonl", {"sentence": "new", "idx": number}),
                       generator="para")  # fmt: skip
    rows = version.to_pandas("train")

    assert verify(version) == len(version.manifest.files)
    assert version.path == folder.with_name("v0002")
    assert set(rows[rows.variant > 0].generator) == {"word_replacement", "para"}
    assert rows[rows.variant == 0].generator.isna().all()
    merged, filtered = merge_versions([old, version]), filter_version(old, recipe="official")
    assert all(merged.table(split).equals(version.table(split)) for split in merged.splits)
    assert verify(merged) == verify(filtered) == len(version.manifest.files)


def test_added_to_twice(tmp_path: Path) -> None:
    first = added(tmp_path, {"sentence": "one"}, {"sentence": "tea, new", "label": "good"})
    second = added(
        tmp_path, {"sentence": "ONE"}, {"sentence": "two"}, {"sentence": "x", "label": "bad"},
        to=first, generator="llm",
    )  # fmt: skip

    assert made_by(second, "llm") == [("x", 0, 9, 1)]
    assert made_by(second, "para") == [("tea, new", 1, 8, 1)]
    assert second.to_pandas("unlabeled").sentence.tolist() == ["one", "two"]
    assert second.to_pandas("unlabeled").idx.tolist() == [0, 2]
    assert verify(second) == 4


def test_however_the_work_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"sentence": f"row {i}", "idx": (0, 1, 7)[i % 3]} for i in range(12)]
    records += [{"sentence": f"new {i}", "label": "bad"} for i in range(5)]
    calm = added(tmp_path / "calm", *records) if not (tmp_path / "calm").mkdir() else None
    monkeypatch.setattr("augment.derive.groups.GROUPS_A_CHUNK", 1)
    monkeypatch.setattr("augment.derive.addition._FRESH_A_CHUNK", 2)
    (tmp_path / "cut").mkdir()
    cut = added(tmp_path / "cut", *records)

    assert calm is not None
    assert [f.sha256 for f in cut.manifest.files] == [f.sha256 for f in calm.manifest.files]
    assert cut.manifest.counts == calm.manifest.counts


def test_a_stopped_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = parent(tmp_path)
    monkeypatch.setattr("augment.derive.groups.GROUPS_A_CHUNK", 1)
    records = [{"sentence": f"row {i}", "idx": (0, 1, 7)[i % 3]} for i in range(12)]
    keep, kept = staging.Staging.keep, []

    def stop(self: staging.Staging, chunk: Any) -> None:
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(chunk.number)
        keep(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(staging.Staging, "keep", stop)
        with pytest.raises(KeyboardInterrupt):
            added(tmp_path, *records, to=first)
    assert [path.name for path in first.path.parent.glob("v*")] == ["v0001"]
    made = added(tmp_path, *records, to=first)
    again = added(tmp_path, *records, to=first)

    assert made.manifest.counts["added.para"] == 12
    assert again.path == made.path
    assert sorted(path.name for path in first.path.parent.iterdir()) == ["v0001", "v0002"]


BAD_ROWS = {
    "an idx of no row": ({"sentence": "x", "idx": 2}, "rows.jsonl line 1 has idx 2, which is no"),
    "an idx of a row that is no source row": (
        {"sentence": "x", "idx": 8},
        "which is no source row",
    ),
    "a negative idx": ({"sentence": "x", "idx": -1}, "has idx -1"),
    "an idx in words": ({"sentence": "x", "idx": "first"}, "has idx 'first'"),
    "a decimal": ({"sentence": "x", "idx": 0.5}, "has idx 0.5"),
    "true": ({"sentence": "x", "idx": True}, "has idx True"),
    "a huge idx": ({"sentence": "x", "idx": 10**30}, "which is no source row"),
    "no such class": ({"sentence": "x", "label": "fine"}, "has label 'fine'"),
    "a list": ({"sentence": ["x"]}, "where a text is expected"),
    "nothing": ({"sentence": None}, "where a text is expected"),
    "no text": ({"text": "x"}, "has no column 'sentence'"),
    "a long text": ({"sentence": "x" * 1_000_001}, "1,000,001 characters"),
    "a sum": ({"sentence": "x", "soft_labels": [0.5, 0.1]}, "sum to 0.6"),
    "a class of others": ({"sentence": "x", "soft_labels": {"fine": 1}}, "class 'fine'"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_that_are_wrong(tmp_path: Path, name: str) -> None:
    """Named with file and line; or left out and counted."""
    record, says = BAD_ROWS[name]
    version = parent(tmp_path)
    with pytest.raises(Fault) as caught:
        added(tmp_path, record, to=version)
    assert says in str(caught.value)
    assert "rows.jsonl line 1" in str(caught.value)
    assert caught.value.exit_code == 3
    assert sorted(path.name for path in version.path.parent.iterdir()) == ["v0001"]

    made = added(tmp_path, record, {"sentence": "ok", "idx": 0}, to=version, skip_malformed=True)
    assert made.manifest.counts["source.skipped"] == 1
    assert made.manifest.counts["added.para"] == 1


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\x1b[2J\u202etea", "| a | `b` |\n---", "x" * 10**6]
)
def test_texts_within_the_rules_are_kept_as_they_are(tmp_path: Path, text: str) -> None:
    version = added(tmp_path, {"sentence": text, "idx": 0})
    shown = CliRunner().invoke(app, ["show", str(version.path), "--rows", "9"])

    assert made_by(version, "para")[0][0] == text
    assert shown.exit_code == 0
    assert "\x1b[2J" not in shown.stdout
    assert "\u202e" not in shown.stdout


def test_a_parquet_file_with_more_columns(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "idx": [0, 1],
            "more": [[1], [2]],
            "sentence": ["a", "b"],
            "variant": ["x", "y"],
            "generator": [1, 2],
        }
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    version = add_rows(parent(tmp_path), tmp_path / "rows.parquet", generator="para")

    assert made_by(version, "para") == [("a", 1, 0, 2), ("b", 0, 1, 1)]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_numbers_of_a_data_frame_with_gaps(tmp_path: Path, suffix: str) -> None:
    """pandas makes decimals of whole numbers where some are missing."""
    rows = pd.DataFrame({"idx": [0, None], "sentence": ["a", "b"], "label": [None, "good"]})
    path = tmp_path / f"rows.{suffix}"
    rows.to_csv(path, index=False) if suffix == "csv" else rows.to_parquet(path)
    version = add_rows(parent(tmp_path), path, generator="para")

    assert made_by(version, "para") == [("a", 1, 0, 2), ("b", 1, 8, 1)]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.csv", b"", "is empty"),
        ("rows.csv", b"sentence,idx\n", "has no rows"),
        ("rows.csv", b"text,idx\nx,0\n", "no column 'sentence'"),
        ("rows.csv", b"sentence,p_bad\nx,1\n", "no column 'p_good'"),
        ("rows.parquet", b"PAR1", "cannot be read as a whole Parquet file"),
        ("rows.xlsx", b"PK\x03\x04", "unknown kind"),
        ("rows.jsonl", b'{"sentence": "a validation row"}\n', "none of the 1 row of para is new"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Fault) as caught:
        add_rows(parent(tmp_path), tmp_path / name, generator="para")

    assert says in str(caught.value)
    assert "augment init" not in caught.value.hint  # there is a task already
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["", "two words", "../up", "<b>", "word_replacement", "x" * 65])
def test_names_of_generators(tmp_path: Path, name: str) -> None:
    version, rows = parent(tmp_path), lines(tmp_path / "rows.jsonl", {"sentence": "x"})
    done = CliRunner().invoke(
        app, ["add", str(version.path), "--rows", str(rows), "--source", name]
    )

    assert done.exit_code == 2
    assert not isinstance(done.exception, Fault)


def test_the_command_says_what_was_made(tmp_path: Path) -> None:
    version, rows = parent(tmp_path), lines(tmp_path / "rows.jsonl", {"sentence": "x", "idx": 0})
    command = ["add", str(version.path), "--rows", str(rows), "--source", "para"]
    done = [CliRunner().invoke(app, command) for _ in range(2)]
    told = CliRunner().invoke(app, [*command, "--json"])

    assert [each.exit_code for each in done] == [0, 0]
    assert "tea@v0002" in done[0].stdout
    assert "nothing to do" in done[1].stderr
    assert json.loads(told.stdout)["derivation"]["command"] == "add"
