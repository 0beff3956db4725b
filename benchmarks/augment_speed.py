"""How much faster the engine is than the authors' procedure, with equal candidates.

    python -m benchmarks.augment_speed --quick --json benchmarks/results/augment_speed.json

Both sides run on the same sentences, the same model and the same threads, taking turns; ratios are
medians over turns. The authors' procedure is one forward for each word, the LM head on every
position and a full sort. Real SST-2 sentences and the real masked LM are used where they lie beside
the checkout, the embedded sample elsewhere.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from augment import augment_task
from augment.masked_lm.inputs import MaskedInput
from augment.masked_lm.loading import load_masked_lm
from augment.recipes.load import load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.replacement.candidate_store import CandidateStore
from augment.replacement.candidates import CandidateFinder
from augment.sources.read import read_source
from augment.tasks import get_task
from augment.tokenization.words import Route, Word
from augment.vectors import Vectors
from benchmarks.machine import (
    arguments,
    describe,
    gemm_peak,
    interleaved,
    keep,
    kind,
    median_ratio,
    tell,
)
from benchmarks.places import ROOT, SHARED, VECTORS
from tests.reference.masked_lm import ranked_tokens

K = 15


@dataclass(frozen=True, slots=True)
class Setting:
    """Where sentences, models and vectors come from on this machine."""

    texts: list[str]
    models: dict[str, str]
    vectors: str


def setting() -> Setting:
    """The real data where it is there, the sample elsewhere."""
    if SHARED.is_dir():
        source = str(SHARED / "data" / "glue" / "sst2")
        texts = read_source(get_task("sst2"), source).splits["train"]["sentence"].to_pylist()
        models = {
            name: str(SHARED / "models" / name) for name in ("minilm-l6-mlm", "tiny-bert-mlm")
        }
        vectors = str(VECTORS)
    else:
        sample = ROOT / "data" / "sample"
        task = get_task(str(sample / "reviews" / "reviews.toml"))
        texts = read_source(task, None).splits["train"]["sentence"].to_pylist()
        models, vectors = {"sample": str(sample / "mlm")}, str(sample / "vectors.txt")
    return Setting(list(dict.fromkeys(texts)), models, vectors)


def spread(texts: list[str], count: int) -> list[str]:
    """Texts from all over the list."""
    return texts[:: max(1, len(texts) // count)][:count]


def base_shaped(like: str, folder: Path) -> str:
    """A 12 x 768 masked LM with random weights and the tokenizer of another one."""
    tokenizer = AutoTokenizer.from_pretrained(like)
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer)))
    torch.nn.init.normal_(model.cls.predictions.bias, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def flops(query: MaskedInput, config: Any) -> float:
    """Operations of the pruned forward for one position (products only).

    The first layer's shared projections are counted in full: what sharing saves is speed.
    """
    width, inner, length = config.hidden_size, config.intermediate_size, len(query.ids)
    whole = length * (8 * width**2 + 4 * width * inner + 4 * length * width)
    attention = 4 * length * width * config.num_attention_heads
    last = 8 * width**2 + 4 * width * inner + attention
    head = 2 * width**2 + 2 * width * config.vocab_size
    return (config.num_hidden_layers - 1) * whole + last + head


def authors_flops(query: MaskedInput, config: Any) -> float:
    """Operations of the authors' procedure for one position: every layer, and the head, in full."""
    width, inner, length = config.hidden_size, config.intermediate_size, len(query.ids)
    layer = length * (8 * width**2 + 4 * width * inner + 4 * length * width)
    return config.num_hidden_layers * layer + length * (
        2 * width**2 + 2 * width * config.vocab_size
    )


def of_the_peaks(
    asked: list[MaskedInput], config: Any, seconds: dict[str, list[float]]
) -> dict[str, float]:
    """Shares of the peak of each format, and the ratios that both sides would have at theirs."""
    peaks = {"float32": gemm_peak(), "bfloat16": gemm_peak(torch.bfloat16)}
    work = sum(flops(query, config) for query in asked) / 1e9
    theirs = sum(authors_flops(query, config) for query in asked) / 1e9 / peaks["float32"]
    found = {}
    for name, peak in peaks.items():
        found[f"gemm_peak_gflops_{name}"] = peak
        found[f"share_of_peak_{name}"] = work / statistics.median(seconds[name]) / peak
        found[f"ratio_if_both_ran_at_peak_{name}"] = theirs / (work / peak)
    return found


