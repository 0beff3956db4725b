"""Corpora of raw text: documents as a stream; memory does not grow with the corpus or its lines.

A corpus is a text file or a file of rows, a folder of such files, or a data set of the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from augment.contract import sha256_file
from augment.contract.errors import first_line
from augment.contract.models import is_hub_name
from augment.contract.reading import guarded, remedy
from augment.contract.tables import PACKED, kind_of
from distill.data.text_files import (
    IN_FOLDERS,
    KINDS,
    TEXT,
    DocumentPart,
    Documents,
    choose_column,
    has_blank_lines,
    in_parts,
    read_file,
    text_of,
)
from distill.errors import DataInvalid

_REPLACE = "Replace the file, or take it out of the corpus."
_FOR_EVALUATION = re.compile(r"(validation|valid|dev|test|eval)([-_.].*)?")


@dataclass(frozen=True, slots=True)
class Source:
    """Raw text, and how it is to be read.

    Attributes:
        name: A file of one of the ``KINDS``, a folder of files of the kinds ``IN_FOLDERS``, or a
            data set of the hub: ``owner/name`` or ``owner/name:config``.
        column: The text column; ``text``, or the only one that holds text, if left out.
        documents: Of text files: ``line``: each line is a document; ``blank-line``: blank lines
            divide documents; ``auto``: they do if there is one between two lines near the start
            of any of the files.
        take: Read no more than so many tokens of it; None for all.
        cache: Where tokenized corpora are kept, to share them between runs; in the run if left out.
        processes: How many tokenize, which changes nothing; one a processor if left out.

    Examples:
        >>> from distill import Source
        >>> Source("corpus.txt", documents="line", take=1_000).take
        1000
    """

    name: str | Path
    column: str | None = None
    documents: Documents | Literal["auto"] = "auto"
    take: int | None = None
    cache: Path | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus that was found, not yet read.

    Attributes:
        name: What the user called it.
        digest: SHA-256 in hex over the content and how it is read.
        size: In bytes; 0 if unknown.
        files: Read in this order.
        left_out: Files of the folder that are for evaluation, by their names.
        unread: Files of the folder that hold text but are read only unpacked, or named alone.
        column: Of JSONL, Parquet and hub rows.
        documents: What a document is in its text files; None without any.
        hub: A data set of the hub, instead of files.
    """

    name: str
    digest: str
    size: int
    files: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()
    unread: tuple[Path, ...] = ()
    column: str | None = None
    documents: Documents | None = None
    hub: HubData | None = None

    def __iter__(self) -> Iterator[DocumentPart]:
        """The documents in order.

        Raises:
            DataInvalid: A file cannot be read, with its name and line or row.
        """
        if self.hub:
            for number, text in enumerate(self.hub.texts(self.column)):
                yield from in_parts(number, text, 0)
            return
        first = before = 0
        for file in self.files:
            with guarded(file, DataInvalid, "a file of the corpus", _REPLACE):
                for part in read_file(file, first, self.column, self.documents or "line"):
                    yield replace(part, bytes_read=before + part.bytes_read)
                    first = part.document + 1
            before += file.stat().st_size


@dataclass(frozen=True, slots=True)
class HubData:
    """The training split of a hub data set at one revision."""

    name: str
    config: str | None
    revision: str

    def texts(self, column: str | None) -> Iterator[str]:
        """Stream a column.

        Raises:
            DataInvalid: The hub does not answer, or there is no such column.
        """
        import datasets

        try:
            rows = datasets.load_dataset(
                self.name, self.config, split="train", streaming=True, revision=self.revision
            )
            for row in rows:
                column = column or choose_column(row, self.name)
                yield text_of(row, column, self.name)
        except DataInvalid:
            raise
        except Exception as error:  # the hub client raises whatever its HTTP library raises
            raise _hub_fault(self.name, error) from error


def open_corpus(source: Source) -> Corpus:
    """Find a corpus and take its digest.

    Raises:
        DataInvalid: There is no such corpus, or it holds no file of a known kind.
    """
    path, name = Path(source.name).expanduser(), str(source.name)
    if not os.path.exists(path):  # nor could it: Path would raise
        return _open_hub(name, source.column)
    is_folder = path.is_dir()
    found = sorted(_visible(path)) if is_folder else [path]
    texts = [p for p in found if kind_of(p) in (IN_FOLDERS if is_folder else KINDS)]
    left_out = [p for p in texts if is_folder and _FOR_EVALUATION.fullmatch(p.stem.lower())]
    files = [file for file in texts if file not in left_out]
    if not files:
        raise DataInvalid(
            f"{name} holds no corpus: expected {', '.join(KINDS)} files that are not named "
            "for evaluation.",
            ("" if is_folder else remedy(path))
            or "Name such a file, a folder of them, or a hub data set: owner/name.",
        )
    plain = [file for file in files if kind_of(file) == TEXT]
    documents = source.documents if plain else None
    if documents == "auto":
        documents = "blank-line" if any(map(has_blank_lines, plain)) else "line"
    with ThreadPoolExecutor() as pool:
        digests = pool.map(_file_digest, files)
        contents = [f"{kind_of(f)}{digest}" for f, digest in zip(files, digests, strict=True)]
    return Corpus(
        name=name,
        digest=_digest(*contents, source.column, documents),
        size=sum(file.stat().st_size for file in files),
        files=tuple(files),
        left_out=tuple(left_out),
        unread=tuple(path for path in found if path not in texts and _may_hold_text(path)),
        column=source.column,
        documents=documents,
    )


def _open_hub(name: str, column: str | None) -> Corpus:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    repository, _, config = name.partition(":")
    absent = DataInvalid(
        f"there is no corpus {name}: neither a file or folder here nor a data set on the hub.",
        "Check the path, or the name: owner/name or owner/name:config.",
    )
    if not is_hub_name(repository) or name.lower().endswith(KINDS):
        raise absent
    try:
        revision = HfApi().dataset_info(repository).sha
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise absent from error
    except Exception as error:  # the hub client raises whatever its HTTP library raises
        raise _hub_fault(name, error) from error
    data = HubData(repository, config or None, str(revision))
    return Corpus(name, _digest(repository, config, revision, column), 0, column=column, hub=data)


def _hub_fault(name: str, error: Exception) -> DataInvalid:
    return DataInvalid(
        f"the hub data set {name} cannot be read: {first_line(error)}",
        "Look for the network and the name (owner/name:config), or download it and name its "
        "folder of Parquet files.",
    )


def _visible(folder: Path) -> Iterator[Path]:
    """The files of a folder and those below it, but for hidden ones."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path


def _may_hold_text(path: Path) -> bool:
    inner = kind_of(path.with_suffix("")) if kind_of(path) in PACKED else kind_of(path)
    return inner in KINDS and inner != ".json"  # such a file beside the text describes it


def _file_digest(file: Path) -> str:
    with guarded(file, DataInvalid, "a file of the corpus", _REPLACE):
        return sha256_file(file)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()
