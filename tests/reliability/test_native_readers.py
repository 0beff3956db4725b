"""Damage that ends a process inside a library, where no sentence can be said any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PROGRAM = """
import random, sys
from pathlib import Path
from augment.contract import Fault
from tests.reliability.parsers import PARSERS

parser = next(parser for parser in PARSERS if parser.name == "corpus, Parquet")
folder, draw = Path(sys.argv[1]), random.Random(3)
parser.prepare(folder)
good = (folder / parser.file).read_bytes()
for _ in range(1500):
    damaged = bytearray(good)
    damaged[draw.randrange(len(good) // 2, len(good))] ^= 1 << draw.randrange(8)
    (folder / parser.file).write_bytes(damaged)
    try:
        parser.read(folder)
    except Fault:
        pass
"""


def test_no_single_bit_of_a_parquet_file_ends_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
