"""From raw texts to labels: PyTorch, graphs as exported and as written here, int8, TF-IDF.

    python -m benchmarks.serving --json benchmarks/results/serving.json

A student of 4 layers x 312 with BERT's vocabulary, its weights random (they do not matter to time),
reads the validation sentences of SST-2, one at a time and in batches of like length, with one
thread; TF-IDF + logistic regression was fitted on training sentences. All take turns, of six single
texts or of one call with many, so that each finds its own weights in the caches. Beside wall time
stands the processor's own time: where other work runs, it is nearer to what a quiet machine shows.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks.machine import arguments, describe
from benchmarks.places import MLM, SHARED
from distill.data.versions import token_columns
from distill.evaluation.cost import Processor
from distill.evaluation.end_to_end import measure_end_to_end
from distill.evaluation.pytorch import torch_backend
from distill.inference.classifier import Backend, Classifier
from distill.inference.graph import open_graph
from distill.models import loading
from distill.models.folders import save_tokenizer
from distill.serving.onnx import GraphSource, count_nodes, export_onnx, write_int8, write_onnx

LENGTH, MANY = 64, 96
BATCHES = (8, 32)
BURST = 6
SEED = 0


def main() -> None:
    """Measure, print and write."""
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    train = pd.read_parquet(_file("train"))
    texts = pd.read_parquet(_file("validation"))["sentence"].sample(MANY, random_state=SEED)
    with tempfile.TemporaryDirectory() as place:
        source = student()
        folders = export(source, train["sentence"].iloc[:: len(train) // 128][:128], Path(place))
        backends: dict[str, Backend] = {
            "PyTorch float32": torch_backend(source.classifier, LENGTH),
            **{name: open_graph(folder, name, 1) for name, folder in folders.items()},
        }
        answers = {name: _answers(Classifier(backend)) for name, backend in backends.items()}
        linear = linear_model(train)
        answers["TF-IDF + logistic regression"] = lambda texts, _: linear.predict(texts)
        result = {
            "machine": {**describe(), **Processor.here().to_json()},
            "texts": len(texts),
            "length": {"mean": lengths(source, texts).mean(), "max": lengths(source, texts).max()},
            "batch_1": singles(answers, texts.tolist()),
            "batches": {size: batches(answers, texts.tolist(), size) for size in BATCHES},
            "shares": shares(backends, texts.tolist()),
            "nodes": {name: count_nodes(own / "model.onnx") for name, own in folders.items()},
            "bytes": {n: (own / "model.onnx").stat().st_size for n, own in folders.items()},
        }
    text = json.dumps(result, indent=1, default=float)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


def _file(split: str) -> Path:
    return next((SHARED / "data" / "glue" / "sst2").glob(f"{split}*"))


def student() -> GraphSource:
    """A 4 x 312 with random weights."""
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(MLM)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=312,
        num_hidden_layers=4,
        num_attention_heads=12,
        intermediate_size=1200,
        num_labels=2,
    )
    model = loading.eval_mode(BertForSequenceClassification(config)).requires_grad_(False)
    return GraphSource(loading.Classifier("student", model, tokenizer), LENGTH)


def export(source: GraphSource, train: pd.Series[str], place: Path) -> dict[str, Path]:
    """The student as the exporter writes it, as this package does, and in int8."""
    tokens = token_columns([train.tolist()], source.classifier.tokenizer, LENGTH)
    names = ("input_ids", "token_type_ids")
    rows = [{name: tokens[name][at] for name in names} for at in range(len(train))]
    folders = {}
    for name in ("ONNX float32, exported", "ONNX float32, ours", "ONNX int8, ours"):
        folder = folders[name] = place / name.replace(" ", "-")
        folder.mkdir()
        source.classifier.model.config.save_pretrained(folder)
        save_tokenizer(source.classifier.tokenizer, folder, LENGTH, ready=True)
    exported, ours, small = folders.values()
    export_onnx(source, exported / "model.onnx")
    write_onnx(source, ours / "model.onnx")
    write_int8(source, rows, {small / "model.onnx": None})
    return folders


def linear_model(train: pd.DataFrame) -> Any:
    """TF-IDF of words and pairs of them with a logistic regression, on 10,000 rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    some = train.sample(10_000, random_state=SEED)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2), LogisticRegression())
    return model.fit(some["sentence"], some["label"])


def lengths(source: GraphSource, texts: pd.Series[str]) -> pd.Series[int]:
    """Tokens of each text."""
    found = token_columns([texts.tolist()], source.classifier.tokenizer, LENGTH)["input_ids"]
    return pd.Series([len(ids) for ids in found])


def _answers(classifier: Classifier) -> Callable[[Sequence[str], int], Any]:
    return lambda texts, size: classifier.predict(texts, batch_size=size)


def singles(answers: dict[str, Any], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Milliseconds for one text."""
    bursts = [texts[at : at + BURST] for at in range(0, len(texts), BURST)]
    return _in_turns(answers, [[[text] for text in burst] for burst in bursts], 1)


def batches(answers: dict[str, Any], texts: Sequence[str], size: int) -> dict[str, Any]:
    """Milliseconds for a text of many."""
    return _in_turns(answers, [[texts] for _ in range(4)], size)


def _in_turns(
    answers: dict[str, Any], turns: Sequence[Sequence[Sequence[str]]], size: int
) -> dict[str, dict[str, float]]:
    """In a turn a model makes several calls; the first turn, and first calls of many, warm up."""
    wall: dict[str, list[float]] = {name: [] for name in answers}
    own: dict[str, list[float]] = {name: [] for name in answers}
    for calls in turns:
        for name, answer in answers.items():
            for call, texts in enumerate(calls):
                start, spent = time.perf_counter(), time.process_time()
                answer(texts, size)
                spent, took = time.process_time() - spent, time.perf_counter() - start
                if calls is not turns[0] and (call or len(calls) == 1):
                    own[name].append(1000 * spent / len(texts))
                    wall[name].append(1000 * took / len(texts))
    return {
        name: {
            "wall_ms": statistics.median(wall[name]),
            "wall_ms_lowest": min(wall[name]),
            "processor_ms": statistics.median(own[name]),
        }
        for name in answers
    }


def shares(backends: dict[str, Backend], texts: Sequence[str]) -> dict[str, Any]:
    """Where the time of each goes."""
    measured = measure_end_to_end(list(backends.values()), texts, 1)
    return {name: own.to_json() for name, own in zip(backends, measured, strict=True)}


if __name__ == "__main__":
    main()
