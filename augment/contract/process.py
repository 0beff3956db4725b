"""A command as a process: signals that stop it, and streams that may be closed, full or foreign.

Ctrl-C and SIGTERM at every moment: one sentence, exit 130 or 143, nothing half-written.

Light: a command listens some milliseconds after Python has started, before its libraries are
loaded. While they load, an exception would meet code that is not made for it, so the process ends
there and then; where something has to be cleaned up first (``held``), the signal waits until the
import is over.
"""

from __future__ import annotations

import io
import os
import sys
import time

TYPE_CHECKING = False  # "typing", "signal" and what they import take longer than all of this
if not TYPE_CHECKING:
    import _signal as signal
else:
    import signal
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, TextIO

    from augment.contract.errors import Fault

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = "stopped. No result was written."
_SECONDS_BETWEEN_TRIES = 0.05
_LOADED = time.monotonic()


class Interrupted(KeyboardInterrupt):
    """This process was asked to end, by Ctrl-C (SIGINT) or by SIGTERM."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number


def exit_code(stop: KeyboardInterrupt) -> int:
    """What a stopped process ends with: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (stop.number if isinstance(stop, Interrupted) else signal.SIGINT)


class _Block:
    """A block of code that may be entered again inside itself."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


class _Speech:
    """How much this process says: ``--quiet`` and ``--verbose`` of its command."""

    quiet = verbose = False


speech = _Speech()
held = _Block()
"""Around what must be cleaned up after: the process does not end without leaving the block."""
uninterrupted = _Block()
"""Around a short piece that an exception would tear in two: a signal waits for its end."""


class _Ear:
    """What this process has heard, and whether it may act on it."""

    def __init__(self) -> None:
        self.listens = self.told = False
        self.heard: list[int] = []

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The handler: stop now, when the import is over, or (the second time) at once."""
        if number in self.heard:
            self.end(number)
        self.heard.append(number)
        if len(self.heard) == 1:  # another one, as torchrun sends after Ctrl-C, asks for the same
            self.stop(0, frame)

    def stop(self, _alarm: int, frame: FrameType | None) -> None:
        """Raise ``Interrupted`` where that does no harm."""
        importing = _is_importing(frame)
        if importing and not held.depth:
            self.end(self.heard[0])
        if importing or uninterrupted.depth:
            self.try_again()
        else:
            raise Interrupted(self.heard[0])

    def try_again(self) -> None:
        """Come back in a moment."""
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_BETWEEN_TRIES)

    def end(self, number: int) -> None:
        """Say the sentence and end, whatever is under way."""
        try:
            if not self.told and speaks():
                os.write(2, f"\n{STOPPED}\n".encode())
        finally:
            os._exit(128 + number)


_ear = _Ear()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def speaks() -> bool:
    """Whether this process tells the user: of several under ``torchrun`` the first one does."""
    return os.environ.get("RANK", "0") == "0"


def tell(sentence: str = STOPPED) -> None:
    """Say once, on stderr, that the command was stopped."""
    if not _ear.told and speaks():
        complain(f"\n{sentence}")
    _ear.told = _ear.listens


class DeafChildren:
    """Processes that start in the block never hear Ctrl-C: this one alone answers it.

    Nor do they run the user's script again, to find what it defines: it needs no guard for that.
    """

    def __enter__(self) -> None:
        from multiprocessing import resource_tracker, spawn

        uninterrupted.__enter__()
        resource_tracker.ensure_running()  # which, in a start, would let the signal through again
        self._spawn, self._found = spawn, (found := spawn.get_preparation_data)
        spawn.get_preparation_data = lambda name: {
            key: value for key, value in found(name).items() if not key.startswith("init_main")
        }
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
        self._spawn.get_preparation_data = self._found
        uninterrupted.__exit__()


def signals_heard() -> list[int]:
    """The signals that stop this process by an exception: SIGTERM only in a command."""
    asked = SIGNALS if _ear.listens else SIGNALS[:1]
    return [number for number in asked if callable(signal.getsignal(number))]


