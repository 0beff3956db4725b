"""Logits that a version keeps are a distillation's soft labels, if they are of the same teacher."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from augment import augment_task
from augment.contract import Version
from augment.recipes.schema import AugmentRecipe
from distill.data.versions import tokenize
from distill.models.loading import load_classifier
from distill.progress import Narrator
from distill.training.soft_labels import (
    holds_answers,
    import_stored_logits,
    soft_labels,
    teacher_digest,
)
from distill.training.teachers import Teacher
from tests.unit.augment.conftest import make_classifier

LABELS = ("not_entailment", "entailment")


@pytest.fixture(scope="module")
def version(
    mlm_dir: Path,
    classifier_dir: Path,
    vectors_file: Path,
    pair_source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Version:
    return augment_task(
        "rte",
        source=str(pair_source),
        mlm=str(mlm_dir),
        vectors=str(vectors_file),
        out=tmp_path_factory.mktemp("versions"),
        recipe=AugmentRecipe(variants=3, top_k=5, teacher_logits=True),
        teacher=str(classifier_dir),
        limit=40,
        threads=1,
    )


def guide(version: Version, folder: Path, cache: Path) -> Teacher:
    teacher = load_classifier(str(folder), version.task)
    return Teacher("teacher", teacher, tokenize(version, teacher.tokenizer, 64, cache), {})


@pytest.mark.parametrize("data", ["augmented", "original"])
def test_kept_logits_are_those_the_teacher_gives(
    version: Version, classifier_dir: Path, tmp_path: Path, data: str
) -> None:
    """Without a forward, the same numbers but for their rounding."""
    own = guide(version, classifier_dir, tmp_path)
    needed = np.arange(1, len(own.tokens.rows(data)), 3)

    def ask(folder: Path) -> np.ndarray:
        return soft_labels(
            [own],
            data,
            needed,
            precision="float32",
            folder=folder,
            narrator=Narrator(quiet=True),
        )

    computed = ask(tmp_path / "computed")
    kept = tmp_path / "kept"
    import_stored_logits(version, [own], data, needed, folder=kept, narrator=Narrator(quiet=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.training.soft_labels._compute", None)
        taken = ask(kept)

    np.testing.assert_allclose(taken[needed], computed[needed], atol=1 / 512 + 1e-4)
    assert len(needed) >= 13
    assert not np.isfinite(taken[0]).any()


def test_another_teacher_computes_its_own(
    version: Version, classifier_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(classifier_dir, tmp_path / "moved")
    stranger = guide(version, make_classifier(tmp_path / "other", LABELS, seed=9), tmp_path)
    same = guide(version, tmp_path / "moved", tmp_path)
    asset = version.manifest.asset("teacher")
    import_stored_logits(
        version,
        [stranger, same],
        "augmented",
        np.arange(10),
        folder=tmp_path / "soft",
        narrator=Narrator(quiet=True),
    )

    assert asset is not None
    assert teacher_digest(same.classifier) == asset.sha256
    assert holds_answers(version, same.classifier)
    assert not holds_answers(version, stranger.classifier)
    assert [file.name for file in (tmp_path / "soft").iterdir()] == ["soft-labels-2.f32"]
