"""Files and folders that appear whole or not at all, and locks that fall with their process.

Both packages commit what they make this way: written beside its place under a hidden name, brought
to the disk, then renamed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from augment.contract.errors import Fault, OutputBusy, OutputUnwritable, PlaceUnusable, UsageError
from augment.contract.foreign import counted
from augment.contract.process import held


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of files, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(folder: Path, what: str = "", size: int = 0) -> Iterator[None]:
    """Around anything that writes to a folder: a full or forbidden disk becomes a sentence.

    It names ``what`` is written, such as ``a checkpoint``, and its ``size`` in bytes where known.

    Raises:
        OutputUnwritable: Nothing more fits on the disk, or the place may not be written.
    """
    with held:
        try:
            yield
        except Exception as error:
            if _is_full(error, folder):
                raise _full(f"the disk of {folder}", what, size) from error
            if isinstance(error, OSError) and error.errno in _FORBIDDEN:
                raise OutputUnwritable(
                    f"{folder} cannot be written: {_reason(error)}.", f"{_KEPT} {_ELSEWHERE}"
                ) from error
            raise


def os_fault(error: OSError) -> Fault:
    """The sentence for what the system refused, where nobody nearer to it has said one."""
    place = error.filename if error.filename is not None else "a file or the output"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(f"the disk of {place}")
    return PlaceUnusable(f"{place} cannot be used: {_reason(error)}.", _KEPT)


def _full(disk: str, what: str = "", size: int = 0) -> OutputUnwritable:
    needs = f": {what} takes about {size / 1e6:,.0f} MB" if size else ""
    return OutputUnwritable(
        f"no space is left on {disk}{needs}.", f"{_KEPT} Free some space, then repeat the command."
    )


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()


_KEPT = "What was whole before is kept."
_ELSEWHERE = "Name another place with --out, or make this one writable and repeat the command."
_REASONS = {
    errno.EACCES: "there is no permission",
    errno.EPERM: "there is no permission",
    errno.EROFS: "its file system is read-only",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.EEXIST: "something else is there",
    errno.ENOENT: "it is not there",
    errno.ENAMETOOLONG: "a name in it is too long",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EFBIG: "no file may grow so large here (ulimit -f)",
    errno.EIO: "the disk does not answer",
}
_FORBIDDEN = set(_REASONS) - {errno.ENOENT}
_LITTLE = 2**20
"""Bytes: with less room than this, an error that gives no reason is taken for a full disk."""


@contextmanager
def locked(path: Path, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold a lock file; the lock falls when the process ends, however it ends.

    Where another process holds it, ``waiting`` is called, and the process waited for.

    Raises:
        OutputBusy: Another process holds it, and ``waiting`` is None.
        OutputUnwritable: Its folder cannot be written to.
    """
    from filelock import FileLock, Timeout  # of these files alone, and slow to load

    lock = FileLock(path)
    try:
        with disk_errors(path.parent):
            lock.acquire(blocking=False)
    except Timeout:
        if waiting is None:
            raise OutputBusy(
                f"another process is at work in {path.parent}.",
                "Wait for it; the same command afterwards finds what it has made.",
            ) from None
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def sole_writer(place: Path) -> Iterator[None]:
    """Hold a place that is about to be written, so that two calls do not mix what they write.

    Raises:
        OutputBusy: Another process is writing there.
        OutputUnwritable: Its folder cannot be made.
    """
    lock = beside(place, ".lock")
    with disk_errors(nearest(place)):
        place.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # nobody waits for it: who comes second is refused


_LONGEST_NAME = 255
"""Bytes of one name in a path, on every common file system."""


def check_text(option: str, value: str) -> bytes:
    """The bytes of an argument.

    Raises:
        UsageError: It is empty, or is no text that a process can be given.
    """
    if not value:
        raise UsageError(f"{option} is empty.", "Is a variable of a script not set?")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{option} is not UTF-8: {value}.", "Rename what it names.") from error
    if b"\0" in encoded:
        raise UsageError(f"{option} holds a zero byte: {value}.")
    return encoded


def check_name(option: str, value: str) -> None:
    """Refuse what can name no file and no folder.

    Raises:
        UsageError: It is no text, see ``check_text``, or has a part that is too long.
    """
    longest = max(map(len, check_text(option, value).split(b"/")))
    if longest > _LONGEST_NAME:
        raise UsageError(
            f"{option} holds a name of {counted(longest, 'byte')}: {value[:40]}….",
            f"No file system and no hub has names of more than {_LONGEST_NAME} bytes.",
        )


def new_place(out: str | Path) -> Path:
    """The place of a result, once it is known to be one; nothing is written.

    Raises:
        UsageError: No file or folder can have that name.
        OutputUnwritable: The system refuses it.
    """
    place = Path(out)
    check_name("out", os.fspath(out))
    with disk_errors(place), suppress(FileNotFoundError):
        place.stat()  # a path too long, a file above it, links in a circle: the system says so
    return place


