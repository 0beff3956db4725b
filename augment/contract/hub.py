"""What both packages push to the hub: checked files, by one commit, in a private repository.

Nothing is asked of the hub before everything here is checked; without a network, a push can be
looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from augment.contract.errors import Fault, HubRefused, OutputBusy, UsageError, first_line
from augment.contract.files import check_text
from augment.contract.foreign import Displayed, counted

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

_ANYBODYS = {"README.md", ".gitattributes"}
"""What the hub, or its page for a new repository, may have made."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as it goes to the hub: its path there, its content or where that lies, its digest."""

    path: str
    content: Path | bytes = field(repr=False)
    sha256: str
    size: int

    @classmethod
    def of(cls, path: str, content: Path | bytes) -> HubFile:
        """A file as it is now.

        Raises:
            UsageError: It is a link.
        """
        if isinstance(content, bytes):
            return cls(path, content, hashlib.sha256(content).hexdigest(), len(content))
        refuse_link(content)
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path, content, digest, content.stat().st_size)


@dataclass(frozen=True, slots=True, repr=False)
class Push(Displayed):
    """What goes to a repository of the hub, or went there.

    Attributes:
        repo: ``owner/name``.
        kind: Of the repository.
        public: Whether everybody may read it.
        files: All that stands there afterwards of what a push writes.
        left_out: What lies in the folder and is no part of what is pushed.
        url: Of the commit; empty where nothing was sent.
    """

    repo: str
    kind: Literal["dataset", "model"]
    public: bool
    files: tuple[HubFile, ...]
    left_out: tuple[str, ...] = ()
    url: str = ""

    def lines(self) -> Iterator[str]:
        """For a person: every file with its size, and what became of them."""
        yield from (f"{each.size:>14,} bytes  {each.path}" for each in self.files)
        if self.left_out:
            yield f"left out, no part of the {self.kind}: {', '.join(self.left_out[:8])}"
        who = "public: everybody may read it" if self.public else "private"
        size = sum(each.size for each in self.files)
        total = f"{counted(len(self.files), 'file')}, {size / 1e6:,.1f} MB"
        if self.url:
            yield f"pushed {total} to {self.repo} ({who}): {self.url}"
        else:
            yield f"nothing was sent: {total} would go to the {self.kind} {self.repo} ({who}), "
            yield "in one commit; files of an earlier push that are not among these would go"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        files = [{"path": f.path, "bytes": f.size, "sha256": f.sha256} for f in self.files]
        told = {"repo": self.repo, "kind": self.kind, "private": not self.public, "files": files}
        return {**told, "left_out": list(self.left_out), "url": self.url or None}

    def send(self, command: str, what: str, ours: Callable[[str], bool]) -> Push:
        """Make the repository, if need be, and commit the files to it.

        Args:
            command: That pushes; with it begins the title of each of its commits, by which it
                knows a repository again.
            what: Is pushed, for the title.
            ours: Whether a file there is one that a push writes, and goes where it is not now.

        Raises:
            UsageError: No token is known, what is there is public and was not to be or the other
                way round, or holds files that no push brought there.
            HubRefused: The hub did not take it, or cannot be reached.
            OutputBusy: A file was changed meanwhile.
        """
        from huggingface_hub import CommitOperationDelete, HfApi, get_token

        if not (token := get_token()):
            raise UsageError(
                "no token of the hub is known: it has to know who pushes.",
                "Log in with `hf auth login`, or set HF_TOKEN to a token that may write.",
            )
        with _hub_answers(self.repo, token):
            api = HfApi(token=token)
            api.create_repo(self.repo, repo_type=self.kind, private=not self.public, exist_ok=True)
            there: Any = api.repo_info(self.repo, repo_type=self.kind)
            self._check_who_reads(there.private)
            kept = {each.path for each in self.files}
            listed = {each.rfilename for each in there.siblings or ()}
            gone = sorted(name for name in listed - kept if ours(name))
            lost = sorted({*gone, *(kept & listed)} - _ANYBODYS)
            if lost and not self._pushed_before(api, command):
                raise UsageError(
                    f"{self.repo} holds what no {command} brought there, and this one would replace"
                    f" or delete it: {', '.join(lost[:3])}{' …' if len(lost) > 3 else ''}.",
                    "Choose another name; or delete those files on the hub first.",
                )
            done = api.create_commit(
                self.repo,
                [*(CommitOperationDelete(name) for name in gone), *self._additions()],
                repo_type=self.kind,
                commit_message=f"{command} {what}",
                parent_commit=there.sha,
            )
        return replace(self, url=str(done.commit_url))

    def _check_who_reads(self, private: bool) -> None:
        """See that a repository which was there before is as private as was asked."""
        if private is not True and not self.public:
            raise UsageError(
                f"{self.repo} is there and public: everybody could read what is pushed.",
                "If that is meant: --public. Else choose another name.",
            )
        if private and self.public:
            raise UsageError(
                f"{self.repo} is there and private, and a push changes that for nobody.",
                "Leave out --public; or make it public first, in its settings on the hub.",
            )

    def _pushed_before(self, api: HfApi, command: str) -> bool:
        commits = api.list_repo_commits(self.repo, repo_type=self.kind)
        return any(f"{each.title} ".startswith(f"{command} ") for each in commits)

    def _additions(self) -> Iterator[CommitOperationAdd]:
        from huggingface_hub import CommitOperationAdd

        for file in self.files:
            new = CommitOperationAdd(file.path, file.content)
            if new.upload_info.sha256.hex() != file.sha256:
                raise OutputBusy(f"{file.path} was changed meanwhile.", "Push again.")
            yield new


