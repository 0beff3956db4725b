"""The released scripts beside this package, with a made-up script in their place."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from augment import write_version
from augment.contract import Version
from augment.contract.errors import UsageError
from benchmarks import released_scripts
from benchmarks.released_copy import CHANGES, patched, write_rows
from benchmarks.released_scripts import Plan, sides
from docs.tools import paper
from tests.unit.distill.helpers import make_bert, make_tokenizer, mood_rows, save

STAND_IN = {
    "task_distill.py": '''
import argparse, json, os, shutil
import boto3, requests
from botocore.exceptions import ClientError
from transformer.modeling import LOAD, WIDTH
import torch

parser = argparse.ArgumentParser()
for name in ("teacher_model", "student_model", "task_name", "data_dir", "output_dir"):
    parser.add_argument("--" + name)
for name in ("max_seq_length", "train_batch_size", "seed", "eval_step"):
    parser.add_argument("--" + name, type=int)
for name in ("learning_rate", "num_train_epochs"):
    parser.add_argument("--" + name, type=float)
for name in ("aug_train", "pred_distill", "do_lower_case", "no_cuda"):
    parser.add_argument("--" + name, action="store_true")
args = parser.parse_args()
os.makedirs(args.output_dir)


class Model:
    def state_dict(self):
        own = LOAD(os.path.join(args.student_model, "model.safetensors"))
        assert "bert.pooler.dense.weight" in own, sorted(own)
        head = {"classifier.weight": torch.ones(2, 32), "classifier.bias": torch.zeros(2)}
        return {**head, **own, "fit_dense.weight": torch.zeros(2, WIDTH)}


model, file = Model(), os.path.join(args.output_dir, "model.safetensors")
torch.save(model.state_dict(), file)
shutil.copy(os.path.join(args.student_model, "vocab.txt"), args.output_dir)
shutil.copy(os.path.join(args.student_model, "config.json"), args.output_dir)
rows = open(os.path.join(args.data_dir, "train_aug.tsv"), encoding="utf-8").read()
with open(os.path.join(args.output_dir, "eval_results.txt"), "a") as results:
    results.write("acc = 0.25\\nacc = 0.75\\nloss = 3.5\\nacc = 0.5\\n")
with open(os.path.join(os.path.dirname(args.output_dir), "..", "told.json"), "a") as told:
    told.write(json.dumps({**vars(args), "rows": rows}) + "\\n")
''',
    "transformer/__init__.py": "",
    "transformer/modeling.py": '''
import torch


def width(fit_size=768):
    return fit_size


def LOAD(weights_path):
    return torch.load(weights_path, map_location="cpu")


def head(pooled):
    return torch.relu(pooled)


WIDTH = width()
''',
    "transformer/file_utils.py": 'WEIGHTS_NAME = "pytorch_model.bin"\n',
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a user would have fetched."""
    root = tmp_path / "theirs"
    for name, text in STAND_IN.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def frame(count: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(mood_rows(count, seed))[["sentence", "label"]]


@pytest.fixture
def version(tmp_path: Path) -> Version:
    rows = {"train": frame(70, 1), "validation": frame(30, 2)}
    rows["train"].loc[0, "sentence"] = 'a "quoted"\tfood'
    return write_version("sst2", rows, out=tmp_path / "versions")


def test_both_sides_have_the_same_rows_steps_and_models(
    folder: Path, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = make_tokenizer()
    teacher = save(make_bert(tokenizer), tokenizer, tmp_path / "teacher")
    start = save(make_bert(tokenizer, layers=1).bert, tokenizer, tmp_path / "start")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    own, rows = released_scripts.same_rows(version, 1000, tmp_path / "same")
    plan = Plan(rows, first=1, second=2, evaluations=2)
    (theirs, changes), (ours, _) = sides(folder, own, teacher, start, plan, ["quick"])
    told = [json.loads(line) for line in (tmp_path / "told.json").read_text().splitlines()]

    assert {path: path.read_bytes() for path in before} == before
    assert (rows, own.rows("train")) == (64, 64)
    assert theirs.steps == ours.steps == (2, 4)
    assert [call["num_train_epochs"] for call in told] == [1, 2]
    assert [call["learning_rate"] for call in told] == [5e-5, 3e-5]
    assert [call["pred_distill"] for call in told] == [False, True]
    assert [call["eval_step"] for call in told] == [3, 2]
    assert {call["task_name"] for call in told} == {"sst-2"}
    assert {(call["aug_train"], call["do_lower_case"]) for call in told} == {(True, True)}
    assert told[0]["rows"].splitlines()[1] == 'a "quoted" food\t0'
    assert len(told[0]["rows"].splitlines()) == 65
    assert theirs.score == 0.75
    assert ours.score == ours.measured["validation"]["accuracy"]
    told_of = {"task": "sst2", "metric": "accuracy", "changes": changes, "plan": {"rows": 64}}
    digests = {"teacher": {"digest": "12"}, "start": {"digest": "34"}}
    page = paper.released({**told_of, **digests, "sides": [asdict(theirs), asdict(ours)]})
    assert "| released scripts | 0.7500 | " in page
    assert "| side | by its own account | validation | steps | seconds |" in page
    assert len(theirs.seconds) == 2
    assert theirs.measured.keys() == ours.measured.keys() == {"validation"}
    assert len([own for own in changes if "transformer/modeling.py" in own]) == 3


def test_the_copy_knows_the_width_and_reads_no_pickles(folder: Path, tmp_path: Path) -> None:
    said = patched(folder, tmp_path / "copy", 32)
    modeling = (tmp_path / "copy" / "transformer" / "modeling.py").read_text(encoding="utf-8")
    script = (tmp_path / "copy" / "task_distill.py").read_text(encoding="utf-8")

    assert "fit_size=32" in modeling
    assert "load_file(weights_path)" in modeling
    assert "return pooled" in modeling
    assert "torch.load(" not in modeling
    assert "torch.save(" not in script
    assert len(said) >= len(CHANGES) + 1
    assert "relu" in (
        patched(folder, tmp_path / "as-released", 32, head=True)
        and (tmp_path / "as-released" / "transformer" / "modeling.py").read_text(encoding="utf-8")
    )


def test_another_folder_or_release_is_refused(
    folder: Path, tmp_path: Path, version: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=r"expected task_distill\.py in .*, found none"):
        patched(tmp_path, tmp_path / "none", 32)
    (folder / "transformer" / "file_utils.py").write_text("nothing", encoding="utf-8")
    with pytest.raises(UsageError, match="the script is of another release"):
        patched(folder, tmp_path / "copy", 32)
    words = [str(tmp_path), "--version", str(version.path), "--teacher", "t", "--start", "s"]
    with pytest.raises(SystemExit, match=r"\d+ rows are no batch"):
        released_scripts.main([*words, "--rows", "5"])


def test_both_sides_select_by_the_same_metric(tmp_path: Path) -> None:
    """Of MRPC the product selects by F1, their script by accuracy."""
    pairs = frame(40, 1).rename(columns={"sentence": "sentence1"}).assign(sentence2="a cat")
    made = write_version("mrpc", {"train": pairs, "validation": pairs[:9]}, out=tmp_path / "mrpc")
    own, rows = released_scripts.same_rows(made, 100, tmp_path / "same")

    assert made.task.selection_metric == "f1"
    assert (own.task.selection_metric, rows) == ("accuracy", 32)
    other = write_version("rte", {"train": pairs, "validation": pairs[:9]}, out=tmp_path / "rte")
    with pytest.raises(UsageError, match="expected one of cola, sst2, mrpc, stsb, found rte"):
        released_scripts.same_rows(other, 100, tmp_path / "other")


def test_rows_of_pairs_and_scores_are_where_their_script_looks(tmp_path: Path) -> None:
    from augment.tasks import GLUE

    rows = pd.DataFrame({"sentence1": ["a b"], "sentence2": ["c"], "label": [2.5]})
    write_rows(rows, GLUE["stsb"].spec, tmp_path / "rows.tsv")
    _, line = (tmp_path / "rows.tsv").read_text(encoding="utf-8").splitlines()
    cells = line.split("\t")

    assert (cells[7], cells[8], cells[-1]) == ("a b", "c", "2.5")
    write_rows(rows.assign(sentence="d", label=1), GLUE["cola"].spec, tmp_path / "rows.tsv")
    assert (tmp_path / "rows.tsv").read_text(encoding="utf-8") == "\t1\t\td\n"
