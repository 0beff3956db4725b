"""What a person sees in a terminal: progress, results, and errors as sentences with exit codes.

Needs rich and typer; ``augment.contract`` does not import it.

Exit codes: 0 done · 1 unexpected · 2 usage or recipe · 3 data, disk or memory · 4 model ·
5 training failed · 130 interrupted · 143 terminated.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.segment import Segment
from rich.text import Text
from typer.core import TyperGroup

from augment.contract.errors import Fault, MemoryTooSmall, UsageError
from augment.contract.files import check_name, check_text, os_fault
from augment.contract.foreign import Language, escaped, markup, shown
from augment.contract.models import first_line
from augment.contract.process import (
    STOPPED,
    asked_to_end,
    complain,
    exit_code,
    lose,
    mend_streams,
    settle,
    tell,
)

MOST_PROCESSES = 4096
"""Processes and threads that may be asked for."""
FIRST_LINE, LINE_EVERY = 2.0, 10.0
"""Seconds to the first line of progress, and between two, where there is no terminal."""
LEFT_EVERY = 1.0
"""Seconds between two estimates of the time that is left, on a terminal."""


def number(text: str, *, least: float = 0, most: float = 10**15) -> Any:
    """An option that takes a number, with its help; none that a library could not hold."""
    return typer.Option(min=least, max=most, help=text)


AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

_LONGEST_LINE = 20_000
_FREE_TEXT = ("--text", "--text-b", "--text-column", "--label-column", "--label")
_OUT_OF_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "bad_alloc", "bad allocation",
    "could not create a primitive", "can't start new thread",
)  # fmt: skip
_NEEDS_MEMORY = "Close other programs, or lower batch_size, --workers or --processes."
_RESUMES = "stopped. Finished work is kept; the same command goes on from there."


class _Console(Console):
    """A console whose own codes (colors, bars) alone are codes: all else passes ``shown``."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(shown(segment.text, limit=sys.maxsize, lines=True), segment.style)

    def print(self, *objects: Any, **how: Any) -> None:
        """Print; where stderr is closed or full, nobody is told, and the work goes on."""
        try:
            super().print(*objects, **how)
        except OSError:
            if not self.stderr:
                raise
            self.quiet = True
            lose(sys.stderr)

    def on_broken_pipe(self) -> None:
        """Let it pass, to those who know whether anything is lost: Rich would end the process."""
        raise  # noqa: PLE0704 - called while it is handled


def open_console(*, err: bool = False, quiet: bool = False) -> Console:
    """A console that prints every text as it is: brackets in a sentence are no markup."""
    return _Console(
        stderr=err, quiet=quiet, highlight=False, soft_wrap=True, markup=False, emoji=False
    )


def labeled(label: str, text: str = "") -> Text:
    """One fact as all commands print it: ``  teacher     12 x 768 · …``."""
    return Text.assemble("  ", (f"{shown(label):<11}", "bold"), " ", shown(text))


def in_notebook() -> bool:
    """Whether a person looks at cells of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Cell:
    """What a notebook shows of a call at work: its lines, and a bar that moves in their place."""

    def __init__(self) -> None:
        self._lines = ""
        self._handle: Any = None

    def line(self, label: str, text: str) -> None:
        """One fact more."""
        left = "style='text-align:left'"
        self._lines += f"<tr><th {left}>{markup(label)}</th><td {left}>{markup(text)}</td></tr>"
        self.bar()

    def bar(self, title: str = "", share: float | None = None, note: str = "") -> None:
        """How far something is; nothing takes the bar away."""
        value = "" if share is None else f" value='{share:.3f}'"
        bar = f"<p>{markup(title)} <progress{value}></progress> {markup(note)}</p>" if title else ""
        show: Any = import_module("IPython.display")
        content = show.HTML(f"<table>{self._lines}</table>{bar}")
        if self._handle is None:
            self._handle = show.display(content, display_id=True)
        else:
            self._handle.update(content)


class Narrator:
    """Says on stderr what happens; in a notebook, in the cell."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = open_console(err=True, quiet=quiet)
        self.cell = Cell() if in_notebook() and not quiet else None

    def say(self, label: str, text: str) -> None:
        """One fact, a line."""
        if self.cell is not None:
            self.cell.line(label, text)
        else:
            self.console.print(labeled(label, text))


class Gauge:
    """How far something is: a bar on a terminal, a line now and then elsewhere.

    ``first`` is the share that was done before this process began.
    """

    def __init__(self, narrator: Narrator, title: str, first: float = 0.0) -> None:
        self.narrator = narrator
        self.title = title
        self.began = time.monotonic()
        self._next = self.began + FIRST_LINE
        self._first = first
        self._left = ""
        self._bar: Progress | None = None
        console = narrator.console
        if console.is_terminal and not console.quiet:
            self._bar = Progress(
                TextColumn(f"  {title:<11}", style="bold", markup=False),
                BarColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=console,
            )
            self._bar.add_task(title, total=None, note="")
            self._bar.start()

    def show(self, share: float | None, note: str, free: float = 0.0) -> None:
        """Move the bar, or speak when the last line is ``LINE_EVERY`` old.

        Args:
            share: What is done, 0 to 1, or None where nobody knows.
            note: What else to say.
            free: The part of the share that took no time, such as what was found done.
        """
        now = time.monotonic()
        paid = 0.0 if share is None else share - self._first - free
        if self.narrator.cell is not None:
            if now >= self._next or share == 1:
                self._next = now + LEFT_EVERY
                left = self._time_left(share, paid, now)
                self.narrator.cell.bar(self.title, share, f"{note}{left}")
        elif self._bar is not None:
            if now >= self._next:
                self._next = now + LEFT_EVERY
                self._left = self._time_left(share, paid, now)
            total = None if share is None else 1.0
            note = f"{note}{self._left}"
            self._bar.update(self._bar.task_ids[0], total=total, completed=share or 0, note=note)
        elif now >= self._next and (share is None or paid > 0 or share >= 1):
            self._next = now + LINE_EVERY
            self.narrator.say(self.title, note + self._time_left(share, paid, now))

    def _time_left(self, share: float | None, paid: float, now: float) -> str:
        """By the mean speed so far, which does not jump."""
        if share is None or paid <= 0:
            return ""
        return f" · {span((1 - share) * (now - self.began) / paid)} left"

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self.narrator.cell is not None:
            self.narrator.cell.bar()