def listen() -> None:
    """Hear Ctrl-C and SIGTERM; one that the caller ignores (``nohup``, ``&``) stays ignored."""
    _ear.listens = True
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ear.hear)
    signal.signal(signal.SIGALRM, _ear.stop)
    unraisable, uncaught = sys.unraisablehook, sys.excepthook

    def lost(found: Any) -> None:
        """An interrupt that came in a destructor or a callback ends there: raise it again."""
        if issubclass(found.exc_type, Interrupted):
            _ear.try_again()
        else:
            unraisable(found)

    def late(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        """One that came before or after all that catches it."""
        if isinstance(error, Interrupted):
            _ear.end(error.number)
        uncaught(kind, error, trace)

    sys.unraisablehook, sys.excepthook = lost, late


def began() -> float:
    """When this command began, before its imports, by the monotonic clock; now in a script."""
    return _LOADED if _ear.listens else time.monotonic()


def asked_to_end() -> int:
    """The exit code of the signal that has come, if any: what fails then fails by it."""
    return 128 + _ear.heard[0] if _ear.heard else 0


def command(run: Callable[[], object]) -> None:
    """Run the whole of a command, its imports included, as one that can be stopped at any moment.

    Raises:
        SystemExit: The command has ended.
    """
    code = 1
    try:
        listen()
        run()
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
        if _ear.heard and code == 128 + signal.SIGINT:  # typer's own answer to an interrupt
            code = asked_to_end()
            tell()
    except KeyboardInterrupt as stop:
        code = exit_code(stop)
        tell()
    finally:
        for number in SIGNALS:
            if signal.getsignal(number) == _ear.hear:  # nothing is left to do but to end
                signal.signal(number, lambda *_: os._exit(code))
    sys.exit(code)


def mend_streams() -> None:
    r"""Make what the process was started with usable.

    A descriptor that is closed is opened on nothing, or the first file opened would take its place
    and hear what is printed. What an encoding does not know is written as ``\xe9``.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def complain(sentence: str) -> None:
    """Print a sentence on stderr, if anything can be printed there."""
    try:
        if sys.stderr.isatty():
            from augment.contract.foreign import between_words, columns

            sentence = between_words(sentence, columns())
        print(sentence, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        lose(sys.stderr)


def settle(stream: TextIO) -> None:
    """Print what a stream still keeps back, or drop it: Python would fail over it at its end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        lose(stream)


def lose(stream: TextIO) -> None:
    """Let everything that is still printed on a stream go nowhere."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def fault_of(name: str, error: Exception) -> Fault:
    """The sentence that an error comes to; an empty one where all is said."""
    import typer

    from augment.contract.errors import Fault, MemoryTooSmall, UsageError, first_line

    if isinstance(error, Fault):
        return error
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else name
        said = str(getattr(error, "format_message", error.__str__)())
        return UsageError(said, f"{path} --help says what it takes.")  # nothing: help was shown
    if _memory_is_used_up(error):
        return MemoryTooSmall(f"no memory is left: {first_line(error)}", _NEEDS_MEMORY)
    variable = f"{name.upper()}_TRACEBACK"
    if speech.verbose or os.environ.get(variable):
        import traceback

        traceback.print_exc()
    return Fault(
        f"unexpected {type(error).__name__}: {first_line(error)}",
        f"This is a mistake of the program. Where it happened: {variable}=1 {name} …",
    )


def _memory_is_used_up(error: Exception) -> bool:
    """Python has an error for it, torch one for devices; its kernels on a processor say it so."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "bad_alloc", "bad allocation",
    "could not create a primitive", "can't start new thread",
)  # fmt: skip
_NEEDS_MEMORY = "Close other programs, or lower batch_size, --workers or --processes."


