"""Whole runs with a masked LM of every family: the same bytes by one and two workers, odd texts."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

import pytest

from augment.analysis.plan import plan_task
from augment.analysis.stats import version_stats
from augment.contract import Version
from augment.executor.models import Models
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidate_store import describe_store
from augment.replacement.sampling import TextOfRow, sample_copies
from tests.integration.conftest import augmented
from tests.unit.augment.families import BUILDERS

ROWS = 40
RECIPE = AugmentRecipe(variants=4, top_k=8, top_k_of="words", vector_rows=1000)
ODD = [
    "Good film, isn't it?",
    "  the quick  brown fox,\tran ",
    "U.S. movie (red) lazy-cat",
    "a café movie, e\u0301clair music 🎉 good",
    "<mask> good [MASK] film </s> Ġfilm |||IP||| ##s",
    "'terrible ukulele' “splendid” dog’s city",
    "GOOD Film, wonderful GUITAR",
    "...",
]
TASK = """
name = "odd"
text_columns = ["sentence"]
metrics = ["accuracy"]
selection_metric = "accuracy"
[label]
column = "label"
kind = "classification"
names = ["no", "yes"]
[splits]
train = "train.csv"
validation = "validation.csv"
"""


@pytest.fixture(scope="module", params=BUILDERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    BUILDERS[request.param](made)
    return made


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("odd")
    for name, rows in (("train", ROWS), ("validation", 2)):
        with (place / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["sentence", "label"])
            writer.writerows([ODD[i % len(ODD)], ("no", "yes")[i % 2]] for i in range(rows))
    (place / "odd.toml").write_text(TASK)
    return place / "odd.toml"


def test_one_and_two_workers_and_the_store(
    folder: Path, task: Path, vectors_file: Path, tmp_path: Path
) -> None:
    def run(out: str, **options: int | Path) -> Version:
        return augmented(
            str(task),
            mlm=str(folder),
            vectors=str(vectors_file),
            out=tmp_path / out,
            recipe=RECIPE,
            threads=1,
            chunk_rows=23,
            **options,
        )

    one = run("one", store=tmp_path / "store")
    two = run("two", workers=2)
    again = run("again", store=tmp_path / "store")

    assert _digests(one) == _digests(two) == _digests(again)
    assert one.manifest.id == two.manifest.id
    assert describe_store(tmp_path / "store")[0].entries >= 15
    counts = one.manifest.counts
    assert min(counts["replaced.masked_lm"], counts["replaced.vectors"]) > 10
    assert "words.space" not in counts
    assert version_stats(one).replacement_rate > 0.1
    frame = one.to_pandas("train")
    originals = dict(frame[frame.variant == 0][["idx", "sentence"]].itertuples(index=False))
    for row in frame[frame.variant > 0].itertuples():
        _explained(originals[row.idx], row.sentence, list(row.edits))


def _digests(version: Version) -> list[str]:
    return [entry.sha256 for entry in version.manifest.files]


def _explained(original: str, text: str, edits: list[dict[str, str]]) -> None:
    """The edits make the text, no token's mark is in a word, and the casing is that of the text."""
    parts, at = [], 0
    for edit in edits:
        start, end, before, after = (edit[key] for key in ("start", "end", "before", "after"))
        assert original[start:end] == before
        assert after
        assert not set(after) & set(" \tĠĊ\ufffd")
        assert not after.startswith(("##", "[", "<")) or len(after) == 1
        if len(before) > 1 and before.isupper():
            assert after == after.upper()
        elif before[0].isupper():
            assert after[0] == after[0].upper()
        elif original.islower():
            assert after == after.lower()
        parts += [original[at:start], after]
        at = end
    assert "".join([*parts, original[at:]]) == text


def test_copies_advance_together_as_alone(folder: Path, vectors_file: Path) -> None:
    """The paper's reading: a row's copies do not depend on the rows beside it."""
    recipe = load_recipe("paper", "cola").model_copy(update={"variants": 4, "top_k": 6})
    finder = Models(str(folder), str(vectors_file)).load_finder(recipe)
    rows = [TextOfRow(i, "sentence", t, finder.words_of([t])[0]) for i, t in enumerate(ODD)]
    together = sample_copies(rows, finder, "cola")

    assert together == [sample_copies([row], finder, "cola")[0] for row in rows]
    variants = [
        (row, each.variant) for row, drawn in zip(rows, together, strict=True) for each in drawn
    ]
    assert sum(len(variant.edits) for _, variant in variants) > 30
    for row, variant in variants:
        _explained(row.text, variant.text, [asdict(edit) for edit in variant.edits])


def test_plan_counts_the_positions(folder: Path, task: Path, vectors_file: Path) -> None:
    plan = plan_task(str(task), mlm=str(folder), vectors=str(vectors_file), threads=1)

    assert (plan.rows_in, plan.distinct_texts) == (ROWS, len(ODD))
    assert plan.masked_positions > 10
    assert plan.vector_words >= 3
