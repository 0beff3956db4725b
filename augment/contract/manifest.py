"""``manifest.json``: what a version is, what it was made from, and how to check it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from augment.contract.foreign import counted
from augment.contract.task import CONTRACT, SAFE_NAME, StrictRecord, TaskSpec

SHA256 = r"^[0-9a-f]{64}$"
LabelRule = Literal["names", "positions"]
UNKNOWN_LICENSE = "other"
LicenseId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,63}$")]
"""As the hub writes them: ``cc-by-4.0``, ``apache-2.0``, ``other``."""
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$|^multilingual$")]
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


class Parent(StrictRecord):
    """A version that another one was derived from, by its id and what it was called."""

    id: str = Field(pattern=SHA256)
    reference: str


class AddedRows(StrictRecord):
    """Rows that another tool made, as they were read; the digest covers rows, not their file.

    Attributes:
        generator: What made them, as the rows' column of that name says.
        name: Of the file.
    """

    generator: str = Field(pattern=SAFE_NAME)
    name: str
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=SHA256)


class Derivation(StrictRecord):
    """How a version was made where ``augment run`` did not make it."""

    command: Literal["add", "filter", "merge", "write"]
    parents: tuple[Parent, ...] = ()
    added: tuple[AddedRows, ...] = ()

    def decides(self) -> dict[str, Any]:
        """What of it can change a byte of the rows: no names of places."""
        added = [[each.generator, each.rows, each.sha256] for each in self.added]
        return {
            "command": self.command,
            "parents": [each.id for each in self.parents],
            "added": added,
        }


class Manifest(StrictRecord):
    """The whole description of a version.

    Attributes:
        contract: The number of this file format.
        algorithm: Counts up whenever the same recipe would give other rows.
        id: SHA-256 over everything that decides the rows, see ``identity``.
        version: The directory's name, such as ``v0001``.
        label_rule: ``positions`` where the source's label column holds numbers of classes; nothing
            where it holds their names, and in versions made before this was said.
        derivation: How it was made from other versions or rows, where it was.
        soft_labels: Whether rows carry distributions that came with them.
        teacher_logits: Whether the rows carry the logits of the asset ``teacher``.
        files: The rows, by split.
        rejected: Files of refused rows, each row with its reason; they are no data of any split.
        counts: Rows and words counted by reason, such as ``rows.source`` or ``dropped.duplicate``.
        measured: What the run measured about itself, such as ``precision.overlap``.
        libraries: Versions of the libraries in use; information, not part of the id.
        created: UTC time of the commit, ISO 8601.
        license: Of the source, as it says itself; nothing where it does not.
        language: Of the source's texts, where that is known.
        card: SHA-256 of ``README.md``, by which other tools find the splits; none in older ones.
        croissant: SHA-256 of ``croissant.json``, likewise.
        checksum: SHA-256 over all the rest, see ``sealed``; versions made before it have none.
    """

    contract: Literal[1, 2]
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
    derivation: Derivation | None = None
    soft_labels: bool = False
    teacher_logits: bool = False
    files: tuple[FileEntry, ...]
    rejected: tuple[FileEntry, ...] = ()
    counts: dict[str, int]
    measured: dict[str, float] = Field(default_factory=dict)
    libraries: dict[str, str]
    created: str
    license: LicenseId | None = None
    language: tuple[LanguageCode, ...] = ()
    card: str | None = Field(default=None, pattern=SHA256)
    croissant: str | None = Field(default=None, pattern=SHA256)
    checksum: str | None = Field(default=None, pattern=SHA256)

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
        for split in {entry.split: None for entry in files}:
            listed = [entry.path for entry in files if entry.split == split]
            if listed != shard_names(folder, split, len(listed)):
                raise ValueError(f"{', '.join(listed)} are not all files of split {split!r}")
        return files

    @model_validator(mode="after")
    def _has_what_its_contract_has(self) -> Manifest:
        if self.contract > 1 and (taken := self.task.reserved()):
            raise ValueError(f"column names {taken} are reserved")
        if self.contract == 1 and (
            self.derivation or self.soft_labels or self.task.splits.unlabeled
        ):
            raise ValueError("contract 1 knows no derivation, soft labels or unlabeled split")
        return self

    def asset(self, kind: str) -> Asset | None:
        """The asset of a kind, where one took part."""
        return next((asset for asset in self.assets if asset.kind == kind), None)

    @property
    def config_name(self) -> str:
        """The name of the rows for ``datasets``, whose cache goes by it and not by the place."""
        digests = "".join(f"{entry.path}\0{entry.sha256}\0" for entry in self.files)
        return f"{self.task.name}-{hashlib.sha256(digests.encode()).hexdigest()[:16]}"

    def to_json(self) -> str:
        """The manifest as indented JSON with sorted keys, as it is stored."""
        later = ("label_rule", "license", "language", "croissant")
        without = {key for key in later if not getattr(self, key)}
        stored = self.model_dump(mode="json", exclude=without)
        return json.dumps(stored, indent=2, sort_keys=True) + "\n"

    def sealed(self) -> Manifest:
        """The same with its checksum: what stands in it belongs together."""
        return self.model_copy(update={"checksum": checksum_of(json.loads(self.to_json()))})


def shard_names(folder: str, split: str, count: int) -> list[str]:
    """The paths of a split's files, in order."""
    return [f"{folder}/{split}-{i:05d}-of-{count:05d}.parquet" for i in range(count)]


