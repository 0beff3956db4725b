"""``augment push``: a version as a data set of the hub."""

from __future__ import annotations

from pathlib import Path

from augment.contract import FileDamaged, Version, open_version, verify
from augment.contract.hub import HubFile, Push, check_repo, refuse_places
from augment.contract.manifest import DATA, REJECTED
from augment.contract.version import CARD, CROISSANT, MANIFEST


def push_version(
    version: Version | str | Path, repo: str, *, public: bool = False, dry_run: bool = False
) -> Push:
    """Push a version to a data set of the hub: its rows, manifest, card and Croissant file.

    Every file is read and compared with its digest before anything is sent. What stands there is
    the version byte by byte: who downloads it can open and verify it.

    Args:
        version: It, or a reference to it.
        repo: ``owner/name`` of the data set; made where it is not there.
        public: Let everybody read it.
        dry_run: Send nothing, ask nothing: say what would go there.

    Raises:
        UsageError: The name is none, no token is known, or what is there is another's or not as
            private as was asked.
        ContractError: The version was damaged.
        HubRefused: The hub did not take it, or cannot be reached.

    Examples:
        >>> from augment import push
        >>> assert not push("data/versions/reviews", "owner/reviews", dry_run=True).url
    """
    check_repo(repo)
    opened = version if isinstance(version, Version) else open_version(version)
    verify(opened)
    manifest = opened.manifest
    named = [entry.path for entry in (*manifest.files, *manifest.rejected)]
    named += [MANIFEST, CARD, *[CROISSANT] * (manifest.croissant is not None)]
    files = tuple(HubFile.of(name, opened.path / name) for name in sorted(named))
    known = {entry.path: entry.sha256 for entry in (*manifest.files, *manifest.rejected)}
    for file in files:
        if known.get(file.path, file.sha256) != file.sha256:
            raise FileDamaged(f"{opened.reference}: {file.path} was changed meanwhile.")
    refuse_places([file for file in files if not file.path.endswith(".parquet")], opened.path)
    here = {path.relative_to(opened.path).as_posix() for path in opened.path.rglob("*")}
    push = Push(repo, "dataset", public, files, tuple(sorted(here - {*named, DATA, REJECTED})))
    if dry_run:
        return push
    return push.send("augment push", f"{opened.reference} ({manifest.id[:12]})", _ours)


def _ours(path: str) -> bool:
    return path.startswith((f"{DATA}/", f"{REJECTED}/")) or path == CROISSANT
