"""What can go wrong while augmenting; every error is a sentence and a hint.

Fault                       (augment.contract)
├── ContractError           a version on disk breaks the contract     exit 3
├── OutputError             a place cannot be written to              exit 3
└── AugmentError
    ├── RecipeInvalid       unknown keys, values out of range        exit 2  (ValueError)
    ├── UsageError          arguments that do not go together         exit 2  (ValueError)
    ├── SourceInvalid       files, columns, labels or rows are wrong  exit 3  (ValueError)
    │   ├── SourceMissing   nothing is at that place                          (FileNotFoundError)
    │   ├── RowMalformed    one row, named by file and line
    │   └── TextTooLong     longer than the masked LM can read
    ├── StoreInvalid        the candidate store is damaged            exit 3  (ValueError)
    ├── EngineUnavailable   Ray is not installed or out of reach      exit 2  (RuntimeError)
    └── AssetInvalid        masked LM or vectors cannot be used       exit 4  (ValueError)
        ├── AssetMissing    nothing is at that place or the hub is unreachable (FileNotFoundError)
        └── AssetChanged    a worker's models are not those that the run began with
"""

from __future__ import annotations

from augment.contract import Fault


class AugmentError(Fault):
    """The root of all errors of this package."""


class RecipeInvalid(AugmentError, ValueError):
    """A recipe or task file has faults; all of them are named at once."""

    exit_code = 2


class UsageError(AugmentError, ValueError):
    """Arguments are missing or do not go together."""

    exit_code = 2


class SourceInvalid(AugmentError, ValueError):
    """The source data is not what the task says."""

    exit_code = 3


class SourceMissing(SourceInvalid, FileNotFoundError):
    """No source data is found at the given place."""


class RowMalformed(SourceInvalid):
    """One row of a source cannot be read as an example."""


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
