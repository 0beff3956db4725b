"""Whether the student in a run directory is the one that the run made."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from distill.errors import ModelInvalid
from distill.runs.directory import RUN, STUDENT
from distill.runs.records import Origin, digest_of, flaw, read_object, read_seal


def check_student(run: Path) -> None:
    """See that the student in a run directory is the one that the run made.

    Raises:
        ModelInvalid: It is another one, or was changed.
    """
    files = [*run.iterdir(), *(run / STUDENT).iterdir()]
    stats = [(str(file), file.stat()) for file in files if file.is_file()]
    if why := _student_flaw(run, tuple((n, at.st_mtime_ns, at.st_size) for n, at in stats)):
        raise ModelInvalid(
            f"{run / STUDENT} {why}.",
            f"Put it back. To use it as it is, name the folder itself: {run / STUDENT}",
        )


@lru_cache(maxsize=32)
def _student_flaw(run: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:  # noqa: ARG001
    """Read once, though a command opens a model several times; ``stamps`` tell of a change."""
    begun, identity = read_seal(run / RUN), read_object(run / RUN)
    digest = begun.origin.made_from if begun else digest_of(identity)
    return flaw(run / STUDENT, Origin(made_from=digest, part=STUDENT))
