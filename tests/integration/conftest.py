"""The tiny models of the unit tests, and a small task to augment."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from augment import augment_task
from augment.contract import Version
from augment.executor.base import Engine
from augment.executor.ray import require_ray
from augment.progress import Narrator
from augment.recipes.schema import AugmentRecipe
from tests.unit.augment.conftest import MANY_TOKENS, WORDS, classifier_dir, mlm_dir, vectors_file

__all__ = ["classifier_dir", "mlm_dir", "pair_source", "vectors_file"]

Run = Callable[..., Version]
NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
SMALL = AugmentRecipe(variants=6, top_k=5, vector_rows=1000)


PRELOADED = [
    "augment.executor.pool",
    "augment.masked_lm.loading",
    "transformers.models.bert.modeling_bert",
]


class Interrupter(Narrator):
    """Ctrl-C when the last chunk is kept and nothing is committed."""

    def start(self, rows: int, done: int, *weights: object, **title: object) -> None:
        self.rows_left = rows - done

    def rows(self, count: int) -> None:
        self.rows_left -= count
        if not self.rows_left:
            raise KeyboardInterrupt


def augmented(task: str, **options: Any) -> Version:
    """``augment_task`` with the fields of ``Engine`` as options, and pools that start quickly.

    Loaders of pools begin as children of a process that has imported everything already.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
    names = {field.name for field in fields(Engine)} & options.keys()
    of_engine = {name: options.pop(name) for name in names}
    name = options.pop("engine", "local")
    engine = Engine(name, **{"start_method": "forkserver", **of_engine})
    return augment_task(task, engine=engine, **options)


@pytest.fixture
def run(mlm_dir: Path, vectors_file: Path, pair_source: Path, tmp_path: Path) -> Run:
    def go(out: str = "out", recipe: AugmentRecipe = SMALL, **options: Any) -> Version:
        where = {
            "mlm": str(mlm_dir),
            "vectors": str(vectors_file),
            "out": tmp_path / out,
            "source": str(pair_source),
        }
        return augmented("rte", recipe=recipe, **{**where, **options})

    return go


def digests(version: Version) -> list[str]:
    return [entry.sha256 for entry in version.manifest.files]


def sentence(generator: random.Random) -> str:
    words = generator.choices([*WORDS, *MANY_TOKENS], k=generator.randint(1, 12))
    if generator.random() < 0.3:
        words[0] = words[0].title()
    return " ".join(words) + generator.choice(["", ".", " !", "…"])


@pytest.fixture(scope="session")
def pair_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RTE-like TSV files of made-up words: 1,300 training pairs, three chunks."""
    folder = tmp_path_factory.mktemp("rte")
    generator = random.Random(5)
    for name, rows in (("train", 1300), ("dev", 20), ("test", 20)):
        labeled = name != "test"
        lines = ["index\tsentence1\tsentence2" + ("\tlabel" if labeled else "")]
        for i in range(rows):
            fields = [str(i), sentence(generator), sentence(generator)]
            fields += [generator.choice(["entailment", "not_entailment"])] if labeled else []
            lines.append("\t".join(fields))
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Ray cluster on this machine's loopback; its first node has one processor."""
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install augment-distill[ray]")
    from ray.cluster_utils import Cluster

    sessions = tempfile.mkdtemp(prefix="ray")  # its sockets need a short path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", sessions)
        patch.setenv("RAY_USAGE_STATS_REPORT_URL", "http://127.0.0.1:9/")  # also told "disabled"
        require_ray(Engine("ray"))
        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        yield cluster
        cluster.shutdown()
    shutil.rmtree(sessions, ignore_errors=True)
