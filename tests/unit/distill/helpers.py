"""A tiny committed version, a tiny vocabulary and tiny random models: made here, in seconds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    MPNetTokenizer,
)

from augment.contract import (
    CONTRACT,
    SOFT_LABELS,
    FileEntry,
    Label,
    Manifest,
    Splits,
    TaskSpec,
    Version,
    arrow_schema,
    identity,
    open_version,
    sha256_file,
)
from augment.sources.examples import source_split
from distill.models.shapes import InputSpec, config_of, parse_shape
from distill.runs.directory import LOCK
from distill.runs.listing import Run
from distill.training import callbacks, trainer

GOOD = ("good", "great", "fine", "warm", "bright", "fresh")
BAD = ("bad", "poor", "cold", "dull", "stale", "weak")
PLAIN = ("the", "a", "room", "food", "day", "was", "is", "very", "and", "we", "had", "it")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SENTIMENT = TaskSpec(
    name="mood",
    text_columns=("sentence",),
    label=Label(names=("negative", "positive")),
    metrics=("accuracy",),
    selection_metric="accuracy",
)
Row = dict[str, Any]
Go = Callable[..., Run]


def write_version(root: Path, task: TaskSpec, splits: dict[str, Sequence[Row]]) -> Version:
    """Commit rows as a version; ``idx``, ``variant`` and ``edits`` are filled in where absent."""
    path = root / task.name / "v0001"
    (path / "data").mkdir(parents=True)
    entries, sources = [], []
    soft = any(SOFT_LABELS in row for rows in splits.values() for row in rows)
    for split, rows in splits.items():
        filled = [{"idx": i, "variant": 0, "edits": [], **row} for i, row in enumerate(rows)]
        file = path / "data" / f"{split}-00000-of-00001.parquet"
        table = pa.Table.from_pylist(filled, schema=arrow_schema(task, soft_labels=soft))
        pq.write_table(table, file)
        entries.append(
            FileEntry(
                path=f"data/{file.name}",
                split=split,
                rows=len(filled),
                bytes=file.stat().st_size,
                sha256=sha256_file(file),
            )
        )
        columns = [*task.text_columns, task.label.column, "idx", *[SOFT_LABELS] * soft]
        originals = table.filter(pc.field("variant") == 0).select(columns)
        sources.append(source_split(split, originals))
    facts: Any = {"algorithm": 1, "task": task, "sources": tuple(sources), "assets": ()}
    manifest = Manifest(
        contract=CONTRACT,
        id=identity(**facts, recipe={}),
        version="v0001",
        recipe={},
        source="test",
        files=tuple(entries),
        counts={},
        soft_labels=soft,
        libraries={},
        created="2026-01-01T00:00:00Z",
        **facts,
    )
    (path / "manifest.json").write_text(manifest.to_json())
    return open_version(path)


MIXED = SENTIMENT.model_copy(update={"splits": Splits(unlabeled="unlabeled")})
"""The same task with a split of rows without labels."""


def blind(rows: Sequence[Row]) -> list[Row]:
    """The same rows without labels."""
    return [{**row, "label": None, "variant": 0} for row in rows]


def mood_rows(count: int, seed: int, variants: int = 1) -> list[Row]:
    """Sentences whose mood words tell the label."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        label = index % 2
        for variant in range(variants):
            words = draw.choices(PLAIN, k=draw.randint(2, 9))
            words.insert(draw.randrange(len(words)), draw.choice((BAD, GOOD)[label]))
            words.append(draw.choice((BAD, GOOD)[label]))
            text = " ".join(words)
            rows.append({"sentence": text, "label": label, "idx": index, "variant": variant})
    return rows


def make_tokenizer(words: Sequence[str] = (*PLAIN, *GOOD, *BAD)) -> BertTokenizerFast:
    """A WordPiece tokenizer that knows these words."""
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *words))}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = BertTokenizerFast(tokenizer_object=core)
    assert len(tokenizer) == len(vocabulary)
    return tokenizer


def tokenizer_of(family: str, words: Sequence[str] = (*PLAIN, *GOOD, *BAD)) -> Any:
    """A tokenizer with the special tokens that a family needs: MPNet's, or BERT's."""
    if family != "mpnet":
        return make_tokenizer(words)
    tokens = ("<s>", "<pad>", "</s>", "<unk>", "[UNK]", *words, "<mask>")
    return MPNetTokenizer(vocab={token: i for i, token in enumerate(tokens)})


def make_bert(
    tokenizer: BertTokenizerFast,
    *,
    labels: Sequence[str] = ("negative", "positive"),
    layers: int = 4,
    width: int = 32,
    heads: int = 4,
    seed: int = 0,
    **settings: Any,
) -> BertForSequenceClassification:
    """A small random classifier."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
        **settings,
    )
    return BertForSequenceClassification(config)


def make_model(
    family: str, tokenizer: BertTokenizerFast, size: str = "4x32-64-4", *, seed: int = 0
) -> Any:
    """A small random classifier of a family, for mood sentences or others with two labels."""
    torch.manual_seed(seed)
    shape = parse_shape(f"{family}:{size}")
    assert shape is not None
    reading = InputSpec(tokenizer, len(tokenizer), 2)
    names = {0: "negative", 1: "positive"}
    labels = {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    return AutoModelForSequenceClassification.from_config(config_of(shape, reading, labels)).eval()


def save(model: Any, tokenizer: BertTokenizerFast, folder: Path) -> Path:
    """Save a model with a tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_good_teacher(
    tokenizer: BertTokenizerFast, **settings: Any
) -> BertForSequenceClassification:
    """A classifier that was trained for a second or two on mood sentences: accuracy near 1."""
    model = make_bert(tokenizer, **settings)
    positive = settings.get("labels", ("negative", "positive")).index("positive")
    rows = mood_rows(400, seed=5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for start in [*range(0, 400, 16)] * 4:
        some = rows[start : start + 16]
        batch = tokenizer([row["sentence"] for row in some], padding=True, return_tensors="pt")
        labels = torch.tensor([positive if row["label"] else 1 - positive for row in some])
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@contextmanager
def at_step(title: str, step: int, do: Callable[[], object]) -> Iterator[None]:
    """Do something at the end of a step of the stage with this title."""

    class Progress(callbacks.StageProgress):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            super().on_step_end(args, state, control, **more)
            if self.title == title and state.global_step == step:
                do()

    with mock.patch.object(trainer, "StageProgress", Progress):
        yield


@contextmanager
def stopping(title: str, step: int) -> Iterator[None]:
    """A second Ctrl-C, which stops at once, at a step of the stage with this title."""

    def stop() -> None:
        raise KeyboardInterrupt

    with at_step(title, step, stop), pytest.raises(KeyboardInterrupt):
        yield


def written(folder: Path) -> dict[Path, int]:
    """When each file was written last; the lock is taken by every call."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return {path: path.stat().st_mtime_ns for path in files}


TINY_RECIPE = """
seed = 3
max_length = 16
precision = "float32"

[teacher]
epochs = 6
batch_size = 16
learning_rate = 2e-3
evaluations = 3

[intermediate]
epochs = 4
learning_rate = 3e-3

[prediction]
epochs = 3
learning_rate = 2e-3
evaluations = 2

[plain]
epochs = 2
batch_size = 16
learning_rate = 1e-3
evaluations = 2
"""


def run_program(
    name: str, *arguments: object, processes: int = 1, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a program of this folder on one thread, under torchrun for several processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    launcher = [sys.executable, *(torchrun if processes > 1 else [])]
    return subprocess.run(
        [*launcher, "-m", f"tests.unit.distill.{name}", *map(str, arguments)],
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
