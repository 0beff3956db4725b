"""A GLUE submission on disk: a zip or a folder of the files that ``submission`` describes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.disk import write_file, write_text
from distill.errors import DataInvalid
from distill.submission import SHEETS, faults

MOST_BYTES = 64 * 2**20
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def read_submission(place: Path) -> dict[str, str]:
    """The files of a zip or folder, by name; none where it is not there.

    Raises:
        DataInvalid: It is no zip, or holds what belongs to no submission.
    """
    if not place.exists():
        return {}
    try:
        found = _from_folder(place) if place.is_dir() else _from_zip(place)
        return {name: content.decode("utf-8") for name, content in found.items()}
    except (zipfile.BadZipFile, UnicodeDecodeError, EOFError, RuntimeError) as error:
        raise DataInvalid(
            f"{place} is no readable submission: {error}.", "Choose another file, or remove it."
        ) from error


def _from_folder(place: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(place.glob("*.tsv")):
        _refuse_strangers(place, path.name, path.stat().st_size)
        found[path.name] = path.read_bytes()
    return found


def _from_zip(place: Path) -> dict[str, bytes]:
    found = {}
    with zipfile.ZipFile(place) as archive:
        for entry in archive.infolist():
            _refuse_strangers(place, entry.filename, entry.file_size)
            found[entry.filename] = archive.read(entry)
    return found


def _refuse_strangers(place: Path, name: str, size: int) -> None:
    """Before anything is read: a name outside the list, or more than any file of it can have."""
    if name not in SHEETS or size > MOST_BYTES:
        raise DataInvalid(
            f"{place} holds {name[:60]!r}, which is no file of a GLUE submission.",
            f"Its files are {', '.join(SHEETS)}.",
        )


def write_submission(place: Path, files: Mapping[str, str]) -> None:
    """Write a zip, or files into a folder: each whole or not at all; same files, same bytes."""
    if place.suffix == ".zip":
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, lambda partial: _to_zip(partial, files))
        return
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_text(place / name, text)


def _to_zip(path: Path, files: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in SHEETS:
            if name in files:
                entry = zipfile.ZipInfo(name, LONG_AGO)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, files[name])


def check_submission(place: Path) -> dict[str, Any]:
    """Compare a submission with the site's format.

    Returns:
        ``files``: for each that is there its ``file``, ``rows`` and ``faults``; ``missing``: the
        names of the others.

    Raises:
        DataInvalid: Nothing is there, or it cannot be read.
    """
    found = read_submission(place)
    if not found:
        raise DataInvalid(
            f"{place} holds no file of a GLUE submission.", "Make one: distill predict … --out"
        )
    sheets = [SHEETS[name] for name in SHEETS if name in found]
    return {
        "place": str(place),
        "files": [
            {
                "file": sheet.file,
                "rows": max(0, found[sheet.file].count("\n") - 1),
                "faults": faults(sheet, found[sheet.file]),
            }
            for sheet in sheets
        ],
        "missing": [name for name in SHEETS if name not in found],
    }
