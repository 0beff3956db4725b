"""Every parser of the product, fed with the bytes of one file; each has a good file as seed.

A parser may answer or raise a fault. What it answers for the seed is known; for anything else it
must not raise another error, run long or take much memory.
"""

from __future__ import annotations

import io
import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from augment.analysis.stats import version_stats
from augment.contract import Fault, open_version, verify
from augment.masked_lm.inputs import MaskedInput
from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.model import Ranking
from augment.recipes.load import load_recipe as load_augment_recipe
from augment.replacement.candidate_store import CandidateStore, describe_store, key_of
from augment.sources.infer import sniff
from augment.sources.read import read_source
from augment.tasks import Task, get_task, load_task
from augment.vectors import load_vectors
from distill.data.corpus import Source, open_corpus
from distill.evaluation.results import CorpusCounts
from distill.models.loading import load_classifier, load_encoder
from distill.recipes.load import load_recipe as load_distill_recipe
from distill.runs.records import read_json
from distill.serving.glue_diagnostic import read_diagnostic
from tests.unit.distill.helpers import (
    SENTIMENT,
    make_bert,
    make_tokenizer,
    mood_rows,
    save,
    write_version,
)

TASK = """name = "mood"
text_columns = ["sentence"]
metrics = ["accuracy", "f1"]
selection_metric = "f1"

[label]
column = "label"
names = ["negative", "positive"]

[splits]
train = "train.{suffix}"
validation = "validation.csv"
"""
GOOD_ROWS = [("a good film", "positive"), ("rain, and “more” rain", "negative"), ("ok", "positive")]


@dataclass(frozen=True, slots=True)
class Parser:
    """A reader of one file.

    Attributes:
        name: For reports.
        file: The file's path in its folder.
        prepare: Lays a good folder, the file included.
        read: Reads the folder; what it gives is not kept.
    """

    name: str
    file: str
    prepare: Callable[[Path], object]
    read: Callable[[Path], object]

    @property
    def slow(self) -> bool:
        """Whether it takes tenths of a second, a whole model being loaded."""
        return "model" in self.name


def csv_text(delimiter: str = ",") -> str:
    """The good rows."""
    quoted = [f'"{text}"{delimiter}{label}' for text, label in GOOD_ROWS]
    return "\n".join([f"sentence{delimiter}label", *quoted]) + "\n"


def parquet_bytes() -> bytes:
    """The good rows."""
    texts, labels = zip(*GOOD_ROWS, strict=True)
    table, sink = pa.table({"sentence": list(texts), "label": list(labels)}), io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def json_lines() -> str:
    """The good rows."""
    return "".join(json.dumps({"sentence": t, "label": n}) + "\n" for t, n in GOOD_ROWS)


def lay_task(folder: Path, suffix: str) -> None:
    """A task whose training rows lie in a file of the kind."""
    (folder / "task.toml").write_text(TASK.format(suffix=suffix), encoding="utf-8")
    (folder / "validation.csv").write_text(csv_text(), encoding="utf-8")
    content = {"csv": csv_text(), "tsv": csv_text("\t"), "jsonl": json_lines(), "parquet": ""}
    (folder / f"train.{suffix}").write_text(content[suffix], encoding="utf-8")
    if suffix == "parquet":
        (folder / "train.parquet").write_bytes(parquet_bytes())


def read_task(folder: Path) -> object:
    """The rows of a custom task, malformed ones skipped, then refused."""
    task = load_task(folder / "task.toml")
    _source(task, skip=True)
    return _source(task, skip=False)


def _source(task: Task, *, skip: bool) -> object:
    return read_source(task, None, skip_malformed=skip)


_UNLABELED = (
    '{"sentence": "snow", "soft_labels": {"positive": 0.75}}\n{"sentence": "hail", "label": -1}\n'
    '{"sentence": "fog", "soft_labels": [0.5, 0.5]}\n'
    '{"sentence": "ice", "soft_labels": "positive"}\n'
)


def lay_unlabeled(folder: Path, name: str, content: str) -> None:
    """A task with rows without labels in a file, some with a distribution."""
    lay_task(folder, "csv")
    with (folder / "task.toml").open("a", encoding="utf-8") as stream:
        stream.write(f'unlabeled = "{name}"\n')
    (folder / name).write_text(content, encoding="utf-8")


def lay_glue(folder: Path) -> None:
    """SST-2 in GLUE's own form."""
    rows = "".join(f"{text}\t{label == 'positive':d}\n" for text, label in GOOD_ROWS)
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").write_text(f"sentence\tlabel\n{rows}", encoding="utf-8")


def lay_version(folder: Path) -> None:
    """A version of a few rows."""
    splits = {"train": mood_rows(6, 1, variants=2), "validation": mood_rows(4, 2)}
    write_version(folder, SENTIMENT, splits)


def read_version(folder: Path) -> object:
    """All that reads a version."""
    version = open_version(folder / "mood" / "v0001")
    version_stats(version)
    version.to_pandas("train")
    return verify(version)


def lay_model(folder: Path) -> None:
    """A tiny classifier."""
    save(make_bert(make_tokenizer(), layers=1, width=8, heads=2), make_tokenizer(), folder)


def read_model(folder: Path) -> object:
    """As teacher, as encoder, as masked LM."""
    answers, faults = list[object](), list[Fault]()
    for load in (
        lambda: load_classifier(str(folder), SENTIMENT),
        lambda: load_encoder(str(folder)),
        lambda: load_masked_lm(str(folder)),
    ):
        try:
            answers.append(load())
        except Fault as fault:
            faults.append(fault)
    if len(faults) > 1:  # a classifier is no masked LM: that door refuses the good folder, too
        raise faults[0]
    return answers


