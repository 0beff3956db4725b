"""How much faster nearest words are found than by a product and a full sort, with equal results.

    python -m benchmarks.vectors_speed --quick --json benchmarks/results/vectors_speed.json

The authors' way: for each word one product with the whole table of unit vectors and one full
argsort. Their table is float64; the ratio that counts here is against float32, which is twice as
fast. Both sides run on the same table and the same threads, taking turns; ratios are medians over
turns of seconds a word. The engine meets every word for the first time. Made-up tables are clusters
of normal vectors; the real GloVe table is used where it lies beside the checkout.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from augment.vectors import Vectors, load_vectors
from benchmarks.machine import arguments, describe, interleaved, keep, median_ratio, tell
from benchmarks.places import VECTORS

K = 15
AUTHORS_WORDS = 8
ENGINE_WORDS = 256


def made_up(rows: int, dimensions: int) -> Vectors:
    """A table of clusters of fifty words each."""
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(rows // 50, dimensions)).astype(np.float32)
    matrix = generator.normal(scale=0.7, size=(rows, dimensions)).astype(np.float32)
    matrix += centers[generator.integers(0, len(centers), rows)]
    return Vectors.of([word(row) for row in range(rows)], matrix)


def word(number: int) -> str:
    """A plain word for a number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def against_a_full_sort(table: Vectors, repeats: int) -> dict[str, Any]:
    """Seconds a word of both sides, their ratio, and whether they found the same."""
    rows = np.random.default_rng(1).choice(len(table.words), ENGINE_WORDS, replace=False)
    asked = [table.words[row] for row in rows]
    norms = table.table.norms[:, None]
    units = {
        kind: (table.table.matrix / np.where(norms > 0, norms, 1)).astype(kind)
        for kind in ("float32", "float64")
    }

    def authors(kind: str) -> list[list[int]]:
        unit = units[kind]
        return [
            np.argsort(-np.dot(unit, unit[row]))[1 : K + 1].tolist() for row in rows[:AUTHORS_WORDS]
        ]

    def engine() -> list[tuple[int, ...]]:
        found = Vectors(table.table).neighbors(asked, K)
        return [near.rows for near in found]

    seconds = interleaved(
        {
            "authors": lambda: authors("float32"),
            "authors, float64": lambda: authors("float64"),
            "engine": engine,
        },
        repeats,
    )
    words = {"authors": AUTHORS_WORDS, "authors, float64": AUTHORS_WORDS, "engine": ENGINE_WORDS}
    a_word = {name: [turn / words[name] for turn in turns] for name, turns in seconds.items()}
    theirs = authors("float64")
    return {
        "rows": len(table.words),
        "dimensions": table.table.matrix.shape[1],
        "milliseconds_a_word": {
            name: 1000 * statistics.median(turns) for name, turns in a_word.items()
        },
        "ratio": median_ratio(a_word, "authors", "engine"),
        "ratio_float64": median_ratio(a_word, "authors, float64", "engine"),
        "share_of_products": _products_alone(table, rows) / statistics.median(seconds["engine"]),
        "equal": sum(set(a) == set(b) for a, b in zip(theirs, engine(), strict=False)),
        "compared": len(theirs),
        "seconds_a_word": a_word,
    }


def _products_alone(table: Vectors, rows: np.ndarray) -> float:
    """Seconds of the float32 products, the best of three: the rest is choosing and float64."""
    matrix, block = torch.from_numpy(table.table.matrix), 4096
    queries = matrix[rows]
    tries = []
    for _ in range(3):
        began = time.perf_counter()
        for start in range(0, len(matrix), block):
            torch.mm(matrix[start : start + block], queries.T)
        tries.append(time.perf_counter() - began)
    return min(tries)


def starts(rows: int, dimensions: int, folder: Path) -> dict[str, Any]:
    """Seconds of the first start from a text file, and of later ones from the cache."""
    path = folder / "vectors.txt"
    _write_text(path, rows, dimensions)
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        table = load_vectors(str(path), rows, cache=folder / "cache")
        seconds.append(time.perf_counter() - began)
    return {
        "rows": len(table.words),
        "dimensions": dimensions,
        "text_megabytes": path.stat().st_size / 2**20,
        "first_seconds": seconds[0],
        "later_seconds": statistics.median(seconds[1:]),
    }


def _write_text(path: Path, rows: int, dimensions: int) -> None:
    generator = np.random.default_rng(0)
    with path.open("w") as stream:
        for start in range(0, rows, 5000):
            numbers = generator.normal(size=(min(5000, rows - start), dimensions)).tolist()
            stream.writelines(
                word(start + i) + " " + " ".join(f"{x:.5f}" for x in row) + "\n"
                for i, row in enumerate(numbers)
            )


def main() -> None:
    """Run what was asked for and print a line for each measurement."""
    parser = arguments(__doc__, threads=True, quick="the smaller tables only")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {"machine": describe()}
    large = [] if options.quick else [(400_000, 300)]
    with threadpool_limits(options.threads), tempfile.TemporaryDirectory() as scratch:
        for shape in [(100_000, 300), *large]:
            name = f"made up {shape[0]:,} x {shape[1]}"
            results[name] = against_a_full_sort(made_up(*shape), options.repeats)
        if VECTORS.is_file():
            results["GloVe 100,000 x 50"] = against_a_full_sort(
                load_vectors(str(VECTORS), 100_000), options.repeats
            )
        shape = (20_000, 300) if options.quick else (400_000, 300)
        results["starts"] = starts(*shape, Path(scratch))
    tell(results, digits=4)
    keep(results, options.json)


if __name__ == "__main__":
    main()
