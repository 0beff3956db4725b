"""A model that has collapsed is named, and one that has not never is."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

import numpy as np
import pytest

from augment.contract import Label, TaskSpec
from distill.evaluation.collapse import Collapse, find_collapse
from distill.evaluation.evaluate import fitness
from distill.evaluation.metrics import Array
from distill.evaluation.results import Judgment
from distill.recipes.auto import Facts, resolve
from distill.recipes.load import RECIPES
from distill.recipes.schema import Optimization
from distill.training.advice import advice
from distill.training.schedule import total_steps

QUEUES = ("account", "billing", "cancellation", "shipping", "technical")
TICKETS = np.repeat(np.arange(5), [22, 57, 11, 30, 30])


def task_of(*names: str, metric: str = "macro_f1") -> TaskSpec:
    label = Label(names=names) if names else Label(kind="regression")
    return TaskSpec(
        name="tickets",
        text_columns=("body",),
        label=label,
        metrics=(metric,),
        selection_metric=metric,
    )


def of_classes(answers: Array, labels: Array, names: Sequence[str] = QUEUES) -> Collapse | None:
    return find_collapse(answers, labels, task_of(*names))


def of_scores(answers: Sequence[float], labels: Sequence[float]) -> Collapse | None:
    return find_collapse(np.asarray(answers), np.asarray(labels), task_of(metric="pearson"))


def test_one_answer_to_every_row() -> None:
    found = of_classes(np.full(150, 1), TICKETS)

    assert found is not None
    assert not found.partial
    assert found.recalls == {name: float(name == "billing") for name in QUEUES}
    assert found.sentence == (
        "answers 'billing' for all 150 rows of validation (38% of the labels say so); "
        "4 of 5 classes are never found"
    )


def test_one_answer_to_nearly_every_row() -> None:
    answers = np.full(150, 1)
    answers[-12:] = 4

    found = of_classes(answers, TICKETS)

    assert found is not None
    assert found.sentence.startswith("answers 'billing' for 138 of 150 rows of validation (38%")
    assert found.sentence.endswith("3 of 5 classes are never found")


def test_most_classes_never_found_at_random_is_a_collapse_too() -> None:
    answers = np.where(np.arange(150) % 2, 1, 4)

    found = of_classes(answers, TICKETS)

    assert found is not None
    assert not found.partial
    assert found.sentence == (
        "never finds 'account', 'cancellation' and 'shipping': 3 of 5 classes on validation"
    )


def test_some_classes_told_apart_and_most_never_found_is_half_of_one() -> None:
    names = [f"c{number}" for number in range(9)]
    labels = np.repeat(np.arange(9), [60, 60, 5, 5, 5, 5, 5, 5, 5])
    answers = np.where(labels < 2, labels, 0)

    found = of_classes(answers, labels, names)

    assert found is not None
    assert found.partial
    assert found.sentence == (
        "never finds 'c2', 'c3', 'c4', 'c5' and 3 more: 7 of 9 classes on validation"
    )


MOSTLY_ONE = np.repeat([0, 1], [950, 50])


def test_a_split_that_is_mostly_one_class_proves_nothing_by_its_share() -> None:
    careful = MOSTLY_ONE.copy()
    careful[950:975] = 0  # half of the rare rows are found

    assert of_classes(careful, MOSTLY_ONE, ("ok", "fraud")) is None
    assert of_classes(MOSTLY_ONE, MOSTLY_ONE, ("ok", "fraud")) is None

    blind = of_classes(np.zeros(1000, dtype=int), MOSTLY_ONE, ("ok", "fraud"))

    assert blind is not None
    assert (
        blind.sentence == "answers 'ok' for all 1,000 rows of validation (95% of the labels say so)"
    )


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (np.zeros(4, int), np.array([0, 0, 1, 1])),  # four rows: by chance
        (np.zeros(40, int), np.repeat([0, 1], [37, 3])),  # three rows of other classes: by chance
        (np.zeros(40, int), np.zeros(40, int)),  # nothing else to find
        (TICKETS, TICKETS),
        (np.array([1]), np.array([0])),
        (np.zeros(0, int), np.zeros(0, int)),
    ],
)
def test_too_few_rows_prove_nothing(answers: Array, labels: Array) -> None:
    assert of_classes(answers, labels) is None


def test_classes_without_rows_are_none_that_were_missed() -> None:
    names = [f"c{number}" for number in range(40)]
    labels = np.repeat([3, 7], 20)

    assert of_classes(labels, labels, names) is None

    found = of_classes(np.full(40, 39), labels, names)  # an answer that no label gives

    assert found is not None
    assert found.recalls == {"c3": 0, "c7": 0}
    assert "'c39' for all 40 rows of validation (0% of" in found.sentence


def test_many_classes_of_a_row_or_two_are_missed_by_chance() -> None:
    labels = np.repeat(np.arange(30), 2)
    answers = np.where(np.arange(60) < 24, labels, 29)

    assert of_classes(answers, labels, [f"c{number}" for number in range(30)]) is None


SCORES = np.linspace(0, 5, 100)


@pytest.mark.parametrize("answers", [np.full(100, 2.5), 2.5 + 1e-4 * np.cos(SCORES * 90)])
def test_scores_that_are_all_the_same(answers: Array) -> None:
    found = find_collapse(answers.astype(np.float32), SCORES, task_of(metric="pearson"))

    assert found is not None
    assert found.recalls == {}
    assert "gives all 100 rows of validation about the same score, 2.5" in found.sentence
    assert "(the labels range from 0 to 5)" in found.sentence


def test_scores_that_are_no_numbers() -> None:
    found = of_scores([np.nan, *SCORES[1:]], SCORES)

    assert found is not None
    assert found.sentence == "has no finite score for 1 row of validation"


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (SCORES * 1e-3, SCORES),  # small, and in the right order
        (SCORES[::-1], SCORES),  # wrong, and no collapse
        (np.full(100, 2.5), np.full(100, 2.5)),  # the labels are all the same
        (np.full(3, 2.5), SCORES[:3]),
        (np.zeros(0), np.zeros(0)),
    ],
)
def test_scores_that_prove_nothing(answers: Array, labels: Array) -> None:
    assert find_collapse(answers, labels, task_of(metric="pearson")) is None


def judged(metric: str, score: float, collapse: Collapse | None = None) -> Judgment:
    return Judgment(scores={"validation": {metric: score}}, collapse=collapse)


@pytest.mark.parametrize(
    ("metric", "labels", "weak", "fit"),
    [
        ("accuracy", np.arange(100) % 2, 0.53, 0.54),
        ("accuracy", MOSTLY_ONE, 0.952, 0.96),  # room above guessing is small there
        ("macro_f1", TICKETS, 0.175, 0.3),  # a constant answer has 0.11, one drawn like labels 0.2
        ("balanced_accuracy", TICKETS, 0.2, 0.3),
        ("matthews", TICKETS, 0.05, 0.1),
    ],
)
def test_a_weak_teacher_is_one_that_hardly_beats_guessing(
    metric: str, labels: Array, weak: float, fit: float
) -> None:
    names = QUEUES[: labels.max() + 1]
    rows = {"validation": {"labels": labels}}

    class Rows(dict[str, Array]):
        def __len__(self) -> int:
            return len(labels)

    splits = {name: Rows(own) for name, own in rows.items()}
    task = task_of(*names, metric=metric)

    assert "looks untuned" in fitness(judged(metric, weak), task, splits).weakness  # type: ignore[arg-type]
    assert not fitness(judged(metric, fit), task, splits).weakness  # type: ignore[arg-type]
    seen = of_classes(np.ones_like(labels), labels, names)
    collapsed = fitness(judged(metric, fit, seen), task, splits)  # type: ignore[arg-type]
    assert f"It answers {names[1]!r} for all" in collapsed.weakness


@pytest.mark.parametrize("name", ["tickets", "support.v2"])
@pytest.mark.parametrize("section", ["teacher", "prediction", "plain"])
@pytest.mark.parametrize("rows", [3, 700, 100_000])
@pytest.mark.parametrize("rate", [1e-6, 1e-4, 2e-2])
@pytest.mark.parametrize("most", [66, 5000])
def test_the_lines_work_when_pasted(
    name: str, section: str, rows: int, rate: float, most: int
) -> None:
    """At the end of every shipped recipe, and alone; they ask for something else than before."""
    before = Optimization(epochs=30, batch_size=16, max_steps=most, learning_rate=rate)
    first, *lines = advice(name, section, before, rows).split("\n")
    alone = "\n".join(f"              {line}" for line in lines)

    assert "--recipe FILE" in first
    facts = Facts(original=rows, augmented=rows)
    for text in (alone, *(f"{RECIPES.text(shipped)}\n{alone}" for shipped in RECIPES.names)):
        recipe = resolve(RECIPES.resolve(tomllib.loads(text), name), facts)
        after = getattr(recipe, section).numbers
        assert after.learning_rate != rate or total_steps(rows, after) > total_steps(rows, before)
        assert total_steps(rows, after) >= total_steps(rows, before)
        if "in place of" in first:
            assert f"give it {total_steps(rows, after):,} steps in place of" in first
