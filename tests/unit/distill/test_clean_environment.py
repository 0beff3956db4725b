"""An export answers with numpy, tokenizers and onnxruntime alone: all else cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from distill import Classifier
from tests.conftest import ROOT

TEXTS = ["the room was good", "bad", "a very dull day and stale food"]
SCRIPT = """
import sys

ALLOWED = {"numpy", "tokenizers", "onnxruntime", "augment", "distill"}


class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in ALLOWED or top in sys.stdlib_module_names:
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
for name in ("torch", "transformers", "pyarrow", "pydantic", "pandas", "rich", "typer"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is there")

import json

from distill import Classifier
from distill.errors import ExtraMissing, ModelNotFound

folder, texts = sys.argv[1], json.loads(sys.argv[2])
classifier = Classifier.load(folder)
try:
    Classifier.load(folder, form="transformers")
except ExtraMissing as error:
    refusal = str(error)
try:
    Classifier.load("absent")
except ModelNotFound as error:
    absent = str(error)
print(json.dumps({
    "answers": classifier.predict(texts),
    "shares": classifier.predict_proba(texts).tolist(),
    "refusal": refusal,
    "absent": absent,
}))
"""


def test_an_export_answers_without_anything_else(exported: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(exported), json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    here = Classifier.load(exported)
    assert found["answers"] == here.predict(TEXTS)
    assert np.abs(np.array(found["shares"]) - here.predict_proba(TEXTS)).max() < 1e-6
    assert "is no exported graph, and needs PyTorch" in found["refusal"]
    assert "there is no model folder absent" in found["absent"]
