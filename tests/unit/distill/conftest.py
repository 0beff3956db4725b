"""A tiny committed version, a tiny vocabulary and tiny models, shared by the session."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import BertTokenizerFast

from augment.contract import Version
from distill.serving.export import export_model
from tests.unit.distill.helpers import (
    SENTIMENT,
    TINY_RECIPE,
    make_bert,
    make_good_teacher,
    make_tokenizer,
    mood_rows,
    save,
    write_version,
)


@pytest.fixture(scope="session")
def tokenizer() -> BertTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """200 rows with two variants each, 80 validation rows, unlabeled test rows."""
    test = [{**row, "label": -1} for row in mood_rows(10, seed=3)]
    return write_version(
        tmp_path_factory.mktemp("versions"),
        SENTIMENT,
        {"train": mood_rows(200, 1, variants=2), "validation": mood_rows(80, 2), "test": test},
    )


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertTokenizerFast) -> Path:
    """An untuned encoder folder."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    return save(make_bert(tokenizer), tokenizer, folder)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertTokenizerFast) -> Path:
    """A tuned teacher folder: 4 layers x 32, 4 heads."""
    folder = tmp_path_factory.mktemp("models") / "teacher"
    return save(make_good_teacher(tokenizer), tokenizer, folder)


@pytest.fixture(scope="session")
def exported(teacher: Path, version: Version, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher in every form."""
    out = tmp_path_factory.mktemp("exports") / "mood"
    export_model(str(teacher), version, out=out, quiet=True)
    return out


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of a few seconds."""
    file = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    file.write_text(TINY_RECIPE)
    return file


@pytest.fixture(scope="session")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an epoch a stage, for what does not depend on anything being learnt."""
    file = tmp_path_factory.mktemp("recipes") / "brief.toml"
    file.write_text(re.sub(r"(?m)^epochs = .*", "epochs = 1", TINY_RECIPE))
    return file
