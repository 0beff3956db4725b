"""The door between the two packages: schema, manifest, versions and their errors.

``distill`` imports this package and nothing else of ``augment``. Neither torch nor transformers is
loaded. What both command lines share, ``progress`` and ``terminal``, needs rich and typer: it is
imported where it is used.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # "typing" would take longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from augment.contract.errors import (
        ContractError,
        Fault,
        FileDamaged,
        FileMissing,
        ManifestInvalid,
        OutputBusy,
        OutputError,
        OutputUnwritable,
        PlaceUnusable,
        RecipeInvalid,
        SchemaMismatch,
        SplitNotFound,
        UnsafePath,
        UsageError,
        VersionNotFound,
    )
    from augment.contract.files import sync
    from augment.contract.manifest import (
        AddedRows,
        Asset,
        Derivation,
        FileEntry,
        Manifest,
        Parent,
        SourceSplit,
        identity,
    )
    from augment.contract.models import model_digest
    from augment.contract.shards import content_digest, sha256_file
    from augment.contract.task import (
        CONTRACT,
        GENERATOR,
        LOGITS,
        METRICS,
        SOFT_LABELS,
        UNLABELED,
        UNLABELED_SPLIT,
        WORD_REPLACEMENT,
        Label,
        LabelOrder,
        Splits,
        TaskSpec,
        arrow_schema,
        match_labels,
        rejected_schema,
    )
    from augment.contract.version import (
        Version,
        list_versions,
        open_checked,
        open_version,
        verify,
    )

__all__ = [
    "CONTRACT",
    "GENERATOR",
    "LOGITS",
    "METRICS",
    "SOFT_LABELS",
    "UNLABELED",
    "UNLABELED_SPLIT",
    "WORD_REPLACEMENT",
    "AddedRows",
    "Asset",
    "ContractError",
    "Derivation",
    "Fault",
    "FileDamaged",
    "FileEntry",
    "FileMissing",
    "Label",
    "LabelOrder",
    "Manifest",
    "ManifestInvalid",
    "MemoryTooSmall",
    "OutputBusy",
    "OutputError",
    "OutputUnwritable",
    "Parent",
    "PlaceUnusable",
    "RecipeInvalid",
    "SchemaMismatch",
    "SourceSplit",
    "SplitNotFound",
    "Splits",
    "TaskSpec",
    "UnsafePath",
    "UsageError",
    "Version",
    "VersionNotFound",
    "arrow_schema",
    "content_digest",
    "identity",
    "list_versions",
    "match_labels",
    "model_digest",
    "open_checked",
    "open_version",
    "rejected_schema",
    "sha256_file",
    "sync",
    "verify",
]
if "IPython" in sys.modules:
    import warnings

    # tqdm misses widgets when a library loads it; nothing here is shown by them
    warnings.filterwarnings("ignore", message="IProgress not found")
_PARTS = ("errors", "files", "manifest", "models", "shards", "task", "version")


def __getattr__(name: str) -> Any:
    """Import on first use: a command listens for Ctrl-C before anything else is loaded."""
    from importlib import import_module

    for part in _PARTS if name in __all__ else ():
        found = getattr(import_module(f"{__name__}.{part}"), name, None)
        if found is not None:
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
