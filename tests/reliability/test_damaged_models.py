"""Every damaged model folder is refused by every option that takes a model, in a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from augment.contract import Fault, Label, TaskSpec
from augment.filters.loading import load_sentence_encoder, load_teacher
from augment.masked_lm.loading import load_masked_lm
from distill.models.labels import label_settings
from distill.models.loading import (
    load_encoder,
    open_classifier,
    read_config,
    read_tokenizer,
    read_weights,
)
from distill.models.students import build_student, parse_student
from tests.reliability.damaged_models import DAMAGES, Damage
from tests.unit.augment.conftest import make_classifier, make_masked_lm

TASK = TaskSpec(
    name="mood",
    text_columns=("one", "other"),
    label=Label(names=("no", "yes")),
    metrics=("accuracy",),
    selection_metric="accuracy",
)
Load = Callable[[str], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole masked LM and a whole classifier."""
    place = tmp_path_factory.mktemp("good")
    return {"mlm": make_masked_lm(place / "mlm"), "classifier": make_classifier(place / "clf")}


@pytest.fixture(scope="module")
def loaders(good: dict[str, Path]) -> dict[str, Load]:
    """What each option that takes a model does with its folder."""
    teacher = open_classifier(str(good["classifier"]), TASK)

    def init(name: str) -> object:
        read_tokenizer(name)
        return read_weights(name, read_config(name, **label_settings(TASK)))

    def student(name: str) -> object:
        spec = parse_student(name, "auto", str(good["classifier"]))
        return build_student(spec, TASK, teacher, mapping=(1, 2), seed=0)

    return {
        "mlm": load_masked_lm,
        "similarity": load_sentence_encoder,
        "filter": lambda name: load_teacher(name, TASK),
        "teacher": lambda name: open_classifier(name, TASK),
        "general": load_encoder,
        "init": init,
        "student": student,
    }


def test_whole_folders_are_loaded(good: dict[str, Path], loaders: dict[str, Load]) -> None:
    for option, load in loaders.items():
        load(str(good["mlm" if option == "mlm" else "classifier"]))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_refused_in_a_sentence(
    damage: Damage, good: dict[str, Path], loaders: dict[str, Load], tmp_path: Path
) -> None:
    for kind, whole in good.items():
        shutil.copytree(whole, tmp_path / kind)
        damage.do(tmp_path / kind)
    wrong = {}
    for option, load in loaders.items():
        folder = tmp_path / ("mlm" if option == "mlm" else "classifier")
        try:
            load(str(folder))
        except Fault as fault:
            said = f"{fault} {fault.hint}"
            if fault.exit_code != 4 or damage.says not in said or not fault.hint:
                wrong[option] = said
        except BaseException as error:
            wrong[option] = repr(error)[:300]
        else:
            if option not in damage.unseen:
                wrong[option] = "loaded"
    assert not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())
