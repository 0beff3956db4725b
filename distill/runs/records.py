"""What is stored: results as typed records in JSON, and the seals of whatever is read back.

A seal says what a file or folder was made from, and the digests of what it holds. What one call
leaves for the next is sealed when it is whole. It is opened again only where the seal names the
same origin and the bytes are those that were sealed: a damaged file, one of another run, or one put
there by hand is found. A seal is no signature: whoever forges it with its file is believed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from augment.contract import Fault, reading, sha256_file
from augment.contract.files import beside, commit_folder, write_file, write_json, write_text
from augment.contract.foreign import Displayed
from distill.errors import DataInvalid

T = TypeVar("T")

ITSELF = "."
MOST_LOG = 64 * 2**20
"""Bytes of a log that are read: its end."""
TEACHER_RECORD, TEACHER_SEAL = "teacher.json", ".seal"
"""In the folder of a teacher that was made here: from what, and how good it is; its seal."""
_DECIDING = (".json", ".safetensors", ".bin", ".pt", ".pth", ".txt", ".model")
"""Files that a reader of a folder may look for: one that was not sealed is no part of it."""


class Record(Displayed, BaseModel):
    """A frozen record; its fields are the keys of its JSON, base classes first."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_json(self) -> dict[str, Any]:
        """JSON values; a field that nobody set has no key."""
        return self.model_dump(mode="json", exclude_unset=True)


def read_json(file: Path, kind: type[T]) -> T:
    """Read what an earlier call stored, and check it.

    Args:
        file: A JSON file.
        kind: Such as a class of records.

    Raises:
        DataInvalid: It is not there, cannot be read, or holds something else.
    """
    hint = "Put it back, or remove it and repeat the command."
    value = reading.read_json(file, DataInvalid, "JSON", hint)
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataInvalid(f"{file} is not as it was written ({reason}).", hint) from error


def parse_object(line: bytes) -> dict[str, Any] | None:
    """A JSON object; None where there is none, as in the line that a killed process was writing."""
    try:
        row = reading.parse_json(line.decode())
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def read_object(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none, or one too large to be ours."""
    try:
        if not file.is_file() or file.stat().st_size > reading.MAX_BYTES:  # a pipe would wait
            return None
        return parse_object(file.read_bytes())
    except OSError:
        return None


def last_lines(file: Path) -> list[bytes]:
    """The lines of a log: of a very long one the last; none where it cannot be read."""
    try:
        if not file.is_file():
            return []
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - MOST_LOG))
            return stream.read(MOST_LOG).splitlines()
    except OSError:
        return []


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as key paths."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= (
            flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


class Origin(BaseModel):
    """What something was made from.

    Attributes:
        made_from: The digest of all that decides it.
        part: Which part of what was made from that, such as ``prediction, step 12 of 52``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    made_from: str
    part: str


class Seal(BaseModel):
    """An origin, and the SHA-256 of each file, by its POSIX path; ``.`` is the file itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    origin: Origin
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 over all that was sealed."""
        return digest_of(sorted(self.files.items()))


def digest_of(*values: Any) -> str:
    """SHA-256, in hex, over JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def seal_of(path: Path) -> Path:
    """Where the seal of a file or folder lies: beside it."""
    return beside(path, ".seal")


def seal(path: Path, origin: Origin, *, place: Path | None = None) -> None:
    """Seal what is whole; ``place`` is where the seal goes instead of beside it.

    Raises:
        OutputUnwritable: It cannot be written.
    """
    place = place or seal_of(path)
    write_seal(place, Seal(origin=origin, files=_digests(path, place)))


def write_seal(place: Path, sealed: Seal) -> None:
    """Write a seal whose digests are known."""
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    write_text(place, sealed.model_dump_json(indent=1) + "\n")


def write_sealed(path: Path, origin: Origin, fill: Callable[[Path], object]) -> None:
    """Write a file in one atomic step and seal it; see ``write_file``."""
    write_file(path, fill)
    seal(path, origin)


def write_sealed_json(path: Path, origin: Origin, value: Any) -> None:
    """Write JSON in one atomic step and seal it."""
    write_json(path, value)
    seal(path, origin)


def commit_sealed(final: Path, origin: Origin, fill: Callable[[Path], None]) -> None:
    """Make a new folder in one atomic step, sealed before it has its name: ``commit_folder``."""

    def fill_and_seal(staging: Path) -> None:
        fill(staging)
        seal(staging, origin, place=seal_of(final))

    commit_folder(final, fill_and_seal)


def read_seal(path: Path, *, place: Path | None = None) -> Seal | None:
    """The seal of a file or folder; None where there is none that can be read."""
    place = place or seal_of(path)
    try:
        return Seal.model_validate(reading.read_json(place, Fault, "a seal"))
    except (Fault, ValidationError):
        return None


def flaw(path: Path, origin: Origin, *, place: Path | None = None) -> str:
    """Why something is not what was sealed, as the rest of a sentence about it; empty if it is.

    Args:
        path: A file or folder; its bytes are read.
        origin: What it must have been made from.
        place: Where its seal is, if not beside it.
    """
    place = place or seal_of(path)
    if not (path.is_file() or path.is_dir()):
        return "is no regular file" if path.exists() else "is not there"
    sealed = read_seal(path, place=place)
    if sealed is None:
        return "has no whole seal: it was cut short, or written by another program or version of it"
    if sealed.origin.made_from != origin.made_from:
        return "was made from something else"
    if sealed.origin.part != origin.part:
        return f"is another part ({sealed.origin.part}, not {origin.part})"
    return _change(path, place, sealed)


def _change(path: Path, place: Path, sealed: Seal) -> str:
    """What is no longer as it was sealed, as ``flaw`` says it."""
    try:
        found = _digests(path, place)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    changed = [name for name, digest in sealed.files.items() if found.get(name) != digest]
    added = [n for n in found if n not in sealed.files and Path(n).suffix in _DECIDING]
    if not changed and not added:
        return ""
    name = sorted([*changed, *added])[0]
    return "was changed after it was written" + ("" if name == ITSELF else f" ({name})")


def discard(path: Path) -> None:
    """Remove a file or folder, whatever it is, and its seal; what cannot be removed stays."""
    for one in (path, seal_of(path)):
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one, ignore_errors=True)
        else:
            with suppress(OSError):
                one.unlink(missing_ok=True)


def _digests(path: Path, place: Path) -> dict[str, str]:
    if not path.is_dir():
        return {ITSELF: sha256_file(path)}
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and file != place)
    return {file.relative_to(path).as_posix(): sha256_file(file) for file in files}
