"""What makes long texts fast, and how far each means moves the candidates from `official`'s.

Texts are film reviews of 200 to 260 words from the corpus beside the checkout. Every text is asked
for by every way in turn, on one thread, in seconds of the processor: the ratios hold on a busy
machine. Overlap is the mean share of `official`'s 15 best tokens that the other ranking has too.

Usage: python -m benchmarks.long_texts --json benchmarks/results/long_texts.json
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from augment.masked_lm.inputs import MaskedInput, shared
from augment.masked_lm.loading import load_masked_lm
from augment.masked_lm.model import MaskedLM
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidates import CandidateFinder
from augment.replacement.sampling import TextOfRow, row_draws
from augment.tokenization.words import Route
from augment.vectors import Vectors
from benchmarks.machine import arguments, describe, keep, tell
from benchmarks.places import MLM, SHARED

WORDS = (200, 260)
WAYS: dict[str, dict[str, Any]] = {
    "official": {},
    "single": {"context": "single"},
    **{f"window {n}": {"window": n} for n in (16, 32, 64, 128)},
    **{f"window {n}, single": {"window": n, "context": "single"} for n in (32, 64)},
    **{f"mask_every {n}": {"mask_every": n} for n in (2, 3, 4, 5, 6, 8, 16, 32)},
    "mask_every 5, single": {"mask_every": 5, "context": "single"},
    "mask_every 5, window 128": {"mask_every": 5, "window": 128},
    "max_words 20": {"max_words": 20},
    "mask_every 4, max_words 100": {"mask_every": 4, "max_words": 100},
    "mask_every 5, max_words 50": {"mask_every": 5, "max_words": 50},
}
SHORT = AugmentRecipe(mask_every=1)
COINS = ((1, 0.4), (2, 0.4), (5, 0.1), (20, 0.1), (20, 0.4))
"""N and p for which the share of words is measured that ``coins_first`` asks for."""


@dataclass
class Way:
    """What one way took, and found: position of a text → its 15 best tokens."""

    finder: CandidateFinder
    seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    found: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)

    def ask(self, number: int, text: str) -> None:
        """Rank every mask of a text."""
        began = time.process_time()
        queries = self.finder.queries(self.finder.words_of([text])[0])
        asked = list(queries.values())
        ranked = self.finder.masked_lm.rank(asked, self.finder.recipe.top_k, words_only=False)
        self.seconds.append(time.process_time() - began)
        self.tokens += tokens_read(asked)
        for at, each in zip(queries, ranked, strict=True):
            self.found[number, at] = frozenset(each.token_ids)

    def against(self, official: Way) -> dict[str, Any]:
        """Its figures beside those of ``official``; overlap at the words that both ask for."""
        both = [(self.found[place], official.found[place]) for place in self.found]
        ratios = [a / b for a, b in zip(official.seconds, self.seconds, strict=True)]
        return {
            "texts": len(self.seconds),
            "masks": len(self.found),
            "seconds_a_text": statistics.fmean(self.seconds),
            "tokens_a_mask": self.tokens / len(self.found),
            "tokens_ratio": official.tokens / self.tokens,
            "time_ratio": statistics.median(ratios),
            "overlap": statistics.fmean(len(a & b) / len(b) for a, b in both),
            "equal_sets": statistics.fmean(a == b for a, b in both),
        }


def tokens_read(asked: Sequence[MaskedInput]) -> int:
    """Tokens of all inputs, each read once."""
    return sum(len(asked[of[0]].ids) for of in shared(asked))


def reviews(count: int) -> list[str]:
    """Reviews of some 230 words."""
    table = pq.read_table(SHARED / "data" / "corpus" / "validation.parquet")
    texts = table.filter(pc.equal(table["source"], "imdb"))["text"].to_pylist()
    return [text for text in texts if WORDS[0] <= len(text.split()) <= WORDS[1]][:count]


def ways(lm: MaskedLM) -> dict[str, Way]:
    """Every way with a finder of its own, and the shipped recipe."""
    vectors = Vectors.of(["a", "b"], np.eye(2))
    recipes = {name: AugmentRecipe(**keys) for name, keys in WAYS.items()}
    recipes["long (as shipped)"] = load_recipe("long", "reviews")
    return {name: Way(CandidateFinder(lm, vectors, recipe)) for name, recipe in recipes.items()}


def coins(texts: Sequence[str], finder: CandidateFinder) -> dict[str, float]:
    """The share of the words of one token that ``coins_first`` asks for, by N and p."""
    rows = [
        TextOfRow(idx, "text", text, words)
        for idx, (text, words) in enumerate(zip(texts, finder.words_of(texts), strict=True))
    ]
    shares = {}
    for variants, p in COINS:
        asked = total = 0
        for row in rows:
            size = len(row.words)
            draws = row_draws(0, "reviews", row.idx, "text", variants=variants, words=size)
            masked = np.array([word.route is Route.MASKED_LM for word in row.words])
            asked += int((masked & (draws[:, :, 1] < p).any(axis=0)).sum())
            total += int(masked.sum())
        shares[f"N {variants}, p {p}"] = asked / total
    return shares


def main() -> None:
    """Measure text by text, keep what is measured so far, and print a line for each way."""
    parser = arguments(__doc__, quick="two texts")
    parser.add_argument("--texts", type=int, default=20)
    parser.add_argument("--ways", nargs="*", help="these and official alone; others are kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts = reviews(2 if options.quick else options.texts)
    compared = ways(load_masked_lm(str(MLM)))
    if options.ways:
        compared = {name: compared[name] for name in ("official", *options.ways)}
    kept = {}
    if options.json and options.json.is_file():
        kept = json.loads(options.json.read_text())["ways"]
    official = compared["official"]
    shares = coins(texts, official.finder)
    warm = Way(CandidateFinder(official.finder.masked_lm, official.finder.vectors, SHORT))
    warm.ask(0, texts[0])  # the first forward of a process is slow, and so is the first in float64
    official.finder.masked_lm.exact()
    for number, text in enumerate(texts):
        for way in compared.values():
            way.ask(number, text)
        kept |= {name: way.against(official) for name, way in compared.items()}
        results = {
            "machine": describe(),
            "words_a_text": statistics.fmean(len(each.split()) for each in texts),
            "ways": kept,
            "coins_first": shares,
        }
        keep(results, options.json)
    tell(kept, 3)
    print(f"coins_first asks for: {shares}")


if __name__ == "__main__":
    main()
