from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from transformers import BertTokenizerFast

from distill.errors import ModelInvalid, ShapeMismatch, VocabularyMismatch
from distill.models.folders import folder_digest
from distill.models.loading import Classifier, Student
from distill.models.shapes import NAMED, Shape, parse_shape
from distill.models.students import CheckpointSpec, Init, ShapeSpec, build_student, parse_student
from tests.unit.distill.helpers import SENTIMENT, make_bert, make_tokenizer, save


@pytest.fixture
def guide(tokenizer: BertTokenizerFast) -> Classifier:
    return Classifier("teacher", make_bert(tokenizer).eval(), tokenizer)


def build(name: str | Path, guide: Classifier, init: Init = "random", seed: int = 0) -> Student:
    spec = parse_student(str(name), init, guide.name)
    return build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=seed)


def test_names_and_shapes() -> None:
    assert parse_shape("tinybert-4l-312d") == Shape(4, 312, 1200, 12)
    assert parse_shape("tinybert-6l-768d") == Shape(6, 768, 3072, 12)
    assert parse_shape("3x312-1200-12") == Shape(3, 312, 1200, 12)
    assert parse_shape("models/mine") is None
    with pytest.raises(ShapeMismatch, match="width 10 is not a multiple of 3 heads"):
        parse_shape("2x10-20-3")


def test_published_sizes(tokenizer: BertTokenizerFast) -> None:
    """docs/method.md, section 6: 14.35 M and 66.96 M parameters, vocabulary 30,522."""
    counts = {}
    for name, shape in NAMED.items():
        with torch.device("meta"):
            model = make_bert(tokenizer, layers=shape.layers, width=shape.hidden, heads=12)
        model.config.vocab_size = 30522
        config = model.config
        config.intermediate_size, config.max_position_embeddings = shape.intermediate, 512
        with torch.device("meta"):
            encoder = type(model.bert)(config)
        counts[name] = round(sum(w.numel() for w in encoder.parameters()) / 1e6, 2)

    assert counts == {"tinybert-4l-312d": 14.35, "tinybert-6l-768d": 66.96}


def test_random_students_are_seeded_and_carry_the_labels(guide: Classifier) -> None:
    first, again, other = (build("2x16-32-4", guide, seed=s).model for s in (1, 1, 2))
    key = "bert.encoder.layer.1.output.dense.weight"

    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])
    assert first.config.id2label == {0: "negative", 1: "positive"}
    assert first.config.problem_type == "single_label_classification"
    assert first.config.vocab_size == len(guide.tokenizer)


def test_teacher_layers(guide: Classifier) -> None:
    student = build("2x32-64-4", guide, "teacher-layers")
    ours, theirs = student.model.bert, guide.model.bert
    for mine, source in ((0, 1), (1, 3)):
        for a, b in zip(
            ours.encoder.layer[mine].parameters(),
            theirs.encoder.layer[source].parameters(),
            strict=True,
        ):
            assert torch.equal(a, b)

    assert torch.equal(
        ours.embeddings.word_embeddings.weight, theirs.embeddings.word_embeddings.weight
    )
    assert student.origin == "teacher layers 2, 4"
    with pytest.raises(ShapeMismatch, match=r"expected 2x32-64-4, or .* found 2x16-32-2"):
        build("2x16-32-2", guide, "teacher-layers")


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("names", [["fit_dense"], ["fit_denses.0", "fit_denses.1", "fit_denses.2"]])
def test_published_checkpoints_load_with_their_projections(
    tokenizer: BertTokenizerFast, guide: Classifier, tmp_path: Path, form: str, names: list[str]
) -> None:
    """As on the hub: no model type, no tokenizer.json, extra heads, old names."""
    source = make_bert(tokenizer, layers=2, width=16, seed=9)
    weights = {k: v for k, v in source.state_dict().items() if k.startswith("bert.")}
    weights["cls.predictions.bias"] = torch.zeros(len(tokenizer))
    for index, name in enumerate(names):
        weights |= {
            f"{name}.weight": torch.full((32, 16), float(index)),
            f"{name}.bias": torch.ones(32),
        }
    source.config.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("model_type", "architectures", "id2label", "label2id"):
        config.pop(key, None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    if form == "bin":
        torch.save(weights, tmp_path / "pytorch_model.bin")
    else:
        from safetensors.torch import save_file

        save_file(weights, tmp_path / "model.safetensors")
    student = build(tmp_path, guide)
    key = "bert.encoder.layer.1.output.dense.weight"

    assert torch.equal(student.model.state_dict()[key], weights[key])
    assert [p.weight[0, 0].item() for p in student.pretrained] == [
        float(i) for i in range(len(names))
    ]
    assert student.model.config.id2label == {0: "negative", 1: "positive"}
    assert student.origin.startswith("general student")


def test_students_of_another_vocabulary_are_refused(guide: Classifier, tmp_path: Path) -> None:
    other = make_tokenizer(["other", "words"])
    save(make_bert(other, layers=2, width=16), other, tmp_path / "a")
    with pytest.raises(VocabularyMismatch, match=r"29 tokens, .* one of 7"):
        build(tmp_path / "a", guide)
    make_bert(other, layers=2, width=16).save_pretrained(tmp_path / "b")
    with pytest.raises(VocabularyMismatch, match="7 embeddings and no tokenizer"):
        build(tmp_path / "b", guide)


def test_a_name_that_means_nothing() -> None:
    with pytest.raises(ModelInvalid, match="neither a known name") as caught:
        parse_student("./tinybert", "random", "")

    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("shape", "start"),
    [
        ("2x32-64-4", "teacher-layers"),
        ("2x24-48-4", "teacher-layers"),  # narrower
        ("2x48-64-4", "random"),  # wider
        ("2x24-48-2", "random"),  # other heads
        ("roberta:2x32-64-4", "random"),  # another kind
        ("5x32-64-4", "random"),  # deeper
    ],
)
def test_auto_starts_from_the_teachers_layers_where_it_can(
    guide: Classifier, tmp_path: Path, shape: str, start: str
) -> None:
    teacher = str(save(guide.model, guide.tokenizer, tmp_path))
    spec = parse_student(shape, "auto", teacher)

    assert spec == ShapeSpec(shape, parse_shape(shape), start)
    assert spec.n_layers == int(shape.split("x", maxsplit=1)[0][-1])
    assert spec.identity() == {"student": shape, "init": start}
    assert parse_student(shape, "random", teacher).init == "random"
    if start == "teacher-layers":
        student = build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=0)
        assert "teacher layers" in student.origin


def test_a_checkpoint_starts_from_itself_whatever_was_asked(
    guide: Classifier, tmp_path: Path
) -> None:
    folder = save(guide.model, guide.tokenizer, tmp_path)
    spec = parse_student(str(folder), "teacher-layers", "no teacher is read")

    assert spec == CheckpointSpec(str(folder), folder, n_layers=4)
    assert spec.identity() == {"student": folder_digest(str(folder)), "init": "checkpoint"}


@pytest.mark.parametrize("kind", ["xlnet", "t5", "roberta"])
def test_auto_reads_any_config_and_keeps_a_bert_a_bert(tmp_path: Path, kind: str) -> None:
    transformers.AutoConfig.for_model(kind).save_pretrained(tmp_path)
    spec = parse_student("2x768-3072-12", "auto", str(tmp_path))

    assert isinstance(spec, ShapeSpec)
    assert spec.init == "random"
