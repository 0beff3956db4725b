"""What both commands show: lines, progress, sentences for whatever goes wrong, exit codes."""

from __future__ import annotations

import io
import os
import re
import shlex

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner, Result

from augment.contract import OutputUnwritable
from augment.contract.foreign import span
from augment.contract.process import complain
from augment.contract.terminal import (
    Gauge,
    Narrator,
    command_line,
    labeled,
    open_console,
    print_lines,
    to_copy,
)

app = command_line("weave", "Weave.", resumes=("carpet",))
RAISED: dict[str, BaseException] = {
    "fault": OutputUnwritable("the loom [red]is[/red] full.", "Empty it.\nThen go on."),
    "mistake": ZeroDivisionError("by [b]zero[/b]\nhere"),
    "silent": RuntimeError(),
    "stop": KeyboardInterrupt(),
    "exit": typer.Exit(7),
}


@app.command()
def carpet(how: str) -> None:
    """Weave a carpet."""
    raise RAISED[how]


@app.command()
def look(how: str) -> None:
    """Look at it."""
    raise RAISED[how]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ("look", "fault"),
            3,
            "error: the loom [red]is[/red] full.\n       Empty it.\n",
        ),
        (("look", "mistake"), 1, "error: unexpected ZeroDivisionError: by [b]zero[/b]\n"),
        (("look", "silent"), 1, "error: unexpected RuntimeError: RuntimeError\n"),
        (("look", "mistake"), 1, "Where it happened: WEAVE_TRACEBACK=1 weave …   (exit 1)"),
        (("carpet", "stop"), 130, "stopped. Finished work is kept; the same command goes on"),
        (("look", "stop"), 130, "stopped. No result was written."),
        (("look", "exit"), 7, ""),
        (("look",), 2, "Missing argument"),
    ],
)
def test_every_end_is_a_sentence_with_an_exit_code(
    arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    found = call(*arguments)

    assert found.exit_code == code
    assert sentence in found.stderr
    assert "Traceback" not in found.output
    assert found.stdout == ""


def test_what_fails_by_a_signal_goes_on_like_what_was_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGTERM to a whole group ends workers first: the command fails by that."""
    monkeypatch.setattr("augment.contract.terminal.asked_to_end", lambda: 143)

    for command, said in (("carpet", "the same command goes on"), ("look", "No result")):
        found = call(command, "silent")
        assert found.exit_code == 143
        assert said in found.stderr


def test_a_traceback_is_shown_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAVE_TRACEBACK", "1")

    assert "Traceback" in call("look", "mistake").stderr
    assert "Traceback" not in call("look", "fault").stderr


def test_lines_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Narrator().say("source", "a [bold]b[/bold] :smile:")
    Narrator(quiet=True).say("source", "nothing")

    assert capsys.readouterr().err == "  source      a [bold]b[/bold] :smile:\n"
    assert labeled("source", "x").plain == "  source      x"


def test_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("augment.contract.terminal.time.monotonic", lambda: now)
    gauge = Gauge(Narrator(), "rows", first=0.2)
    for share in (0.2, 0.4, 0.6, 0.8):
        gauge.show(share, f"{share:.0%}")
        now += 8
    now += 8
    gauge.show(None, "[who] knows")
    gauge.close()

    assert capsys.readouterr().err.splitlines() == [
        "  rows        40% · 24 s left",
        "  rows        80% · 8 s left",
        "  rows        [who] knows",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(41.6, "42 s"), (185, "3 min 05 s"), (4320, "1 h 12 min")]
)
def test_spans_of_time(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A terminal of 60 columns with colors."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm-256color"), ("COLUMNS", "60")):
        monkeypatch.setenv(name, value)
    return monkeypatch


SENTENCE = "one sentence that is far too long for a terminal of sixty columns, so it goes on"


def test_on_a_terminal_lines_end_between_words(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = open_console()
    console.print(labeled("warning", SENTENCE))
    console.print(f"  {SENTENCE}")
    console.print("    row 1:", Text(SENTENCE, style="green"))
    print_lines("", SENTENCE)
    print_lines("  words per text     original 11.558 · generated 11.831 · taken away 3")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    assert lines == [
        "  warning     one sentence that is far too long for a",
        "              terminal of sixty columns, so it goes on",
        "  one sentence that is far too long for a terminal of sixty",
        "  columns, so it goes on",
        "    row 1: one sentence that is far too long for a terminal",
        "    of sixty columns, so it goes on",
        "",
        "one sentence that is far too long for a terminal of sixty",
        "columns, so it goes on",
        "  words per text     original 11.558 · generated 11.831 ·",
        "                     taken away 3",
    ]


def test_a_command_on_several_lines_is_one_for_a_shell(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "weave",
        "run",
        "a place/with blanks",
        "--out",
        "x",
        "--text",
        "don't -- 'do' it",
        "-q",
    ]
    open_console().print(to_copy("next", shlex.join([*words, "--label", "of the whole thing"])))
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)

    assert len(text.splitlines()) > 2
    assert max(map(len, text.splitlines())) <= 60
    told = shlex.split(text.replace("\\\n", " "))
    assert told == ["next", *words, "--label", "of the whole thing"]


@pytest.mark.parametrize("words", [3, 5, 7, 9])
def test_a_remark_behind_a_command_stays_on_its_line(
    words: int, terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What of it stood on a line of its own would be a command."""
    command = ["weave", *["a-word"] * words]
    open_console().print(to_copy("", f"{shlex.join(command)}   # the rows as they are"))
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)

    assert shlex.split(text.replace("\\\n", ""), comments=True) == command
    assert text.endswith("# the rows as they are\n")
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize(
    ("columns", "wide"), [("", 40), ("x", 40), ("0", 40), ("-1", 40), ("30", 30), ("60", 60)]
)
def test_an_error_is_told_whatever_the_terminal_is_said_to_be(
    columns: str, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = io.StringIO()
    monkeypatch.setattr(told, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", told)
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((40, 20)))
    monkeypatch.setenv("COLUMNS", columns)
    complain(f"error: {SENTENCE}")

    assert " ".join(told.getvalue().split()) == f"error: {SENTENCE}"
    assert wide - 10 < max(map(len, told.getvalue().splitlines())) <= wide


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_no_colors_where_nobody_wants_them(
    variable: str, terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv(variable, "dumb")
    open_console().print(Text.assemble(("green", "green"), ("bold red", "bold red")))

    assert not re.search(r"\x1b\[[0-9;]*3\d", capsys.readouterr().out)


def test_a_pipe_gets_whole_lines_without_codes(capsys: pytest.CaptureFixture[str]) -> None:
    open_console().print(labeled("next", SENTENCE))
    open_console().print(to_copy("next", f"weave {SENTENCE}"))

    assert capsys.readouterr().out == (
        f"  next        {SENTENCE}\n  next        weave {SENTENCE}\n"
    )


def test_a_dumb_terminal_gets_lines_instead_of_a_bar(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("TERM", "dumb")
    now = 0.0
    terminal.setattr("augment.contract.terminal.time.monotonic", lambda: now)
    gauge = Gauge(Narrator(), "rows")
    now = 8.0
    gauge.show(0.5, "50%")
    gauge.close()

    assert capsys.readouterr().err == "  rows        50% · 8 s left\n"


def test_a_bar_leaves_nothing_behind_and_says_first_how_long_it_takes(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    terminal.setattr("augment.contract.terminal.time.monotonic", lambda: now)
    gauge = Gauge(Narrator(), "rows")
    now = 8.0
    gauge.show(0.5, "step 81/200 · attention 15.865 · hidden 1.245 · 207 rows/s")
    gauge.close()
    drawn = capsys.readouterr().err

    assert "8 s left · step 81/200" in drawn
    assert drawn.endswith("\x1b[1A\x1b[2K")  # up, and the line is empty
