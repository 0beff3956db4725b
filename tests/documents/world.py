"""A folder in which the commands of the pages run: the sample under the names that they use.

What a page takes from an earlier one (a version, a teacher, a run) is made when it is named first,
once for all pages, and copied.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.conftest import ROOT

SAMPLE = ROOT / "data" / "sample"
ENCODERS = (
    "google-bert/bert-base-uncased",
    "bert-base-uncased",
    "microsoft/MiniLM-L12-H384-uncased",
)
VECTORS = ("glove.6B.300d.txt", "glove-wiki-gigaword-100")
STRICT = """normalised_duplicates = true
teacher_agreement = "unchanged"
protect_numbers = true
protect_words = ["refund"]
keep_rejected = true
"""
ROWS = {"train": 56, "validation": 24, "test": 24}
TEST_ROWS = 1821
"""Of GLUE's SST-2, which a submission must have."""
_TUNED = "distill teacher data/versions/{0} --init bert-base-uncased --out models/{0}-teacher"
_DISTILLED = (
    "distill run data/versions/{0} --teacher models/{0}-teacher --student 2x64-256-4 --no-plain "
    "--out runs/{0}"
)
_WORDS = "--mlm bert-base-uncased --vectors glove.6B.300d.txt"
MADE = {
    "data/versions/sst2": f"augment run sst2 --source glue/SST-2 {_WORDS} --out data/versions",
    "data/versions/cola": f"augment run cola --source glue/CoLA {_WORDS} --out data/versions",
    "data/versions/tickets": f"augment run tickets.csv {_WORDS} --unlabeled more-tickets.csv",
    "data/versions/reviews": f"augment run reviews.toml {_WORDS} --out data/versions",
    **{f"models/{task}-teacher": _TUNED.format(task) for task in ("sst2", "cola", "reviews")},
    "models/teacher": _TUNED.format("tickets").replace("tickets-teacher", "teacher"),
    "models/tickets-teacher": _TUNED.format("tickets"),
    **{f"runs/{task}": _DISTILLED.format(task) for task in ("sst2", "tickets", "reviews")},
    "runs/sst2-small": _DISTILLED.format("sst2").replace(
        "--out runs/sst2", "--out runs/sst2-small"
    ),
    "models/general": "distill general corpus --teacher bert-base-uncased --student 2x64-256-4 "
    "--out models/general",
    "export": "distill export runs/tickets data/versions/tickets --to onnx --to onnx-int8 "
    "--out export",
    "models/sst2-small": "distill trim runs/sst2 data/versions/sst2 --out models/sst2-small",
}
"""Place → the command that makes it; what that names is made before."""

Run = Callable[[list[str], Path], object]


def sample_rows(split: str) -> list[tuple[str, str]]:
    """Some remarks with their labels, both in equal parts."""
    with (SAMPLE / "reviews" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["sentence"], row["label"]) for row in csv.DictReader(file)]
    return rows[: ROWS[split]]


def _write_rows(path: Path, names: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([names, *rows])


def furnish(folder: Path) -> None:
    """Write the user's own files, and link what the hub and the downloader would deliver."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "sample").symlink_to(SAMPLE)
    for name in ENCODERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(SAMPLE / "mlm")
    for name in VECTORS:
        (folder / name).symlink_to(SAMPLE / "vectors.txt")
    splits = {split: sample_rows(split) for split in ROWS}
    _glue(folder / "glue", splits)
    _own_files(folder, splits)


def _glue(folder: Path, splits: dict[str, list[tuple[str, str]]]) -> None:
    """GLUE's own files of two tasks, with the sample's remarks."""
    for split, rows in splits.items():
        name = {"validation": "dev"}.get(split, split)
        numbers = [(text.replace('"', "'"), int(label == "positive")) for text, label in rows]
        if split == "test":
            texts = [numbers[i % len(numbers)][0] for i in range(TEST_ROWS)]
            found = [(i, f"{text} {i}") for i, text in enumerate(texts)]
            _write_rows(folder / "SST-2" / "test.tsv", ["index", "sentence"], found)
            _write_rows(folder / "CoLA" / "test.tsv", ["index", "sentence"], found)
        else:
            _write_rows(folder / "SST-2" / f"{name}.tsv", ["sentence", "label"], numbers)
            cola = "".join(f"made\t{label}\t\t{text}\n" for text, label in numbers)
            (folder / "CoLA").mkdir(exist_ok=True)
            (folder / "CoLA" / f"{name}.tsv").write_text(cola, encoding="utf-8")


def _own_files(folder: Path, splits: dict[str, list[tuple[str, str]]]) -> None:
    """The files a user has: reviews, tickets, texts without labels, rows of another tool."""
    shutil.copytree(SAMPLE / "reviews", folder, dirs_exist_ok=True)
    for split, rows in splits.items():
        _write_rows(folder / f"{split}.csv", ["sentence", "label"], rows)
    every = [row for rows in splits.values() for row in rows]
    names = {"positive": "praise", "negative": "billing"}
    tickets = [(text, names[label]) for text, label in every]
    _write_rows(folder / "reviews.csv", ["sentence", "label"], every)
    _write_rows(folder / "tickets.csv", ["text", "label"], tickets)
    more = [text.replace("the", "our") for text, _ in splits["train"][:30]]
    _write_rows(folder / "more-tickets.csv", ["text"], [(text,) for text in more])
    for name in ("texts.txt", "more.txt", "still-more.csv"):
        (folder / name).write_text("\n".join(["text", *more]) + "\n", encoding="utf-8")
    added = [{"idx": i, "sentence": f"Well: {text}"} for i, (text, _) in enumerate(every[:9])]
    lines = "\n".join(map(json.dumps, added))
    (folder / "paraphrases.jsonl").write_text(lines, encoding="utf-8")
    (folder / "strict.toml").write_text(STRICT, encoding="utf-8")
    draw = random.Random(0)
    texts = [" ".join(draw.sample([text for text, _ in every], 5)) for _ in range(16)]
    (folder / "corpus").mkdir()
    (folder / "corpus" / "texts.txt").write_text("\n".join(texts), encoding="utf-8")


class Made:
    """What pages find as made by an earlier page, each thing made once."""

    def __init__(self, folder: Path, run: Run) -> None:
        furnish(folder)
        self.folder, self.run = folder, run

    def bring(self, words: Iterable[str], folder: Path) -> None:
        """Copy into a page's folder what its next block names and no block of it has made."""
        for name in self._named(words):
            if not (folder / name).exists():
                self._make(name)
                shutil.copytree(self.folder / name, folder / name, symlinks=True)

    def _named(self, words: Iterable[str]) -> list[str]:
        """Places among the words, but for those that the command is going to write.

        Nor the word behind ``distill``: ``export`` is a command, too.
        """
        found, before = [], ""
        for word in words:
            if before not in ("--out", "augment", "distill"):
                found += [n for n in MADE if word == n or word.startswith((f"{n}/", f"{n}@"))]
            before = word
        return found

    def _make(self, name: str) -> None:
        if not (self.folder / name).exists():
            words = MADE[name].split()
            for needed in self._named(words):
                self._make(needed)
            self.run(words, self.folder)