PANELS = {
    "Data": (
        "version", "versions", "reference", "first", "second", "task", "data", "source", "corpus",
        "rows", "text", "text_b", "text_column", "label", "label_column", "input_", "unlabeled",
        "split", "limit", "take", "column", "documents", "skip_malformed", "stdin_kind", "root",
        "variants", "diagnostic",
    ),
    "Models": (
        "model", "models", "teacher", "teacher_init", "fine_tune", "student", "encoder", "init",
        "general", "mlm", "vectors", "similarity_model", "form", "plain", "allow_weak_teacher",
    ),
    "Run": (),
    "Output": ("out", "as_json", "quiet", "verbose", "report", "help"),
}  # fmt: skip
"""Where an option or argument stands in ``--help``."""
BESIDE = {
    "no_vectors_cache": "vectors_cache", "store_limit": "store", "keep": "store",
    "address": "engine", "threads": "workers",
}  # fmt: skip
"""Options that need few words, and the one whose text they stand behind."""


def option_name(param: Any) -> str:
    """How an option is written, or what an argument is called."""
    if param.param_type_name == "argument":
        return placeholder(param)
    names: str = ", ".join(sorted(param.opts, key=len))
    if param.is_flag:
        return f"{names}{''.join(f'/{no}' for no in param.secondary_opts)}"
    return f"{names} {placeholder(param)}"


def placeholder(param: Any) -> str:
    """What stands for the value of an option, or for an argument."""
    kind: str = getattr(param.type_descriptor.annotation, "__name__", "")
    if param.metavar or param.param_type_name == "argument":
        return f"{param.metavar or param.name.upper()}{'…' if param.nargs == -1 else ''}"
    return {"int": "N", "float": "X", "Path": "PATH"}.get(kind, "NAME")


def option_help(param: Any) -> str:
    """What an option does, what may be given, and what it is if nothing is."""
    chosen, default = param.type_descriptor.annotation, param.default
    choices: Any = getattr(chosen, "__members__", None) or getattr(chosen, "__args__", ())
    said = [str(getattr(param, "help", None) or "")]
    if names := [name for name in map(str, choices) if not name.startswith("<")]:
        said.append(f"One of {', '.join(name.replace('_', '-') for name in names)}.")
    if param.required and param.param_type_name == "option":
        said.append("Needed.")
    elif default is not None and default is not False and param.show_default is not False:
        said.append("(on)" if default is True else f"({default})")
    return " ".join(filter(None, said))


def help_groups(params: list[Any]) -> dict[str, list[tuple[str, str]]]:
    """Options and arguments by panel: how each is written, and what it does."""
    groups: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
    shown = [own for own in params if own.name not in ("quiet", "verbose")]
    names = {own.name for own in shown}
    for own in shown:
        if BESIDE.get(own.name) in names:
            continue
        few = [each for each in shown if BESIDE.get(each.name) == own.name]
        said = [option_help(own), *(f"{option_name(each)}: {option_help(each)}" for each in few)]
        panel = next((panel for panel, some in PANELS.items() if own.name in some), "Run")
        groups[panel].append((option_name(own), " · ".join(said)))
    return groups


def examples_of(epilog: str | None) -> list[str]:
    """The commands of an epilog such as ``Example: a … Example: b …``."""
    return [" ".join(part.split()) for part in (epilog or "").split("Example: ") if part.strip()]


_SPEECH: list[Any] = []


def speech_options() -> list[Any]:
    """The options ``--quiet`` and ``--verbose`` as commands hold them; they set ``speech``."""
    if _SPEECH:
        return _SPEECH
    import typer

    def less(value: bool) -> None:
        speech.quiet = value

    def more(value: bool) -> None:
        speech.verbose = value

    def speak(
        quiet: bool = typer.Option(
            False, "-q", "--quiet", help="Show no progress on stderr.", callback=less
        ),
        verbose: bool = typer.Option(
            False, "-v", "--verbose", help="Show what libraries say.", callback=more
        ),
    ) -> None:
        """Hold the options."""

    app = typer.Typer(add_completion=False)
    app.command()(speak)
    _SPEECH.extend(typer.main.get_command(app).params)
    for option in _SPEECH:
        option.expose_value = False
    return _SPEECH
