"""What a release must do where it is installed alone: from a file of rows to an answer.

``python -m tests.smoke BIN FOLDER`` runs the two commands of an environment, on the sample, in a
folder of its own: nothing of the checkout is imported. It needs the standard library alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
TOPICS = SAMPLE / "topics"
STUDENT = ["--student", "2x64-256-4", "--recipe", str(TOPICS / "recipe.toml")]
COMMANDS = [
    ["augment", "--help"],
    ["augment", "run", str(TOPICS / "topics.toml"), "--variants", "0", "--out", "versions"],
    ["augment", "verify", "versions/topics"],
    [
        *("distill", "run", "versions/topics", "--teacher", "labels", "--no-plain"),
        *("--encoder", str(SAMPLE / "mlm"), *STUDENT, "--out", "run"),
    ],
    ["distill", "predict", "run", "--text", "the soup was cold"],
]


def smoke(binaries: Path, folder: Path) -> None:
    """Run every command; the first that fails ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for name, *words in COMMANDS:
        print("$", name, *words, flush=True)
        command = [str(binaries.resolve() / name), *words]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    where = "import augment, distill; print(augment.__file__, distill.__version__)"
    subprocess.run([str(binaries.resolve() / "python"), "-c", where], cwd=folder, check=True)


if __name__ == "__main__":
    smoke(Path(sys.argv[1]), Path(sys.argv[2]))
