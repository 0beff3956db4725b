"""The goal in one table: what answers best, smallest and fastest on tickets, SST-2 and MRPC.

    python -m benchmarks.student_to_answer --folder goal --json FILE

One command from nothing: each task as a version of its rows as they are, a teacher of 6 x 384 and
students by the recipe ``quick`` in fewer steps, each in all forms, whole and with the tokens alone
that were seen. Steps are selected on rows held out of the training rows; scores are those of rows
that select nothing: ``test_clean.csv`` of the tickets, GLUE's validation split of the others, with
the middle 95% of a thousand resamples of the mean over seeds. Tasks that are not named stay in the
results as they are.
All answer raw texts, one thread, in turns. What is finished in the folder is not done again;
``--train`` stops before anything is timed.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch

from augment import write_version
from augment.contract import Label, Splits, TaskSpec, Version
from augment.contract.version import open_version
from benchmarks.earlier import read_results
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED
from benchmarks.small_data import MOOD, QUEUES
from distill.evaluation.cost import Processor
from distill.evaluation.intervals import interval, resample
from distill.evaluation.metrics import score
from distill.inference.classifier import Classifier
from distill.pipeline import distill_task
from distill.recipes.load import load_recipe
from distill.serving.export import export_model
from distill.teacher import fine_tune_teacher

SHAPE, TEST = "4x312-1200-12", "test"
FORMS = {"onnx": "`onnx`", "onnx-int8": "`onnx-int8`", "onnx-small": "`onnx-small`"}
STEPS = {"tickets": (600, 400), "mrpc": (250, 250), "sst2": (2_000, 1_600)}
"""Of stage 1 and stage 2; labels only has as many as both."""
TURNS, BURST, MANY = 12, 6, 96
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of a task by split, and what is asked of them."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    metric: str
    splits: dict[str, Rows]


def tickets() -> Source:
    """1,000 tickets, 8% of their labels wrong, 5,000 without a label; right ones are the test."""
    folder, columns = SHARED / "data" / "tickets", ("subject", "body")

    def read(file: str, label: str = "") -> Rows:
        return [
            {name: row[name] or "" for name in columns}
            | {"label": QUEUES.index(row[label]) if label else None}
            for row in pa.csv.read_csv(folder / file).to_pylist()
        ]

    own = read("tickets.csv", "queue")
    random.Random(0).shuffle(own)
    splits = {"train": own[150:], "validation": own[:150], TEST: read("test_clean.csv", "true")}
    unlabeled = {"unlabeled": read("unlabelled.csv")}
    return Source(columns, QUEUES, "macro_f1", splits | unlabeled)


def glue(task: str, columns: tuple[str, ...], names: tuple[str, ...], held_out: int) -> Source:
    """A task whose validation split is the test here; some training rows select."""
    folder = SHARED / "data" / "glue" / task
    train, test = (
        pq.read_table(folder / f"{split}.parquet").select([*columns, "label"]).to_pylist()
        for split in ("train", "validation")
    )
    random.Random(0).shuffle(train)
    splits = {"train": train[held_out:], "validation": train[:held_out], TEST: test}
    return Source(columns, names, "accuracy", splits)


SOURCES = {
    "tickets": tickets,
    "mrpc": lambda: glue("mrpc", ("sentence1", "sentence2"), ("no", "yes"), 400),
    "sst2": lambda: glue("sst2", ("sentence",), MOOD, 2_000),
}


@dataclass(frozen=True)
class Campaign:
    """Where everything lies."""

    folder: Path

    def version(self, name: str) -> Version:
        """A task's rows as they are."""
        root = self.folder / "versions"
        if (root / name).is_dir():
            return open_version(root / name / "v0001")
        source = SOURCES[name]()
        unlabeled = "unlabeled" if "unlabeled" in source.splits else None
        task = TaskSpec(
            name=name,
            text_columns=source.columns,
            label=Label(names=source.names),
            metrics=("accuracy", "macro_f1"),
            selection_metric=source.metric,
            splits=Splits(validation=("validation",), test=(TEST,), unlabeled=unlabeled),
        )
        tables = {split: pa.Table.from_pylist(rows) for split, rows in source.splits.items()}
        return write_version(task, tables, out=root)

    def teacher(self, name: str) -> Path:
        """Its fine-tuned teacher."""
        place = self.folder / "teachers" / name
        fine_tune_teacher(self.version(name), init=str(MLM), out=place)
        return place

    def student(self, name: str, seed: int) -> Path:
        """The run of a distilled student; with the first seed also of one on labels only."""
        out = self.folder / "students" / f"{name}-{seed}"
        quick = load_recipe("quick", name)
        first, second = STEPS[name]
        parts = {"intermediate": first, "prediction": second, "plain": first + second}
        fixed = {
            part: getattr(quick, part).model_copy(update={"max_steps": most, "epochs": 1_000.0})
            for part, most in parts.items()
        }
        recipe = quick.model_copy(update={"seed": seed, **fixed})
        return distill_task(
            self.version(name),
            teacher=self.teacher(name),
            student=SHAPE,
            out=out,
            recipe=recipe,
            plain=seed == 0,
        ).path

    def exported(self, name: str, run: Path, *, trim: bool = False) -> Path:
        """Its forms."""
        out = self.folder / "forms" / f"{run.name}-{'seen' if trim else 'all'}"
        if not out.is_dir():
            forms = [form for form in FORMS if not trim or form != "onnx"]
            export_model(str(run), self.version(name), out=out, forms=forms, trim=trim)
        return out


