"""The batched masked LM against one forward per word, and its errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertForMaskedLM, BertModel, BertTokenizer

from augment.errors import AssetInvalid, AssetMissing
from augment.masked_lm.inputs import MaskedInput, build_input
from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.model import MaskedLM
from tests.reference.masked_lm import ranked_tokens

SENTENCES = [
    "the quick brown fox ran .",
    "they walked to the city !",
    "it was a lazy , slow film",
    "wonderful guitar music in paris",
    "red dog",
]


@pytest.fixture
def lm(mlm_dir: Path) -> MaskedLM:
    return load_masked_lm(str(mlm_dir))


def queries(lm: MaskedLM, context: str) -> tuple[list[MaskedInput], list[tuple[list[str], int]]]:
    """Every one-token word of the sentences as a query, and as words for the oracle."""
    asked, words_and_places = [], []
    for spans in lm.tokenizer.spans(SENTENCES, "basic"):
        token_ids, texts = [span.token_ids for span in spans], [span.text for span in spans]
        for at, span in enumerate(spans):
            query = build_input(token_ids, at, lm.tokenizer, context, lm.limit)
            if len(span.token_ids) == 1 and query is not None:
                asked.append(query)
                words_and_places.append((texts, at))
    return asked, words_and_places


@pytest.mark.parametrize("context", ["pair", "single"])
def test_agrees_with_one_forward_a_word(lm: MaskedLM, mlm_dir: Path, context: str) -> None:
    model, tokenizer = (
        BertForMaskedLM.from_pretrained(mlm_dir),
        BertTokenizer.from_pretrained(mlm_dir),
    )
    asked, places = queries(lm, context)
    found = lm.rank(asked, 5, words_only=False)

    for ranked, (words, at) in zip(found, places, strict=True):
        expected = ranked_tokens(model.eval(), tokenizer, words, at, pair=context == "pair")[:5]
        assert list(ranked.token_ids) == [token_id for token_id, _ in expected]
        torch.testing.assert_close(
            torch.tensor(ranked.scores), torch.tensor([s for _, s in expected]), atol=1e-4, rtol=0
        )
    assert len(found) == 25


def test_batch_size_does_not_matter(lm: MaskedLM) -> None:
    asked, _ = queries(lm, "pair")
    whole = [ranked.token_ids for ranked in lm.rank(asked, 5, words_only=False)]
    lm.tokens_a_batch = 1

    assert [ranked.token_ids for ranked in lm.rank(asked, 5, words_only=False)] == whole


def test_close_ranks_are_computed_alone(lm: MaskedLM) -> None:
    """With every gap called close, all positions go the canonical way and agree."""
    asked, _ = queries(lm, "pair")
    batched = [set(ranked.token_ids) for ranked in lm.rank(asked, 5, words_only=False)]
    lm.tie_gap = 1e9

    assert [set(ranked.token_ids) for ranked in lm.rank(asked, 5, words_only=False)] == batched


def test_only_whole_words_where_asked(lm: MaskedLM) -> None:
    asked, _ = queries(lm, "single")
    allowed = lm.tokenizer.whole_words()

    for ranked in lm.rank(asked, 60, words_only=True):
        assert all(allowed[token_id] for token_id in ranked.token_ids)
        assert len(ranked.token_ids) == min(60, int(allowed.sum()))


def test_progress_counts_positions(lm: MaskedLM) -> None:
    asked, _ = queries(lm, "pair")
    seen: list[int] = []
    lm.rank(asked, 5, words_only=False, on_batch=lambda done, _: seen.append(done))

    assert sum(seen) == len(asked)


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(AssetMissing, match="no model folder"):
        load_masked_lm("./no/such/folder")


def test_a_model_without_head_is_refused(mlm_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(mlm_dir, tmp_path / "headless")
    encoder = BertModel.from_pretrained(mlm_dir)
    encoder.save_pretrained(tmp_path / "headless")

    with pytest.raises(AssetInvalid, match="no masked-LM head"):
        load_masked_lm(str(tmp_path / "headless"))


def test_damaged_weights_are_refused(mlm_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(mlm_dir, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])

    with pytest.raises(AssetInvalid, match="cannot be read as the weights"):
        load_masked_lm(str(tmp_path / "cut"))


def test_nan_weights_are_refused(mlm_dir: Path) -> None:
    lm = load_masked_lm(str(mlm_dir))
    with torch.no_grad():
        lm._model.cls.predictions.bias.fill_(float("nan"))
    asked, _ = queries(lm, "pair")

    with pytest.raises(AssetInvalid, match="NaN"):
        lm.rank(asked, 5, words_only=False)


def test_the_digest_follows_the_weights(mlm_dir: Path, tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained(mlm_dir)
    shutil.copytree(mlm_dir, tmp_path / "other")
    with torch.no_grad():
        model.cls.predictions.bias[0] += 1
    model.save_pretrained(tmp_path / "other")

    assert load_masked_lm(str(mlm_dir)).digest == load_masked_lm(str(mlm_dir)).digest
    assert load_masked_lm(str(tmp_path / "other")).digest != load_masked_lm(str(mlm_dir)).digest