def span(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 05 s`` or ``1 h 12 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def command_line(
    name: str,
    about: str,
    parts: Sequence[typer.Typer] = (),
    *,
    resumes: Collection[str],
    completion: bool,
) -> typer.Typer:
    """An application whose commands end in a sentence and an exit code, whatever happens.

    ``resumes`` are the commands among its parts that go on where they were interrupted.
    """

    class Commands(TyperGroup):
        def main(self, args: Any = None, *rest: Any, **extra: Any) -> Any:
            extra["standalone_mode"] = False
            with _ends(name):
                words = check_arguments(sys.argv[1:] if args is None else list(args))
                sys.exit(super().main(words, *rest, **extra))

        def invoke(self, ctx: Any) -> Any:
            with _ends(name, lambda: ctx.invoked_subcommand in resumes):
                super().invoke(ctx)
                sys.stdout.flush()

    app = typer.Typer(
        name=name,
        cls=Commands,
        help=about,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for part in parts:
        app.add_typer(part)
    return app


@contextmanager
def _ends(name: str, goes_on: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Turn what is raised into a sentence on stderr and an exit code.

    ``goes_on`` is asked whether what runs is a command that goes on where it was interrupted.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:  # whoever reads stdout has seen enough
        lose(sys.stdout)
        sys.exit(0)
    except SystemExit as end:  # Rich, which prints --help, ends by itself there
        sys.exit(0 if isinstance(end.__context__, BrokenPipeError) else end.code)
    except (KeyboardInterrupt, Exception) as error:
        settle(sys.stdout)
        stopped = exit_code(error) if isinstance(error, KeyboardInterrupt) else asked_to_end()
        if stopped or not isinstance(error, Exception):
            tell(_RESUMES if goes_on() else STOPPED)
            sys.exit(stopped)
        fault = _fault(name, error)
        if str(fault):
            complain(fault.describe())
        sys.exit(fault.exit_code)


@contextmanager
def after_commit(place: object) -> Iterator[None]:
    """Around telling of a result that lies there whole: where that fails, the command does not."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        tell(f"stopped. {shown(place)} is whole.")
        sys.exit(exit_code(stop))
    except Exception as error:
        lose(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            complain(f"note: {shown(place)} is whole; only showing it failed: {_line(error)}")


def _line(error: Exception) -> str:
    return shown(first_line(error))


def _fault(name: str, error: Exception) -> Fault:
    """The sentence that an error comes to; an empty one where all is said."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else name
        said = str(getattr(error, "format_message", error.__str__)())
        return UsageError(said, f"{path} --help says what it takes.")  # nothing: help was shown
    if isinstance(error, OSError):
        return os_fault(error)
    if _memory_is_used_up(error):
        return MemoryTooSmall(f"no memory is left: {first_line(error)}", _NEEDS_MEMORY)
    variable = f"{name.upper()}_TRACEBACK"
    if os.environ.get(variable):
        traceback.print_exc()
    return Fault(
        f"unexpected {type(error).__name__}: {first_line(error)}",
        f"This is a mistake of the program. Where it happened: {variable}=1 {name} …",
    )


def _memory_is_used_up(error: Exception) -> bool:
    """Python has an error for it, torch one for devices; its kernels on a processor say it so."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in _OUT_OF_MEMORY)


def start(app: typer.Typer) -> None:
    """Run an application.

    Idle OpenMP threads sleep instead of spinning, unless the user says otherwise: on a machine that
    does anything else, spinning threads make small products up to ten times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    mend_streams()
    app()


def print_lines(*lines: str) -> None:
    """Print lines on stdout; names and values of others in them are made visible."""
    print(*(shown(line, limit=_LONGEST_LINE) for line in lines), sep="\n")


def print_json(value: Any) -> None:
    """Print JSON on stdout; what acts on a terminal stands there as JSON escapes it."""
    print_document(json.dumps(value, indent=2, ensure_ascii=False), "json")


def print_document(text: str, language: Language) -> None:
    """Print JSON or TOML on stdout, for a terminal or for a file: the same values to its reader."""
    lines = text.replace("\r\n", "\n").rstrip("\n")
    print(escaped(lines, language, sys.stdout.encoding))


def check_arguments(words: Sequence[str]) -> list[str]:
    """The arguments of a command, ``~`` in front of a place being the user's own folder.

    The shell does not put it there in ``--out=~/runs``.

    Raises:
        UsageError: One is empty (an unset variable of a script) or can be no name.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("the current folder is no longer there.", "cd to one that is.") from error
    checked: list[str] = []
    option = "an argument"
    for word in words:
        head, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if word.startswith("--") and not equals:
            option = head
            checked.append(word)
            continue
        option = head or option
        free = option in _FREE_TEXT
        (check_text if free else check_name)(option, value)
        home = value.startswith("~") and not free
        checked.append(head + equals + (os.path.expanduser(value) if home else value))
        option = "an argument"
    return checked
