"""Whole runs: the same bytes whatever happens, and errors that leave nothing behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from augment import augment_task
from augment.contract import OutputBusy
from augment.errors import TextTooLong, UsageError
from augment.executor.base import Chunk, Engine
from augment.executor.models import Models
from augment.executor.worker import Worker, WorkerSpec
from augment.masked_lm.inputs import PackedInputs
from augment.masked_lm.model import MaskedLM
from augment.recipes.load import load_recipe
from augment.replacement.candidate_store import describe_store
from augment.replacement.sampling import TextOfRow, row_draws, sample_copies
from augment.sources.read import read_source
from augment.tasks import get_task
from augment.tokenization.words import Route
from augment.versions.staging import open_staging
from tests.integration.conftest import SMALL, Interrupter, Run, digests
from tests.reference.algorithm1 import paper_copy


def test_workers_threads_and_chunks_do_not_change_a_byte(run: Run) -> None:
    one = run("one", threads=1, limit=220)
    two = run("two", workers=2, threads=1, limit=220, chunk_rows=110)
    cut = run("three", threads=2, limit=220, chunk_rows=77)

    assert digests(two) == digests(cut) == digests(one)
    assert one.rows("train") > 5 * 220


def test_batches_do_not_change_a_row(mlm_dir: Path, vectors_file: Path, pair_source: Path) -> None:
    task = get_task("rte")
    models = Models(str(mlm_dir), str(vectors_file))
    worker = Worker.load(WorkerSpec(task.spec, SMALL, models, threads=1))
    chunk = Chunk(0, read_source(task, str(pair_source), limit=128).splits["train"])
    expected = worker.run(chunk)
    worker.finder.masked_lm.tokens_a_batch = 512

    assert worker.run(chunk) == expected
    assert expected.rows.num_rows > 5 * 128


def test_the_same_inputs_write_nothing(run: Run) -> None:
    first = run(limit=60)
    written = (first.path / "manifest.json").stat().st_mtime_ns
    again = run(limit=60)

    assert again.path == first.path
    assert (again.path / "manifest.json").stat().st_mtime_ns == written
    assert sorted(p.name for p in first.path.parent.iterdir()) == ["v0001"]


def test_another_recipe_is_another_version(run: Run) -> None:
    first, second = run(limit=60), run(recipe=SMALL.model_copy(update={"seed": 1}), limit=60)

    assert (first.reference, second.reference) == ("rte@v0001", "rte@v0002")
    assert digests(first)[0] != digests(second)[0]
    assert digests(first)[1:] == digests(second)[1:]  # validation and test are the source's rows


def test_each_side_of_a_pair_is_augmented_around_the_other(run: Run) -> None:
    frame = run(limit=100).to_pandas("train")
    originals = frame[frame.variant == 0].set_index("idx")
    augmented = frame[frame.variant > 0]

    assert len(augmented) > 500
    for row in augmented.itertuples():
        source = originals.loc[row.idx]
        first = row.variant <= SMALL.variants
        changed, same = ("sentence1", "sentence2") if first else ("sentence2", "sentence1")
        assert getattr(row, same) == source[same]
        assert getattr(row, changed) != source[changed]
        assert row.label == source["label"]
        assert {edit["column"] for edit in row.edits} == {changed}
    text = " ".join(frame.sentence1) + " ".join(frame.sentence2)
    assert not any(bad in text for bad in ("##", "[MASK]", "[UNK]", "[unused1]", "[PAD]"))


def test_counts_add_up(run: Run) -> None:
    version = run(limit=200)
    counts = version.manifest.counts

    assert counts["rows.source"] == 200
    assert counts["rows.augmented"] + 200 == version.rows("train")
    drawn = 200 * 2 * SMALL.variants
    lost = sum(count for name, count in counts.items() if name.startswith("dropped."))
    assert counts["rows.augmented"] + lost == drawn
    assert counts["words.vectors"] > 0
    assert counts["words.masked_lm"] > 0


def test_a_held_out_row_is_never_written(run: Run, pair_source: Path, tmp_path: Path) -> None:
    """A generated row that turns up in the test split is dropped and counted."""
    train = run("first", limit=50).to_pandas("train")
    leaked = train[train.variant > 0].iloc[:5]
    source = tmp_path / "source"
    shutil.copytree(pair_source, source)
    with (source / "test.tsv").open("a") as stream:
        for i, row in enumerate(leaked.itertuples()):
            stream.write(f"{100 + i}\t{row.sentence1.upper()}\t{row.sentence2}\n")
    version = run("second", limit=50, source=str(source))

    assert version.manifest.counts["dropped.leak"] >= 5
    assert version.rows("train") == len(train) - version.manifest.counts["dropped.leak"]
    open_guard = SMALL.model_copy(update={"leak_guard": False})
    unguarded = run("third", open_guard, limit=50, source=str(source))
    assert unguarded.rows("train") == len(train)


def test_resampling_needs_no_forward(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another N, p, seed or smaller K from the store: the same bytes as without it."""
    store = tmp_path / "candidates"
    run("first", store=store, limit=200)
    changed = SMALL.model_copy(update={"variants": 9, "probability": 0.7, "seed": 3, "top_k": 3})
    plain = run("plain", changed, limit=200)
    forwards: list[int] = []
    original = MaskedLM._logits

    def counted(self: MaskedLM, inputs: PackedInputs, **options: bool) -> torch.Tensor:
        forwards.append(len(inputs.masks))
        return original(self, inputs, **options)

    monkeypatch.setattr(MaskedLM, "_logits", counted)
    again = run("again", changed, store=store, limit=200)

    assert digests(again) == digests(plain)
    assert sum(forwards) <= 6  # positions whose cut is not clear, and what loading reads as a trial
    assert describe_store(store)[0].entries > 1000


