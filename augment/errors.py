"""What can go wrong while augmenting; every error is a sentence and a hint.

Fault                       exit 1   (augment.contract)
├── ContractError           exit 3   a version on disk breaks the contract  (ValueError)
├── OutputError             exit 3   a place cannot be written to           (OSError)
├── RecipeInvalid           exit 2   unknown keys, values out of range      (ValueError)
├── UsageError              exit 2   arguments that do not go together      (ValueError)
└── AugmentError            exit 1
    ├── SourceInvalid       exit 3   files, columns, labels or rows are wrong  (ValueError)
    │   ├── SourceMissing            nothing is at that place       (FileNotFoundError)
    │   ├── RowMalformed             one row, named by file and line
    │   └── TextTooLong              longer than the masked LM can read
    ├── StoreInvalid        exit 3   the candidate store is damaged         (ValueError)
    ├── EngineUnavailable   exit 2   Ray is not installed or out of reach   (RuntimeError)
    └── AssetInvalid        exit 4   masked LM or vectors cannot be used    (ValueError)
        ├── AssetMissing             no such place, or the hub is out of reach  (FileNotFoundError)
        └── AssetChanged             a worker's models are not those that the run began with
"""

from __future__ import annotations

from augment.contract import Fault, RecipeInvalid, UsageError

__all__ = [
    "AssetChanged",
    "AssetInvalid",
    "AssetMissing",
    "AugmentError",
    "EngineUnavailable",
    "RecipeInvalid",
    "RowMalformed",
    "SourceInvalid",
    "SourceMissing",
    "StoreInvalid",
    "TextTooLong",
    "UsageError",
]


class AugmentError(Fault):
    """The root of all errors of this package."""


class SourceInvalid(AugmentError, ValueError):
    """The source data is not what the task says."""

    exit_code = 3


class SourceMissing(SourceInvalid, FileNotFoundError):
    """No source data is found at the given place."""


class RowMalformed(SourceInvalid):
    """One row of a source cannot be read as an example.

    Attributes:
        reason: What is wrong with it, as rows left out are counted.
    """

    def __init__(self, problem: str, hint: str = "", reason: str = "line_malformed") -> None:
        super().__init__(problem, hint)
        self.reason = reason


class TextTooLong(SourceInvalid):
    """A text has more tokens than the masked LM can read."""


class StoreInvalid(AugmentError, ValueError):
    """A file of the candidate store is damaged."""

    exit_code = 3


class EngineUnavailable(AugmentError, RuntimeError):
    """The engine that was asked for is not installed, or its cluster is out of reach."""

    exit_code = 2


class AssetInvalid(AugmentError, ValueError):
    """A masked LM or a vectors file cannot be used."""

    exit_code = 4


class AssetMissing(AssetInvalid, FileNotFoundError):
    """A model folder or vectors file is not there, or the hub is out of reach."""


class AssetChanged(AssetInvalid):
    """A worker has another model, vectors file or library than the run began with."""
