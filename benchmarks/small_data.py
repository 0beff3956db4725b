"""Sets of 300 to 3,000 labeled rows: what most people have, from the real data beside the checkout.

A set is cut by its seed into training rows (85%) and validation rows, which select; the score is
that of a held-out split, which selects nothing.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from augment import write_version
from augment.contract import Label, Splits, TaskSpec, Version
from benchmarks.places import SHARED

HELD_OUT, MOST_HELD_OUT = "held_out", 1_000
VALIDATION_SHARE = 0.15
TOPICS = (
    *("album", "river", "army", "church", "football", "election", "bank", "school", "railway"),
    *("species", "disease", "king", "wine", "ship", "computer", "oil", "baseball", "planet"),
    *("marriage", "murder", "newspaper", "island", "engine", "horse"),
)
WORDS_OF_A_SENTENCE, MOST_OF_A_TOPIC = range(10, 41), 220
QUEUES = ("account", "billing", "cancellation", "shipping", "technical")
PAIR, SENTENCE, TICKET = ("sentence1", "sentence2"), ("sentence",), ("subject", "body")
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cut:
    """Labeled rows to train and select with, and rows to score on."""

    own: Rows
    held_out: Rows


def tickets(count: int, seed: int) -> Cut:
    """Support tickets of five uneven classes, 8% of the labels wrong; right ones are held out."""
    folder = SHARED / "data" / "tickets"
    rows = pa.csv.read_csv(folder / "tickets.csv").to_pylist()
    true = pa.csv.read_csv(folder / "labelled_truth.csv").to_pylist()
    right = {row["ticket_id"]: row["true"] for row in true}
    random.Random(f"tickets{seed}").shuffle(rows)

    def row(read: dict[str, str], label: str) -> dict[str, Any]:
        texts = {name: read[name] or "" for name in ("subject", "body")}
        return {**texts, "label": QUEUES.index(label)}

    own = [row(read, read["queue"]) for read in rows[:count]]
    return Cut(own, [row(read, right[read["ticket_id"]]) for read in rows[count:]])


def topics(count: int, seed: int) -> Cut:
    """Sentences of Wikipedia with one of 24 words, which is taken out and has to be guessed."""
    pattern = re.compile(rf"\b({'|'.join(TOPICS)})\b", re.IGNORECASE)
    paragraphs = pq.read_table(SHARED / "data" / "corpus" / "train.parquet").to_pylist()
    random.Random(0).shuffle(paragraphs)
    rows: Rows = []
    found: Counter[str] = Counter()
    for paragraph in paragraphs:
        if paragraph["source"] == "wikipedia":
            for sentence in re.split(r"(?<=[.!?])\s+", paragraph["text"]):
                named = {word.lower() for word in pattern.findall(sentence)}
                topic = min(named, default="")
                fits = len(sentence.split()) in WORDS_OF_A_SENTENCE and len(named) == 1
                if fits and found[topic] < MOST_OF_A_TOPIC:
                    found[topic] += 1
                    text = pattern.sub("something", sentence)
                    rows.append({"sentence": text, "label": TOPICS.index(topic)})
                    break
    random.Random(seed).shuffle(rows)
    return Cut(rows[:count], rows[count:])


def glue(count: int, seed: int, *, task: str, columns: tuple[str, ...], rest: bool = False) -> Cut:
    """Rows of a GLUE task; held out are the others (where ``rest``) and its validation split."""
    folder = SHARED / "data" / "glue" / task
    kept = [*columns, "label"]
    rows = pq.read_table(folder / "train.parquet").select(kept).to_pylist()
    random.Random(f"{task}{seed}").shuffle(rows)
    validation = pq.read_table(folder / "validation.parquet").select(kept).to_pylist()
    return Cut(rows[:count], [*(rows[count:] if rest else []), *validation])


@dataclass(frozen=True, slots=True)
class SmallSet:
    """A set of labeled rows and how it is scored.

    Attributes:
        rows: For training and validation together.
        cut: Number of rows and seed to the rows.
        columns: Of the text, two for pairs.
        names: Of the classes, none for a regression.
        metric: Selects on validation and scores on what is held out.
    """

    rows: int
    cut: Callable[[int, int], Cut]
    columns: tuple[str, ...]
    names: tuple[str, ...]
    metric: str

    def version(self, name: str, seed: int, root: Path) -> Version:
        """The rows as they are, as a version whose second validation split is held out."""
        label = Label(names=self.names) if self.names else Label(kind="regression")
        task = TaskSpec(
            name=name,
            text_columns=self.columns,
            label=label,
            metrics=(self.metric,),
            selection_metric=self.metric,
            splits=Splits(validation=("validation", HELD_OUT)),
        )
        cut = self.cut(self.rows, seed)
        training = round(self.rows * (1 - VALIDATION_SHARE))
        splits = {
            "train": cut.own[:training],
            "validation": cut.own[training:],
            HELD_OUT: cut.held_out[:MOST_HELD_OUT],
        }
        tables = {split: pa.Table.from_pylist(rows) for split, rows in splits.items()}
        return write_version(task, tables, out=root)


ANSWERS, MOOD = ("no", "yes"), ("negative", "positive")


def _glue(rows: int, task: str, columns: tuple[str, ...], metric: str, *names: str) -> SmallSet:
    rest = task == "mrpc"  # whose validation split is small
    cut = partial(glue, task=task, columns=columns, rest=rest)
    return SmallSet(rows, cut, columns, names, metric)


SETS = {
    "tickets300": SmallSet(300, tickets, TICKET, QUEUES, "f1"),
    "tickets700": SmallSet(700, tickets, TICKET, QUEUES, "f1"),
    "stsb_800": _glue(800, "stsb", PAIR, "pearson_spearman"),
    "sst2_1000": _glue(1000, "sst2", SENTENCE, "accuracy", *MOOD),
    "topics1200": SmallSet(1200, topics, SENTENCE, TOPICS, "f1"),
    "mrpc_1200": _glue(1200, "mrpc", PAIR, "accuracy", *ANSWERS),
    "cola_3000": _glue(3000, "cola", SENTENCE, "matthews", *ANSWERS),
}
