"""Bad input, changing models, killed workers, by every engine: a sentence or whole bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from augment.cli import app
from augment.contract import OutputBusy
from augment.errors import AssetChanged, AugmentError, EngineUnavailable, UsageError
from augment.progress import Narrator
from augment.versions.staging import open_staging
from tests.integration.conftest import Run, digests
from tests.unit.augment.conftest import make_masked_lm, make_vectors

ENGINES = ["here", "pool", "ray"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of each engine; all tests share one Ray cluster."""
    if request.param == "ray":
        cluster = request.getfixturevalue("ray_cluster")
        return {"engine": "ray", "address": cluster.address, "workers": 1}
    return {"workers": 1 if request.param == "here" else 2, "threads": 1}


@pytest.fixture
def run(run: Run) -> Run:
    """Runs in small chunks."""
    return partial(run, chunk_rows=20)


class Meddler(Narrator):
    """Does something when the work begins, or when the first chunk is kept."""

    def __init__(
        self,
        at_start: Callable[[], object] | None = None,
        at_chunk: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self.at_start, self.at_chunk = at_start, at_chunk
        self.said: list[str] = []

    def say(self, label: str, text: str) -> None:
        self.said.append(f"{label}: {text}")

    def start(self, rows: int, done: int, *weights: object, **title: object) -> None:
        if self.at_start:
            self.at_start()

    def rows(self, count: int) -> None:
        if self.at_chunk:
            self.at_chunk()
            self.at_chunk = None


def _interrupt() -> None:
    raise KeyboardInterrupt


# ---------------------------------------------------------------- bad input


def _write(folder: Path, lines: str) -> None:
    (folder / "train.csv").write_text(lines)


DAMAGES: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "an empty file": (lambda f: _write(f, ""), "train.csv is empty", 3),
    "a missing column": (lambda f: _write(f, "text,label\na,1\n"), "no column 'sentence'", 3),
    "a label outside": (lambda f: _write(f, "sentence,label\nfilm,2\n"), "has label '2'", 3),
    "no label": (lambda f: _write(f, "sentence,label\nfilm,\n"), "line 2 has no label", 3),
    "too long a text": (
        lambda f: _write(f, f"sentence,label\n{'film ' * 600},1\n"),
        "has 600 tokens, the masked LM reads 126",
        3,
    ),
    "a cut Parquet": (
        lambda f: (f / "train.csv").rename(f / "train.parquet").write_bytes(b"PAR1 and no more"),
        "It is cut or damaged: get it again",
        3,
    ),
    "no UTF-8": (
        lambda f: (f / "train.csv").write_bytes(b"sentence,label\ncaf\xe9,1\n"),
        "is not UTF-8",
        3,
    ),
    "a malformed row": (
        lambda f: (f / "train.csv").rename(f / "train.jsonl").write_text('{"sentence": '),
        "train.jsonl line 1",
        3,
    ),
    "no validation split": (lambda f: (f / "validation.csv").unlink(), "no validation split", 3),
    "nothing at all": (shutil.rmtree, "is not there", 3),
    "a model without a head": (lambda f: _headless(f / "mlm"), "no masked-LM head", 4),
    "a model that is cut": (
        lambda f: os.truncate(f / "mlm" / "model.safetensors", 1000),
        "cannot be read as the weights of a model",
        4,
    ),
    "a model with NaN": (lambda f: _nan(f / "mlm"), "holds NaN", 4),
    "vectors that are none": (
        lambda f: (f / "vectors.txt").write_text("film one two\n"),
        "is not a word and",
        4,
    ),
}


def _headless(folder: Path) -> None:
    from transformers import BertModel

    BertModel.from_pretrained(folder).save_pretrained(folder)


def _nan(folder: Path) -> None:
    import torch
    from transformers import BertForMaskedLM

    model = BertForMaskedLM.from_pretrained(folder)
    torch.nn.init.constant_(model.cls.predictions.bias, float("nan"))
    model.save_pretrained(folder)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Everything of a run in two chunks, to be damaged: data, model, vectors."""
    folder = tmp_path / "in $(x) 'ü'"
    make_masked_lm(folder / "mlm")
    make_vectors(folder / "vectors.txt")
    rows = "\n".join(
        f"the slow red dog {word} ran,{i % 2}" for i, word in enumerate(["film"] * 600)
    )
    _write(folder, f"sentence,label\n{rows}\n")
    (folder / "validation.csv").write_text("sentence,label\nfine music,1\n")
    return folder


def command(folder: Path, out: Path, engine: dict[str, Any], *more: str) -> Result:
    where = ["--source", folder, "--mlm", folder / "mlm", "--vectors", folder / "vectors.txt"]
    flags = [part for name, value in engine.items() for part in (f"--{name}", value)]
    arguments = ["run", "sst2", *where, "--out", out, "--no-store", *flags, *more]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_bad_input(kind: str, engine: dict[str, Any], place: Path, tmp_path: Path) -> None:
    damage, sentence, code = DAMAGES[kind]
    damage(place)
    done = command(place, tmp_path / "out", engine)

    assert sentence in done.stderr
    assert done.exit_code == code
    assert done.stderr.strip().splitlines()[-1].endswith(f"(exit {code})")
    assert "Traceback" not in done.output
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not list((tmp_path / "out").rglob(".partial*"))


def test_malformed_rows_are_left_out_and_counted(
    engine: dict[str, Any], place: Path, tmp_path: Path
) -> None:
    clean = json.loads(command(place, tmp_path / "clean", {}, "--json").stdout)
    with (place / "train.csv").open("a") as stream:
        stream.write("film,7\n")
    made = json.loads(command(place, tmp_path / "out", engine, "--skip-malformed", "--json").stdout)

    skipped = {"source.skipped": 1, "source.skipped.label_unknown": 1}
    assert made["counts"] == {**clean["counts"], **skipped}
    assert [file["sha256"] for file in made["files"]] == [file["sha256"] for file in clean["files"]]


# ---------------------------------------------------------------- what happens meanwhile


@pytest.fixture
def model(mlm_dir: Path, tmp_path: Path) -> Path:
    """A masked LM of one's own, and beside it another one to put in its place."""
    shutil.copytree(mlm_dir, tmp_path / "model")
    make_masked_lm(tmp_path / "other", seed=1)
    return tmp_path / "model"


