"""Logits that a version keeps are a distillation's soft labels, if they are of the same teacher."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from augment import augment_task
from augment.contract import Version
from augment.recipes.schema import AugmentRecipe
from distill.data.versions import tokenize
from distill.evaluation.results import Judgment
from distill.models.loading import Classifier, load_classifier
from distill.runs.directory import RunDirectory
from distill.runs.progress import Narrator
from distill.training.soft_labels import SoftLabels, soft_labels
from distill.training.teacher_logits import holds_logits, teacher_digest
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


def open_teacher(version: Version, folder: Path, cache: Path) -> Teacher:
    teacher = load_classifier(str(folder), version.task)
    return Teacher(
        "teacher", teacher, tokenize(version, teacher.tokenizer, 64, cache), Judgment(scores={})
    )


class Mute(Classifier):
    """A teacher that may not be asked for logits."""

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        raise AssertionError(f"{self.name} is asked")


def mute(teacher: Teacher) -> Teacher:
    own = teacher.classifier
    return replace(teacher, classifier=Mute(own.name, own.model, own.tokenizer, own.order))


@pytest.mark.parametrize("data", ["augmented", "original"])
def test_kept_logits_are_those_the_teacher_gives(
    version: Version, classifier_dir: Path, tmp_path: Path, data: str
) -> None:
    """Without a forward, the same numbers but for their rounding."""
    own = open_teacher(version, classifier_dir, tmp_path)
    needed = np.arange(1, len(own.tokens.rows(data)), 3)

    def ask(version: Version, folder: Path, teacher: Teacher) -> SoftLabels:
        narrator, run = Narrator(quiet=True), RunDirectory(folder)
        run.work.mkdir(parents=True)
        settings = {"precision": "float32", "run": run, "narrator": narrator}
        return soft_labels([teacher], version, data, needed, **settings)

    without = version.manifest.model_copy(update={"teacher_logits": False})
    computed = ask(replace(version, manifest=without), tmp_path / "computed", own)
    taken = ask(version, tmp_path / "kept", mute(own))

    np.testing.assert_allclose(taken.of(needed), computed.of(needed), atol=1 / 512 + 1e-4)
    assert len(needed) >= 13
    assert not np.isfinite(taken.of(np.array([0]))).any()


def test_another_teacher_computes_its_own(
    version: Version, classifier_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(classifier_dir, tmp_path / "moved")
    stranger = open_teacher(version, make_classifier(tmp_path / "other", LABELS, seed=9), tmp_path)
    same = open_teacher(version, tmp_path / "moved", tmp_path)
    asset = version.manifest.asset("teacher")
    folder, narrator = tmp_path / "soft", Narrator(quiet=True)
    (folder / "work").mkdir(parents=True)
    with pytest.raises(AssertionError, match="other is asked"):
        soft_labels([mute(same), mute(stranger)], version, "augmented", np.arange(10),
                    precision="float32", run=RunDirectory(folder), narrator=narrator)  # fmt: skip

    assert asset is not None
    assert teacher_digest(same.classifier) == asset.sha256
    assert holds_logits(version, same.classifier)
    assert not holds_logits(version, stranger.classifier)
    assert [file.name for file in folder.rglob("*.f32")] == ["soft-labels-1-held.f32"]