@dataclass(frozen=True, slots=True)
class Rival:
    """A row of the table: one model a seed.

    Attributes:
        name: What it is.
        classifiers: That answer raw texts, a seed each.
        file_bytes: Of weights and tokenizer, of the first seed.
    """

    name: str
    classifiers: tuple[Any, ...]
    file_bytes: int


def rivals(campaign: Campaign, name: str, seeds: Sequence[int]) -> Iterator[Rival]:
    """All that is compared on a task."""

    def of(title: str, folders: Sequence[Path]) -> Rival:
        models = tuple(Classifier.load(folder) for folder in folders)
        return Rival(title, models, file_bytes(folders[0]))

    yield linear_model(campaign.version(name))
    yield of("teacher, 6 x 384", [campaign.teacher(name)])
    runs = [campaign.student(name, seed) for seed in seeds]
    yield of("4 x 312, labels only, one seed", [runs[0] / "plain-student"])
    yield of("4 x 312, distilled, PyTorch", [run / "student" for run in runs])
    for trim, words in ((False, ""), (True, ", seen tokens")):
        outs = [campaign.exported(name, run, trim=trim) for run in runs]
        for form, title in FORMS.items():
            if (outs[0] / form).is_dir():
                yield of(f"{title}{words}", [out / form for out in outs])


def file_bytes(folder: Path) -> int:
    """Weights (or the graph) and the tokenizer."""
    kinds = ("*.safetensors", "model.onnx", "tokenizer.json")
    return sum(file.stat().st_size for kind in kinds for file in folder.glob(kind))


def texts_of(version: Version, split: str) -> list[str | tuple[str, ...]]:
    """Raw texts, or pairs."""
    frame = version.to_pandas(split)[list(version.task.text_columns)]
    rows = frame.itertuples(index=False, name=None)
    return [row[0] if len(row) == 1 else row for row in rows]


def linear_model(version: Version) -> Rival:
    """TF-IDF of words and pairs of them with a logistic regression, by scikit-learn."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    names = np.array(version.task.label.names)
    train = version.to_pandas("train")
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1 + (len(train) > 2_000))
    model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1_000))
    model.fit(joined(texts_of(version, "train")), names[train["label"]])
    size = sum(len(word.encode()) for word in words.vocabulary_) + words.idf_.nbytes
    return Rival("TF-IDF + logistic regression", (Linear(model),), size + model[1].coef_.nbytes)


def joined(texts: Sequence[str | tuple[str, ...]]) -> list[str]:
    """Each as one text."""
    return [text if isinstance(text, str) else " ".join(text) for text in texts]


@dataclass(frozen=True, slots=True)
class Linear:
    """scikit-learn's pipeline, asked as a classifier is."""

    model: Any

    def predict(self, texts: Sequence[str | tuple[str, ...]], **_: int) -> Any:
        """All at once."""
        return self.model.predict(joined(texts))