def lay_store(folder: Path) -> None:
    """A store with three rankings."""
    store = CandidateStore(folder / "store", "0" * 64, words_only=False)
    store.put({key: Ranking((5, 6), (2.0, 1.0)) for key in _keys()}, 2)
    store.path.rename(folder / "store" / "good.sqlite")
    with sqlite3.connect(folder / "store" / "good.sqlite") as database:
        database.execute("pragma journal_mode=delete")


def _keys() -> list[bytes]:
    return [key_of(MaskedInput((2, 4, n, 3), 2, 1)) for n in (5, 6, 7)]


def read_store(folder: Path) -> object:
    """Look up, store, describe."""
    store = CandidateStore(folder / "store", "0" * 64, words_only=False)
    (folder / "store" / "good.sqlite").replace(store.path)
    store = CandidateStore(folder / "store", "0" * 64, words_only=False)
    found = store.get(_keys(), 2)
    assert all(ranked == Ranking((5, 6), (2.0, 1.0)) for ranked in found.values()), "another value"
    store.put({b"new": Ranking((5, 6), (2.0, 1.0))}, 2)
    return describe_store(folder / "store")


def text(name: str, content: str) -> Callable[[Path], object]:
    """Lays one text file."""
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def corpus(name: str, column: str | None = None) -> Callable[[Path], object]:
    """Reads a corpus to its end."""

    def read(folder: Path) -> object:
        source = Source(str(folder / name), column=column, processes=1)
        return sum(len(part.text) for part in open_corpus(source))

    return read


def _vectors(draw: random.Random) -> str:
    rows = [[f"word{n}", *(f"{draw.uniform(-1, 1):.4f}" for _ in range(8))] for n in range(30)]
    return "".join(" ".join(row) + "\n" for row in rows)


_DIAGNOSTIC = "index\tsentence1\tsentence2\n" + "".join(f"{n}\ta cat\ta dog\n" for n in range(4))
_RESULT = (
    '{"name": "text", "blocks": 3, "tokens": 5, "empty": 0, "damaged": 0, "short": 1, '
    '"short_tokens": 4}'
)
_DISTILL = 'seed = 3\nmax_length = 16\nprecision = "float32"\n[intermediate]\nepochs = 4\n'
_AUGMENT = 'variants = 4\ntop_k = 15\nprobability = 0.4\nprotect_words = ["not", "no"]\n'
PARSERS = (
    Parser("task file", "task.toml", lambda f: lay_task(f, "csv"), read_task),
    Parser("rows, CSV", "train.csv", lambda f: lay_task(f, "csv"), read_task),
    Parser("rows, JSONL", "train.jsonl", lambda f: lay_task(f, "jsonl"), read_task),
    Parser("rows, Parquet", "train.parquet", lambda f: lay_task(f, "parquet"), read_task),
    Parser("rows without labels, JSONL", "more.jsonl",
           lambda f: lay_unlabeled(f, "more.jsonl", _UNLABELED), read_task),
    Parser("rows without labels, text", "more.txt",
           lambda f: lay_unlabeled(f, "more.txt", "snow\n\nhail on “it”\nice\n"), read_task),
    Parser("rows, GLUE", "train.tsv", lay_glue, lambda f: read_source(get_task("sst2"), str(f))),
    Parser("draft, CSV", "rows.csv", text("rows.csv", csv_text()), lambda f: sniff(f / "rows.csv")),
    Parser("draft, JSONL", "a.jsonl", text("a.jsonl", json_lines()),
           lambda f: sniff(f / "a.jsonl")),
    Parser("recipe of augment", "r.toml", text("r.toml", _AUGMENT),
           lambda f: load_augment_recipe(str(f / "r.toml"), "mood")),
    Parser("recipe of distill", "r.toml", text("r.toml", _DISTILL),
           lambda f: load_distill_recipe(str(f / "r.toml"), "mood")),
    Parser("manifest", "mood/v0001/manifest.json", lay_version, read_version),
    Parser("shard", "mood/v0001/data/train-00000-of-00001.parquet", lay_version, read_version),
    Parser("vectors", "v.txt", text("v.txt", _vectors(random.Random(1))),
           lambda f: load_vectors(str(f / "v.txt"), 1000)),
    Parser("corpus, text", "c.txt", text("c.txt", "a film\n\nrain\nmore rain\n"), corpus("c.txt")),
    Parser("corpus, JSONL", "c.jsonl", text("c.jsonl", json_lines()),
           corpus("c.jsonl", "sentence")),
    Parser("corpus, Parquet", "c.parquet",
           lambda f: (f / "c.parquet").write_bytes(parquet_bytes()),
           corpus("c.parquet", "sentence")),
    Parser("store", "store/good.sqlite", lay_store, read_store),
    Parser("result", "result.json", text("result.json", _RESULT),
           lambda f: read_json(f / "result.json", CorpusCounts)),
    Parser("diagnostic set", "AX.tsv", text("AX.tsv", _DIAGNOSTIC),
           lambda f: read_diagnostic(f / "AX.tsv")),
    Parser("model, config", "config.json", lay_model, read_model),
    Parser("model, tokenizer", "tokenizer.json", lay_model, read_model),
    Parser("model, weights", "model.safetensors", lay_model, read_model),
)  # fmt: skip
