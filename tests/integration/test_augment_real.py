"""The engine on real sentences with the real masked LM, against the slow oracle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertForMaskedLM, BertTokenizer

from augment import augment_task
from augment.executor.base import Chunk
from augment.executor.models import Models
from augment.executor.worker import Worker, WorkerSpec
from augment.masked_lm.loading import load_masked_lm
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.sources.read import read_source
from augment.tasks import get_task
from augment.tokenization.words import Route
from tests.reference.masked_lm import ranked_tokens
from tests.reference.vectors import nearest

ROUNDING = 1e-5  # logits closer than this are equal in float32: two runs of one model differ so
GLOVE = "glove.6B.50d.first100k.txt"


@pytest.mark.parametrize(("task", "every", "words"), [("sst2", 1500, 150), ("mrpc", 200, 150)])
def test_candidates_equal_the_oracle(shared: Path, task: str, every: int, words: int) -> None:
    """The same candidate sets as one forward and one full sort a word; ties aside."""
    torch.set_num_threads(2)
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


def test_how_the_work_is_cut_does_not_change_a_byte(shared: Path, tmp_path: Path) -> None:
    """One and two workers, one and two threads: over 2,000 positions."""
    mlm = str(shared / "models" / "minilm-l6-mlm")
    assert load_masked_lm(mlm).limit == 512

    def run(out: str, **options: int) -> list[str]:
        version = augment_task(
            "sst2",
            source=str(shared / "data" / "glue_tsv" / "SST-2"),
            mlm=mlm,
            vectors=str(shared / "vectors" / GLOVE),
            out=tmp_path / out,
            limit=480,
            **options,
        )
        assert version.manifest.counts["words.masked_lm"] >= 2000
        return [entry.sha256 for entry in version.manifest.files]

    first = run("a", threads=2)

    assert run("b", workers=2, threads=1) == first


def test_batches_do_not_change_a_row(shared: Path) -> None:
    task = get_task("sst2")
    models = Models(str(shared / "models" / "minilm-l6-mlm"), str(shared / "vectors" / GLOVE))
    worker = Worker.load(WorkerSpec(task.spec, load_recipe("official", "sst2"), models))
    source = read_source(task, str(shared / "data" / "glue_tsv" / "SST-2"), limit=480)
    chunk = Chunk(0, source.splits["train"])
    expected = worker.run(chunk)
    worker.finder.masked_lm.tokens_a_batch = 300

    assert worker.run(chunk) == expected
    assert expected.counts["words.masked_lm"] >= 2000
