"""Names of a hub: a local copy laid out as the hub's cache is, and a hub out of reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def environment(mlm_dir: Path, tmp_path: Path) -> dict[str, str]:
    """No network, and a cache that holds ``owner/tiny-mlm``."""
    snapshot = tmp_path / "hub" / "models--owner--tiny-mlm" / "snapshots" / REVISION
    shutil.copytree(mlm_dir, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(REVISION)
    return {
        **os.environ,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def preview(
    mlm: str, vectors: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "augment.cli",
        "preview",
        "sst2",
        "--text",
        "a good film",
    ]
    return subprocess.run(
        [*command, "--mlm", mlm, "--vectors", vectors, "--json"],
        capture_output=True,
        text=True,
        env=environment,
    )


def test_a_masked_lm_by_its_hub_name(environment: dict[str, str], vectors_file: Path) -> None:
    done = preview("owner/tiny-mlm", str(vectors_file), environment)

    assert done.returncode == 0, done.stderr
    assert '"route": "masked_lm"' in done.stdout


def test_a_hub_out_of_reach_says_what_to_do(
    environment: dict[str, str], vectors_file: Path
) -> None:
    done = preview("google-bert/bert-base-uncased", str(vectors_file), environment)

    assert done.returncode == 4
    assert "google-bert/bert-base-uncased cannot be loaded" in done.stderr
    assert "name the folder: --mlm DIR" in done.stderr
    assert "Traceback" not in done.stderr