def scores(version: Version, found: Sequence[Rival]) -> dict[str, dict[str, Any]]:
    """Of the rows that select nothing: mean over seeds, its interval, and that of differences."""
    task, texts = version.task, texts_of(version, TEST)
    names, metric = task.label.names, task.selection_metric
    labels = version.to_pandas(TEST)["label"].to_numpy()
    lines, drawn = {}, {}
    for rival in found:
        answers = [
            np.array([names.index(answer) for answer in own.predict(texts, batch_size=32)])
            for own in rival.classifiers
        ]
        each = [score((metric,), own, labels, len(names))[metric] for own in answers]
        resampled = [resample(metric, own, labels, len(names)) for own in answers]
        drawn[rival.name] = np.mean(resampled, axis=0)
        lines[rival.name] = {
            "score": float(np.mean(each)),
            "seeds": [round(own, 4) for own in each],
            "interval": interval(drawn[rival.name]).to_json(),
            "megabytes": round(rival.file_bytes / 1e6, 2),
        }
    linear, teacher = (drawn[rival.name] for rival in found[:2])
    for name, line in lines.items():
        line["above TF-IDF"] = interval(drawn[name] - linear).to_json()
        line["below the teacher"] = interval(teacher - drawn[name]).to_json()
    return lines


def times(version: Version, found: Sequence[Rival]) -> dict[str, dict[str, float]]:
    """Median milliseconds a text, one at a time and in batches of 32; all take turns."""
    texts = texts_of(version, TEST)
    own = [texts[at] for at in np.random.default_rng(0).permutation(len(texts))]
    spent: dict[str, dict[str, list[float]]] = {rival.name: {"1": [], "32": []} for rival in found}
    for turn in range(TURNS):
        some = own[turn * BURST :][:BURST]
        for rival in found:
            model = rival.classifiers[0]
            for call, text in enumerate(some):
                took = timed(lambda text=text, model=model: model.predict([text], batch_size=1))
                if turn and call:  # the first call finds its weights out of the caches
                    spent[rival.name]["1"].append(took)
            if turn % 3 == 0:
                took = timed(lambda model=model: model.predict(own[:MANY], batch_size=32))
                if turn:
                    spent[rival.name]["32"].append(took / min(MANY, len(own)))
    return {
        name: {f"batch_{size}_ms": round(statistics.median(own), 3) for size, own in took.items()}
        for name, took in spent.items()
    }


def timed(call: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def table(campaign: Campaign, tasks: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Scores, sizes and times of every task, printed as they come."""
    lines = {}
    for name in tasks:
        version, found = campaign.version(name), list(rivals(campaign, name, seeds))
        scored, timed_all = scores(version, found), times(version, found)
        lines[name] = {rival: scored[rival] | timed_all[rival] for rival in scored}
        print(name, version.task.selection_metric)
        for rival, line in lines[name].items():
            print(f"  {rival:<32}", {k: v for k, v in line.items() if k != "seeds"}, flush=True)
    return lines


def main() -> None:
    """Run what is missing; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tasks", nargs="+", default=list(SOURCES), choices=SOURCES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train", action="store_true", help="train only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    campaign = Campaign(options.folder.resolve())
    for seed in options.seeds:
        for name in options.tasks:
            run = campaign.student(name, seed)
            for trim in (False, True):
                campaign.exported(name, run, trim=trim)
            print(name, seed, flush=True)
    if not options.train:
        lines = table(campaign, options.tasks, options.seeds)
        machine = {**describe(), **Processor.here().to_json()}
        found = {
            task: {
                "machine": machine,
                "metric": campaign.version(task).task.selection_metric,
                "models": own,
            }
            for task, own in lines.items()
        }
        keep({**read_results(options.json), **found}, options.json)


if __name__ == "__main__":
    main()
