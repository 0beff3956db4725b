"""MPNet before every way in which a model is read: what its code assumes, and bad checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from augment.contract import Fault
from augment.filters.loading import load_teacher
from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.registry import longest_input
from distill.models.loading import Classifier
from distill.models.students import build_student, parse_student
from tests.reliability import test_weights
from tests.reliability.test_weights import Change, changed, set_to, without
from tests.unit.augment.families import mpnet
from tests.unit.distill.helpers import SENTIMENT, make_model, save, tokenizer_of

TOKENIZER = tokenizer_of("mpnet")


def as_student(folder: str) -> Any:
    guide = Classifier("guide", make_model("mpnet", TOKENIZER), TOKENIZER)
    spec = parse_student(folder, "auto", None)
    return build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=0)


AS_CLASSIFIER = {**test_weights.CLASSIFIERS, "distill run --student": as_student}
AS_MASKED_LM = {"augment run --mlm": load_masked_lm}
DOORS = {**AS_CLASSIFIER, **AS_MASKED_LM}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A classifier, and a masked LM."""
    folders = {masked: tmp_path_factory.mktemp(f"masked-{masked}") for masked in (False, True)}
    save(make_model("mpnet", TOKENIZER), TOKENIZER, folders[False])
    mpnet(folders[True])
    return folders


BAD: dict[str, tuple[Change, str]] = {
    "no bias": (
        without("relative_attention_bias"),
        r"lack 1 tensor of its encoder \((mpnet\.)?encoder\.relative_attention_bias\.weight",
    ),
    "fewer buckets": (
        set_to("relative_attention_num_buckets", 31),
        r"relative_attention_num_buckets = 31 \(the code of mpnet computes with 32\)",
    ),
    "more buckets": (set_to("relative_attention_num_buckets", 64), "computes with 32"),
    "padding": (set_to("pad_token_id", 0), r"pad_token_id = 0 \(the code of mpnet computes with 1"),
    "no padding": (set_to("pad_token_id", None), "pad_token_id is None; positions are counted"),
}


@pytest.mark.parametrize("door", DOORS)
def test_bad_checkpoints(sources: dict[bool, Path], tmp_path: Path, door: str) -> None:
    source = sources[door in AS_MASKED_LM]
    DOORS[door](str(source))
    for name, (change, problem) in BAD.items():
        with pytest.raises(Fault, match=problem):
            DOORS[door](changed(source, tmp_path / name, change))


@pytest.mark.parametrize("door", DOORS)
def test_another_padding_token(sources: dict[bool, Path], tmp_path: Path, door: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sources[door in AS_MASKED_LM], folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "<mask>"
    tokenizer.save_pretrained(folder)
    with pytest.raises(Fault, match="counts positions from the padding token: 1 by its config"):
        DOORS[door](str(folder))


def test_positions_are_those_of_the_table(sources: dict[bool, Path]) -> None:
    """The longest text that is read fills the table to its last row, in both packages."""
    model = AutoModelForMaskedLM.from_pretrained(sources[True]).eval()
    limit = longest_input(model.config)
    assert limit == model.config.max_position_embeddings - 2
    seen: list[torch.Tensor] = []
    table = model.mpnet.embeddings.position_embeddings
    table.register_forward_hook(lambda _module, args, _output: seen.append(args[0]))
    model(input_ids=torch.full((1, limit), 7))

    assert seen[0][0].tolist() == list(range(2, limit + 2))
    assert load_masked_lm(str(sources[True])).limit == limit
    teacher = load_teacher(str(sources[False]), SENTIMENT)
    long = ("good " * 2000,)
    assert teacher.score([long])[long].shape == (2,)
