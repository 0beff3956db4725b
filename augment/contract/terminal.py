"""What a person sees in a terminal: progress, results, and errors as sentences with exit codes.

Needs rich and typer; ``augment.contract`` does not import it.

Exit codes: 0 done · 1 unexpected · 2 usage or recipe · 3 data, disk or memory · 4 model ·
5 training failed · 130 interrupted · 143 terminated.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from augment.contract.errors import Fault, first_line
from augment.contract.files import check_arguments, os_fault
from augment.contract.foreign import (
    LABEL,
    Cell,
    Language,
    command_lines,
    escaped,
    folded,
    in_notebook,
    shown,
    span,
)
from augment.contract.process import (
    STOPPED,
    asked_to_end,
    complain,
    examples_of,
    exit_code,
    fault_of,
    help_groups,
    lose,
    mend_streams,
    placeholder,
    settle,
    speech,
    speech_options,
    tell,
)

if TYPE_CHECKING:
    from rich.progress import Progress

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
Repo = Annotated[str, typer.Argument(help="owner/name on the hub; made if it is not there.")]
Public = Annotated[bool, typer.Option("--public", help="Let everybody read it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Send nothing: list files and sizes.")]
PageOut = Annotated[Path, typer.Option(help="The page to write; its name ends in .html.")]

_LONGEST_LINE = 20_000
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
        """Print, on a terminal between words; where stderr is closed or full, nobody is told."""
        texts = [Text(own) if isinstance(own, str) else own for own in objects]
        if self.is_terminal and not how and all(isinstance(own, Text) for own in texts):
            whole = texts[0] if len(texts) == 1 else Text(" ").join(texts)
            objects = (folded(whole, self),)
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
    return Text.assemble("  ", (f"{shown(label):<{LABEL}}", "bold"), " ", shown(text))


def to_copy(label: str, command: str) -> Text:
    """A fact that is a command: on several lines it is still one for a shell."""
    line = labeled(label, command)
    line.no_wrap = True
    return line


class Narrator:
    """Says on stderr what happens; in a notebook, in the cell."""

    def __init__(self, *, quiet: bool = False) -> None:
        quiet = quiet or speech.quiet
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
        if console.is_terminal and not console.is_dumb_terminal and not console.quiet:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn(f"  {title:<11}", style="bold", markup=False),
                BarColumn(max(8, min(40, console.width // 5))),
                TextColumn("{task.fields[note]}", markup=False),
                console=console,
                transient=True,
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
            note = f"{self._left.removeprefix(' · ')} · {note}" if self._left else note
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


_WIDEST, _NAMES = 100, 26
_SPEECH = ("-q, -v, -h", "--quiet, --verbose (what libraries say), --help.")


class _Command(TyperCommand):
    """A command whose help is ``show_help``'s, and that can be told to say less or more."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        known = {param.name for param in self.params}
        self.params += [option for option in speech_options() if option.name not in known]

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        show_help(ctx.command_path, self)


def show_help(path: str, command: Any) -> None:
    """Print what a command takes, in as few lines as that needs; of a group, its commands.

    Its examples are those of its epilog, see ``examples``.
    """
    params = [param for param in command.params if not getattr(param, "hidden", False)]
    needed = [
        f"{own.opts[0]} …" if own.param_type_name == "option" else placeholder(own)
        for own in sorted(params, key=lambda own: own.param_type_name)
        if own.required
    ]
    groups = help_groups(params)
    is_group = isinstance(command, TyperGroup)
    groups["Output"].append(("-h, --help", "Show this.") if is_group else _SPEECH)
    console = open_console()
    width = min(console.width, _WIDEST)
    usage = [path, *(["COMMAND"] if is_group else needed), "[options]"]
    lines = textwrap.wrap(" ".join(usage), width - 10, **_WRAP)
    console.print(Text.assemble((" Usage: ", "bold"), "\n        ".join(lines)))
    for paragraph in filter(None, (command.help or "").split("\n\n")):
        console.print("\n " + "\n ".join(textwrap.wrap(paragraph, width - 2, **_WRAP)))
    if is_group:
        about = {name: (own.help or "").split("\n\n")[0] for name, own in command.commands.items()}
        _show_panels({"Commands": [*about.items()]}, width, console)
    _show_panels(groups, width, console)
    if examples := examples_of(command.epilog):
        console.print(Text("\n Examples", style="bold"))
    for example in examples:
        console.print("   " + "\n   ".join(command_lines(example, width - 3)))


