"""What distilling from millions of rows takes: memory beside the models, and seconds to step one.

    python -m benchmarks.distill_memory --json benchmarks/results/distill_memory.json

``distill run`` works as a process of its own on a version of 8 million sentence pairs, with a
random teacher of six layers and few steps: what is measured depends on the rows, not on what is
learnt from them. The first run tokenizes and is killed at its first step; the second is the same
command again and goes through to the end. Every half second the memory of the process and its
descendants is added up, pages of mapped files included. Few steps touch few pages of the tokens:
the limit is held against what a whole epoch would have resident, every page of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, set_seed

from augment.contract import Version
from benchmarks.large_version import TASK, large_version
from benchmarks.machine import arguments, describe, keep
from benchmarks.peak import SECONDS, Peak, files_mapped
from benchmarks.places import MLM, ROOT

MEMORY_LIMIT = 4 * 2**30
START_LIMIT = 60.0
STUDENT = "3x312-1200-12"
RECIPE = """
[intermediate]
max_steps = 30
learning_rate = 5e-4

[prediction]
max_steps = 4
evaluations = 1
"""
FLOAT = 4
KEPT_WHILE_TRAINED = 4
"""Weight, gradient, and AdamW's two means."""
SAID = {
    "tokenized": "  version ",
    "teacher_scored": "  teacher ",
    "first_step": "  stage 1/2   step ",
}


@dataclass(slots=True)
class Seen:
    """One run: its memory, and after how many seconds it said what (see ``SAID``).

    Attributes:
        peak: Of the whole run.
        seconds: By key of ``SAID``, and ``end``.
        libraries: Resident pages of files that are not tokens, at the first step.
    """

    peak: Peak = field(default_factory=Peak)
    seconds: dict[str, float] = field(default_factory=dict)
    libraries: int = 0

    def note(self, pid: int, now: float, text: str) -> None:
        """Look once: the memory, and what was said by now."""
        self.peak.look(pid, now)
        for name, words in SAID.items():
            if words in text and name not in self.seconds:
                self.seconds[name] = round(now, 1)
                if name == "first_step":
                    files = files_mapped(pid).items()
                    self.libraries = sum(
                        size for file, size in files if Path(file).parent.name != "tokens"
                    )

    def summary(self) -> dict[str, Any]:
        """JSON values."""
        peak = self.peak
        return {
            "seconds": self.seconds,
            "peak_rss": peak.rss,
            "peak_pss": peak.pss,
            "peak_without_files": peak.own,
            "libraries": self.libraries,
            "peak_at_seconds": round(peak.at_seconds, 1),
            "processes": peak.processes,
            "pss_over_time": peak.thinned(),
        }


def make_teacher(folder: Path) -> Path:
    """A random BERT for the labels of MNLI, as wide as the small encoders that people use."""
    tokenizer = AutoTokenizer.from_pretrained(MLM if MLM.is_dir() else ROOT / "data/sample/mlm")
    set_seed(0)
    names = TASK.label.names
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def watch(command: list[str], said: Path, stop_at: str = "") -> Seen:
    """Run a command and look at it until it ends, or kill it once it has said something.

    Args:
        command: Of ``distill``.
        said: Where its stderr goes.
        stop_at: A key of ``SAID``.
    """
    began, seen = time.monotonic(), Seen()
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    with (
        said.open("w") as stream,
        subprocess.Popen(
            command, stderr=stream, stdout=subprocess.DEVNULL, env=environment
        ) as process,
    ):
        while process.poll() is None:
            seen.note(process.pid, time.monotonic() - began, said.read_text())
            if stop_at in seen.seconds:
                process.kill()
            time.sleep(SECONDS)
    if process.returncode and stop_at not in seen.seconds:
        sys.exit(said.read_text())
    seen.seconds["end"] = round(time.monotonic() - began, 1)
    return seen