def test_a_damaged_chunk_is_made_again(run: Run, tmp_path: Path) -> None:
    calm = run("calm", limit=60)
    with pytest.raises(KeyboardInterrupt):
        run(limit=60, chunk_rows=20, narrator=Interrupter())
    chunk = sorted((tmp_path / "out" / "rte").glob(".partial-*/chunks/*.parquet"))[0]
    chunk.write_bytes(chunk.read_bytes()[:100])

    assert digests(run(limit=60, chunk_rows=20)) == digests(calm)


def test_chunks_of_another_size_are_made_again(run: Run) -> None:
    """Chunk 1 has 10 rows with either size, but not the same ones."""
    calm = run("calm", limit=25)
    with pytest.raises(KeyboardInterrupt):
        run(limit=25, chunk_rows=10, narrator=Interrupter())

    assert digests(run(limit=25, chunk_rows=15)) == digests(calm)


def test_two_runs_of_the_same_version(run: Run, tmp_path: Path) -> None:
    identity = run("other", limit=10).manifest.id
    with (
        open_staging(tmp_path / "out" / "rte", identity, 512),
        pytest.raises(OutputBusy, match="another"),
    ):
        run(limit=10)


def test_a_text_beyond_the_model(run: Run, tmp_path: Path, pair_source: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(pair_source, source)
    lines = (source / "train.tsv").read_text().splitlines()[:41]
    lines.append(f"9999\t{'film ' * 400}\tfilm\tentailment")
    (source / "train.tsv").write_text("\n".join(lines) + "\n")
    longer = SMALL.model_copy(update={"long_text": "truncate"})
    with pytest.raises(TextTooLong, match="row 9999, sentence1, has 400 tokens") as caught:
        run(source=str(source))

    assert 'long_text = "truncate"' in caught.value.hint
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert run("truncated", longer, source=str(source)).rows("train") > 41


def test_unusable_arguments(run: Run) -> None:
    for options in ({"workers": 0}, {"limit": 0}, {"chunk_rows": 0}):
        with pytest.raises(UsageError):
            run(**options)


def test_an_engine_says_everything_itself(mlm_dir: Path, vectors_file: Path) -> None:
    with pytest.raises(UsageError, match="workers, threads and address"):
        augment_task("rte", mlm=str(mlm_dir), vectors=str(vectors_file), engine=Engine(), workers=2)


def test_the_paper_preset_equals_algorithm_1(mlm_dir: Path, vectors_file: Path) -> None:
    """Copies that advance together = one forward for each word of each copy on its own."""
    from transformers import BertForMaskedLM, BertTokenizer

    recipe = load_recipe("paper", "cola").model_copy(update={"variants": 5, "top_k": 4})
    finder = Models(str(mlm_dir), str(vectors_file)).load_finder(recipe)
    texts = ["the quick brown fox ran .", "wonderful ukulele music, they walked !", "red dog"]
    rows = [
        TextOfRow(i, "sentence", text, finder.words_of([text])[0]) for i, text in enumerate(texts)
    ]
    model = BertForMaskedLM.from_pretrained(mlm_dir).eval()
    tokenizer = BertTokenizer.from_pretrained(mlm_dir)
    may_stand = set(np.flatnonzero(finder.masked_lm.tokenizer.whole_words()).tolist())
    table = (list(finder.vectors.words), finder.vectors.table.matrix)
    compared = 0
    for row, samples in zip(rows, sample_copies(rows, finder, "cola"), strict=True):
        draws = row_draws(0, "cola", row.idx, "sentence", variants=5, words=len(row.words))
        kept = {i for i, word in enumerate(row.words) if not word.route.replaceable}
        spans = [(word.start, word.end) for word in row.words]
        assert any(word.route is Route.MASKED_LM for word in row.words)
        for variant, drawn in zip([each.variant for each in samples], draws, strict=True):
            expected = paper_copy(
                row.text, spans, kept, drawn,
                model=model, tokenizer=tokenizer, table=table, may_stand=may_stand, k=4, p=0.4,
            )  # fmt: skip
            assert variant.text == expected
            compared += len(variant.edits)
    assert compared >= 15


def test_workers_end_with_a_killed_parent(
    mlm_dir: Path, vectors_file: Path, pair_source: Path, tmp_path: Path
) -> None:
    """Killed without a chance to clean up, a pooled run leaves no process behind."""
    command = [sys.executable, "-m", "augment.cli", "run", "rte", "--workers", "2"]
    where = ["--source", pair_source, "--mlm", mlm_dir, "--vectors", vectors_file]
    parent = subprocess.Popen(
        [*command, *map(str, where), "--out", str(tmp_path)], stderr=subprocess.DEVNULL
    )
    workers: list[str] = []
    deadline = time.monotonic() + 60
    while len(workers) < 3 and time.monotonic() < deadline and parent.poll() is None:
        workers = _children_of(parent.pid)
        time.sleep(0.05)
    time.sleep(1)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert len(workers) >= 3
    assert not any(_alive(pid) for pid in workers)


def _children_of(pid: int) -> list[str]:
    """The loader of a pool and its workers, not multiprocessing's own helper."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    children = listed.read_text().split() if listed.is_file() else []
    loaders = [c for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return loaders + [pid for child in loaders for pid in _children_of(int(child))]


def _alive(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and ") Z " not in stat.read_text()


def test_bfloat16_says_what_it_changes(run: Run) -> None:
    recipe = SMALL.model_copy(update={"precision": "bfloat16"})
    version = run("bf16", recipe=recipe, limit=60)
    measured = version.manifest.measured

    assert measured["precision.positions"] > 100
    assert 0.5 < measured["precision.overlap"] <= 1
    assert run("again", recipe=recipe, limit=60, workers=2).manifest.files == version.manifest.files
    assert not run("full", limit=60).manifest.measured


def test_long_texts_are_the_same_bytes_too(run: Run) -> None:
    """Several masks in a forward, windows and spared words: any chunks, workers, and resumed."""
    keys = {"mask_every": 3, "window": 12, "max_words": 5, "coins_first": True}
    recipe = SMALL.model_copy(update=keys)
    calm = run("calm", recipe, limit=40)
    with pytest.raises(KeyboardInterrupt):
        run("cut", recipe, limit=40, chunk_rows=7, narrator=Interrupter())
    cut = run("cut", recipe, limit=40, chunk_rows=7)
    two = run("two", recipe, limit=40, chunk_rows=20, workers=2)

    assert digests(cut) == digests(two) == digests(calm)
    assert calm.manifest.counts["words.spared"] > 0
    assert {key: calm.manifest.recipe[key] for key in keys} == keys
