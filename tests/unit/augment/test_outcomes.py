"""A run that generates next to nothing says why; ``plan`` says how much of a text is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from augment.cli import app
from tests.unit.augment.conftest import make_classifier, make_vectors

ENGLISH = ["a good film", "the slow red dog ran", "fine music in paris", "bad movie plot"]
CHINESE = ["这部电影很好看", "音乐不错", "很好", "不好看"]
RUSSIAN = ["хороший фильм", "плохой фильм", "старый город", "новая песня"]

Augment = Callable[..., Result]


@pytest.fixture
def augment(mlm_dir: Path, vectors_file: Path, tmp_path: Path) -> Augment:
    """A command on four rows with these texts."""

    def call(command: str, texts: list[str], recipe: str, *more: Any) -> Result:
        for split, some in (("train", texts), ("validation", ["held out"])):
            rows = [{"sentence": text, "label": i % 2} for i, text in enumerate(some)]
            lines = "\n".join(map(json.dumps, rows))
            (tmp_path / f"{split}.jsonl").write_text(lines)
        (tmp_path / "r.toml").write_text(recipe)
        models = ["--mlm", mlm_dir, "--vectors", vectors_file, "--source", tmp_path]
        options = [command, "sst2", *models, "--recipe", tmp_path / "r.toml", *more]
        out = ["--out", tmp_path / "out"] if command == "run" else []
        return CliRunner().invoke(app, [str(each) for each in [*options, *out]])

    return call


@pytest.mark.parametrize(
    ("texts", "recipe", "sentence"),
    [
        (ENGLISH, "", ""),
        (CHINESE, "", "0% of the words can be replaced: 100% are not plain a-z words (Chinese"),
        (RUSSIAN, "", "words (Cyrillic script); words = \"all\" in the recipe takes every word"),
        (["123 !", "4 5", "?", "."], "", "no text has a word with a letter in it"),
        (["the the a", "of to", "it is", "was in"], "", "100% are stop words"),
        (ENGLISH, 'protect_patterns = [".*"]', "are protected by the recipe (protect_…)"),
        (ENGLISH, "probability = 0.0", "80 samples equal their original (probability 0.0)"),
    ],
)  # fmt: skip
def test_why_next_to_nothing_was_generated(
    augment: Augment, texts: list[str], recipe: str, sentence: str
) -> None:
    done = augment("run", texts, recipe)

    assert done.exit_code == 0, done.output
    said = [line for line in done.stderr.splitlines() if line.strip().startswith("warning")]
    assert len(said) == bool(sentence)
    if sentence:
        assert "0 rows were generated: " in said[0]
        assert sentence in said[0]


def test_a_gate_that_refuses_all(augment: Augment, tmp_path: Path) -> None:
    recipe = 'teacher_agreement = "unchanged"\nprobability = 0.5\nnormalised_duplicates = true'
    teacher = make_classifier(tmp_path / "teacher", ("negative", "positive"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("augment.filters.model_filters.TeacherFilter._agrees", lambda *_: False)
        done = augment("run", ENGLISH, recipe, "--teacher", teacher)

    assert "0 rows were generated: teacher_agreement refused " in done.stderr


def test_plan_shows_how_much_is_known(augment: Augment, tmp_path: Path) -> None:
    plan = json.loads(augment("plan", ENGLISH, "", "--json").stdout)
    assert plan["warnings"] == []
    assert (plan["one_token"], plan["vectors_found"]) == (1.0, 1.0)

    strange = make_vectors(tmp_path / "other.txt", ["one", "two", "three", "fine"])
    done = augment("plan", ENGLISH, "", "--vectors", strange)
    assert "warning     the vectors know 8% of the replaceable words" in done.stderr
    assert "which know 8% of the different words" in done.stdout
    done = augment("plan", ["xylo zebu quux", "zzz yyy", "abcd efgh", "qwerty"], "")
    assert "0% of the replaceable words are one token of the masked LM" in done.stderr
    assert "(Chinese script)" in augment("plan", CHINESE, "").stderr
