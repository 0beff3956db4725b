"""Coverage-guided fuzzing of every parser: bytes that reach new code are kept and changed further.

    python -m tests.reliability.fuzz --runs 3000 --json FILE      # needs the package atheris

Each parser runs in a process of its own, with the good file as seed, until so many inputs were
tried or the time is over. An error that is no fault, a hang or too much memory ends it: a survivor.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

MEMORY_MB = 4096
SLOWEST_SECONDS = 25


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What came of fuzzing one parser.

    Attributes:
        parser: Its name.
        inputs: How many were tried.
        edges: Edges of code that they reached.
        survivor: The end of the report, where an input broke it.
    """

    parser: str
    inputs: int
    edges: int
    survivor: str


def fuzz_one(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz a parser in this process, until atheris ends it."""
    import atheris

    with atheris.instrument_imports(include=["augment", "distill"]):
        from tests.reliability.parsers import PARSERS
    from augment.contract import Fault

    parser = next(parser for parser in PARSERS if parser.name == name)
    good, seeds, place = folder / "good", folder / "seeds", folder / "place"
    for made in (good, seeds):
        made.mkdir()
    parser.prepare(good)
    shutil.copy(good / parser.file, seeds / "seed")

    def one(content: bytes) -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        (place / parser.file).write_bytes(content)
        try:
            parser.read(place)
        except Fault:
            return

    atheris.Setup([sys.argv[0], *options, str(seeds)], one)
    atheris.Fuzz()


def fuzz(name: str, runs: int, seconds: int) -> Fuzzed:
    """Fuzz a parser in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        done = subprocess.run(
            [
                sys.executable, "-m", "tests.reliability.fuzz", "--one", name, "--folder", folder,
                f"-runs={runs}", f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY_MB}",
                f"-timeout={SLOWEST_SECONDS}", "-max_len=20000", "-seed=1", "-print_final_stats=1",
                f"-artifact_prefix={folder}/",
            ],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    report = done.stderr + done.stdout
    tried = re.findall(r"stat::number_of_executed_units: (\d+)", report)
    edges = re.findall(r"cov: (\d+)", report)
    broken = "" if done.returncode == 0 and tried else report.strip()[-1500:]
    return Fuzzed(name, int(tried[-1]) if tried else 0, int(edges[-1]) if edges else 0, broken)


def main() -> None:
    """Fuzz all parsers, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="inputs for each parser")
    parser.add_argument("--seconds", type=int, default=60, help="at most, for each parser")
    parser.add_argument("--json", type=Path, help="where the counts are kept")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options, more = parser.parse_known_args()
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("atheris is not installed: pip install atheris (Linux on x86-64)")
    if options.one:
        fuzz_one(options.one, options.folder, more)
        return
    from tests.reliability.parsers import PARSERS

    found = []
    for own in PARSERS:
        found.append(done := fuzz(own.name, options.runs, options.seconds))
        print(f"{done.parser:<20} {done.inputs:>7} inputs {done.edges:>6} edges"
              f"  {done.survivor[-300:] or 'none survived'}", flush=True)  # fmt: skip
    survivors = sum(bool(done.survivor) for done in found)
    print(f"{sum(done.inputs for done in found)} inputs, {survivors} parsers broken")
    if options.json:
        counts = {"survivors": survivors, "parsers": [asdict(done) for done in found]}
        options.json.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(bool(survivors))


if __name__ == "__main__":
    main()