def against_the_authors(name: str, folder: str, texts: list[str], repeats: int) -> dict[str, Any]:
    """One masked LM in both precisions: seconds, ratios, equal sets, shares of the GEMM peaks."""
    lm, vectors = load_masked_lm(folder), Vectors.of(["a", "b"], np.eye(2))
    low = load_masked_lm(folder, precision="bfloat16")
    finder = CandidateFinder(lm, vectors, AugmentRecipe())
    model = BertForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sentences = finder.words_of(texts)
    asked = finder.masked_queries(sentences)
    found: dict[str, list[set[int]]] = {}

    def authors() -> None:
        found["authors"] = [
            _authors_set(model, tokenizer, words, at)
            for words in sentences
            for at, word in enumerate(words)
            if word.route is Route.MASKED_LM
        ]

    def float32() -> None:
        found["float32"] = [set(r.token_ids) for r in lm.rank(asked, K, words_only=False)]

    def bfloat16() -> None:
        found["bfloat16"] = [set(r.token_ids) for r in low.rank(asked, K, words_only=False)]

    sides = {"authors": authors, "float32": float32, "bfloat16": bfloat16}
    seconds = interleaved(sides, repeats)
    pairs = list(zip(found["authors"], found["bfloat16"], strict=True))
    return {
        "model": name,
        "sentences": len(texts),
        "positions": len(asked),
        "seconds": seconds,
        "ratio_float32": median_ratio(seconds, "authors", "float32"),
        "ratio_bfloat16": median_ratio(seconds, "authors", "bfloat16"),
        "equal_sets_float32": sum(
            a == b for a, b in zip(found["authors"], found["float32"], strict=True)
        ),
        "equal_sets_bfloat16": sum(a == b for a, b in pairs),
        "overlap_bfloat16": statistics.fmean(len(a & b) / K for a, b in pairs),
        "positions_per_second": len(asked) / statistics.median(seconds["float32"]),
        **of_the_peaks(asked, model.config, seconds),
    }


def _authors_set(model: Any, tokenizer: Any, words: tuple[Word, ...], at: int) -> set[int]:
    names = [word.text for word in words]
    return {p for p, _ in ranked_tokens(model, tokenizer, names, at, pair=True, depth=K)}


def repeated_texts(folder: str, texts: list[str], repeats: int) -> dict[str, Any]:
    """Rows that repeat three times: the engine computes each once, the authors three times."""
    once = against_the_authors("repeated 3 times", folder, texts, repeats)
    thrice = {name: 3 * value for name, value in once.items() if name.startswith("ratio")}
    return {**once, **thrice, "note": "authors' seconds counted three times"}


def resampling(folder: str, texts: list[str], scratch: Path) -> dict[str, Any]:
    """Candidates of the same texts twice: from the model, then from the store."""
    lm, vectors = load_masked_lm(folder), Vectors.of(["a", "b"], np.eye(2))
    store = CandidateStore(scratch, lm.digest, words_only=False)
    finder = CandidateFinder(lm, vectors, AugmentRecipe(), store)
    asked = finder.masked_queries(finder.words_of(texts))
    timings = []
    for _ in range(2):
        began = time.perf_counter()
        finder.from_masked_lm(asked)
        timings.append(time.perf_counter() - began)
    return {"positions": len(asked), "seconds": timings, "ratio": timings[0] / timings[1]}


def whole_runs(folder: str, vectors: str, limit: int, scratch: Path) -> dict[str, Any]:
    """End to end, Parquet written: the first run, then another seed from the store."""
    if SHARED.is_dir():
        task, source = "sst2", str(SHARED / "data" / "glue" / "sst2")
    else:
        task, source = str(ROOT / "data" / "sample" / "reviews" / "reviews.toml"), None
    timings = []
    for seed in (0, 1):
        recipe = load_recipe("official", "sst2").model_copy(update={"seed": seed})
        began = time.perf_counter()
        version = augment_task(
            task, source=source, mlm=folder, vectors=vectors, out=scratch, recipe=recipe,
            limit=limit, store=scratch / "store",
        )  # fmt: skip
        timings.append(time.perf_counter() - began)
    rows = version.rows("train")
    return {
        "source_rows": limit,
        "rows": rows,
        "first_seconds": timings[0],
        "resampled_seconds": timings[1],
        "ratio": timings[0] / timings[1],
        "rows_per_second": rows / timings[0],
    }


def main() -> None:
    """Run what was asked for and print a line for each measurement."""
    short = "fewer sentences, under five minutes"
    options = arguments(__doc__, threads=True, quick=short).parse_args()
    torch.set_num_threads(options.threads)
    print(f"{kind()}, {options.threads} threads")
    where, repeats = setting(), 3
    few, some = (5, 60) if options.quick else (12, 400)
    results: dict[str, Any] = {"machine": describe()}
    with tempfile.TemporaryDirectory() as scratch:
        first = next(iter(where.models.values()))
        base = base_shaped(first, Path(scratch) / "base")
        texts = spread(where.texts, few)
        results["base 12x768, random"] = against_the_authors("base", base, texts, repeats)
        results["base, repeated 3 times"] = repeated_texts(base, texts, 1)
        for name, folder in where.models.items():
            texts = spread(where.texts, some)
            results[name] = against_the_authors(name, folder, texts, repeats)
            results[f"re-sampling, {name}"] = resampling(folder, texts, Path(scratch) / "kept")
        limit = 500 if options.quick else 5000
        for name, folder in where.models.items():
            out = Path(scratch) / name
            results[f"whole run, {name}"] = whole_runs(folder, where.vectors, limit, out)
    tell(results, digits=3)
    keep(results, options.json)


if __name__ == "__main__":
    main()
