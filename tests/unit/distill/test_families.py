"""Every family as teacher and as student: built, both stages, saved, opened by transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from distill.data.batching import Collator, model_inputs
from distill.errors import ModelInvalid, ShapeMismatch, VocabularyMismatch
from distill.models.limits import check_length
from distill.models.loading import Classifier
from distill.models.shapes import FAMILIES, Shape, parse_shape
from distill.models.students import build_student, parse_student
from distill.recipes.schema import Intermediate, Prediction, PredictionWeights
from distill.stages import IntermediateStage, PredictionStage
from tests.unit.distill.helpers import (
    SENTIMENT,
    make_bert,
    make_model,
    make_tokenizer,
    save,
    tokenizer_of,
)


def guide_of(family, tokenizer):
    model = make_model(family, tokenizer).requires_grad_(False)
    return Classifier("teacher", model, tokenizer)


def build(name, guide, init="random", mapping=(2, 4), **settings):
    spec = parse_student(str(name), init, "")
    return build_student(spec, SENTIMENT, guide, mapping=mapping, seed=0, **settings)


def batch(tokenizer):
    """Pairs of different lengths, second segments included."""
    pairs = [("good day", "the room was cold and dull"), ("we had it", "a"), ("fine", "great food")]
    rows = [
        {**tokenizer(a, b, return_attention_mask=False), "labels": i % 2, "soft_labels": zeros()}
        for i, (a, b) in enumerate(pairs)
    ]
    return Collator(tokenizer.pad_token_id)(rows)


def zeros():
    return torch.zeros(2).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_of_any_family_learns_from_a_bert(family: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    guide = guide_of("bert", tokenizer)
    student = build(f"{family}:2x16-32-4", guide)
    config = student.model.config
    assert config.model_type == family
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 16, 4)
    assert config.vocab_size == len(tokenizer)
    assert config.pad_token_id == tokenizer.pad_token_id
    check_length(512, "student", config)
    learns_both(student, guide, tokenizer)
    student.model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    inputs = dict(tokenizer("good day", return_tensors="pt", return_token_type_ids=False))
    torch.testing.assert_close(again(**inputs).logits, student.model.eval()(**inputs).logits)

    assert again.config.id2label == {0: "negative", 1: "positive"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_of_any_family_teaches_a_bert(family: str) -> None:
    tokenizer = tokenizer_of(family)
    guide = guide_of(family, tokenizer)
    student = build("2x16-32-4", guide)
    assert isinstance(student.model.config, BertConfig)
    learns_both(student, guide, tokenizer)


def learns_both(student, guide, tokenizer):
    """Every loss of both stages is a number, and moves the student."""
    inputs = batch(tokenizer)
    first = IntermediateStage(student.model, guide.model, student.mapping, recipe=Intermediate())
    weights = PredictionWeights(patient=1.0, cosine=1.0)
    second = PredictionStage(
        student.model,
        Prediction(weights=weights),
        teacher=guide.model,
        mapping=student.mapping,
    )
    assert first.relations is None
    for stage, terms in (
        (first, ("attention", "hidden", "embedding")),
        (second, ("prediction", "patient", "cosine")),
    ):
        stage.start(torch.device("cpu"))
        losses = stage(**inputs)
        assert all(losses[name] > 0 for name in terms)
        losses["loss"].backward()
        moved = [w for w in student.model.parameters() if w.grad is not None and w.grad.any()]
        assert len(moved) > 10
    assert all(weight.grad is None for weight in guide.model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_teacher_layers_in_any_family(family: str) -> None:
    guide = guide_of(family, tokenizer_of(family))
    student = build(f"{family}:2x32-64-4", guide, "teacher-layers", mapping=(2, 4)).model
    same = build("2x32-64-4", guide, "teacher-layers", mapping=(2, 4)).model
    assert type(student) is type(same) is type(guide.model)
    theirs = dict(guide.model.base_model.named_parameters())
    for name, weight in student.base_model.named_parameters():
        source = name.replace("layer.1.", "layer.3.").replace("layer.0.", "layer.1.")
        source = source.replace("layers.1.", "layers.3.").replace("layers.0.", "layers.1.")
        assert torch.equal(weight, theirs[source]), name
    if family == "modernbert":  # layers 1, 4, 7 … see everything, the others their surroundings
        assert student.config.layer_types == ["sliding_attention", "full_attention"]
    with pytest.raises(ShapeMismatch, match="needs a student of the teacher's kind"):
        build("2x16-32-2", guide, "teacher-layers")
    other = "bert" if family != "bert" else "electra"
    with pytest.raises(ShapeMismatch, match=f"expected {family}:2x32-64-4"):
        build(f"{other}:2x32-64-4", guide, "teacher-layers")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("guided_by", ["bert", "modernbert", "deberta-v2"])
def test_long_texts_have_the_same_loss_without_scores(family: str, guided_by: str) -> None:
    """Where both sides allow it; a local window or position terms need the scores."""
    tokenizer = tokenizer_of(family)
    guide = guide_of(guided_by, tokenizer)
    student = build(f"{family}:2x16-32-4", guide)
    losses = []
    for most in (192, 4):
        stage = IntermediateStage(
            student.model, guide.model, (2, 4), recipe=Intermediate(), max_score_length=most
        ).eval()
        losses.append(stage(**batch(tokenizer))["attention"].item())
    if family == guided_by == "bert":
        seen = stage.student_capture(**model_inputs(batch(tokenizer)))
        assert not seen.scores
        assert set(seen.qkv) == {1, 2}

    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_names_of_families() -> None:
    assert parse_shape("roberta:2x16-32-4") == Shape(2, 16, 32, 4, "roberta")
    assert parse_shape("DistilBERT:2x16-32-4") == Shape(2, 16, 32, 4, "distilbert")
    assert str(parse_shape("roberta:2x16-32-4")) == "roberta:2x16-32-4"
    with pytest.raises(ModelInvalid, match="no family 'gpt2'; known are bert, roberta"):
        parse_shape("gpt2:2x16-32-4")


def test_a_head_of_odd_width_cannot_be_rotated(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ShapeMismatch, match="a head is 5 wide"):
        build("modernbert:2x20-32-4", guide_of("bert", tokenizer))


def test_roberta_counts_positions_from_the_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """512 tokens fit, the table has one row for each of them above the padding's id."""
    config = build("roberta:2x16-32-4", guide_of("bert", tokenizer)).model.config
    assert config.max_position_embeddings == 513
    with pytest.raises(ModelInvalid, match="reads at most 512"):
        check_length(513, "student", config)


