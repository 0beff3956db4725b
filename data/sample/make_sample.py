"""Write the sample data set: remarks with a sentiment, and pairs that say the same thing or not.

    python data/sample/make_sample.py            write the files beside this script
    python data/sample/make_sample.py --check    compare them with what would be written

The same seed writes the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, TypeVar

from grammar import Grammar
from paraphrases import Pair, PairGrammar
from remarks import Remark, key, remark

Row = TypeVar("Row")

HERE: Final = Path(__file__).parent
SEED: Final = 2024
REVIEW_ROWS: Final = {"train": 1100, "validation": 200, "test": 200}
PAIR_ROWS: Final = {"train": 640, "validation": 130, "test": 130}

REVIEWS_TASK: Final = """\
name = "reviews"
text_columns = ["sentence"]
metrics = ["accuracy", "f1"]
selection_metric = "accuracy"
[label]
column = "label"
kind = "classification"
names = ["negative", "positive"]
[splits]
train = "train.csv"
validation = "validation.csv"
test = "test.csv"
"""
PAIRS_TASK: Final = """\
name = "pairs"
text_columns = ["first", "second"]
metrics = ["accuracy", "f1"]
selection_metric = "f1"
[label]
column = "label"
kind = "classification"
names = ["different", "same"]
[splits]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; the exit status is 1 when a check finds a difference."""
    parser = argparse.ArgumentParser(description="Write the sample data set.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    options = parser.parse_args(arguments)
    files = sample_files(options.seed)
    return check(files) if options.check else write(files)


def sample_files(seed: int) -> dict[str, bytes]:
    """Make every file of the sample.

    Args:
        seed: The seed of all choices.

    Returns:
        The bytes of each file by its path, relative to this folder.
    """
    files = {"reviews/reviews.toml": REVIEWS_TASK, "pairs/pairs.toml": PAIRS_TASK}
    for split, remarks in make_reviews(seed).items():
        files[f"reviews/{split}.csv"] = _csv(remarks)
    for split, pairs in make_pairs(seed).items():
        files[f"pairs/{split}.jsonl"] = _jsonl(pairs)
    return {path: text.encode("utf-8") for path, text in files.items()}


def make_reviews(seed: int) -> dict[str, list[Remark]]:
    """Write the remarks of each split, half of them positive, no sentence twice."""
    grammar, _ = Grammar.read()
    draw = Random(f"{seed} reviews")
    return _splits(REVIEW_ROWS, _distinct_remarks(grammar, draw), draw)


def make_pairs(seed: int) -> dict[str, list[Pair]]:
    """Write the pairs of each split, half of them the same, no sentence twice."""
    draw = Random(f"{seed} pairs")
    return _splits(PAIR_ROWS, _distinct_pairs(PairGrammar.read(), draw), draw)


def write(files: Mapping[str, bytes]) -> int:
    """Write the files beside this script."""
    for path, content in files.items():
        (HERE / path).parent.mkdir(exist_ok=True)
        (HERE / path).write_bytes(content)
        print(f"wrote {path}: {len(content):,} bytes", file=sys.stderr)
    return 0


def check(files: Mapping[str, bytes]) -> int:
    """Compare the files beside this script with fresh ones, and name each that differs."""
    changed = [path for path, content in files.items() if _read(HERE / path) != content]
    for path in changed:
        print(f"{path} differs from what make_sample.py writes", file=sys.stderr)
    print(f"{len(files) - len(changed)} of {len(files)} files are as generated", file=sys.stderr)
    return 1 if changed else 0


def _distinct_remarks(grammar: Grammar, draw: Random) -> Iterator[Remark]:
    seen: set[str] = set()
    while True:
        for label in ("negative", "positive"):
            made = remark(grammar, draw, label)
            while key(made.sentence) in seen:
                made = remark(grammar, draw, label)
            seen.add(key(made.sentence))
            yield made


def _distinct_pairs(grammar: PairGrammar, draw: Random) -> Iterator[Pair]:
    seen: set[str] = set()
    while True:
        for label in ("different", "same"):
            made = grammar.pair(draw, label)
            while seen & {key(made.first), key(made.second)}:
                made = grammar.pair(draw, label)
            seen |= {key(made.first), key(made.second)}
            yield made


def _splits(rows: Mapping[str, int], source: Iterator[Row], draw: Random) -> dict[str, list[Row]]:
    made: dict[str, list[Row]] = {}
    for split, count in rows.items():
        made[split] = [next(source) for _ in range(count)]
        draw.shuffle(made[split])
    return made


def _csv(remarks: Sequence[Remark]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["sentence", "label"])
    table.writerows([row.sentence, row.label] for row in remarks)
    return text.getvalue()


def _jsonl(pairs: Sequence[Pair]) -> str:
    rows = [{"first": row.first, "second": row.second, "label": row.label} for row in pairs]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