def measured(folder: Path, rows: int, threads: int) -> dict[str, Any]:
    """Everything about the two runs."""
    version = large_version(folder / "versions", rows)
    run, recipe = folder / "run", folder / "recipe.toml"
    shutil.rmtree(run, ignore_errors=True)
    recipe.write_text(RECIPE)
    teacher = make_teacher(folder / "teacher")
    command = [sys.executable, "-m", "distill.cli", "run", version.path, "--teacher", teacher,
               "--student", STUDENT, "--recipe", recipe, "--out", run, "--no-plain",
               "--allow-weak-teacher", "--threads", threads]  # fmt: skip
    words = [str(part) for part in command]
    first = watch(words, folder / "first.log", stop_at="first_step")
    print(f"first run, tokenizing: {first.seconds}", flush=True)
    second = watch(words, folder / "second.log")
    print(f"second run: {second.seconds}", flush=True)
    tokens = sum(file.stat().st_size for file in (run / "work" / "tokens").glob("train-*"))
    models = json.loads((run / "result.json").read_text())["models"]
    return {
        "machine": {**describe(), "threads": threads},
        **_about(version),
        "token_bytes": tokens,
        "student": STUDENT,
        "first_run": first.summary(),
        "second_run": second.summary(),
        **_beside([model["parameters"] for model in models], first, second, tokens),
    }


def _about(version: Version) -> dict[str, Any]:
    shards = [file.bytes for file in version.manifest.files if file.split == "train"]
    return {"rows": version.rows("train"), "shards": shards}


def _beside(parameters: list[int], first: Seen, second: Seen, tokens: int) -> dict[str, Any]:
    """What is resident beside the models, whose size follows from their parameters in float32.

    The first run has reached no more than weights; the second one trains the student. Projections
    and activations count as beside the models. The kernel counts a page that is mapped twice as
    two in RSS and as one in PSS; libraries are shared with other processes, so they count in full
    in the sum with all tokens.
    """
    teacher, student = parameters
    weights = FLOAT * (teacher + student)
    trained = FLOAT * (teacher + KEPT_WHILE_TRAINED * student)
    runs = ((first, weights), (second, trained))
    beside = max(run.peak.pss - models for run, models in runs)
    epoch = max(run.peak.own + run.libraries + tokens - models for run, models in runs)
    return {
        "parameters": {"teacher": teacher, "student": student},
        "model_bytes": trained,
        "beside_models": beside,
        "beside_models_all_tokens_mapped": epoch,
        "start_seconds": second.seconds["first_step"],
    }


def faults(result: dict[str, Any]) -> list[str]:
    """Which limits the runs broke."""
    found = []
    if (size := result["beside_models_all_tokens_mapped"]) >= MEMORY_LIMIT:
        found.append(f"{size / 2**30:.2f} GiB beside the models are not under 4 GiB")
    if (seconds := result["start_seconds"]) >= START_LIMIT:
        found.append(f"{seconds:.0f} s to the first step are not under 60 s")
    return found


def tell(result: dict[str, Any]) -> None:
    """A short summary."""
    gib = 2**30
    first, second = result["first_run"], result["second_run"]
    print(f"{result['rows']:,} rows, {result['token_bytes'] / gib:.2f} GiB of tokens")
    for name, run in (("first run", first), ("second run", second)):
        print(
            f"{name}: first step after {run['seconds']['first_step']:,.0f} s, peak "
            f"{run['peak_rss'] / gib:.2f} GiB RSS, {run['peak_pss'] / gib:.2f} GiB PSS, "
            f"{run['peak_without_files'] / gib:.2f} GiB of it no pages of files"
        )
    print(
        f"beside the models ({result['model_bytes'] / gib:.2f} GiB): "
        f"{result['beside_models'] / gib:.2f} GiB, with all tokens mapped "
        f"{result['beside_models_all_tokens_mapped'] / gib:.2f} GiB"
    )


def main() -> None:
    """Run, print the figures, and fail where a limit is broken."""
    parser = arguments(__doc__, threads=True)
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--folder", type=Path, help="where everything goes; kept if given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = measured(options.folder or Path(scratch), options.rows, options.threads)
    tell(result)
    keep(result, options.json)
    if broken := faults(result):
        sys.exit("; ".join(broken))


if __name__ == "__main__":
    main()
