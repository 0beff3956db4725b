"""A report of any run is a useful page or one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from augment.contract.page import MOST_BYTES
from distill.errors import DataInvalid, UsageError
from distill.reports import writing
from distill.reports.writing import write_report
from distill.runs.answers import ANSWERS, read_answers
from distill.runs.records import read_seal, write_sealed_json
from tests.unit.distill.made_runs import NASTY, make_run


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
    assert "Not shown one by one" in text
    assert "run2" in text


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_no_run_is_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")

    with pytest.raises(DataInvalid):
        write_report(tmp_path / name, tmp_path / "report.html")


def test_no_run_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_report([], tmp_path / "report.html")
