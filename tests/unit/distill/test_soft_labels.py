"""Teachers' logits: of the right rows, in the data's order of labels, whoever splits the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BertTokenizerFast

from augment.contract import Version
from distill.data.batching import Collator
from distill.data.versions import tokenize
from distill.evaluation.evaluate import predict
from distill.evaluation.results import Judgment
from distill.evaluation.target import Logits
from distill.models.loading import Classifier
from distill.recipes.schema import Prediction, Training
from distill.runs.directory import RunDirectory
from distill.runs.progress import Narrator
from distill.training.schedule import row_order, rows_drawn
from distill.training.soft_labels import SoftLabels, SoftRows, soft_labels
from distill.training.teachers import Teacher, averaged_scores, teacher_name
from tests.unit.distill.helpers import BAD, GOOD, PLAIN, SENTIMENT, make_bert, make_tokenizer

ALL = np.arange(400)
Ask = Callable[..., SoftLabels]


@pytest.fixture(scope="module")
def teachers(
    version: Version, tokenizer: BertTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> list[Teacher]:
    """Two random teachers: one reads as the student does, one in another way, labels reversed."""
    cache = tmp_path_factory.mktemp("tokens")
    other = make_tokenizer(sorted([*PLAIN, *GOOD[:3], *BAD[3:]]))
    found = []
    for index, (reader, order) in enumerate(((tokenizer, None), (other, (1, 0)))):
        model = make_bert(reader, seed=index, layers=2).eval().requires_grad_(False)
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.2)
        tokens = tokenize(version, reader, 16, cache)
        found.append(
            Teacher(
                teacher_name(index),
                Classifier("t", model, reader, order),
                tokens,
                Judgment(scores={}),
            )
        )
    return found


@pytest.fixture(scope="module")
def ask(version: Version) -> Ask:
    def run(
        teachers: list[Teacher],
        folder: Path,
        needed: NDArray[np.int64] = ALL,
        data: str = "augmented",
        **more: Any,
    ) -> SoftLabels:
        run = RunDirectory(folder)
        settings = {"precision": "float32", "run": run, "narrator": Narrator(quiet=True)}
        return soft_labels(teachers, version, data, needed, **settings, **more)

    return run


def of(labels: SoftLabels, rows: Sequence[int]) -> Logits:
    return labels.of(np.asarray(rows))


def by_hand(teacher: Teacher, texts: Sequence[str]) -> Logits:
    reader, rows = teacher.classifier.tokenizer, []
    for text in texts:
        inputs = reader(text, truncation=True, max_length=16, return_tensors="pt")
        with torch.no_grad():
            logits = teacher.classifier.model(**inputs).logits[0]
        rows.append(logits.flip(-1) if teacher.classifier.order else logits)
    return torch.stack(rows).numpy()


def test_each_row_has_the_mean_of_its_own_logits(
    version: Version, teachers: list[Teacher], ask: Ask, tmp_path: Path
) -> None:
    texts = version.to_pandas("train")["sentence"]
    alone = ask(teachers[:1], tmp_path / "alone")
    both = ask(teachers, tmp_path / "both")
    some = [0, 1, 7, 200, 399]
    first, second = (by_hand(teacher, texts.iloc[some]) for teacher in teachers)
    np.testing.assert_allclose(of(alone, some), first, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of(both, some), (first + second) / 2, rtol=1e-4, atol=1e-5)

    assert both.of(ALL).dtype == np.float32
    assert both.of(ALL).shape == (400, 2)


def test_original_rows_alone(
    version: Version, teachers: list[Teacher], ask: Ask, tmp_path: Path
) -> None:
    frame = version.to_pandas("train")
    found = ask(teachers[:1], tmp_path, np.arange(200), "original")
    texts = frame[frame["variant"] == 0]["sentence"].iloc[[0, 150]]
    np.testing.assert_allclose(
        of(found, [0, 150]), by_hand(teachers[0], texts), rtol=1e-4, atol=1e-5
    )


class Interrupted(Classifier):
    """Ctrl-C at the fourth call; counts the rows of each."""

    calls: ClassVar[list[int]] = []

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        self.calls.append(len(inputs["input_ids"]))
        if len(self.calls) == 4:
            raise KeyboardInterrupt
        return super().logits(inputs)


def test_an_interrupted_call_goes_on_with_the_same_bytes(
    teachers: list[Teacher], ask: Ask, tmp_path: Path
) -> None:
    whole = ask(teachers[:1], tmp_path / "whole", block=64)
    own = teachers[0].classifier
    failing = Interrupted(own.name, own.model, own.tokenizer, own.order)
    again = [replace(teachers[0], classifier=failing)]

    with pytest.raises(KeyboardInterrupt):
        ask(again, tmp_path / "again", block=64)
    partial = next((tmp_path / "again").rglob("*.partial"))
    partial.write_bytes(partial.read_bytes() + b"torn")
    resumed = ask(again, tmp_path / "again", block=64)

    assert failing.calls == [64, 64, 64, 64, *[64, 64, 64], 16]
    assert resumed.of(ALL).tobytes() == whole.of(ALL).tobytes()
    left = (tmp_path / "again" / "work" / "soft-labels").iterdir()

    assert sorted(path.name for path in left) == [".soft-labels-1.f32.seal", "soft-labels-1.f32"]
    ask(again, tmp_path / "again", block=64)

    assert len(failing.calls) == 8


def test_rows_that_are_never_drawn_are_not_computed(
    teachers: list[Teacher], ask: Ask, tmp_path: Path
) -> None:
    needed = np.array([3, 5, 8])
    found = ask(teachers[:1], tmp_path, needed)

    assert np.isfinite(found.of(ALL)).all(axis=1).nonzero()[0].tolist() == [3, 5, 8]
    rows = SoftRows(teachers[0].tokens.train, found)

    assert len(rows) == 400
    batch = Collator(0)([rows[3], *rows.__getitems__([8, 5])])

    assert torch.equal(batch["soft_labels"], torch.from_numpy(of(found, [3, 8, 5])))
    assert batch["labels"].tolist() == [teachers[0].tokens.train[i]["labels"] for i in (3, 8, 5)]
    with pytest.raises(AssertionError, match="without a soft label"):
        rows[4]


def test_rows_drawn_are_the_first_of_the_order(teachers: list[Teacher]) -> None:
    rows = teachers[0].tokens.train
    some = rows_drawn(rows, Training(max_steps=5, batch_size=32), seed=1)

    assert some.tolist() == sorted(list(row_order(rows, 32, 1))[: 6 * 32])
    for steps in (12, None):
        assert rows_drawn(rows, Training(max_steps=steps), 1).tolist() == list(range(400))

    assert len(rows_drawn(rows, Prediction(epochs=0.1), 0)) == 3 * 32


def test_what_the_mean_scores(teachers: list[Teacher]) -> None:
    found = averaged_scores(teachers, SENTIMENT)
    rows = [teacher.tokens.validation["validation"] for teacher in teachers]
    logits = [predict(g.classifier, r) for g, r in zip(teachers, rows, strict=True)]
    right = np.mean((logits[0] + logits[1]).argmax(-1) == np.asarray(rows[0]["labels"]))

    assert found == {"validation": {"accuracy": pytest.approx(right)}}
