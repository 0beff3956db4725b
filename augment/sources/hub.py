"""Data sets of the hub: their splits as records, with class numbers as the set's own names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augment.contract.data_files import Record, listed
from augment.contract.errors import first_line
from augment.contract.models import is_hub_name
from augment.contract.tables import KINDS, PACKED, kind_of
from augment.errors import SourceMissing
from augment.sources.columnar import named

_HELD_OUT = ("validation", "valid", "dev", "test")


def names_hub(source: str) -> bool:
    """Whether a source that is no file or folder here is a name such as ``owner/name:config``.

    What ends as a file of rows does is one that is missing.
    """
    name = source.partition(":")[0]
    is_file = kind_of(Path(name)) in (*KINDS, *PACKED, ".txt")
    return "/" in name and is_hub_name(name) and not is_file and not os.path.exists(source)


def load_hub(source: str) -> Any:
    """All splits of ``owner/name`` or ``owner/name:config``, by name.

    Raises:
        SourceMissing: It cannot be had.
    """
    import datasets

    name, _, config = source.partition(":")
    try:
        return datasets.load_dataset(name, config or None)
    except Exception as error:  # each reader of theirs raises its own
        raise SourceMissing(
            f"the hub data set {source} cannot be loaded: {first_line(error)}.",
            "Check the name and the network, or give the same rows as files: --source DIR, "
            "--unlabeled FILE",
        ) from error


def hub_records(source: str, split: str, rows: Any) -> Iterator[Record]:
    """The rows of a split of a loaded data set."""
    classes = {column: f for column, f in rows.features.items() if hasattr(f, "names")}
    names = {column: list(feature.names) for column, feature in classes.items()}
    for number, record in enumerate(rows):
        yield Record(f"{source}/{split} row {number}", named(record, names))


def training_records(source: str) -> Iterator[Record]:
    """The rows of ``owner/name:config/split``; if no split is named, of all but the held-out ones.

    Raises:
        SourceMissing: It cannot be had, or has no such split.
    """
    whole, _, config = source.partition(":")
    config, _, split = config.partition("/")
    name = f"{whole}:{config}" if config else whole
    loaded = load_hub(name)
    wanted = [split] if split else [each for each in loaded if not each.startswith(_HELD_OUT)]
    if not wanted or (split and split not in loaded):
        what = f"split {split!r}" if split else "split to train on"
        raise SourceMissing(
            f"the hub data set {name} has no {what}; found {listed(loaded)}.",
            "Name one: owner/name:config/split",
        )
    for each in wanted:
        yield from hub_records(name, each, loaded[each])