def test_a_folder_with_a_config_alone_gives_the_shape(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    guide = guide_of("bert", tokenizer)
    config = make_model("electra", tokenizer, "3x16-32-4").config
    config.vocab_size = 7
    config.save_pretrained(tmp_path)
    student = build(tmp_path, guide)

    assert student.model.config.model_type == "electra"
    assert student.model.config.vocab_size == len(tokenizer)
    assert student.origin == f"random weights, shape of {tmp_path}"
    assert student.tokenizer is tokenizer


def test_a_student_may_read_in_its_own_way_where_nothing_is_compared_by_token(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    guide, other = guide_of("bert", tokenizer), make_tokenizer(["other", "words"])
    save(make_bert(other, layers=2, width=16), other, tmp_path)
    with pytest.raises(VocabularyMismatch, match=r"29 tokens, .* one of 7") as caught:
        build(tmp_path, guide)
    assert "--recipe logits" in caught.value.hint
    student = build(tmp_path, guide, mapping=(), own_vocabulary=True)

    assert student.tokenizer.get_vocab() == other.get_vocab()
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == 7


def test_a_bert_reads_mpnets_vocabulary_by_relations() -> None:
    """No segments, and pairs framed as the teacher frames them; heads may differ."""
    tokenizer = tokenizer_of("mpnet")
    guide = guide_of("mpnet", tokenizer)
    student = build("2x16-32-2", guide)
    assert student.tokenizer is tokenizer
    assert student.model.config.type_vocab_size == 1
    rows = batch(tokenizer)
    assert "token_type_ids" not in rows
    assert rows["input_ids"][0].tolist().count(tokenizer.sep_token_id) == 3
    stage = IntermediateStage(student.model, guide.model, (2, 4), recipe=Intermediate())
    assert stage.relations is not None
    losses = stage(**rows)
    losses["loss"].backward()

    assert losses["relation"] > 0
    assert student.model.bert.encoder.layer[1].attention.self.query.weight.grad.any()


def test_mpnet_takes_token_1_for_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """Whatever its config says: so a vocabulary with another padding is refused."""
    problem = "mpnet takes token 1 for padding, in the teacher's vocabulary that is token 0"
    with pytest.raises(VocabularyMismatch, match=problem):
        build("mpnet:2x16-32-4", guide_of("bert", tokenizer))
    config = build("mpnet:2x16-32-4", guide_of("bert", tokenizer_of("mpnet"))).model.config
    assert config.max_position_embeddings == 514
    with pytest.raises(ModelInvalid, match="reads at most 512"):
        check_length(513, "student", config)


@pytest.mark.parametrize("weights", [False, True])
def test_a_folder_without_a_tokenizer_counts_from_another_padding(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, *, weights: bool
) -> None:
    own = tokenizer_of("mpnet")
    model = make_model("mpnet", own)
    (model if weights else model.config).save_pretrained(tmp_path)
    other = make_tokenizer([f"word{i}" for i in range(len(own) - 5)])
    with pytest.raises(VocabularyMismatch, match="takes token 1 for padding"):
        build(tmp_path, guide_of("bert", other))


def test_other_special_tokens_of_the_same_vocabulary(tmp_path: Path) -> None:
    """Compared token by token both must frame a text alike; else each frames it in its own way."""
    theirs, own = tokenizer_of("mpnet"), tokenizer_of("mpnet")
    own.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    framed = PreTrainedTokenizerFast(
        tokenizer_object=own.backend_tokenizer,
        **{name: own.special_tokens_map[name] for name in own.special_tokens_map},
    )
    save(make_model("bert", framed), framed, tmp_path)
    guide = guide_of("mpnet", theirs)
    with pytest.raises(VocabularyMismatch, match=r"<s> text </s> </s> text </s> \(pad") as caught:
        build(tmp_path, guide)
    assert f"{tmp_path} as <s> text </s> text </s> (padding <pad>" in caught.value.problem
    student = build(tmp_path, guide, mapping=(), own_vocabulary=True)

    assert student.tokenizer("a", "a")["input_ids"] == [0, 6, 2, 6, 2]
