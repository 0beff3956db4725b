"""What a stage draws: parts, shares, their order, and which rows the teacher must answer."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizerFast

from augment.contract import UNLABELED, Label, Splits, TaskSpec, Version, open_version
from distill.data import mixtures
from distill.data.batching import LengthGrouped
from distill.data.mixtures import mix, shares_of
from distill.data.row_batches import row_batches
from distill.data.row_sets import check_parts
from distill.data.versions import (
    TokenizedSplits,
    TokenSamples,
    labeled,
    tokenize,
    tokenize_split,
)
from distill.errors import DataInvalid, RecipeInvalid
from distill.recipes.load import RECIPES, load_recipe
from distill.recipes.mixtures import PARTS, Data, Shares, count_parts, parts_of
from distill.recipes.schema import Training
from distill.stages.losses import label_loss
from distill.training.schedule import row_order, rows_drawn
from tests.reference import mixtures as reference
from tests.unit.distill.helpers import MIXED, SENTIMENT, blind, mood_rows, write_version

SHARES = st.lists(st.floats(0, 1e300) | st.integers(0, 9), min_size=1, max_size=3).filter(any)
THREE = Shares(original=1, augmented=1, unlabeled=2)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """60 rows with one variant each, 50 rows without labels."""
    rows = {
        "train": mood_rows(60, 1, variants=2),
        "validation": mood_rows(40, 2),
        "unlabeled": blind(mood_rows(50, 3)),
    }
    return write_version(tmp_path_factory.mktemp("mixed"), MIXED, rows)


@pytest.fixture(scope="module")
def tokens(mixed: Version, tokenizer: BertTokenizerFast, tmp_path_factory: Any) -> TokenizedSplits:
    return tokenize(mixed, tokenizer, 16, tmp_path_factory.mktemp("t"), unlabeled=True)


def test_narrowing_is_measured_on_rows_without_labels_where_others_are_few(
    mixed: Version, tokenizer: BertTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind_rows = tokenizer(mixed.to_pandas("unlabeled")["sentence"].tolist())["input_ids"]
    found = list(TokenSamples(mixed, tokenizer))
    assert len(found) == 110
    assert found[60:] == blind_rows

    monkeypatch.setattr("distill.data.versions.ROWS_MEASURED", 60)
    assert list(TokenSamples(mixed, tokenizer)) == found[:60]


@settings(deadline=None)
@given(total=st.integers(0, 10**9), shares=SHARES)
def test_an_epoch_is_divided_exactly(total: int, shares: list[float]) -> None:
    found = shares_of(total, shares)

    assert list(found) == reference.counts(total, shares)
    assert sum(found) == total
    assert all(count == 0 for count, share in zip(found, shares, strict=True) if share == 0)


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    shares=st.tuples(*[st.integers(1, 5)] * 3),
    seed=st.integers(0, 2**31 - 1),
    at_once=st.sampled_from([1, 7, 64]),
)
def test_draws_are_those_of_endless_streams(
    numbers: list[int], shares: tuple[int, int, int], seed: int, at_once: int
) -> None:
    """In any order of asking: epochs are functions of their number, not of those before them."""
    parts = {k: [i for i, n in enumerate(numbers) if n == k] for k in sorted(set(numbers))}
    weights = [share if number in parts else 0 for number, share in enumerate(shares)]
    slow = list(islice(reference.epochs(parts, dict(enumerate(shares)), seed, at_once), 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixtures, "ROWS_AT_ONCE", at_once)
        mixture = mix(np.array(numbers, np.int8), weights)
        for epoch in (5, 0, 3, 1, 4, 2):
            assert mixture.epoch(seed, epoch).tolist() == slow[epoch]
        for epochs in range(6):
            seen = {place for epoch in slow[:epochs] for place in epoch}
            assert set(mixture.seen(seed, epochs).tolist()) == seen

    assert len(mixture) == len(numbers)


def test_a_small_part_repeats_and_a_large_one_is_gone_through_in_turn() -> None:
    mixture = mix(np.repeat(np.array([0, 2], np.int8), [10, 990]), [1, 0, 1])
    draws = [Counter(mixture.epoch(0, epoch).tolist()) for epoch in range(4)]
    small = [sum(c for place, c in epoch.items() if place < 10) for epoch in draws]
    both = draws[0] + draws[1]

    assert small == [500] * 4
    assert all(both[place] == 100 for place in range(10))
    assert all(count == 1 for place, count in (draws[0]).items() if place >= 10)
    assert len(both) == 10 + 990
    assert draws[0] != draws[1]


def test_batches_of_a_mixture_hold_rows_of_about_one_length() -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(4, 60, size=4000).astype(np.int32)
    mixture = mix((np.arange(4000) % 3).astype(np.int8), [1, 2, 3])
    order = LengthGrouped(lengths, 16, 1, mixture)
    first = list(order)
    spread = [np.ptp(lengths[first[i : i + 16]]) for i in range(0, 4000, 16)]
    kinds = [len({place % 3 for place in first[i : i + 16]}) for i in range(0, 4000, 16)]

    assert np.median(spread) <= 3
    assert Counter(place % 3 for place in first) == {0: 667, 1: 1333, 2: 2000}
    assert np.mean(np.array(kinds) > 1) > 0.95  # parts meet in a batch
    assert len(order) == len(first) == 4000
    assert list(order) == first
    order.set_epoch(1)
    assert list(order) != first


@pytest.mark.parametrize(
    ("data", "idx", "mixture"),
    [
        ("original", 60, False),
        ("augmented", 120, False),
        ("unlabeled", 50, False),
        ("all", 170, False),
        (THREE, 170, True),
        (Shares(unlabeled=3), 50, False),
        (Shares(augmented=1), 60, False),
        (Shares(original=1, unlabeled=0.5), 110, True),
        (Shares(augmented=1, unlabeled=0.5), 110, True),
    ],
)
def test_rows_are_those_of_the_named_parts_in_the_order_of_the_version(
    mixed: Version, tokens: TokenizedSplits, data: Data, idx: int, mixture: bool
) -> None:
    found = tokens.rows(data)
    batches = list(row_batches(mixed, data, ["idx", "variant", "label"]))
    table = pa.Table.from_batches([batch.rows for batch in batches])
    labels = [-1 if label is None else label for label in table["label"].to_pylist()]
    assert {batch.split == "unlabeled" for batch in batches} == {
        part == "unlabeled" for part in parts_of(data)
    }

    assert len(found) == found.rows.num_rows == idx
    assert (found.mixture is not None) == mixture
    assert list(found.rows["idx"]) == table["idx"].to_pylist()
    assert list(found.rows["variant"]) == table["variant"].to_pylist()
    assert list(found.rows["labels"]) == labels
    for part in found.mixture.parts if found.mixture else ():
        own = [found.rows[int(place)] for place in part.places]
        kinds = {
            "unlabeled" if row["labels"] == UNLABELED else PARTS[row["variant"] > 0] for row in own
        }
        assert kinds == {PARTS[part.number]}


def test_rows_that_are_left_out_leave_shares_as_they_are(tokens: TokenizedSplits) -> None:
    whole = tokens.rows(THREE)
    chosen = np.arange(170) % 3 > 0
    some = whole.keep(chosen)
    assert some.mixture is not None
    assert list(some.rows["idx"]) == [
        i for i, c in zip(whole.rows["idx"], chosen, strict=True) if c
    ]
    assert [part.draws for part in some.mixture.parts] == list(shares_of(len(some), [1, 1, 2]))
    for part in some.mixture.parts:
        rows = some.rows.select(part.places)
        assert {label == UNLABELED for label in rows["labels"]} == {part.number == 2}
    assert len(tokens.rows("all").keep(chosen)) == chosen.sum()
    assert whole.keep(np.ones(170, bool)) is whole


@pytest.mark.parametrize("data", ["all", THREE, Shares(original=1, unlabeled=9)])
@pytest.mark.parametrize("steps", [1, 3, 10, 11, 40, None])
def test_the_teacher_answers_exactly_the_rows_that_are_drawn(
    tokens: TokenizedSplits, data: Data, steps: int | None
) -> None:
    drawn, training = tokens.rows(data), Training(max_steps=steps, batch_size=16, epochs=3)
    needed = rows_drawn(drawn.rows, training, 7, drawn.mixture)
    order = row_order(drawn.rows, 16, 7, drawn.mixture)
    batches: list[list[int]] = []
    for epoch in range(5):
        order.set_epoch(epoch)
        places = list(order)
        batches += [places[start : start + 16] for start in range(0, len(places), 16)]
    last = 3 * math.ceil(len(drawn) / 16)
    ahead = batches[: min(steps or last, last) + 1]
    expected = sorted({place for batch in ahead for place in batch})

    assert needed.tolist() == expected


def test_unlabeled_rows_are_read_only_where_they_are_asked_for(
    mixed: Version, tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    without = tokenize(mixed, tokenizer, 16, tmp_path)
    assert without.unlabeled is None
    assert len(list(tmp_path.glob("*.arrow"))) == 2
    asked = tokenize(mixed, tokenizer, 16, tmp_path, unlabeled=True)
    assert asked.unlabeled is not None
    assert asked.train.cache_files == without.train.cache_files
    assert asked.unlabeled.features == asked.train.features
    assert [Path(f["filename"]).name[:10] for f in asked.rows("all").rows.cache_files] == [
        Path(asked.train.cache_files[0]["filename"]).name[:10],
        "unlabeled-",
    ]


def test_a_score_that_is_missing_is_not_a_number(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    task = TaskSpec(
        name="warmth",
        text_columns=("sentence",),
        label=Label(column="score", kind="regression"),
        metrics=("pearson",),
        selection_metric="pearson",
        splits=Splits(unlabeled="unlabeled"),
    )
    rows = [{"sentence": "good", "score": -1.0}, {"sentence": "bad", "score": 2.5}]
    more = [{"sentence": "good day", "score": None}]
    version = write_version(tmp_path, task, {"train": rows, "validation": rows, "unlabeled": more})
    found = tokenize(version, tokenizer, 16, tmp_path / "c", unlabeled=True).rows("all").rows

    assert found["labels"][:2] == [-1.0, 2.5]
    assert math.isnan(found["labels"][2])
    blind = tokenize_split(version, "unlabeled", tokenizer, 16, tmp_path / "c")
    assert len(labeled(blind, task, "unlabeled")) == 0  # nothing to compare answers with


@pytest.mark.parametrize("row", [{"label": 1}, {"sentence": None}])
def test_unlabeled_rows_have_a_text_and_no_label(
    tokenizer: BertTokenizerFast, tmp_path: Path, row: dict[str, Any]
) -> None:
    good = mood_rows(4, seed=0)
    bad = [{"sentence": "day", "label": None}, {"sentence": "day", "label": None, **row}]
    splits = {"train": good, "validation": good, "unlabeled": bad}
    version = write_version(tmp_path, MIXED, splits)
    with pytest.raises(DataInvalid, match="split 'unlabeled', row idx 1: "):
        tokenize(version, tokenizer, 16, tmp_path / "c", unlabeled=True)
    null = [{**row, "label": None} for row in good]
    version = write_version(tmp_path / "b", MIXED, {"train": null, "validation": good})
    with pytest.raises(DataInvalid, match=r"row idx 0: label is empty \(null\)"):
        tokenize(version, tokenizer, 16, tmp_path / "c", unlabeled=True)


def test_parts_without_rows(mixed: Version, version: Version) -> None:
    assert count_parts(mixed) == {"original": 60, "augmented": 60, "unlabeled": 50}
    assert count_parts(version) == {"original": 200, "augmented": 200, "unlabeled": 0}
    check_parts(mixed, {"intermediate": THREE, "prediction": "unlabeled", "plain": "augmented"})
    check_parts(version, {"intermediate": "all", "plain": "all"})
    for data in ("unlabeled", THREE, Shares(original=1, unlabeled=0.1)):
        with pytest.raises(DataInvalid, match=r"mood@v0001 has no unlabeled rows.*\[prediction\]"):
            check_parts(version, {"intermediate": "all", "prediction": data})


def test_a_version_where_nothing_was_generated(tmp_path: Path) -> None:
    rows = {"train": mood_rows(8, 1), "validation": mood_rows(8, 2)}
    version = write_version(tmp_path, SENTIMENT, rows)
    check_parts(version, {"intermediate": "augmented", "prediction": "all", "plain": "original"})
    with pytest.raises(DataInvalid, match="no augmented rows") as caught:
        check_parts(version, {"plain": Shares(original=1, augmented=1)})

    assert "augment" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_version_of_contract_1_gives_the_rows_that_it_gave(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    """Names in the cache, tokens and orders, as they were before there were mixtures."""
    version = open_version(Path(__file__).parents[2] / "contract" / "contract_1")
    tokens = tokenize(version, tokenizer, 16, tmp_path, unlabeled=True)
    kept = {name: tokens.rows(name).rows for name in ("augmented", "original")}
    order = LengthGrouped(np.arange(100, dtype=np.int32) % 17, 8, 5)
    orders = [list(order)]
    order.set_epoch(3)
    orders.append(list(order))

    assert tokens.unlabeled is None
    assert tokens.rows("all").rows is kept["augmented"] is tokens.train
    assert sorted(file.name for file in tmp_path.glob("*.arrow")) == [
        "train-a7294240c320cb36.arrow",
        "validation-a7294240c320cb36.arrow",
    ]
    assert {name: digest(rows[:]) for name, rows in kept.items()} == {
        "augmented": "6d445bd2f662a174",
        "original": "c95d25a7670b5f73",
    }
    assert digest(orders) == "d444509666577aa9"


def digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("section", "data", "fault"),
    [
        ("prediction", "augmentd", 'must be "original", "augmented", "unlabeled", "all" or a'),
        ("prediction", ["original"], 'must be "original", "augmented", "unlabeled", "all" or a'),
        ("prediction", True, 'must be "original", "augmented", "unlabeled", "all" or a'),
        ("intermediate", {"unlabelled": 1}, "there is no part 'unlabelled'; parts are original,"),
        ("intermediate", {"all": 1}, "there is no part 'all'"),
        ("intermediate", {"original": -1}, "share of original must be a finite number of at leas"),
        ("intermediate", {"original": True}, "share of original must be a finite number"),
        ("intermediate", {"unlabeled": "2"}, "share of unlabeled must be a finite number"),
        ("intermediate", {"augmented": math.nan}, "share of augmented must be a finite number"),
        ("intermediate", {"augmented": math.inf}, "share of augmented must be a finite number"),
        ("intermediate", {"original": 0, "augmented": 0.0}, "every share is 0"),
        ("intermediate", {}, "every share is 0"),
        ("plain", "unlabeled", "unlabeled rows have no label to learn from here"),
        ("plain", {"original": 1, "unlabeled": 1}, "unlabeled rows have no label to learn from"),
        ("teacher", "unlabeled", "unlabeled rows have no label to learn from here"),
        ("plain", {"augmentd": 1}, "there is no part 'augmentd'"),
    ],
)
def test_data_that_makes_no_sense(section: str, data: Any, fault: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        RECIPES.resolve({section: {"data": data}}, "sst2")
    assert caught.value.hint.startswith(f"{section}.data  ")
    assert fault in caught.value.hint
    with pytest.raises(RecipeInvalid, match="1 fault") as caught:
        RECIPES.resolve({"task": {"mine": {section: {"data": data}}}}, "other")
    assert caught.value.hint.startswith(f"task.mine.{section}.data  ")


def test_labels_alone_teach_nothing_about_unlabeled_rows() -> None:
    alone = {"weights": {"logits": 0.0, "labels": 1.0}}
    for data in ("unlabeled", {"unlabeled": 2}):
        with pytest.raises(RecipeInvalid) as caught:
            RECIPES.resolve({"prediction": {**alone, "data": data}}, "x")
        assert "unlabeled rows teach nothing where weights.logits is 0" in caught.value.hint
    everything = RECIPES.resolve({"prediction": {**alone, "data": "all"}}, "x").prediction
    shared = RECIPES.resolve({"prediction": {**alone, "data": THREE.model_dump()}}, "x").prediction
    states = {"weights": {"logits": 0.0, "labels": 1.0, "cosine": 1.0}, "data": "unlabeled"}

    assert everything.draws_from == "augmented"
    assert shared.draws_from == Shares(original=1, augmented=1)
    assert RECIPES.resolve({"prediction": states}, "x").prediction.draws_from == "unlabeled"


def test_shares_of_a_recipe_and_of_single_tasks() -> None:
    raw = {
        "intermediate": {"data": {"original": 1, "unlabeled": 2.5}},
        "plain": {"data": "all"},
        "task": {
            "stsb": {"intermediate": {"data": {"original": 0}}, "plain": {"data": "original"}}
        },
    }
    recipe, other = (RECIPES.resolve(raw, task) for task in ("sst2", "stsb"))

    assert recipe.intermediate.data == Shares(original=1, unlabeled=2.5)
    assert str(recipe.intermediate.data) == "mixed (original 1, unlabeled 2.5)"
    assert recipe.plain.data == "augmented"
    assert (other.intermediate.data, other.plain.data) == (Shares(unlabeled=2.5), "original")
    assert type(recipe).model_validate(recipe.model_dump(mode="json")) == recipe
    assert recipe.draws_unlabeled
    assert parts_of("augmented") == ("original", "augmented")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_mean_over_labeled_rows(seed: int, classes: int) -> None:
    draw = np.random.default_rng((seed, classes))
    logits = torch.tensor(draw.normal(size=(9, classes)), dtype=torch.float32, requires_grad=True)
    labels = draw.integers(0, classes, 9).astype(float) + (classes == 1) * draw.normal(size=9)
    labels[draw.random(9) < (0.0, 0.4, 1.0)[seed % 3]] = math.nan if classes == 1 else -1
    kind = torch.float32 if classes == 1 else torch.int64
    found = label_loss(logits, torch.tensor(labels).to(kind))
    found.backward()
    expected = reference.label_loss(logits.tolist(), labels.tolist())
    blind_rows = np.isnan(labels) if classes == 1 else labels == -1

    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad[torch.from_numpy(blind_rows)].any()


def test_quick_draws_the_very_rows_that_it_drew_where_nothing_is_unlabeled(
    version: Version, tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    recipe = load_recipe("quick", "sst2")
    tokens = tokenize(version, tokenizer, 16, tmp_path, unlabeled=recipe.draws_unlabeled)
    for stage in (recipe.intermediate, recipe.prediction):
        before = stage.model_copy(update={"data": "augmented"})
        now, then = (tokens.rows(each.draws_from) for each in (stage, before))
        assert stage.data == "all"
        assert now.rows is then.rows
        assert now.mixture is then.mixture is None


@pytest.mark.parametrize("size", [121, 2**63 - 1])
@pytest.mark.parametrize("data", ["augmented", THREE])
def test_a_batch_may_be_larger_than_all_rows(
    tokens: TokenizedSplits, data: Data, size: int
) -> None:
    drawn = tokens.rows(data)
    order = list(row_order(drawn.rows, max(size, len(drawn) + 1), 7, drawn.mixture))

    assert len(order) == len(drawn)
    assert set(order) <= set(range(len(drawn)))
