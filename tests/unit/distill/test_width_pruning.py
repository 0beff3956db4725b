"""A narrower student starts as the best approximation of its teacher's layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from distill.errors import ShapeMismatch
from distill.models.loading import Classifier
from distill.models.low_rank import (
    Affine,
    fit,
    low_rank_scores,
    low_rank_values,
    reconstruction,
    refit,
    select_dimensions,
)
from distill.models.students import build_student, parse_student
from distill.models.width_pruning import (
    MOST,
    Inputs,
    measured_inputs,
    prune_width,
    synthetic_inputs,
)
from distill.recipes.schema import Intermediate
from distill.stages import IntermediateStage
from tests.unit.distill.helpers import SENTIMENT, make_bert, make_model, tokenizer_of


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_dimensions_kept_are_those_that_explain_the_others() -> None:
    base = normal(500, 3).float()
    states = torch.cat([base, base @ normal(3, 4).float(), torch.zeros(500, 1)], dim=1)
    keep = select_dimensions(states, 3)
    assert len(keep) == 3
    assert 7 not in keep.tolist()
    expand = reconstruction(states, keep)
    torch.testing.assert_close(expand(states[:, keep]), states, atol=1e-2, rtol=1e-2)

    assert torch.equal(expand(states[:, keep])[:, keep], states[:, keep])


def test_least_squares_with_bias() -> None:
    inputs = normal(300, 5).float()
    truth = Affine(normal(2, 5, seed=1).float(), torch.tensor([3.0, -4.0]))
    found = fit(inputs, truth(inputs))
    torch.testing.assert_close(found.weight, truth.weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.bias, truth.bias, atol=1e-3, rtol=1e-3)
    other = Affine(normal(3, 2, seed=2).float(), torch.ones(3))
    torch.testing.assert_close(other.compose(truth)(inputs), other(truth(inputs)))


def test_low_rank_queries_and_keys_keep_the_scores_as_well_as_their_rank_allows() -> None:
    """The mean squared error is the tail of the singular values; at full size it is 0."""
    queries, keys = normal(2, 4000, 6), normal(2, 4000, 6, seed=1) * torch.arange(1, 7)
    scores = queries @ keys.mT / 6**0.5
    for size in (6, 4, 2):
        maps = low_rank_scores(queries, keys, size)
        approximation = (queries @ maps.query.mT) @ (keys @ maps.key.mT).mT / size**0.5
        error = (approximation - scores).square().mean()
        roots = [torch.linalg.cholesky(s.mT @ s / s.shape[1]) for s in (queries, keys)]
        values = torch.linalg.svdvals(roots[0].mT @ roots[1])
        tail = values[:, size:].square().sum(dim=1).mean() / 6
        assert error.item() == pytest.approx(tail.item(), rel=1e-3, abs=1e-9)
        cut = queries[..., :size] @ keys[..., :size].mT / 6**0.5
        assert size == 6 or error < (cut - scores).square().mean()


def test_low_rank_values_keep_what_the_output_layer_makes_of_them() -> None:
    values, columns = normal(2, 4000, 6), normal(2, 9, 6, seed=1)
    for size, most in ((6, 1e-9), (5, 0.12)):
        maps = low_rank_values(values, columns, size)
        exact = values @ columns.mT
        difference = values @ maps.value.mT @ maps.output.mT - exact
        error = difference.square().mean() / exact.square().mean()
        assert error < most


def guide_of(family, tokenizer):
    """A teacher whose scores, where its family has that, depend clearly on distance."""
    model = make_model(family, tokenizer).eval().requires_grad_(False)
    if family == "mpnet":
        torch.nn.init.normal_(model.mpnet.encoder.relative_attention_bias.weight)
    return model


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "mpnet"])
def test_at_full_width_nothing_changes(family: str) -> None:
    """All dimensions, heads and neurons kept: the very function of the teacher, layer for layer."""
    tokenizer = tokenizer_of(family)
    guide, twin = (guide_of(family, tokenizer) for _ in range(2))
    for weight in twin.parameters():
        torch.nn.init.zeros_(weight)
    ids = synthetic_inputs(tokenizer, 0, 60)
    projection = prune_width(twin, guide, (1, 2, 3, 4), Inputs(ids, torch.ones_like(ids).bool()))
    texts = synthetic_inputs(tokenizer, seed=1)[:4, :12]
    theirs = guide.base_model(texts, output_hidden_states=True).hidden_states
    ours = twin.base_model(texts, output_hidden_states=True).hidden_states
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(projection.weight, torch.eye(32))


def test_a_map_is_fitted_anew_as_far_as_the_texts_tell() -> None:
    inputs = normal(4000, 6).float()
    true = Affine(normal(5, 6, seed=1).float(), normal(5, seed=2).float())
    first = Affine(normal(5, 6, seed=3).float(), normal(5, seed=4).float())
    targets = true(inputs)

    near = refit(first, inputs, targets, 1e-6)
    torch.testing.assert_close(near.weight, true.weight, atol=1e-4, rtol=0)
    torch.testing.assert_close(near.bias, true.bias, atol=1e-4, rtol=0)
    torch.testing.assert_close(refit(first, inputs, targets, 1e9).weight, first.weight)
    silent = torch.cat([inputs[:, :3], torch.zeros(4000, 3)], dim=1)  # which tell of half of it
    torch.testing.assert_close(refit(first, silent, targets).weight[:, 3:], first.weight[:, 3:])


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_padding_is_not_fitted_to(family: str) -> None:
    tokenizer = tokenizer_of(family)
    guide, ids = guide_of(family, tokenizer), synthetic_inputs(tokenizer, 0, 20)
    mask = torch.arange(20) < torch.arange(len(ids))[:, None] % 15 + 6
    weights = []
    for padding in (tokenizer.pad_token_id, tokenizer.mask_token_id):
        torch.manual_seed(0)
        twin = make_model(family, tokenizer)
        inputs = Inputs(ids.masked_fill(~mask, padding), mask)
        projection = prune_width(twin, guide, (2, 4, 3, 1), inputs)
        weights.append([*twin.base_model.state_dict().values(), projection.weight])

    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_neurons_that_the_teacher_has_not_are_made_use_of() -> None:
    tokenizer = tokenizer_of("bert")
    guide = Classifier("teacher", guide_of("bert", tokenizer), tokenizer)
    wide = guide.model.config.intermediate_size + 16
    spec = parse_student(f"2x24-{wide}-4", "teacher-layers", "")
    student = build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=0).model

    assert student.config.intermediate_size == wide
    assert all(weight.isfinite().all() for weight in student.parameters())
    layer = student.base_model.encoder.layer[0]
    random = student.config.initializer_range  # as what they read still is
    assert layer.intermediate.dense.weight[-16:].std() < 1.5 * random
    assert layer.output.dense.weight[:, -16:].std() > 2 * random


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_layers_are_fitted_to_what_the_student_computes(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores and states are nearer to the teacher's than where its layers are only cut."""
    tokenizer = tokenizer_of(family)
    model = guide_of(family, tokenizer)
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "embeddings" not in name:
            weight.mul_(5)  # layers that do something
    guide = Classifier("teacher", model, tokenizer)
    texts = synthetic_inputs(tokenizer, seed=1)[:8]
    batch = {"input_ids": texts, "attention_mask": torch.ones_like(texts)}

    def losses() -> dict[str, float]:
        spec = parse_student(f"{family}:2x24-48-4", "teacher-layers", "")
        student = build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=0)
        stage = IntermediateStage(
            student.model, guide.model, (2, 4), recipe=Intermediate(),
            pretrained=student.pretrained,
        ).eval()  # fmt: skip
        return {name: loss.item() for name, loss in stage.terms(batch)}

    fitted = losses()
    monkeypatch.setattr("distill.models.width_pruning.refit", lambda first, *_: first)
    narrowed = losses()

    assert fitted["attention"] < 0.9 * narrowed["attention"]
    assert fitted["hidden"] < 0.9 * narrowed["hidden"]


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_narrower_student_starts_nearer_to_its_teacher(family: str) -> None:
    tokenizer = tokenizer_of(family)
    guide = Classifier("teacher", guide_of(family, tokenizer), tokenizer)
    texts = synthetic_inputs(tokenizer, seed=1)[:8]
    batch = {"input_ids": texts, "attention_mask": torch.ones_like(texts)}

    def losses(init, seed=0):
        spec = parse_student(f"{family}:2x24-48-4", init, "")
        student = build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=seed)
        stage = IntermediateStage(
            student.model,
            guide.model,
            (2, 4),
            recipe=Intermediate(),
            pretrained=student.pretrained,
        ).eval()
        return {name: loss.item() for name, loss in stage.terms(batch)}, student

    (narrowed, student), (random, _) = losses("teacher-layers"), losses("random")
    assert narrowed["embedding"] < 0.5 * random["embedding"]
    assert narrowed["hidden"] < 0.8 * random["hidden"]
    assert narrowed["attention"] < random["attention"]
    ours = student.model.base_model(texts, output_hidden_states=True).hidden_states
    theirs = guide.model.base_model(texts, output_hidden_states=True).hidden_states
    projection = student.pretrained[0]
    for layer, source in ((1, 2), (2, 4)):
        error = (projection(ours[layer]) - theirs[source]).square().mean()
        assert error < 0.7 * theirs[source].var()
    assert student.origin == "teacher layers 2, 4, made narrower"
    assert student.model.config.intermediate_size == 48
    again = losses("teacher-layers")[1].model.state_dict()

    assert all(torch.equal(again[k], v) for k, v in student.model.state_dict().items())


