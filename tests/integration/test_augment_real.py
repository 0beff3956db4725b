"""The engine on real sentences with the real masked LM, against the slow oracle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertForMaskedLM, BertTokenizer

from augment import augment_task
from augment.executor.base import Engine
from augment.executor.models import Models
from augment.masked_lm import model
from augment.masked_lm.loading import load_masked_lm
from augment.recipes.schema import AugmentRecipe
from augment.sources.read import read_source
from augment.tasks import get_task
from augment.tokenization.words import Route
from tests.reference.masked_lm import ranked_tokens
from tests.reference.vectors import nearest

ROUNDING = 1e-5  # logits closer than this are equal in float32: two runs of one model differ so
GLOVE = "glove.6B.50d.first100k.txt"


@pytest.mark.parametrize(("task", "every", "words"), [("sst2", 1700, 150), ("mrpc", 250, 150)])
def test_candidates_equal_the_oracle(shared: Path, task: str, every: int, words: int) -> None:
    """The same candidate sets as one forward and one full sort a word; ties aside."""
    mlm = shared / "models" / "minilm-l6-mlm"
    recipe = AugmentRecipe()
    finder = Models(str(mlm), str(shared / "vectors" / GLOVE)).load_finder(recipe)
    model = BertForMaskedLM.from_pretrained(mlm, dtype=torch.float32).eval()
    tokenizer = BertTokenizer.from_pretrained(mlm)
    train = read_source(get_task(task), str(shared / "data" / "glue" / task)).splits["train"]
    column = get_task(task).spec.text_columns[0]
    texts = train[column].to_pylist()[::every]
    sentences = finder.words_of(texts)
    compared = ties = 0
    for sentence, found in zip(sentences, finder.for_sentences(sentences), strict=True):
        names = [word.text for word in sentence]
        for at, word in enumerate(sentence):
            if word.route is not Route.MASKED_LM:
                continue
            ranked = ranked_tokens(model, tokenizer, names, at, pair=True, depth=16)
            gap = ranked[14][1] - ranked[15][1]
            whole = finder.masked_lm.tokenizer.whole_words()
            best = {token_id for token_id, _ in ranked[:15] if whole[token_id]}
            expected = {tokenizer.convert_ids_to_tokens(token_id) for token_id in best}
            if gap < ROUNDING:
                ties += 1
                continue
            assert set(found[at].words) == expected, (names, at, gap)
            compared += 1
    print(f"{task}: {compared} words compared, {ties} ties left out")
    assert compared >= words
    assert ties <= 2


def test_vectors_equal_the_oracle(shared: Path) -> None:
    from augment.vectors import load_vectors

    table = load_vectors(str(shared / "vectors" / GLOVE), 100_000)
    asked = table.words[5000:100_000:6000]
    found, words = table.neighbors(asked, 15), list(table.words)

    for word, near in zip(asked, found, strict=True):
        assert list(near.words) == nearest(words, table.table.matrix, word, 15)
    assert len(asked) == 16


def test_how_the_work_is_cut_does_not_change_a_byte(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers, threads, chunks and batches, all of them other: over 2,000 positions."""
    mlm = str(shared / "models" / "minilm-l6-mlm")
    assert load_masked_lm(mlm).limit == 512

    def run(out: str, **options: int) -> tuple[list[str], dict[str, int]]:
        version = augment_task(
            "sst2",
            source=str(shared / "data" / "glue_tsv" / "SST-2"),
            mlm=mlm,
            vectors=str(shared / "vectors" / GLOVE),
            out=tmp_path / out,
            limit=480,
            engine=Engine(**options),
        )
        assert version.manifest.counts["words.masked_lm"] >= 2000
        return [entry.sha256 for entry in version.manifest.files], version.manifest.counts

    cut = run("cut", workers=2, threads=1, chunk_rows=100)
    monkeypatch.setattr(model, "CPU_TOKENS_A_BATCH", 300)

    assert run("whole", threads=2) == cut
