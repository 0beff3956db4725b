from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from distill.data.blocks import block_spec, split, tokenize_corpus
from distill.data.corpus import Corpus, Source, open_corpus
from distill.data.tokenize_pool import BATCH_CHARACTERS
from distill.errors import DataInvalid, ModelInvalid
from distill.runs.progress import Narrator
from tests.unit.distill.helpers import BAD, GOOD, PLAIN, make_tokenizer

ROOT = Path(__file__).resolve().parents[3]


def write_text(path, characters, seed=0):
    """Documents of known words, one a line, some empty and some long."""
    draw = random.Random(seed)
    lines, size = [], 0
    while size < characters:
        count = draw.choice((1, 4, 9, 30, 200))
        lines.append(" ".join(draw.choices((*PLAIN, *GOOD, *BAD), k=count)))
        size += len(lines[-1])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Text of several batches."""
    return write_text(tmp_path_factory.mktemp("corpus") / "text.txt", 3.5 * BATCH_CHARACTERS)


@pytest.fixture
def go(tokenizer, tmp_path):
    def run(file, *, length=32, minimum=6, cache="cache", **options):
        settings = {"take": None, "processes": 1, **options}
        spec = block_spec(tokenizer, "teacher", max_length=length, min_length=minimum)
        return tokenize_corpus(
            file if isinstance(file, Corpus) else open_corpus(Source(file)),
            tokenizer,
            spec,
            cache=tmp_path / cache,
            narrator=Narrator(quiet=True),
            **settings,
        )

    return run


def test_blocks_hold_the_text(
    go: Callable[..., Any], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("the room was good and the food was bad\nit was cold [SEP] [MASK]\nday\n")
    found = go(file, length=8, minimum=3)
    texts = [tokenizer.convert_ids_to_tokens(row["input_ids"]) for row in found.rows]

    assert " ".join(texts[0]) == "[CLS] the room was good and the [SEP]"
    assert " ".join(texts[1]) == "[CLS] food was bad [SEP]"
    assert " ".join(texts[2]).startswith("[CLS] it was cold [UNK]")
    assert all(block.count("[SEP]") == 1 and "[MASK]" not in block for block in texts)
    assert list(found.rows["length"]) == list(map(len, texts))
    assert list(found.rows["document"])[:3] == [0, 0, 1]
    assert found.counts.tokens == sum(map(len, texts))


def test_any_number_of_processes_writes_the_same_bytes(
    go: Callable[..., Any], text: str, tmp_path: Path
) -> None:
    one = go(text, cache="one")
    go(text, cache="three", processes=3)
    files = [next((tmp_path / name).glob("*/blocks.arrow")) for name in ("one", "three")]

    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].parent.name == files[1].parent.name
    assert one.counts.blocks == len(one.rows) > 1000
    assert one.counts.short > 0


class Unread(Corpus):
    """A corpus that is interrupted as soon as it is read."""

    def __iter__(self):
        raise KeyboardInterrupt


def unread(file):
    corpus = open_corpus(Source(file))
    return Unread(corpus.name, corpus.digest, corpus.size, corpus.files)


def test_the_second_start_reads_nothing(go: Callable[..., Any], text: str, tmp_path: Path) -> None:
    first = go(text)
    again = go(unread(text))
    assert again.counts == first.counts
    assert len(again.rows) == len(first.rows)
    go(text, length=16)
    go(text, minimum=3)
    go(text, take=500)

    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 4


def test_a_part_of_the_corpus_is_its_first_blocks(go: Callable[..., Any], text: str) -> None:
    whole, part = go(text), go(text, take=5000)

    assert 5000 <= part.counts.tokens < 5000 + 32
    assert part.rows[:]["input_ids"] == whole.rows[: len(part.rows)]["input_ids"]


@pytest.mark.parametrize("content", ["", "\n\n", "a\nb\n"])
def test_a_corpus_without_a_block(go: Callable[..., Any], tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataInvalid, match="holds no text to train on") as caught:
        go(tmp_path / "a.txt")

    assert "min_length" in caught.value.hint
    assert not list((tmp_path / "cache").glob("[!.]*"))


def test_damaged_documents_are_counted(go: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(
        b"the room was \xff good and warm\n" + b"the day was cold and dull\n" * 200
    )
    assert go(tmp_path / "a.txt").counts.damaged == 1


def test_an_interrupted_tokenization_leaves_no_blocks(
    go: Callable[..., Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(unread(text))

    assert not list((tmp_path / "cache").glob("[!.]*"))
    assert len(go(text).rows) > 1000


def test_documents_are_held_out_whole(go: Callable[..., Any], text: str) -> None:
    blocks = go(text)
    parts = split(blocks, 0.2, seed=1)
    documents = [set(part["document"]) for part in (parts.train, parts.held_out)]
    assert not documents[0] & documents[1]
    assert len(parts.train) + len(parts.held_out) == len(blocks.rows)
    share = len(documents[1]) / (len(documents[0]) + len(documents[1]))

    assert 0.15 < share < 0.25
    assert split(blocks, 0.2, seed=1).held_out["document"][:] == parts.held_out["document"][:]
    assert split(blocks, 0.2, seed=2).held_out["document"][:] != parts.held_out["document"][:]
    assert len(split(blocks, 0.0, seed=1).held_out) == 0


def test_small_corpora_hold_out_one_document_or_none(
    go: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("the room was good and warm\n" * 3)
    parts = split(go(tmp_path / "a.txt"), 0.01, seed=0)
    assert (len(parts.train), len(parts.held_out)) == (2, 1)
    (tmp_path / "b.txt").write_text("the room was good and warm\n")
    parts = split(go(tmp_path / "b.txt"), 0.01, seed=0)

    assert (len(parts.train), len(parts.held_out)) == (1, 0)


def test_a_tokenizer_that_frames_nothing_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    from transformers import PreTrainedTokenizerFast

    bare = make_tokenizer()
    core = bare.backend_tokenizer
    core.post_processor = None
    with pytest.raises(ModelInvalid, match="does not frame a text"):
        block_spec(
            PreTrainedTokenizerFast(tokenizer_object=core), "gpt", max_length=8, min_length=3
        )
    spec = block_spec(tokenizer, "bert", max_length=8, min_length=3)

    assert (spec.cls_id, spec.sep_id) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


ENDLESS = """
import sys
from distill.data.packing import BlockSpec
from distill.data.text_files import DocumentPart
from distill.data.tokenize_pool import tokenize_batches

def endless():
    while True:
        yield DocumentPart(0, "the day was good " * 1000)

if __name__ == "__main__":
    found = tokenize_batches(endless(), open(sys.argv[1]).read(), BlockSpec(8, 3, 2, 3), 2)
    for _ in found:
        print("at work", flush=True)
"""


def test_workers_of_a_killed_parent_end(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(tokenizer.backend_tokenizer.to_str())
    (tmp_path / "endless.py").write_text(ENDLESS)
    command = [sys.executable, str(tmp_path / "endless.py"), str(tmp_path / "rules.json")]
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    environment = {**os.environ, "PYTHONPATH": path}
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    assert parent.stdout.readline()
    workers = children(parent.pid)
    assert len(workers) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)

    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def children(pid):
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_counts_are_kept_beside_the_blocks(
    go: Callable[..., Any], text: str, tmp_path: Path
) -> None:
    found = go(text)
    stored = json.loads(next((tmp_path / "cache").glob("*/counts.json")).read_text())

    assert stored["tokens"] == found.counts.tokens == int(np.sum(list(found.rows["length"])))
