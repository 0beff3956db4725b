"""What an accelerator makes of general distillation and of both stages of a task.

    python -m benchmarks.accelerator --version data/versions/sst2 --json FILE
    python -m benchmarks.accelerator --version demo/versions/reviews --tiny   # on a processor

A 12 x 768 teacher and a 4 x 312 student with random weights, made-up documents of the vocabulary's
words, and the version that is named. Each part is run twice, with few
and with more steps, by the very functions behind the commands; the difference is what steps take,
without starting and compiling. The share of the peak counts the matrix products of the teacher's
forward pass and three times the student's, over real tokens, against one large bfloat16 product.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, BertForSequenceClassification

from augment.contract import Version, open_version
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import ROOT
from distill import Budget, Source, distill_general, distill_task

SAMPLE = ROOT / "data" / "sample"
PAPER = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
         "intermediate_size": 3072}  # fmt: skip
TOKENS_A_BLOCK = 115
"""Of 128, in the mean, where documents end inside a block."""
TINY = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 128}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done.

    Attributes:
        teacher: Config values of the teacher.
        student: Shape of the student.
        batch: Rows or blocks a step.
        steps: Steps of the short and of the long run.
        documents: Made-up documents of the corpus.
    """

    teacher: dict[str, int]
    student: str
    batch: int
    steps: tuple[int, int]
    documents: int


FULL = Sizes(PAPER, "4x312-1200-12", 256, (60, 360), 40_000)
SMALL = Sizes(TINY, "2x32-64-4", 4, (4, 8), 60)


@dataclass(frozen=True, slots=True)
class Speed:
    """What steps took.

    Attributes:
        seconds_a_step: From the end of one to the end of the next, in the mean.
        steps_per_second: Its inverse.
        tokens_per_second: Real tokens that student and teacher read; 0 where not counted.
        peak_bytes: The most memory of the accelerator that was allocated; 0 without one.
        share_of_peak: Of the product's rate; 0 without an accelerator.
    """

    seconds_a_step: float
    steps_per_second: float
    tokens_per_second: float
    peak_bytes: int
    share_of_peak: float


def product_peak() -> float:
    """FLOP/s of one large bfloat16 product on the accelerator; 0 without one."""
    if not torch.cuda.is_available():
        return 0.0
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(10):
        left @ right
    torch.cuda.synchronize()
    return 10 * 2 * 8192**3 / (time.perf_counter() - began)


def forward_flops(size: dict[str, int], length: float) -> float:
    """Multiply-adds, counted twice, of one token of a text of that length in all layers."""
    width, inner = size["hidden_size"], size["intermediate_size"]
    layer = 4 * width**2 + 2 * width * inner + 2 * width * length
    return 2 * size["num_hidden_layers"] * layer


def step_flops(sizes: Sizes, length: float) -> float:
    """Of one token in a step: the teacher's forward pass and three times the student's."""
    layers, _, rest = sizes.student.partition("x")
    width, inner, _ = map(int, rest.split("-"))
    student = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": int(layers)}
    return forward_flops(sizes.teacher, length) + 3 * forward_flops(student, length)


@dataclass(frozen=True, slots=True)
class Done:
    """What one run did: optimizer steps, and the tokens that they read."""

    steps: int
    tokens: int


def steady(run: Callable[[int], Done], sizes: Sizes, peak: float) -> Speed:
    """Speed between a short and a long run, so that starting and compiling fall out."""
    cuda = torch.cuda.is_available()
    seconds, done = [], []
    for steps in sizes.steps:
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        done.append(run(steps))
        seconds.append(time.perf_counter() - began)
    steps = done[1].steps - done[0].steps
    each, tokens = (seconds[1] - seconds[0]) / steps, (done[1].tokens - done[0].tokens) / steps
    memory = torch.cuda.max_memory_allocated() if cuda else 0
    work = step_flops(sizes, tokens / sizes.batch) * tokens
    return Speed(each, 1 / each, tokens / each, memory, work / each / peak if peak else 0.0)


