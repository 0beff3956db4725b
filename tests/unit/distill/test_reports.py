"""A report of any run is a useful page or one sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from augment.contract import Version
from augment.contract.page import MOST_BYTES
from distill.errors import DataInvalid, UsageError
from distill.evaluation.results import (
    AblationLine,
    AblationResult,
    BlockCounts,
    CorpusCounts,
    GeneralResult,
)
from distill.inference.settings import Calibration
from distill.reports import reading, writing
from distill.reports.charts import Point, points
from distill.reports.rows import _curve, disagreement_parts
from distill.reports.writing import write_report
from distill.runs.answers import ANSWERS, ModelAnswers, read_answers, write_answers
from distill.runs.directory import RunDirectory
from distill.runs.journal import METRICS, copy_logs, note_call
from distill.runs.records import read_seal, write_sealed_json
from tests.unit.distill.made_runs import NASTY, make_answers, make_run


def text_of(page: Path) -> str:
    """What a person reads."""
    text = re.sub(r"<(style|script|svg).*?</\1>", "", page.read_text(), flags=re.S)
    return re.sub(r"<[^>]+>", " ", text)


def report(tmp_path: Path, *runs: Path) -> str:
    """The page's text, once its size and its markup are what they must be."""
    page = write_report([*runs], tmp_path / "report.html")

    whole = page.read_text()
    assert len(whole.encode()) < MOST_BYTES
    assert whole.count("<script") == 1
    assert 'figure><div role="img" aria-label=""' not in whole
    return text_of(page)


def test_a_run_is_shown_whole(tmp_path: Path) -> None:
    text = report(tmp_path, make_run(tmp_path / "one"))

    for part in (
        "Models and what is simpler", "Stage 1: losses", "Stage 2: validation", "attention",
        "labels down, answers across", "bins of confidence", "get different answers",
        "student layers and the teacher", "what differs from the default",
    ):  # fmt: skip
        assert part.lower() in (text + (tmp_path / "report.html").read_text()).lower(), part


def test_markup_in_texts_and_labels_is_text(tmp_path: Path) -> None:
    names = ("</script>", "<b>", NASTY)
    make_run(tmp_path / "one", names=names, text=NASTY)

    text = report(tmp_path, tmp_path / "one")

    page = (tmp_path / "report.html").read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<img" not in page
    assert not set(page) & {"\x1b", "\u202e"}
    assert r"\u202e" in text


def test_an_unfinished_run_shows_what_it_has_logged(tmp_path: Path) -> None:
    text = report(tmp_path, make_run(tmp_path / "one", finished=False))

    assert "not finished" in text
    assert "Stage 1: losses" in text
    assert "Calibration" not in text


def test_a_regression_has_scores_and_no_classes(tmp_path: Path) -> None:
    text = report(tmp_path, make_run(tmp_path / "one", names=()))

    assert "scores differ most" in text
    assert "answers against labels" in text
    assert "labels down" not in text


def test_two_hundred_classes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", names=[f"class {i}" for i in range(200)], rows=900)

    text = report(tmp_path, run)

    assert "the most frequent mistakes" in text
    assert "class 199" in text


def test_a_damaged_result_is_named_and_the_log_is_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    (run / "result.json").write_text("{}")

    text = report(tmp_path, run)

    assert "result.json was changed after it was written" in text
    assert "Stage 1: losses" in text


def test_a_run_of_another_release_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    file, sealed = run / "result.json", read_seal(run / "result.json")
    assert sealed
    write_sealed_json(file, sealed.origin, {**json.loads(file.read_text()), "news": 1})

    assert "written by another release" in report(tmp_path, run)


def test_damaged_answers_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    (run / ANSWERS).write_bytes(b"PAR1")

    text = report(tmp_path, run)

    assert "Not known" in text
    assert "answers.parquet was changed" in text


def test_answers_come_back_as_they_were_kept(tmp_path: Path) -> None:
    answers = read_answers(make_run(tmp_path / "one", rows=5))

    assert (answers.split, answers.total, len(answers.texts)) == ("validation", 5, 5)
    assert [*answers.models] == ["teacher", "student, labels only", "student, distilled"]


