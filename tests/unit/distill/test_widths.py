"""What is printed of records is readable at 80 and at 120 columns: nothing is cut in a word."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from augment.contract.terminal import open_console
from distill.cli.output import print_result
from distill.evaluation.answer_times import EndToEnd, TimeShares
from distill.evaluation.intervals import Interval
from distill.evaluation.results import Baseline, EvaluationResult
from distill.runs.comparison import ChangedRow, ComparedRun, Comparison, Lead, RecipeKey
from distill.runs.listing import open_run
from distill.serving.mistakes import Mistake, Mistakes
from distill.tables.mistakes import print_mistakes
from distill.tables.runs import print_comparison, print_run, print_runs
from tests.unit.distill.made_runs import make_run

LONG = "experiments/2026-11/reviews-of-restaurants/3-layers"


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    return monkeypatch


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def with_tests(result: EvaluationResult) -> EvaluationResult:
    """A result with a second split, another metric, and the baselines' long names."""
    scores = {
        "validation": {"accuracy": 0.755, "f1": 0.756},
        "test": {"accuracy": 0.785, "f1": 0.796},
    }
    bounds = {name: Interval(low=0.7, high=0.8) for name in scores}
    shares = TimeShares(tokenize=0.1, model=0.8, rest=0.1)
    times = EndToEnd(
        threads=1, batch_1=10.13, throughput_32=995.0, shares_1=shares, shares_32=shares
    )
    more = {"scores": scores, "intervals": bounds}
    models = [own.model_copy(update={**more, "end_to_end": (times,)}) for own in result.models]
    names = ("always 'negative'", "token embeddings + logistic regression")
    baselines = [
        Baseline(name=name, rows=700, seconds=0.4, file_bytes=10**6, **more)  # type: ignore[arg-type]
        for name in names
    ]
    return result.model_copy(
        update={"models": tuple(models), "baselines": tuple(baselines), "tests": ("test",)}
    )


def comparison() -> Comparison:
    text = "What they charge for a boiled egg was very reasonable; the gelato was refreshing."
    row = ChangedRow(idx=7, texts=(text,), label="positive", before="positive", after="negative")
    runs = [f"{LONG}/{name}" for name in ("first", "second")]
    lead = Lead(
        run=runs[1],
        difference=0.025,
        interval=Interval(low=-0.035, high=0.085),
        gained=0,
        lost=1,
        rows=(row,),
    )
    return Comparison(
        task="reviews",
        version="reviews@v0001",
        metric="accuracy",
        split="test",
        rows=200,
        runs=tuple(
            ComparedRun(run=run, score=0.8, interval=Interval(low=0.7, high=0.9)) for run in runs
        ),
        recipe=(RecipeKey(key="student", values=("2x64-256-4", "roberta:3x312-1200-12")),),
        leads=(lead,),
    )


def mistakes() -> Mistakes:
    first = Mistake(
        split="validation",
        idx=7,
        texts=("What they charge for a boiled egg was very reasonable.", "The gelato was warm."),
        label="complaint about the price",
        prediction="praise of the kitchen",
        confidence=0.999,
        label_probability=0.001,
    )
    return Mistakes.model_validate(
        {
            "model": LONG,
            "version": "reviews@v0001",
            "place": "e.csv",
            "rows": {"validation": 200},
            "wrong": 49,
            "sure": 2,
            "first": [first],
        }
    )


@pytest.fixture(params=["result", "comparison", "runs", "run", "mistakes"])
def show(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    monkeypatch.chdir(tmp_path)
    run = open_run(make_run(Path(LONG)))

    def of() -> None:
        console = open_console()
        if request.param == "comparison":
            print_comparison(comparison(), console)
        elif request.param == "mistakes":
            print_mistakes(mistakes(), console)
        elif request.param == "result":
            print_result(with_tests(run.result), console)
        elif request.param == "runs":
            print_runs([run, run], console)
        else:
            print_run(run, console)

    return of


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(
    width: int,
    show: Callable[[], None],
    on_terminal: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_terminal.setenv("COLUMNS", str(width))
    show()
    narrow = lines_of(capsys)
    on_terminal.setenv("COLUMNS", "2000")
    show()
    whole = " ".join(lines_of(capsys))

    assert narrow
    assert max(map(len, narrow)) <= width
    known = {*re.split(r"[\s/]+", whole), "too", "narrow", "for"}
    for line in narrow:
        if "too narrow for" in line or "--json or a wider" in line:
            continue
        for word in re.split(r"[\s/]+", line):
            assert word.rstrip("\\") in known | {""}, (word, line)