def test_synthetic_inputs_are_seeded_and_hold_real_tokens(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    texts = synthetic_inputs(tokenizer, seed=3)

    assert torch.equal(texts, synthetic_inputs(tokenizer, seed=3))
    assert not torch.equal(texts, synthetic_inputs(tokenizer, seed=4))
    assert set(texts[:, 0].tolist()) == {tokenizer.cls_token_id}
    assert set(texts[:, -1].tolist()) == {tokenizer.sep_token_id}
    assert not set(texts[:, 1:-1].unique().tolist()) & set(tokenizer.all_special_ids)


def rows_of(count: int, length: int, seed: int = 5) -> list[list[int]]:
    """Texts of few different tokens, between special ones."""
    drawn = torch.randint(5, 9, (count, length), generator=torch.Generator().manual_seed(seed))
    return [[2, *row, 3] for row in drawn.tolist()]


def test_a_teacher_is_measured_on_texts_at_even_distances(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Padded; the longest are cut to what nine of ten are at most long, and end as they did."""
    rows = [*rows_of(1800, 4), *rows_of(160, 9), *rows_of(40, 50)]
    found = measured_inputs(make_bert(tokenizer), tokenizer, iter(rows), seed=0)
    count = MOST // 6

    assert found.ids.shape == (count, 6)
    assert torch.equal(found.mask, found.ids != tokenizer.pad_token_id)
    assert found.ids[0].tolist() == rows[0]
    assert found.ids[-1].tolist() == [*rows[-1][:5], tokenizer.sep_token_id]
    assert found.rows(torch.ones(count, 6, 3)).shape == (int(found.mask.sum()), 3)


def test_random_tokens_make_up_for_few_texts(tokenizer: PreTrainedTokenizerBase) -> None:
    """Twice as many tokens as dimensions, 32 here; without any text they are all."""
    guide, random = make_bert(tokenizer), synthetic_inputs(tokenizer, 0, 10)
    few = measured_inputs(guide, tokenizer, rows_of(3, 8), seed=0, max_length=10)
    none = measured_inputs(guide, tokenizer, [[]], seed=0, max_length=10)

    assert few.ids.shape == (7, 10)
    assert torch.equal(few.ids[3:], random[:4])
    assert torch.equal(none.ids, random)


def test_the_texts_of_a_pair_are_told_apart_as_the_tokenizer_does(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Random tokens are one text; a teacher without a table of segments is told nothing."""
    guide = make_bert(tokenizer)
    pairs = tokenizer(["a good film", "a film"], ["a bad film", "it was good"])
    found = measured_inputs(guide, tokenizer, pairs["input_ids"], seed=0)
    assert found.segments is not None
    for at, wanted in enumerate(pairs["token_type_ids"]):
        length = min(len(wanted), found.ids.shape[1])
        assert found.segments[at, :length].tolist() == wanted[:length]
    assert not found.segments[2:].any()
    guide.config.type_vocab_size = 1

    assert measured_inputs(guide, tokenizer, pairs["input_ids"], seed=0).segments is None


def test_a_student_is_nearer_where_the_texts_of_pairs_are_told_apart(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    guide = make_bert(tokenizer, layers=2).eval()
    table = guide.base_model.embeddings.token_type_embeddings.weight
    table.data.copy_(normal(*table.shape).float())
    pairs = [[*one, *other[1:]] for one, other in zip(rows_of(64, 5), rows_of(64, 4), strict=True)]
    told = measured_inputs(guide, tokenizer, pairs, seed=0)

    def error(inputs: Inputs) -> float:
        student = make_bert(tokenizer, layers=2, width=24, seed=1)
        projection = prune_width(student, guide, (1, 2), inputs)
        ours, theirs = (
            model.base_model(**told.embedded, attention_mask=told.mask.long()).last_hidden_state
            for model in (student.eval(), guide)
        )
        return (projection(told.rows(ours)) - told.rows(theirs)).square().mean().item()

    assert error(told) < 0.7 * error(replace(told, segments=None))


def test_a_student_is_nearest_on_texts_like_those_it_was_made_narrower_by(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    guide = Classifier("teacher", make_bert(tokenizer).eval(), tokenizer)
    spec = parse_student("2x24-48-4", "teacher-layers", "")
    batch = {"input_ids": torch.tensor(rows_of(40, 14, seed=6))}
    theirs = guide.model.base_model(**batch, output_hidden_states=True).hidden_states

    def error(texts: list[list[int]]) -> float:
        own = build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=0, texts=texts)
        ours = own.model.eval().base_model(**batch, output_hidden_states=True).hidden_states
        project = own.pretrained[0]
        errors = [
            (project(ours[layer]) - theirs[source]).square().mean()
            for layer, source in ((0, 0), (1, 2), (2, 4))
        ]
        return sum(errors).item()

    assert error(rows_of(200, 14)) < 0.7 * error([])


@pytest.mark.parametrize("shape", ["2x48-64-4", "2x24-64-2", "roberta:2x24-64-4"])
def test_what_is_no_part_of_the_teacher_is_refused(
    tokenizer: PreTrainedTokenizerBase, shape: str
) -> None:
    guide = Classifier("teacher", make_bert(tokenizer).eval(), tokenizer)
    spec = parse_student(shape, "teacher-layers", "")
    with pytest.raises(ShapeMismatch, match="at most as wide, with as many heads"):
        build_student(spec, SENTIMENT, guide, mapping=(2, 4), seed=0)
