"""Which files of a folder hold which split: named by the task, or called as the hub calls them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize

from augment.contract.foreign import counted
from augment.contract.tables import PACKED, kind_of
from augment.errors import SourceInvalid, SourceMissing
from augment.sources.columnar import SUFFIXES
from augment.sources.glue import COLUMNS, tsv_file
from augment.tasks import Task


def files_of_splits(folder: Path, splits: Sequence[str], task: Task) -> dict[str, list[Path]]:
    """Split → its files, for those of the splits that have any; every file is of one split alone.

    Raises:
        SourceMissing: A file that the task names is not there.
        SourceInvalid: It lies elsewhere, nobody knows which file is meant, or splits share one.
    """
    found = {split: _files_of(folder, split, task) for split in splits}
    refuse_shared(found)
    return {split: files for split, files in found.items() if files}


def refuse_shared(found: Mapping[str, Sequence[Path]]) -> None:
    """Check that no two splits are of one file, by whatever names.

    Raises:
        SourceInvalid: They are.
    """
    owner: dict[tuple[int, int], str] = {}
    for split, files in found.items():
        for path in files:
            status = path.stat()
            other = owner.setdefault((status.st_dev, status.st_ino), split)
            if other != split:
                raise SourceInvalid(
                    f"{path} is the split {other!r} and the split {split!r}.",
                    "One file cannot be both: name another.",
                )


def file_named(folder: Path, name: str, split: str, task: Task) -> Path:
    """A file that the task names, which lies in the folder of its data.

    Raises:
        SourceMissing: It is not there.
        SourceInvalid: It lies elsewhere.
    """
    path = folder / name
    if not os.path.isfile(path):  # asks without raising, whatever the name
        below = [place for place in _folders(folder) if os.path.isfile(place / path.name)]
        wrong = "is no file" if os.path.exists(path) else "is not there"
        raise SourceMissing(
            f"split {split!r} of task {task.spec.name!r}: {path} {wrong}.",
            _hint(below) or _other_accents(folder, path.name),
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SourceInvalid(f"split {split!r} lies outside {folder}: {name}.")
    return path


def _files_of(folder: Path, split: str, task: Task) -> list[Path]:
    if split in task.files:
        return [file_named(folder, task.files[split], split, task)]
    for where in (folder, folder / "data"):
        found = [_parts_of(where, split, suffix) for suffix in SUFFIXES]
        if sum(map(len, found)):
            return _only(found, split)
        if packed := _packed(where, split):
            return packed
    return []


def _parts_of(folder: Path, split: str, suffix: str) -> list[Path]:
    """The one file of a split, or its numbered parts, as the hub calls them."""
    files = [path for path in _files(folder) if kind_of(path) == suffix]
    parts = sorted(path for path in files if path.stem.startswith(f"{split}-"))
    return [*(path for path in files if path.stem == split), *parts]


def _packed(folder: Path, split: str) -> list[Path]:
    """Files of a split that must be unpacked or exported first; their reader says so."""
    files = [path for path in _files(folder) if kind_of(path) in PACKED]
    return [path for path in files if path.name.split(".")[0] == split][:1]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _only(found: list[list[Path]], split: str) -> list[Path]:
    """The files of a split, where they are of one kind: whole or in parts.

    Raises:
        SourceInvalid: They are of several, and nobody knows which is meant.
    """
    whole = [path for files in found for path in files if path.stem == split]
    kinds = [files for files in found if files]
    if len(kinds) > 1 or (whole and len(kinds[0]) > 1):
        names = ", ".join(path.name for files in kinds for path in files[:3])
        raise SourceInvalid(
            f"the split {split!r} stands in several files: {names}.",
            "Leave the one that is meant, or name it: --source FILE",
        )
    files = kinds[0]
    numbers = [re.search(r"-([0-9]+)-of-([0-9]+)$", path.stem) for path in files]
    if first := next(filter(None, numbers), None):
        total = int(first[2])
        there = [(int(n[1]), int(n[2])) for n in numbers if n]
        if there != [(i, total) for i in range(total)] or len(there) < len(files):
            raise SourceInvalid(
                f"the split {split!r} has {len(files)} of its "
                f"{counted(total, 'file')}; the first is "
                f"{files[0].name}.",
                "Get the others, or name the file that is meant in a task file.",
            )
    return files


def one_level_down(source: str, task: Task) -> str:
    """A hint where the folder is one too high: the folders in it that hold the training split."""
    places = [] if task.files else [p for p in _folders(Path(source)) if _holds_train(p, task)]
    own = [place for place in places if _folded(place.name) == _folded(task.spec.name)]
    return _hint(own or places)


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(place for place in folder.iterdir() if place.is_dir())
    return []


def _hint(places: Sequence[Path]) -> str:
    named = " or ".join(shlex.quote(str(place)) for place in places[:5])
    return f"It lies one level down: --source {named}" if named else ""


def _other_accents(folder: Path, name: str) -> str:
    """A hint where a file of the same look is there: macOS writes accents as letters (NFD)."""
    files = (file.name for file in _files(folder))
    alike = next((n for n in files if normalize("NFC", n) == normalize("NFC", name)), None)
    return f"{alike!a} is there, {name!a} is asked for: rename it." if alike else ""


def _holds_train(folder: Path, task: Task) -> bool:
    train = task.spec.splits.train
    own_tsv = task.spec.name in COLUMNS and tsv_file(folder, train).is_file()
    places = (folder, folder / "data")
    return own_tsv or any(_parts_of(p, train, suffix) for p in places for suffix in SUFFIXES)


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