def swap(model: Path, how: str) -> Callable[[], object]:
    """Another model's weights in place of those that the run began with."""
    other, weights = model.parent / "other" / "model.safetensors", model / "model.safetensors"
    if how == "overwritten":
        return lambda: weights.write_bytes(other.read_bytes())
    return lambda: os.replace(shutil.copy(other, model / "new"), weights)


@pytest.mark.parametrize(("moment", "how"), [("at_start", "replaced"), ("at_chunk", "overwritten")])
def test_a_model_that_changes_under_the_run(
    run: Run, engine: dict[str, Any], model: Path, moment: str, how: str
) -> None:
    """Workers that have it go on with what they have; one that finds another refuses to work."""
    calm = run("calm", limit=100, mlm=str(model))
    meddler = Meddler(**{moment: swap(model, how)})
    options = {**engine, "mlm": str(model), "limit": 100, "narrator": meddler}
    if moment == "at_start" and engine != {"workers": 1, "threads": 1}:
        with pytest.raises(AssetChanged, match="is not what the run began with") as caught:
            run(**options)
        assert caught.value.exit_code == 4
        return
    assert digests(run(**options)) == digests(calm)


def test_a_model_that_changes_before_the_run_goes_on(run: Run, model: Path) -> None:
    """It is another version then; the old one goes on when the old model is back."""
    calm = run("calm", limit=100, mlm=str(model))
    with pytest.raises(KeyboardInterrupt):
        run(limit=100, mlm=str(model), narrator=Meddler(at_chunk=_interrupt))
    swap(model, "replaced")()
    other = run(limit=100, mlm=str(model))
    make_masked_lm(model)
    meddler = Meddler()
    resumed = run(limit=100, mlm=str(model), narrator=meddler)

    assert digests(other)[0] != digests(calm)[0]
    assert digests(resumed) == digests(calm)
    assert "resuming: 1 of 5 chunks are done" in meddler.said


def test_two_runs_of_the_same_recipe_at_once(
    run: Run, engine: dict[str, Any], tmp_path: Path
) -> None:
    calm = run("calm", limit=40)
    with (
        open_staging(tmp_path / "out" / "rte", calm.manifest.id, 20),
        pytest.raises(OutputBusy, match="another process is at work"),
    ):
        run(limit=40, **engine)
    assert digests(run(limit=40)) == digests(calm)


def test_a_worker_killed_by_the_kernel(run: Run, tmp_path: Path) -> None:
    """The pool says so and keeps what is finished; the next run needs the rest alone."""
    calm = run("calm", limit=200)
    meddler = Meddler(at_chunk=lambda: os.kill(_a_worker(), signal.SIGKILL))
    with pytest.raises(AugmentError, match="a worker process was killed") as caught:
        run(limit=200, workers=2, threads=1, narrator=meddler)
    assert "fewer --workers" in caught.value.hint
    assert list((tmp_path / "out" / "rte").glob(".partial-*/chunks/*.json"))
    assert digests(run(limit=200, workers=2, threads=1)) == digests(calm)
    assert sorted(path.name for path in (tmp_path / "out" / "rte").iterdir()) == ["v0001"]


def _a_worker() -> int:
    """A process that a pool's loader has split into: us > forkserver > loader > worker."""
    for process in psutil.Process().children(recursive=True):
        above = [parent.pid for parent in process.parents()]
        if len(above) > 2 and above[2] == os.getpid() and "ray" not in process.name():
            return process.pid
    raise AssertionError("no worker is there")


# ---------------------------------------------------------------- the choice of an engine


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"engine": "spark"}, UsageError, "'spark' is no engine; there are local and ray"),
        ({"address": "auto"}, UsageError, "is for --engine ray"),
        ({"engine": "ray", "address": "127.0.0.1:1"}, EngineUnavailable, "no Ray cluster answers"),
        ({"engine": "ray", "address": "nonsense"}, EngineUnavailable, "no Ray cluster answers"),
    ],
)
def test_engines_that_cannot_be(
    run: Run, options: dict[str, Any], error: type[AugmentError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        run(**options)
    assert caught.value.exit_code == 2


def test_ray_that_is_not_installed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(EngineUnavailable, match="needs Ray Data") as caught:
        run(engine="ray")
    assert "augment-distill[ray]" in caught.value.hint
