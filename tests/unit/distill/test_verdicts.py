"""What is simpler is measured beside a model, and losing to it is said in one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from rich.console import Console
from transformers import BertTokenizerFast

from augment.contract import Label, TaskSpec, Version
from distill.cli.output import print_result
from distill.evaluation import baselines, static_embeddings
from distill.evaluation.baselines import find_baselines
from distill.evaluation.collapse import Collapse
from distill.evaluation.results import Baseline, EvaluationResult, Measurement, Role, Selection
from distill.evaluation.static_embeddings import TokenTable
from distill.evaluation.verdicts import find_verdicts
from distill.runs.listing import Run
from tests.unit.distill.helpers import BAD, GOOD, SENTIMENT, make_bert, mood_rows, write_version

SELECTION = Selection(metric="macro_f1", split="validation")


def drawn(name: str, score: float, spread: float = 0.04) -> tuple[float, ...]:
    """Scores of resampled rows, as if models erred on rows that have nothing in common."""
    draw = np.random.default_rng(list(name.encode()))
    return tuple((score + spread * draw.normal(size=1000)).tolist())


def measured(
    name: str, score: float, collapse: Collapse | None = None, spread: float = 0.04
) -> Measurement:
    return Measurement.model_validate(
        {
            "model": name,
            "scores": {"validation": {"macro_f1": score}},
            "parameters": 2,
            "encoder_parameters": 1,
            "flops": 10,
            "file_bytes": 8,
            "max_length": 16,
            "latency": {"batch_1": 0.1, "throughput_32": 1e5, "device": "cpu", "threads": 1},
            "collapse": collapse,
            "resampled": drawn(name, score, spread),
        }
    )


def simple(name: str, score: float) -> Baseline:
    scores = {"validation": {"macro_f1": score}}
    resampled = drawn(name, score)
    return Baseline(name=name, scores=scores, rows=700, seconds=0.4, resampled=resampled)


def sentences(*models: Measurement, linear: float, **advice: str) -> list[tuple[str, str]]:
    others = [simple("always 'billing'", 0.11), simple("TF-IDF", linear)]
    found = find_verdicts(models, others, SELECTION, advice)
    return [(own.sentence, own.hint) for own in found]


def run_of(
    teacher: float, plain: float, distilled: float, spread: float = 0.04
) -> list[Measurement]:
    scores = {Role.TEACHER: teacher, Role.PLAIN: plain, Role.DISTILLED: distilled}
    return [measured(role, score, spread=spread) for role, score in scores.items()]


def test_a_student_that_wins_has_no_verdict() -> None:
    assert sentences(*run_of(0.9, 0.8, 0.85), linear=0.7) == []
    assert sentences(*run_of(0.9, 0.8, 0.801), linear=0.7) == []  # by little, but not by less
    assert sentences(measured("mine", 0.9), linear=0.8) == []


SURE = r"ahead by 0\.187, and by 0\.\d{3} to 0\.\d{3} in 95 of 100 resamples"
UNSURE = r"no clear difference: between 0\.\d{3} behind and 0\.\d{3} ahead in 95 of 100 resamples"


def test_a_student_that_loses_is_said_to() -> None:
    ((sentence, hint),) = sentences(*run_of(0.9, 0.5, 0.6), linear=0.787)

    assert not hint
    assert re.fullmatch(
        rf"The distilled student loses to TF-IDF \(0\.787, {SURE}\): its macro_f1 on validation is "
        r"0\.600\.",
        sentence,
    )


def test_within_the_noise_it_is_no_better() -> None:
    ((sentence, _),) = sentences(*run_of(0.9, 0.61, 0.6), linear=0.787, prediction="more")

    assert re.fullmatch(
        rf"The distilled student loses to TF-IDF \(0\.787, {SURE}\) and is no better than the "
        rf"student on labels only \(0\.610, {UNSURE}\): its macro_f1 .*",
        sentence,
    )
    ((sure, _),) = sentences(*run_of(0.9, 0.61, 0.6, spread=1e-3), linear=0.5)
    assert sure.startswith("The distilled student loses to the student on labels only (0.610, ")


def test_a_teacher_is_set_beside_the_baselines_too() -> None:
    ((sentence, hint),) = sentences(measured("mine", 0.5), linear=0.8, mine="more steps")

    assert sentence.startswith("mine loses to TF-IDF (0.800, ahead by 0.")
    assert hint == "more steps"


def test_who_has_collapsed_is_said_with_what_helps() -> None:
    seen = Collapse(split="validation", rows=150, sentence="answers 'billing' for all 150 rows")
    models = [
        measured(Role.TEACHER, 0.9),
        measured(Role.PLAIN, 0.11, seen),
        measured(Role.DISTILLED, 0.11, seen),
    ]
    advice = {Role.PLAIN.value: "longer", Role.DISTILLED.value: "faster"}

    assert sentences(*models, linear=0.8, **advice) == [
        ("The student on labels only answers 'billing' for all 150 rows.", "longer"),
        (
            "The distilled student answers 'billing' for all 150 rows: its macro_f1 is 0.110, that "
            "of TF-IDF 0.800.",
            "faster",
        ),
    ]


def test_an_evaluation_without_baselines_compares_nobody() -> None:
    models = [measured("one", 0.4), measured("two", 0.9)]

    assert find_verdicts(models, [], SELECTION, {}) == ()


def test_the_table_shows_baselines_and_ends_in_verdicts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = EvaluationResult.model_validate(
        {
            "version": "tickets@v0001",
            "version_id": "0" * 64,
            "task": "tickets",
            "selection": SELECTION,
            "rows": {"validation": 150},
            "models": run_of(0.9, 0.5, 0.6),
            "baseline": Role.TEACHER,
            "baselines": [simple("TF-IDF", 0.787)],
            "verdicts": [{"sentence": "It loses.", "hint": "[a]\nb = 1"}],
        }
    )
    print_result(result, Console(soft_wrap=True, width=200))
    lines = capsys.readouterr().out.splitlines()

    row = next(line for line in lines if line.split()[:2] == ["TF-IDF", "0.787"])
    assert row.count("–") == 7
    assert "  TF-IDF = on 700 original rows, 0.4 s" in lines
    assert [line.split() for line in lines[-3:]] == [
        ["warning", "It", "loses."],
        ["[a]"],
        ["b", "=", "1"],
    ]
    assert Run(tmp_path, outcome=result).verdicts == ("It loses.",)
    assert list(result.table()["model"]) == [own.model for own in result.models]


PAIR = TaskSpec(
    name="pairs",
    text_columns=("first", "second"),
    label=Label(kind="regression"),
    metrics=("pearson", "spearman"),
    selection_metric="pearson",
)


def of(version: Version, folder: Path, *splits: str) -> dict[str, Baseline]:
    return {own.name: own for own in find_baselines(version, splits or ("validation",), folder)}


def test_words_that_tell_the_label_are_found(version: Version, tmp_path: Path) -> None:
    found = of(version, tmp_path)

    assert list(found) == ["always 'negative'", "TF-IDF + logistic regression"]
    assert found["always 'negative'"].scores == {"validation": {"accuracy": 0.5}}
    linear = found["TF-IDF + logistic regression"]
    assert linear.rows == 200  # the original ones
    assert linear.scores["validation"]["accuracy"] > 0.95
    with mock.patch.object(baselines, "_measure", side_effect=AssertionError):
        assert of(version, tmp_path) == found


def test_the_same_word_in_the_other_text_is_another_feature(tmp_path: Path) -> None:
    """What counts is which of the two texts is the good one: a bag of both could not tell."""
    draw = np.random.default_rng(0)

    def rows(count: int) -> list[dict[str, Any]]:
        made = []
        for _ in range(count):
            good, bad = draw.choice(GOOD), draw.choice(BAD)
            first = bool(draw.integers(2))
            texts = (good, bad) if first else (bad, good)
            made.append({"first": texts[0], "second": texts[1], "label": 5.0 * first})
        return made

    made = write_version(tmp_path, PAIR, {"train": rows(120), "validation": rows(40)})
    found = of(made, tmp_path / "cache")

    assert list(found) == ["TF-IDF + ridge regression"]
    assert found["TF-IDF + ridge regression"].scores["validation"]["pearson"] > 0.95


def test_of_many_rows_some_are_taken(version: Version, tmp_path: Path) -> None:
    with mock.patch.object(baselines, "MOST_ROWS", 50):
        assert of(version, tmp_path)["TF-IDF + logistic regression"].rows == 50


@pytest.mark.parametrize("text", ["", "!!! ???", "好的 坏的"])
def test_texts_without_words_or_without_blanks(text: str, tmp_path: Path) -> None:
    rows = [{"sentence": text, "label": index % 2} for index in range(12)]
    found = of(write_version(tmp_path, SENTIMENT, {"train": rows, "validation": rows}), tmp_path)

    assert "always 'negative'" in found
    assert ("TF-IDF + logistic regression" in found) == ("好" in text)


def test_one_class_alone_leaves_nothing_to_learn(tmp_path: Path) -> None:
    train = [{**row, "label": 1} for row in mood_rows(8, 1)]
    version = write_version(tmp_path, SENTIMENT, {"train": train, "validation": mood_rows(8, 2)})

    assert list(of(version, tmp_path)) == ["always 'negative'"]


def test_rows_without_a_label_count_for_nothing(tmp_path: Path) -> None:
    unlabeled = [{**row, "label": -1} for row in mood_rows(10, 3)]
    rows = {"train": mood_rows(40, 1), "validation": [*mood_rows(20, 2), *unlabeled]}
    found = of(write_version(tmp_path, SENTIMENT, rows), tmp_path)

    assert found["always 'negative'"].scores == {"validation": {"accuracy": 0.5}}


def test_token_embeddings_tell_the_label(
    version: Version, tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    model = make_bert(tokenizer)
    table = TokenTable.of(model, tokenizer)
    found = find_baselines(version, ("validation",), tmp_path, table)
    *_, static = found

    assert static.name == "token embeddings + logistic regression"
    assert static.scores["validation"]["accuracy"] > 0.9
    assert static.intervals["validation"].high <= 1
    assert static.file_bytes is not None
    assert static.file_bytes > 4 * len(tokenizer) * 32
    (time,) = static.end_to_end
    assert time.batch_1 > 0
    with mock.patch.object(baselines, "_measure", side_effect=AssertionError):
        assert find_baselines(version, ("validation",), tmp_path, table) == found
    other = TokenTable.of(make_bert(tokenizer, seed=1), tokenizer)
    assert other.digest != table.digest


def test_a_mean_is_that_of_the_tokens_between_the_special_ones(
    tokenizer: BertTokenizerFast,
) -> None:
    table = TokenTable.of(make_bert(tokenizer), tokenizer)
    texts = ["good day", "", "a very [SEP] bad room", "zzz"]
    with mock.patch.object(static_embeddings, "ROWS_AT_ONCE", 3):
        found = table.means(texts)
    for text, own in zip(texts, found, strict=True):
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        expected = table.values[ids].mean(axis=0) if ids else np.zeros(32)
        np.testing.assert_allclose(own, expected, atol=1e-6)


def test_of_hundreds_of_classes_with_few_rows_embeddings_are_left_out(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    table = TokenTable.of(make_bert(tokenizer), tokenizer)
    made = write_version(
        tmp_path, SENTIMENT, {"train": mood_rows(60, 1), "validation": mood_rows(20, 2)}
    )
    with mock.patch.object(baselines, "MOST_WORK", 32 * 30):
        found = find_baselines(made, ("validation",), tmp_path / "some", table)
        assert found[-1].rows == 30
    with mock.patch.object(baselines, "MOST_WORK", 32 * 9):
        found = find_baselines(made, ("validation",), tmp_path / "none", table)
        assert [own.name for own in found][1:] == ["TF-IDF + logistic regression"]


def test_rows_are_answered_some_at_a_time(
    tokenizer: BertTokenizerFast, version: Version, tmp_path: Path
) -> None:
    table = TokenTable.of(make_bert(tokenizer), tokenizer)
    whole = find_baselines(version, ("validation",), tmp_path / "whole", table)
    with mock.patch.object(baselines, "ROWS_AT_ONCE", 7):
        parts = find_baselines(version, ("validation",), tmp_path / "parts", table)

    assert [own.scores for own in parts] == [own.scores for own in whole]
    assert [own.resampled for own in parts] == [own.resampled for own in whole]


def test_of_very_many_classes_words_are_left_out(tmp_path: Path) -> None:
    made = write_version(
        tmp_path, SENTIMENT, {"train": mood_rows(60, 1), "validation": mood_rows(20, 2)}
    )
    with mock.patch.object(baselines, "MOST_FITTED", 30):
        assert find_baselines(made, ("validation",), tmp_path / "some")[-1].rows == 30
    with mock.patch.object(baselines, "MOST_FITTED", 9):
        assert len(find_baselines(made, ("validation",), tmp_path / "none")) == 1


def test_of_a_pair_the_embeddings_know_which_text_is_which(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    rows = [
        {"first": own["sentence"], "second": "a day", "label": 5.0 * own["label"]}
        for own in mood_rows(120, 1)
    ]
    made = write_version(tmp_path, PAIR, {"train": rows[:80], "validation": rows[80:]})
    table = TokenTable.of(make_bert(tokenizer), tokenizer)
    *_, static = find_baselines(made, ("validation",), tmp_path / "cache", table)

    assert static.name == "token embeddings + ridge regression"
    assert static.scores["validation"]["pearson"] > 0.5
    assert len(static.end_to_end) == 1
