"""Scripts of users that call what starts processes, without a guard around the call."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = """
print("begun", flush=True)
import multiprocessing, os
from augment.contract.process import DeafChildren
from distill.data.packing import BlockSpec
from distill.data.text_files import DocumentPart
from distill.data.tokenize_pool import tokenize_batches
rules = open("rules.json").read()
parts = [DocumentPart(at, "ab " * 60_000) for at in range(3)]
made = tokenize_batches(parts, rules, BlockSpec(8, 3, 1, 2), processes=2)
print(sum(batch.packed.counts.blocks for batch in made), "blocks")
with DeafChildren():
    process = multiprocessing.get_context("spawn").Process(target=os.getpid)
    process.start()
process.join()
print("ended with", process.exitcode)
"""


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "ab": 3}, "[UNK]"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.save(str(tmp_path / "rules.json"))
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["begun", "30000 blocks", "ended with 0"]


def test_every_process_is_started_so() -> None:
    """Where a process is made in the product, it is made in a block of ``DeafChildren``."""
    for package in ("augment", "distill"):
        for file in (ROOT / package).rglob("*.py"):
            source = file.read_text()
            if "get_context(" in source:
                names = {own.id for own in ast.walk(ast.parse(source)) if isinstance(own, ast.Name)}
                assert "DeafChildren" in names, file
