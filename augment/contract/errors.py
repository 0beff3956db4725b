"""What can be wrong, as sentences to a person: with a version on disk, a place, a recipe.

Fault                       exit 1   a sentence: what was wrong, what to do
├── ContractError           exit 3   the version breaks the contract        (ValueError)
│   ├── VersionNotFound              the reference names nothing            (FileNotFoundError)
│   ├── SplitNotFound                a version has no such split            (LookupError)
│   ├── ManifestInvalid              manifest.json is missing, malformed or of an unknown contract
│   ├── UnsafePath                   a listed file lies outside the version directory
│   ├── FileMissing                  a listed file is not there             (FileNotFoundError)
│   ├── FileDamaged                  a file is truncated or its digest differs
│   └── SchemaMismatch               a file's columns are not those of the contract
├── OutputError             exit 3   a place cannot be written to           (OSError)
│   ├── OutputBusy                   another process is writing there
│   ├── OutputUnwritable             the disk is full, or there is no permission
│   └── HubRefused                   the hub did not take what was pushed, or is out of reach
├── PlaceUnusable           exit 3   the system refuses a file or folder     (OSError)
├── MemoryTooSmall          exit 3   the machine's or the device's memory is used up (MemoryError)
├── RecipeInvalid           exit 2   unknown keys, values out of range      (ValueError)
└── UsageError              exit 2   arguments that do not go together      (ValueError)
"""

from __future__ import annotations

from augment.contract.foreign import shown

_LINES = 40
"""Lines of a hint that are shown: a file can have a million faults."""


class Fault(Exception):
    """An error a person can act on: ``str()`` is the sentence, ``hint`` says what to do.

    Attributes:
        exit_code: The command line's exit code: 2 recipe or usage, 3 data or contract,
            4 model or vector files, 5 training.
    """

    exit_code = 1

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return self.problem

    def describe(self) -> str:
        """The error as the command line prints it: sentence, hint, exit code.

        Names and values of others in it are made visible; they add no line and steer no terminal.
        """
        return "\n".join(self._render_traceback_()) + f"   (exit {self.exit_code})"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback: the same lines."""
        hint = self.hint.rstrip("\n").split("\n") if self.hint else []
        if len(hint) > _LINES:
            hint = [*hint[:_LINES], f"… and {len(hint) - _LINES:,} more"]
        return [f"error: {shown(self.problem)}", *(f"       {shown(line)}" for line in hint)]


def first_line(error: BaseException) -> str:
    """What an error says first, or its name where it says nothing.

    A line that ends with a colon says nothing without the next.
    """
    lines = (str(error).strip() or type(error).__name__).splitlines()
    said = " ".join(map(str.strip, lines[:2])) if lines[0].endswith(":") else lines[0]
    return said[:200]


class ContractError(Fault, ValueError):
    """A version directory does not keep the contract."""

    exit_code = 3


class VersionNotFound(ContractError, FileNotFoundError):
    """A reference such as ``sst2@v0003`` names no version."""


class SplitNotFound(ContractError, LookupError):
    """A version has no such split."""


class ManifestInvalid(ContractError):
    """``manifest.json`` is missing, is not valid, or carries an unknown contract number."""


class UnsafePath(ContractError):
    """The manifest lists a file outside its own directory."""


class FileMissing(ContractError, FileNotFoundError):
    """The manifest lists a file that is not there."""


class FileDamaged(ContractError):
    """A file's size, digest, row count or Parquet structure is not what the manifest says."""


class SchemaMismatch(ContractError):
    """A file's Arrow schema is not the one that the task prescribes."""


class OutputError(Fault, OSError):
    """A place that results are to be written to cannot be used."""

    exit_code = 3


class OutputBusy(OutputError):
    """Another process is writing there."""


class OutputUnwritable(OutputError):
    """The disk is full, or the place may not be written; what was whole before is kept."""


class HubRefused(OutputError):
    """The hub did not take what was pushed, or cannot be reached; nothing was committed there."""


class PlaceUnusable(Fault, OSError):
    """The system refuses a file or folder: no permission, a circle of links, a part not there."""

    exit_code = 3


class MemoryTooSmall(Fault, MemoryError):
    """No memory is left, of the machine or of the device."""

    exit_code = 3


class RecipeInvalid(Fault, ValueError):
    """A recipe or task file has faults; all of them are listed in the hint, by key path."""

    exit_code = 2

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.problem, self.hint)))


class UsageError(Fault, ValueError):
    """Arguments are missing, name nothing or contradict each other."""

    exit_code = 2