def test_a_damaged_run_alone_is_a_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one")
    (run / "run.json").write_text("{")
    (run / "metrics.jsonl").unlink()

    with pytest.raises(DataInvalid, match=r"run.json was changed"):
        write_report(run, tmp_path / "report.html")

    assert not (tmp_path / "report.html").exists()


def test_runs_of_different_tasks_are_not_compared(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one")
    two = make_run(tmp_path / "two", task="other", version="c" * 64, names=())
    three = make_run(tmp_path / "three", finished=False)

    text = report(tmp_path, one, two, three, one)

    assert "different data" in text
    assert text.count("mood@v0001, against size") == 1
    assert text.count("other@v0001, against size") == 1


def test_many_runs_fit_and_say_who_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_BYTES", 150_000)
    runs = [make_run(tmp_path / f"run{i}") for i in range(3)]

    text = report(tmp_path, *runs)

    assert (tmp_path / "report.html").stat().st_size < 150_000
    assert "Not shown, for the page would be too large" in text
    assert "run2" in text


def test_an_ablation_is_drawn_with_its_deviations(tmp_path: Path) -> None:
    run, line = RunDirectory(tmp_path / "ablation"), {"scores": (0.7, 0.8), "meaning": NASTY}
    identity = {"version": "a" * 64, "general": None, "recipe": {}}
    run = run.of(identity)
    arms = tuple(
        AblationLine(arm=name, mean=0.75, deviation=sd, retention=90.0, paper=paper, **line)
        for name, sd, paper in (("whole", 0.05, 82.8), ("no-da", None, None))
    )
    with run.claim(identity):
        run.finish(
            AblationResult(
                version="mood@v0001", task="mood", metric="accuracy", split="validation",
                seeds=(0, 1), teacher=0.9, arms=arms,
            )
        )  # fmt: skip

    text = report(tmp_path, tmp_path / "ablation")

    assert "What each part is worth" in text
    assert "0.050" in text


def test_a_general_distillation_has_held_out_losses(tmp_path: Path) -> None:
    run, identity = RunDirectory(tmp_path / "general"), {"corpus": "c" * 64, "recipe": {}}
    run = run.of(identity)
    counts = {"name": NASTY, "blocks": 9, "tokens": 99, "empty": 0, "damaged": 0}
    with run.claim(identity):
        row = {"stage": "general", "eval_loss": 2.0, "eval_hidden": float("nan"), "step": 5}
        (run.path / "metrics.jsonl").write_text(json.dumps(row) + "\n[1]\n\xff\n")
        (run.path / "student").mkdir()
        run.finish(
            GeneralResult(
                student="student", size="2 x 32", teacher="t", steps=5, tokens=99, epochs=1.0,
                corpus=CorpusCounts(**counts, short=0, short_tokens=0), projections=1,
                blocks=BlockCounts(train=8, held_out=1), held_out={"loss": 2.0},
            ), "student",
        )  # fmt: skip

    text = report(tmp_path, tmp_path / "general")

    assert "General distillation: held-out losses" in text
    assert "held-out loss" in text


def test_the_data_of_a_run_is_shown_while_it_is_that_version(
    tmp_path: Path, version: Version
) -> None:
    make_run(tmp_path / "one", version=version.manifest.id)
    make_run(tmp_path / "two")
    for name in ("one", "two"):
        note_call(tmp_path / name, version=str(version.path))

    one, two = report(tmp_path, tmp_path / "one"), report(tmp_path, tmp_path / "two")

    assert version.manifest.id in one
    assert "now holds another version" in two


def test_names_of_any_length_leave_room_for_the_rest(tmp_path: Path) -> None:
    names = [f"{i}{NASTY * 200}" for i in range(60)]
    run = make_run(tmp_path / "one", names=names, rows=300, text="\x00" * 5000)
    lines = [{"stage": "x" * 9000, **{f"term {i}": 1e200 for i in range(500)}, "step": 10**40}]
    lines += [{"stage": "y", **{f"term {i}": i for i in range(500)}, "step": i} for i in (1, 2)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert "Classes on validation" in report(tmp_path, run)


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_no_run_is_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")

    with pytest.raises(DataInvalid):
        write_report(tmp_path / name, tmp_path / "report.html")


def test_no_run_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_report([], tmp_path / "report.html")


def test_names_of_a_log_that_no_picture_may_hold(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a\ufffe", finished=False)
    (run / "metrics.jsonl").write_text(
        '{"stage": "\\udc80\\ufffe", "step": 1, "\\udc80": 1, "\\uffff": 2, "loss": 3}\n'
    )

    text = report(tmp_path, run)

    assert r"\udc80\ufffe: losses" in text
    assert not {"\ufffe", "\uffff"} & {*(tmp_path / "report.html").read_text()}


def test_of_a_model_that_has_diverged_the_other_rows_are_drawn() -> None:
    answers = make_answers(("negative", "positive"), 60, "row")
    for own in answers.models.values():
        own.logits[:20] = np.nan

    for own in answers.models.values():
        curve = _curve("it", own, answers)
        assert curve.x
        assert np.isfinite(curve.x).all()
    assert list(disagreement_parts(answers))


@pytest.mark.parametrize("change", ["labels", "names", "bias", "texts", "rows"])
def test_answers_that_do_not_fit_are_no_answers(tmp_path: Path, change: str) -> None:
    folder = make_run(tmp_path / "one")
    kept = read_answers(folder)
    models = {
        name: ModelAnswers(own.logits, Calibration(1.0, (1.0, 2.0, 3.0)))
        for name, own in kept.models.items()
    }
    other = {
        "labels": replace(kept, labels=np.asarray(kept.labels) + 7),
        "names": replace(kept, names=("only",)),
        "bias": replace(kept, models=models),
        "texts": replace(kept, texts=tuple(row * 3 for row in kept.texts)),
        "rows": make_answers(kept.names, 0, "row"),
    }
    begun = read_seal(folder / "run.json")
    assert begun
    write_answers(RunDirectory(folder, made_from=begun.origin.made_from), other[change])

    with pytest.raises(DataInvalid, match="cannot be read as answers of a run"):
        read_answers(folder)


def test_the_curves_of_its_teacher_stand_beside_those_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, teacher, work = make_run(tmp_path / "one"), tmp_path / "teacher", tmp_path / "work"
    report(tmp_path, run)
    before = (tmp_path / "report.html").read_text()
    for folder in (teacher, work):
        folder.mkdir()
    log = [{"stage": "teacher", "step": n, "label": 1 / n, "eval_accuracy": n / 9} for n in (1, 2)]
    lines = [json.dumps(line) for line in (*log, {"stage": "prediction", "step": 1, "label": 1.0})]
    (work / METRICS).write_text("\n".join(lines))
    copy_logs(work, teacher)
    note_call(run, teacher=str(teacher))
    monkeypatch.setattr(reading, "folder_digest", lambda _: "b" * 64)
    report(tmp_path, run)
    page = (tmp_path / "report.html").read_text()
    monkeypatch.setattr(reading, "folder_digest", lambda _: "c" * 64)
    report(tmp_path, run)

    assert "Teacher: losses" not in (tmp_path / "report.html").read_text(), "made again since"
    assert "Teacher: losses" not in before
    assert "Teacher: losses" in page
    assert page.count("Stage 2: losses") == before.count("Stage 2: losses")
    assert "Teacher: validation" in page


def test_a_model_has_its_color_in_every_chart_of_a_page() -> None:
    models = [Point("", name, at, 0.5) for at, name in enumerate("abc", start=1)]
    alone = points("time", models[2:], x="ms", y="score", groups=["a", "b", "c"])

    assert "var(--c3)" in points("size", models, x="MB", y="score")
    assert "var(--c3)" in alone
    assert "var(--c1)" not in alone
