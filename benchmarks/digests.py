"""Digests of what both commands make, to show that a change of the code changed no byte of it.

``python -m benchmarks.digests --folder WORK --json FILE`` writes one digest for each product: the
rows and counts of versions, the weights of teachers and students, scores and predictions.
``--against FILE`` compares them with an earlier file and ends with 1 where anything differs.
``--checkout DIR`` runs the commands of another checkout. A product that is there already is not
made again.

Everything runs on one thread: sums of several threads depend on how the work was cut.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.places import MLM, ROOT, SHARED, VECTORS

SAMPLE = ROOT / "data" / "sample"
GLUE = SHARED / "data" / "glue_tsv"
TIMES = (
    "created",
    "seconds",
    "latency",
    "end_to_end",
    "throughput",
    "per_second",
    "_ms",
    "path",
    "student",
)
SAMPLE_MODELS = ["--mlm", str(SAMPLE / "mlm"), "--vectors", str(SAMPLE / "vectors.txt")]
REAL_MODELS = ["--mlm", str(MLM), "--vectors", str(VECTORS)]
GATED = {
    "normalised_duplicates": True, "min_similarity": 0.8, "teacher_agreement": "unchanged",
    "teacher_logits": True, "keep_rejected": True, "protect_numbers": True,
    "protect_negations": True, "protect_words": ["movie"], "protect_patterns": ["[0-9]+"],
    "variants": 8,
}  # fmt: skip
LONG = {
    "max_length": 48,
    "teacher": {"epochs": 12.0, "max_steps": 420, "learning_rate": 1e-3, "evaluations": 6},
    "intermediate": {"epochs": 20.0, "max_steps": 800, "learning_rate": 1e-3, "warmup_ratio": 0.05},
    "prediction": {"epochs": 10.0, "max_steps": 300, "learning_rate": 5e-4, "evaluations": 6},
    "plain": {"epochs": 10.0, "max_steps": 400, "batch_size": 16, "learning_rate": 5e-4,
              "evaluations": 6},
}  # fmt: skip
"""The demonstration as it was when the digests were recorded."""
SHORT = {
    "teacher": {"max_steps": 40}, "intermediate": {"max_steps": 30},
    "prediction": {"max_steps": 30, "evaluations": 3}, "plain": {"max_steps": 20, "evaluations": 2},
    "general": {"max_steps": 30, "evaluations": 2},
}  # fmt: skip


class Products:
    """Runs commands below a folder and digests what they leave."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        """Work below a folder with the code of a checkout."""
        self.folder, self.checkout = folder, checkout
        self.digests: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def call(self, package: str, *words: object) -> None:
        """Run a command of the checkout; what it says goes to this process's stderr."""
        code = f"import sys; from {package}.cli import main; sys.argv[0] = {package!r}; main()"
        env = {
            **os.environ, "PYTHONPATH": str(self.checkout), "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false",
            "AUGMENT_VECTORS_CACHE": str(self.folder / "tables"),
        }  # fmt: skip
        command = [sys.executable, "-c", code, *map(str, words)]
        print("$", package, *words, file=sys.stderr)
        done = subprocess.run(
            command, cwd=self.folder, env=env, text=True, capture_output=True, check=False
        )
        if done.returncode:
            sys.exit(f"{package} {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}")

    def version(self, name: str, task: str, *options: object) -> Path:
        """Make a version; digest its rows, its refused rows and its manifest."""
        root = self.folder / name
        if not root.is_dir():
            self.call("augment", "run", task, *options, "--out", root)
        folder = next(path.parent for path in root.glob("*/*/manifest.json"))
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        self.digests[f"version {name}"] = digest_of(manifest, self.folder)
        for path in sorted(folder.rglob("*.parquet")):
            self.digests[f"version {name} {path.relative_to(folder)}"] = digest(path)
        return folder

    def trained(self, name: str, package: str, *words: object) -> Path:
        """Train something; digest its weights, scores and predictions."""
        out = self.folder / name
        if not out.is_dir():
            self.call(package, *words, "--out", out)
        kept = ("*.safetensors", "tokenizer.json", "config.json", "result.json", "*.csv", "*.tsv")
        for path in sorted(path for kind in kept for path in out.rglob(kind)):
            if path.name == "result.json":
                made = digest_of(json.loads(path.read_text("utf-8")), self.folder)
            else:
                made = digest(path)
            self.digests[f"{name}/{path.relative_to(out)}"] = made
        return out


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of(record: Any, folder: Path) -> str:
    """SHA-256 of a JSON record without times, and without the place of the folder."""
    text = json.dumps(_timeless(record), sort_keys=True).replace(str(folder), "")
    return hashlib.sha256(text.replace(str(ROOT), "").encode()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not any(word in k for word in TIMES)}
        return {key: _timeless(item) for key, item in kept.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _toml(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    yield from (f"{k} = {json.dumps(v)}" for k, v in table.items() if not isinstance(v, dict))
    for key, value in table.items():
        if isinstance(value, dict):
            yield f"[{prefix}{key}]"
            yield from _toml(value, f"{prefix}{key}.")


def recipe(folder: Path, name: str, table: dict[str, Any]) -> Path:
    """Write a recipe file."""
    file = folder / f"{name}.toml"
    file.write_text("\n".join(_toml(table)) + "\n", encoding="utf-8")
    return file


def sample(made: Products) -> None:
    """Everything that the embedded sample can show: both presets, every stage, the serving side."""
    reviews, pairs = SAMPLE / "reviews" / "reviews.toml", SAMPLE / "pairs" / "pairs.toml"
    version = made.version("reviews", reviews, *SAMPLE_MODELS)
    made.version("reviews-paper", reviews, *SAMPLE_MODELS, "--recipe", "paper", "--limit", 60)
    two = made.version("pairs", pairs, *SAMPLE_MODELS)
    short = recipe(made.folder, "short", {"max_length": 48, **SHORT})
    long = recipe(made.folder, "long", LONG)
    teacher = made.trained(
        "teacher", "distill", "teacher", version, "--init", SAMPLE / "mlm", "--recipe", long
    )
    pair_teacher = made.trained(
        "pair-teacher", "distill", "teacher", two, "--init", SAMPLE / "mlm", "--recipe", short
    )
    gates = ["--teacher", teacher, "--similarity-model", SAMPLE / "mlm"]
    gated = recipe(made.folder, "gated", GATED)
    made.version(
        "reviews-gated", reviews, *SAMPLE_MODELS, "--recipe", gated, "--limit", 200, *gates
    )
    start, weak = ["--student", "2x64-256-4"], "--allow-weak-teacher"
    run = made.trained(
        "run", "distill", "run", version, "--teacher", teacher, *start, "--recipe", long
    )
    texts = made.folder / "corpus.txt"
    texts.write_text(_texts(SAMPLE / "reviews" / "train.csv"), encoding="utf-8")
    general = made.trained(
        "general", "distill", "general", texts, "--teacher", SAMPLE / "mlm", *start,
        "--recipe", short,
    )  # fmt: skip
    for name, words in {
        "run-general": ["--student", general / "student"],
        "run-random": [*start, "--init", "random"],
        "run-relations": ["--student", "2x48-96-3"],
        "run-roberta": ["--student", "roberta:2x64-128-4"],
        "run-two-teachers": [*start, "--teacher", copy_of(teacher)],
    }.items():
        made.trained(
            name, "distill", "run", version, "--teacher", teacher, *words, "--recipe", short
        )
    made.trained(
        "run-pairs",
        "distill",
        "run",
        two,
        "--teacher",
        pair_teacher,
        *start,
        "--recipe",
        short,
        weak,
    )
    for name, changes in {
        "run-official": {"attention_reduction": "official", "projection": "per_layer"},
        "run-kl": {"prediction": {"loss": "kl", "temperature": 2.0, "weights": {"labels": 0.5}}},
        "run-mse": {"prediction": {"loss": "mse", "weights": {"patient": 1.0, "cosine": 1.0}}},
    }.items():
        merged = {"max_length": 48, **SHORT, **changes}
        if "prediction" in changes:
            merged["prediction"] = {**SHORT["prediction"], **changes["prediction"]}
        changed = recipe(made.folder, name, merged)
        made.trained(
            name, "distill", "run", version, "--teacher", teacher, *start, "--recipe", changed
        )
    for split in ("validation", "test"):
        out = made.folder / f"predictions-{split}.csv"
        made.call("distill", "predict", run, version, "--split", split, "--out", out)
        made.digests[f"predictions {split}"] = digest(out)


def _texts(table: Path) -> str:
    import csv

    with table.open(encoding="utf-8", newline="") as file:
        return "\n".join(row["sentence"] for row in csv.DictReader(file)) + "\n"


def real(made: Products) -> None:
    """Slices of real tasks with the real masked LM: both presets, pairs, a regression."""
    for name, folder, limit in (("sst2", "SST-2", 200), ("mrpc", "MRPC", 60), ("cola", "CoLA", 200),
                                ("stsb", "STS-B", 60)):  # fmt: skip
        source = ["--source", GLUE / folder, "--limit"]
        made.version(name, name, *REAL_MODELS, *source, limit)
        few = max(8, limit // 20)
        made.version(f"{name}-paper", name, *REAL_MODELS, *source, few, "--recipe", "paper")
    gated = recipe(made.folder, "gated-cola", {**GATED, "teacher_agreement": "off",
                                               "teacher_logits": False})  # fmt: skip
    made.version(
        "cola-gated", "cola", *REAL_MODELS, "--source", GLUE / "CoLA", "--limit", 200,
        "--recipe", gated, "--similarity-model", MLM, "--no-store",
    )  # fmt: skip
    short = recipe(made.folder, "short-real", {"precision": "float32", **SHORT})
    version = made.folder / "cola" / "cola"
    teacher = made.trained(
        "cola-teacher", "distill", "teacher", version, "--init", MLM, "--recipe", short
    )
    made.trained(
        "cola-run", "distill", "run", version, "--teacher", teacher, "--student", "3x312-1200-12",
        "--recipe", short, "--allow-weak-teacher",
    )  # fmt: skip
    quick = recipe(made.folder, "short-auto", SHORT)
    made.trained(
        "cola-run-auto", "distill", "run", version, "--teacher", teacher,
        "--student", "3x312-1200-12", "--recipe", quick, "--allow-weak-teacher",
    )  # fmt: skip


def copy_of(teacher: Path) -> Path:
    """The same teacher at another place: none may be named twice."""
    return Path(shutil.copytree(teacher, f"{teacher}-again", dirs_exist_ok=True))


def main() -> None:
    """Make what is missing, write the digests and compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--fresh", action="store_true", help="empty the folder first")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(options.folder, ignore_errors=True)
    made = Products(options.folder.resolve(), options.checkout.resolve())
    sample(made)
    if SHARED.is_dir():
        real(made)
    text = json.dumps(made.digests, indent=2, sort_keys=True) + "\n"
    options.json.write_text(text, encoding="utf-8")
    print(f"{len(made.digests)} digests in {options.json}")
    if options.against:
        before = json.loads(options.against.read_text("utf-8"))
        same = {key for key in before if made.digests.get(key) == before[key]}
        other = sorted((before.keys() | made.digests.keys()) - same)
        print(f"{len(same)} of {len(before)} are those of {options.against.name}")
        print(*(f"  differs: {key}" for key in other), sep="\n")
        sys.exit(bool(other))


if __name__ == "__main__":
    main()