def _show_panels(
    groups: Mapping[str, Sequence[tuple[str, str]]], width: int, console: Console
) -> None:
    """Names to the left, what they mean beside them; under a long name where both have no room."""
    sizes = [len(name) for rows in groups.values() for name, _ in rows]
    left = max((size for size in sizes if size < min(_NAMES, width // 3)), default=0) + 2
    for panel, rows in groups.items():
        if rows:
            console.print(Text(f"\n {panel}", style="bold"))
        for name, text in rows:
            first, *lines = textwrap.wrap(text, max(20, width - left - 3), **_WRAP) or [""]
            console.print(Text.assemble("   ", (f"{name:<{left}}", "cyan")), end="")
            if len(name) >= left and len(name) + len(text) + 5 <= width:
                first, lines = f"  {text}", []
            elif len(name) >= left:
                first = f"\n{'':<{left + 3}}{first}"
            console.print(first, *lines, sep=f"\n{'':<{left + 3}}")


def examples(*commands: str) -> str:
    """The epilog of a command, which ``show_help`` shows as its examples."""
    return "\n\n".join(f"Example: {command}" for command in commands)


_WRAP: dict[str, Any] = {"break_long_words": True, "break_on_hyphens": False}


def command_line(
    name: str,
    about: str,
    parts: Sequence[typer.Typer] = (),
    *,
    resumes: Collection[str],
) -> typer.Typer:
    """An application whose commands end in a sentence and an exit code, whatever happens.

    ``resumes`` are the commands among its parts that go on where they were interrupted.
    """

    class Commands(TyperGroup):
        def main(self, args: Any = None, *_: Any, **extra: Any) -> Any:
            extra["standalone_mode"], extra["prog_name"] = False, name
            with _ends(name):
                words = check_arguments(sys.argv[1:] if args is None else list(args))
                if "--help" in words[: words.index("--") if "--" in words else None]:
                    asked = self.commands.get(words[0])  # parsing would take twice as long
                    if asked or words[0] == "--help":
                        show_help(" ".join([name, *words[: asked is not None]]), asked or self)
                        sys.exit(0)
                sys.exit(super().main(words, **extra))

        def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
            show_help(ctx.command_path, self)

        def invoke(self, ctx: Any) -> Any:
            with _ends(name, lambda: ctx.invoked_subcommand in resumes):
                super().invoke(ctx)
                sys.stdout.flush()

    app = typer.Typer(
        name=name,
        cls=Commands,
        help=about,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for part in parts:
        for command in part.registered_commands:
            command.cls = _Command
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
        if isinstance(error, OSError) and not isinstance(error, Fault):
            fault: Fault = os_fault(error)
        else:
            fault = fault_of(name, error)
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
            complain(
                f"note: {shown(place)} is whole; only showing it failed: {shown(first_line(error))}"
            )


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
    console = open_console()
    for line in lines:
        console.print(shown(line, limit=_LONGEST_LINE))


def print_written(label: str, place: Path) -> None:
    """Say where a file was written."""
    with after_commit(place):
        open_console().print(labeled(label, str(place)))


def print_json(value: Any) -> None:
    """Print JSON on stdout; what acts on a terminal stands there as JSON escapes it."""
    print_document(json.dumps(value, indent=2, ensure_ascii=False), "json")


def print_document(text: str, language: Language) -> None:
    """Print JSON or TOML on stdout, for a terminal or for a file: the same values to its reader."""
    lines = text.replace("\r\n", "\n").rstrip("\n")
    print(escaped(lines, language, sys.stdout.encoding))
