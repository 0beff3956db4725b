"""Teachers' logits: of the right rows, in the data's order of labels, whoever splits the text."""

import numpy as np
import pytest
import torch

from distill.data.batching import Collator
from distill.data.versions import tokenize
from distill.models.loading import Classifier
from distill.progress import Narrator
from distill.recipes.schema import Prediction, Training
from distill.training import soft_labels as module
from distill.training.schedule import row_order, rows_drawn
from distill.training.soft_labels import SoftRows, soft_labels
from distill.training.teachers import Teacher, averaged_scores, teacher_name
from tests.unit.distill.helpers import BAD, GOOD, PLAIN, SENTIMENT, make_bert, make_tokenizer

ALL = np.arange(400)


@pytest.fixture(scope="module")
def guides(version, tokenizer, tmp_path_factory):
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
            Teacher(teacher_name(index), Classifier("t", model, reader, order), tokens, {})
        )
    return found


def ask(guides, folder, needed=ALL, data="augmented"):
    settings = {"precision": "float32", "folder": folder, "narrator": Narrator(quiet=True)}
    return soft_labels(guides, data, needed, **settings)


def by_hand(guide, texts):
    reader, rows = guide.classifier.tokenizer, []
    for text in texts:
        inputs = reader(text, truncation=True, max_length=16, return_tensors="pt")
        with torch.no_grad():
            logits = guide.classifier.model(**inputs).logits[0]
        rows.append(logits.flip(-1) if guide.classifier.order else logits)
    return torch.stack(rows).numpy()


def test_each_row_has_the_mean_of_its_own_logits(version, guides, tmp_path):
    texts = version.to_pandas("train")["sentence"]
    alone = ask(guides[:1], tmp_path / "alone")
    both = ask(guides, tmp_path / "both")
    some = [0, 1, 7, 200, 399]
    first, second = (by_hand(guide, texts.iloc[some]) for guide in guides)
    np.testing.assert_allclose(alone[some], first, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both[some], (first + second) / 2, rtol=1e-4, atol=1e-5)
    assert both.dtype == np.float32
    assert both.shape == (400, 2)


def test_original_rows_alone(version, guides, tmp_path):
    frame = version.to_pandas("train")
    found = ask(guides[:1], tmp_path, np.arange(200), "original")
    texts = frame[frame["variant"] == 0]["sentence"].iloc[[0, 150]]
    np.testing.assert_allclose(found[[0, 150]], by_hand(guides[0], texts), rtol=1e-4, atol=1e-5)


def test_an_interrupted_call_goes_on_with_the_same_bytes(guides, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 64)
    whole = ask(guides[:1], tmp_path / "whole")
    real, calls = module.predict, []

    def failing(classifier, rows):
        calls.append(len(rows))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(classifier, rows)

    monkeypatch.setattr(module, "predict", failing)
    with pytest.raises(KeyboardInterrupt):
        ask(guides[:1], tmp_path / "again")
    partial = next((tmp_path / "again").glob("*.partial"))
    partial.write_bytes(partial.read_bytes() + b"torn")
    again = ask(guides[:1], tmp_path / "again")
    assert calls == [64, 64, 64, 64, *[64, 64, 64], 16]
    assert again.tobytes() == whole.tobytes()
    assert [p.suffix for p in (tmp_path / "again").iterdir()] == [".f32"]
    ask(guides[:1], tmp_path / "again")
    assert len(calls) == 8


def test_rows_that_are_never_drawn_are_not_computed(guides, tmp_path):
    needed = np.array([3, 5, 8])
    found = ask(guides[:1], tmp_path, needed)
    assert np.isfinite(found).all(axis=1).nonzero()[0].tolist() == [3, 5, 8]
    rows = SoftRows(guides[0].tokens.train, found)
    assert len(rows) == 400
    batch = Collator(0)([rows[3], *rows.__getitems__([8, 5])])
    assert torch.equal(batch["soft_labels"], torch.from_numpy(found[[3, 8, 5]]))
    assert batch["labels"].tolist() == [guides[0].tokens.train[i]["labels"] for i in (3, 8, 5)]
    with pytest.raises(AssertionError, match="without a soft label"):
        rows[4]


def test_rows_drawn_are_the_first_of_the_order(guides):
    rows = guides[0].tokens.train
    some = rows_drawn(rows, Training(max_steps=5, batch_size=32), seed=1)
    assert some.tolist() == sorted(list(row_order(rows, 32, 1))[: 6 * 32])
    for steps in (12, None):
        assert rows_drawn(rows, Training(max_steps=steps), 1).tolist() == list(range(400))
    assert len(rows_drawn(rows, Prediction(epochs=0.1), 0)) == 3 * 32


def test_what_the_mean_scores(guides):
    found = averaged_scores(guides, SENTIMENT)
    rows = [guide.tokens.validation["validation"] for guide in guides]
    logits = [module.predict(g.classifier, r) for g, r in zip(guides, rows, strict=True)]
    right = np.mean((logits[0] + logits[1]).argmax(-1) == np.asarray(rows[0]["labels"]))
    assert found == {"validation": {"accuracy": pytest.approx(right)}}
