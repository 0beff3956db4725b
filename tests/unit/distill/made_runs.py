"""Run directories as a run leaves them, made in milliseconds: no model is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augment.contract.task import Label, TaskSpec
from distill.evaluation.evaluate import judge_answers
from distill.evaluation.results import (
    Baseline,
    EvaluationResult,
    Latency,
    Measurement,
    Role,
    Selection,
)
from distill.inference.settings import Calibration
from distill.recipes.load import load_recipe
from distill.runs.answers import ModelAnswers, RowAnswers, write_answers
from distill.runs.directory import PLAIN_STUDENT, STUDENT, RunDirectory
from distill.runs.journal import note_call, note_layers

NASTY = "<img src=x onerror=alert(1)></script><b>bold</b>\u202e\x1b[31m"
MODELS = (Role.TEACHER, Role.PLAIN, Role.DISTILLED)


def make_run(
    folder: Path,
    *,
    names: Sequence[str] = ("negative", "positive"),
    rows: int = 60,
    task: str = "mood",
    finished: bool = True,
    version: str = "a" * 64,
    text: str = "row",
) -> Path:
    """A directory of ``distill run``; without names a regression."""
    recipe = load_recipe("paper", task).model_dump(mode="json", exclude={"teacher", "general"})
    identity = {"version": version, "teacher": "b" * 64, "student": "2x32-64-4", "recipe": recipe}
    run = RunDirectory(folder).of(identity)
    with run.claim(identity):
        note_call(folder, recipe="default")
        note_layers(folder, 4, (2, 4))
        write_log(folder)
        if finished:
            for name in (STUDENT, PLAIN_STUDENT):
                (folder / name).mkdir()
            answers = make_answers(names, rows, text)
            write_answers(run, answers)
            run.finish(make_result(answers, task, version), STUDENT, PLAIN_STUDENT)
    return folder


def write_log(folder: Path) -> None:
    """Two stages of ten points each, and a line that a kill cut."""
    lines: list[dict[str, Any]] = [
        {"stage": "intermediate", "loss": 9 / i, "attention": 8 / i, "hidden": 1 / i, "step": i}
        for i in range(1, 11)
    ]
    lines += [
        {"stage": "prediction", "loss": 1 / i, "prediction": 1 / i, "step": i} for i in (1, 2)
    ]
    lines += [{"stage": "prediction", "eval_accuracy": i / 10, "step": i} for i in (1, 2)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"stage": "predi')


def make_answers(names: Sequence[str], rows: int, text: str) -> RowAnswers:
    """Logits that are mostly right."""
    draw = np.random.default_rng(0)
    width = max(1, len(names))
    labels = draw.integers(0, width, rows) if names else draw.uniform(0, 5, rows)
    models = {}
    for at, role in enumerate(MODELS):
        logits = draw.normal(0, 1.0 + at / 2, (rows, width)).astype(np.float32)
        if names:
            logits[np.arange(rows), labels.astype(int)] += 2.0
        else:
            logits[:, 0] += labels
        models[str(role)] = ModelAnswers(logits, Calibration(1.5) if names else Calibration())
    texts = tuple((f"{text} {i}",) for i in range(rows))
    return RowAnswers("validation", rows, tuple(names), np.arange(rows), texts, labels, models)


def make_result(answers: RowAnswers, task: str, version: str) -> EvaluationResult:
    """The table of these answers."""
    kind = "classification" if answers.names else "regression"
    metric = "accuracy" if answers.names else "pearson"
    spec = TaskSpec(
        name=task, text_columns=("sentence",), metrics=(metric,), selection_metric=metric,
        label=Label(kind=kind, names=answers.names),  # type: ignore[arg-type]
    )  # fmt: skip
    measured = []
    for at, (name, own) in enumerate(answers.models.items()):
        given = own.classes if answers.names else own.scores
        few = len(answers.idx) <= 100  # intervals of more take seconds
        judged = judge_answers(
            {"validation": given}, {"validation": answers.labels}, spec, intervals=few
        )
        measured.append(
            Measurement(
                model=name, parameters=10**6 * (3 - at), encoder_parameters=10**5, flops=10**7,
                file_bytes=4 * 10**6 * (3 - at), max_length=32,
                latency=Latency(batch_1=3.0 - at, throughput_32=100, device="cpu", threads=1),
                **{"scores": judged.scores, **judged.found},
            )
        )  # fmt: skip
    simple = Baseline(name="always", scores=measured[0].scores, rows=0, seconds=0.0)
    return EvaluationResult(
        version=f"{task}@v0001", version_id=version, task=task, baseline=Role.TEACHER,
        selection=Selection(metric=metric, split="validation"), models=tuple(measured),
        rows={"validation": len(answers.idx)}, baselines=(simple,),
    )  # fmt: skip