def models(folder: Path, sizes: Sizes, version: Version, vocabulary: Path) -> tuple[Path, Path]:
    """An encoder and a classifier with random weights in folders of their own."""
    tokenizer = AutoTokenizer.from_pretrained(vocabulary)
    torch.manual_seed(0)
    names = version.task.label.names
    config = BertConfig(vocab_size=len(tokenizer), **sizes.teacher, id2label=dict(enumerate(names)))  # type: ignore[arg-type]
    places = folder / "encoder", folder / "classifier"
    for place, kind in zip(places, (BertForMaskedLM, BertForSequenceClassification), strict=True):
        kind(config).save_pretrained(place)
        tokenizer.save_pretrained(place)
    return places


def corpus(folder: Path, vocabulary: Path, documents: int) -> Path:
    """Documents of 60 to 400 made-up words, a line each."""
    draw = random.Random(0)
    tokens = AutoTokenizer.from_pretrained(vocabulary).get_vocab()
    words = sorted(token for token in tokens if token.isalpha() and token.isascii())
    lines = (" ".join(draw.choices(words, k=draw.randint(60, 400))) for _ in range(documents))
    file = folder / "corpus.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def recipe(folder: Path, name: str, sizes: Sizes, steps: int, *, first: bool) -> Path:
    """Both stages in so many steps, or the second alone."""
    one = f"epochs = 1000\nmax_steps = {steps}\nbatch_size = {sizes.batch}\n"
    tables = [
        f"[intermediate]\n{one}" if first else "[intermediate]\nenabled = false\n",
        f"[prediction]\n{one}evaluations = 1\n",
        f"[general]\nbatch_size = {sizes.batch}\n",
    ]
    file = folder / f"{name}.toml"
    file.write_text("\n".join(tables), encoding="utf-8")
    return file


def measure(sizes: Sizes, version: Version, vocabulary: Path, folder: Path) -> dict[str, Any]:
    """General distillation, then stage 1 with stage 2 of the task, and stage 2 alone."""
    encoder, classifier = models(folder, sizes, version, vocabulary)
    text, peak = corpus(folder, vocabulary, sizes.documents), product_peak()
    source, settings = Source(str(text), cache=folder / "blocks"), folder / "first.toml"
    recipe(folder, "first", sizes, 2, first=True)

    def general(steps: int) -> Done:
        done = distill_general(
            source, teacher=encoder, student=sizes.student, out=folder / f"general-{steps}",
            recipe=settings, init="random", quiet=True,
            budget=Budget(tokens=steps * sizes.batch * TOKENS_A_BLOCK),
        )  # fmt: skip
        return Done(done.steps, done.tokens)

    def task(steps: int, *, first: bool) -> Done:
        out = folder / f"task-{first}-{steps}"
        distill_task(
            version, teacher=classifier, student=sizes.student, out=out, init="random",
            recipe=recipe(folder, out.name, sizes, steps, first=first), plain=False,
            allow_weak_teacher=True, quiet=True,
        )  # fmt: skip
        return Done(steps, steps * sizes.batch * round(rows_length))

    rows = version.to_pandas("train")[list(version.task.text_columns)].agg(" ".join, axis=1)
    read = AutoTokenizer.from_pretrained(vocabulary)(rows.tolist()[::20])["input_ids"]
    rows_length = sum(map(len, read)) / len(read)
    general(2)  # tokenizes the corpus, and compiles what is compiled once
    parts = {
        "general distillation": steady(general, sizes, peak),
        "stage 1 and stage 2": steady(partial(task, first=True), sizes, peak),
        "stage 2, with the teacher's answers": steady(partial(task, first=False), sizes, peak),
    }
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "machine": describe(), "accelerator": device, "product_tflops": peak / 1e12,
        "sizes": asdict(sizes), "version": version.reference, "tokens_a_row": rows_length,
        "parts": {name: asdict(speed) for name, speed in parts.items()},
    }  # fmt: skip


def main() -> None:
    """Measure and keep."""
    parser = arguments(__doc__)
    parser.add_argument("--tiny", action="store_true", help="small models and few steps")
    parser.add_argument("--version", type=Path, required=True, help="a version to train on")
    parser.add_argument("--vocabulary", type=Path, default=SAMPLE / "mlm", help="tokenizer folder")
    options = parser.parse_args()
    sizes = SMALL if options.tiny else FULL
    with tempfile.TemporaryDirectory() as folder:
        version = open_version(options.version)
        results = measure(sizes, version, options.vocabulary, Path(folder))
    for name, speed in results["parts"].items():
        print(name, {key: round(value, 4) for key, value in speed.items()})
    keep(results, options.json)


if __name__ == "__main__":
    main()