def refuse_link(path: Path) -> None:
    """Check that a file lies where it is read.

    Raises:
        UsageError: It is a link.
    """
    if path.is_symlink():
        raise UsageError(
            f"{path} is a link: what it leads to may be no part of what is pushed.",
            "Push a copy of the folder with the files themselves: cp -rL FOLDER COPY",
        )


def check_repo(name: str) -> None:
    """Check the name of a repository before anything is done for it.

    Raises:
        UsageError: It is not ``owner/name`` as the hub has it.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    check_text("the repository", name)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(f"{name} is no name of a repository.", str(error)) from error
    if name.count("/") != 1:
        raise UsageError(f"{name} does not say whose repository it is.", "Name it as owner/name.")


def refuse_places(files: Iterable[HubFile], folder: Path) -> None:
    """Check that texts that are pushed name no place of this machine.

    Raises:
        UsageError: One does.
    """
    known = {str(folder.resolve().parent)}
    for place in (Path.home, Path.cwd):
        with suppress(RuntimeError, OSError):  # nobody's home; a folder that is gone
            known.add(str(place()))
    spelled = {own for place in known - {"/"} for own in (place, json.dumps(place)[1:-1])}
    written = b"|".join(re.escape(own.encode(errors="replace")) for own in sorted(spelled))
    named = re.compile(rb"(?<![\w./-])(?:" + written + rb")(?![\w-])")
    for file in files:
        content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
        if spelled and (found := named.search(content)):
            raise UsageError(
                f"{file.path} names a place of this machine: {found[0].decode()}.",
                "Take it out of there, then push again: on the hub others would read it.",
            )


@contextmanager
def _hub_answers(repo: str, token: str) -> Iterator[None]:
    """Around what asks the hub: each of its client's errors becomes a sentence without token."""
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        says = first_line(error).replace(token, "(the token)")
        raise HubRefused(
            f"the hub did not take {repo}: {says}",
            _HUB_HINTS.get(status or 0, _HUB_HINT),
        ) from error


_HUB_HINT = "Nothing was committed there. Check the network and the name, then push again."
_HUB_HINTS = {
    401: "The hub does not know this token: `hf auth login`, or another HF_TOKEN.",
    403: "This token may not write there: use one with the right to write, or your own name.",
    412: "Somebody else committed to it meanwhile: push again.",
}