def check_output(out: Path) -> None:
    """Refuse a place for a new result before any work is done for it.

    Raises:
        OutputUnwritable: Something else lies there or above it, or nothing may be written there.
    """
    new_place(out)
    with disk_errors(out):
        above = next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))
        folder = above.parent if above.is_file() and above == out else above
        above.stat()  # a link that leads nowhere
        tempfile.TemporaryFile(dir=folder).close()


def nearest(path: Path) -> Path:
    """The path itself or, where it is not there yet, the first parent that is."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _is_full(error: Exception, folder: Path) -> bool:
    """Python gives a number, safetensors a text, torch's writer neither."""
    numbered = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if numbered or f"(os error {errno.ENOSPC})" in str(error):
        return True
    return isinstance(error, RuntimeError) and shutil.disk_usage(nearest(folder)).free < _LITTLE


def beside(place: Path, ending: str) -> Path:
    """A hidden file or folder beside a place; ``.`` is where one stands, and has a name too."""
    whole = place if place.name else place.absolute()
    return whole.parent / f".{whole.name}{ending}"


def partial_of(path: Path) -> Path:
    """Where a file or folder is written before it gets its name; a killed process leaves it."""
    return beside(path, ".partial")


def complete(incomplete: str, *endings: str, shipped: Iterable[str] = ()) -> list[str]:
    """What a shell may offer for the beginning of a place; it never fails.

    Folders end in a slash, but those of versions, whose name is a reference; after an ``@``, their
    versions. Files are offered by their ending.

    Args:
        incomplete: What was typed.
        endings: Of files, such as ``.toml``.
        shipped: Names that are no places.
    """
    found = [name for name in shipped if name.startswith(incomplete)]
    with suppress(OSError, ValueError):
        folder, at, version = incomplete.partition("@")
        if at:
            names = sorted(path.parent.name for path in Path(folder).glob("v*/manifest.json"))
            return [f"{folder}@{name}" for name in names if name.startswith(version)]
        head, _, start = incomplete.rpartition("/")
        for path in sorted(Path(f"{head}/" if _ else ".").iterdir()):
            if path.name.startswith(start) and (start or not path.name.startswith(".")):
                name = f"{head}{_}{path.name}"
                if path.is_dir():
                    found.append(name if any(path.glob("v*/manifest.json")) else f"{name}/")
                elif path.name.endswith(endings):
                    found.append(name)
    return found


def complete_recipe(package: str, incomplete: str) -> list[str]:
    """Likewise for a recipe: those that a package ships, and files."""
    from importlib import resources

    files = (file.name for file in (resources.files(package) / "recipes").iterdir())
    shipped = sorted(name[:-5] for name in files if name.endswith(".toml"))
    return complete(incomplete, ".toml", shipped=shipped)


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one atomic step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one atomic step."""
    write_file(path, lambda partial: partial.write_bytes(text.encode()))


def write_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file in one atomic step; ``fill`` writes to the path that it is given.

    Raises:
        OutputUnwritable: The file is as it was before.
    """
    partial = partial_of(path)
    try:
        with disk_errors(path.parent):
            path.parent.mkdir(exist_ok=True)  # a removed run directory is not made again
            fill(partial)
            sync(partial)
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def commit_folder(final: Path, fill: Callable[[Path], None]) -> None:
    """Make a new folder in one atomic step; ``fill`` writes into the folder that it is given.

    Raises:
        OutputUnwritable: Nothing is left behind.
    """
    staging = partial_of(final)
    with disk_errors(nearest(final)):
        final.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            fill(staging)
            sync_folder(staging)
            staging.rename(final)
            sync(final.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's files to the disk."""
    for path in [*(p for p in folder.rglob("*") if p.is_file()), folder]:
        sync(path)


_FREE_TEXT = ("--text", "--text-b", "--text-column", "--label-column", "--label")


def check_arguments(words: Sequence[str]) -> list[str]:
    """The arguments of a command, ``~`` in front of a place being the user's own folder.

    The shell does not put it there in ``--out=~/runs``.

    Raises:
        UsageError: One is empty (an unset variable of a script) or can be no name.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("the current folder is no longer there.", "cd to one that is.") from error
    checked: list[str] = []
    option = "an argument"
    for word in words:
        head, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if word.startswith("--") and not equals:
            option = head
            checked.append(word)
            continue
        option = head or option
        free = option in _FREE_TEXT
        (check_text if free else check_name)(option, value)
        home = value.startswith("~") and not free
        checked.append(head + equals + (os.path.expanduser(value) if home else value))
        option = "an argument"
    return checked
