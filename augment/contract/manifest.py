"""``manifest.json``: what a version is, what it was made from, and how to check it."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from augment.contract.task import StrictRecord, TaskSpec

CONTRACT = 1
SHA256 = r"^[0-9a-f]{64}$"
LabelRule = Literal["names", "positions"]
DATA = "data"
REJECTED = "rejected"


class FileEntry(StrictRecord):
    """One Parquet file of a version, by its POSIX path below: ``data/…`` or ``rejected/…``."""

    path: str = Field(max_length=255)
    split: str
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=SHA256)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        plain = not path.startswith("/") and "\\" not in path and "\0" not in path
        if not plain or ".." in parts or len(parts) != 2 or parts[0] not in (DATA, REJECTED):
            raise ValueError(f"path {path!r} is not a file of the version's data folder")
        return path


class Asset(StrictRecord):
    """A model, a vector table or a word list that took part, by name and digest.

    ``teacher`` is the classifier and ``sentence_encoder`` the encoder of the quality gates.
    """

    kind: Literal["masked_lm", "vectors", "stop_words", "teacher", "sentence_encoder"]
    name: str
    sha256: str = Field(pattern=SHA256)


class SourceSplit(StrictRecord):
    """One split as it was read, before augmentation; the digest covers its rows, not its file."""

    split: str
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=SHA256)


class Manifest(StrictRecord):
    """The whole description of a version.

    Attributes:
        contract: The number of this file format.
        algorithm: Counts up whenever the same recipe would give other rows.
        id: SHA-256 over everything that decides the rows, see ``identity``.
        version: The directory's name, such as ``v0001``.
        label_rule: ``positions`` where the source's label column holds numbers of classes; nothing
            where it holds their names, and in versions made before this was said.
        teacher_logits: Whether the rows carry the logits of the asset ``teacher``.
        files: The rows, by split.
        rejected: Files of refused rows, each row with its reason; they are no data of any split.
        counts: Rows and words counted by reason, such as ``rows.source`` or ``dropped.duplicate``.
        measured: What the run measured about itself, such as ``precision.overlap``.
        libraries: Versions of the libraries in use; information, not part of the id.
        created: UTC time of the commit, ISO 8601.
    """

    contract: Literal[1]
    algorithm: int
    id: str = Field(pattern=SHA256)
    version: str = Field(pattern=r"^v\d{4,}$")
    task: TaskSpec
    recipe: dict[str, Any]
    source: str
    limit: int | None = None
    sources: tuple[SourceSplit, ...]
    assets: tuple[Asset, ...]
    label_rule: LabelRule | None = None
    teacher_logits: bool = False
    files: tuple[FileEntry, ...]
    rejected: tuple[FileEntry, ...] = ()
    counts: dict[str, int]
    measured: dict[str, float] = Field(default_factory=dict)
    libraries: dict[str, str]
    created: str

    @field_validator("files", "rejected")
    @classmethod
    def _listed_once(
        cls, files: tuple[FileEntry, ...], info: ValidationInfo
    ) -> tuple[FileEntry, ...]:
        if len({entry.path for entry in files}) != len(files):
            raise ValueError("a file is listed twice")
        folder = DATA if info.field_name == "files" else REJECTED
        strangers = [entry.path for entry in files if not entry.path.startswith(f"{folder}/")]
        if strangers:
            raise ValueError(f"{strangers[0]!r} does not lie in {folder}/")
        return files

    def asset(self, kind: str) -> Asset | None:
        """The asset of a kind, where one took part."""
        return next((asset for asset in self.assets if asset.kind == kind), None)

    def to_json(self) -> str:
        """The manifest as indented JSON with sorted keys, as it is stored."""
        without = {"label_rule"} if self.label_rule is None else None
        stored = self.model_dump(mode="json", exclude=without)
        return json.dumps(stored, indent=2, sort_keys=True) + "\n"


def identity(
    *,
    algorithm: int,
    task: TaskSpec,
    recipe: dict[str, Any],
    sources: tuple[SourceSplit, ...],
    assets: tuple[Asset, ...],
) -> str:
    """The id of a version: SHA-256, in hex, over all that can change a byte of its rows.

    Names of assets are left out: a moved model folder is still the same model.
    """
    parts = {
        "contract": CONTRACT,
        "algorithm": algorithm,
        "task": task.model_dump(mode="json"),
        "recipe": recipe,
        "sources": [source.model_dump(mode="json") for source in sources],
        "assets": sorted([asset.kind, asset.sha256] for asset in assets),
    }
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