def disagreement(manifest: Manifest, raw: dict[str, Any]) -> str:
    """What in a manifest does not belong together, as a sentence; empty where all does.

    Args:
        manifest: The manifest.
        raw: The same as it is stored: ids of older versions cover the keys of their time.
    """
    if (found := _identity_of(raw)) != manifest.id:
        return (
            f"the id is {manifest.id[:12]}, but what the rows were made from gives {found[:12]}: "
            "one of them was changed"
        )
    if manifest.checksum and manifest.checksum != checksum_of(raw):
        return "it was changed after it was written: its checksum does not agree"
    stored = Counter[str]()
    for entry in manifest.files:
        stored[entry.split] += entry.rows
    read = {source.split: source.rows for source in manifest.sources}
    splits = manifest.task.splits
    if stored.keys() != read.keys() or len(read) < len(manifest.sources):
        return f"splits {', '.join(stored)} are stored, but {', '.join(read)} were read"
    for split, rows in read.items():
        grows = split in (splits.train, splits.unlabeled)
        if stored[split] < rows or (stored[split] > rows and not grows):
            return f"split {split!r} has {counted(stored[split], 'row')}, but {rows:,} were read"
    return ""


def checksum_of(raw: dict[str, Any]) -> str:
    """SHA-256, in hex, over everything in a stored manifest but its checksum."""
    return _sha256({key: value for key, value in raw.items() if key != "checksum"})


def identity(
    *,
    algorithm: int,
    task: TaskSpec,
    recipe: dict[str, Any],
    sources: tuple[SourceSplit, ...],
    assets: tuple[Asset, ...],
    derivation: Derivation | None = None,
) -> str:
    """The id of a version: SHA-256, in hex, over all that can change a byte of its rows.

    Names of assets and of the recipe's preset are left out: a moved model folder is still the
    same model.
    """
    return _identity(
        CONTRACT,
        algorithm,
        task.model_dump(mode="json"),
        recipe,
        [source.model_dump(mode="json") for source in sources],
        [[asset.kind, asset.sha256] for asset in assets],
        derivation,
    )


def _identity_of(raw: dict[str, Any]) -> str:
    """The id that a stored manifest should have."""
    assets = [[asset["kind"], asset["sha256"]] for asset in raw["assets"]]
    told = raw.get("derivation")
    derivation = None if told is None else Derivation.model_validate(told)
    made_from = (raw["algorithm"], raw["task"], raw["recipe"], raw["sources"], assets)
    return _identity(raw["contract"], *made_from, derivation)


def _identity(
    contract: int,
    algorithm: int,
    task: Any,
    recipe: Any,
    sources: Any,
    assets: list[Any],
    derivation: Derivation | None,
) -> str:
    choices = {key: value for key, value in recipe.items() if key != "preset"}
    parts = {"algorithm": algorithm, "task": task, "recipe": choices, "sources": sources}
    if derivation is not None:
        parts["derivation"] = derivation.decides()
    return _sha256({**parts, "contract": contract, "assets": sorted(assets)})


def _sha256(value: Any) -> str:
    """SHA-256, in hex, of a value as canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
