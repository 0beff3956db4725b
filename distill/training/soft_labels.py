"""Soft labels: teachers' logits of the rows to come, computed once or read from a version."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch.utils.data import Dataset

from augment.contract import LOGITS, Version, model_digest
from augment.contract.files import disk_errors, nearest
from augment.contract.model_folders import read_model_config
from distill.data.batching import SOFT_LABELS
from distill.errors import ModelInvalid
from distill.evaluation.evaluate import batched_logits
from distill.evaluation.target import Row, classifier_logits
from distill.models.bf16 import autocast
from distill.models.folders import model_folder
from distill.models.loading import Classifier
from distill.progress import Gauge, Narrator
from distill.records import (
    ITSELF,
    Origin,
    Seal,
    digest_of,
    discard,
    read_seal,
    seal_of,
    write_seal,
    write_sealed,
)
from distill.run_directory import RunDirectory, reuse
from distill.training.finite_checks import check_logits
from distill.training.teachers import Teacher

BLOCK = 2048
"""Rows between two writes to the disk."""
Positions = NDArray[np.int64]
Logits = NDArray[np.float32]


class SoftRows(Dataset[dict[str, Any]]):
    """Tokenized rows with soft labels beside them.

    Args:
        rows: Tokenized rows.
        logits: Shape (rows, classes); not a number where a row is never asked for.
    """

    def __init__(self, rows: datasets.Dataset, logits: Logits) -> None:
        self.rows = rows
        self.logits = logits

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Rows of a batch.

        Raises:
            AssertionError: A row has no soft label; a fault of this program.
        """
        chosen = self.logits[indices]
        assert np.isfinite(chosen).all(), "a row without a soft label was drawn"
        rows = self.rows.__getitems__(indices)
        return [{**row, SOFT_LABELS: own} for row, own in zip(rows, chosen, strict=True)]


def soft_labels(
    teachers: Sequence[Teacher],
    version: Version,
    data: str,
    needed: Positions,
    *,
    precision: str,
    run: RunDirectory,
    narrator: Narrator,
    block: int = BLOCK,
) -> Logits:
    """The mean of the teachers' logits for training rows.

    A teacher's are kept in a file of the run: float32, row by row, of all needed rows. Where
    the version holds those of the very teacher they come from there: they are those of whole texts
    in multiples of 1/256, whatever length this run cuts texts to.

    Args:
        teachers: Each reads the rows in its own tokenization.
        version: The version that is distilled on.
        data: ``augmented`` or ``original``, see ``TokenizedSplits.rows``.
        needed: Places of the rows that will be asked for, increasing.
        precision: Of the forward passes, see ``precision``.
        run: Where each teacher's logits are kept.
        narrator: Where progress is shown.
        block: Rows between two writes to the disk.

    Returns:
        Shape (rows, classes), in the order of the data's labels; not a number for the others.
    """
    means: list[Logits] = []
    wanted = digest_of(run.made_from, data, hashlib.sha256(needed.tobytes()).hexdigest())
    for number, teacher in enumerate(teachers, start=1):
        file = run.work / "soft-labels" / f"soft-labels-{number}.f32"
        origin = Origin(made_from=wanted, part=f"soft labels of the {teacher.name}")
        if not reuse(file, origin, narrator):
            if holds_logits(version, teacher.classifier):
                write_sealed(file, origin, stored_logits(version, data)[needed].tofile)
                told = f"those of the {teacher.name} are kept in {version.reference}"
                narrator.say("soft labels", told)
            else:
                rows = teacher.tokens.rows(data).select(needed)
                compute_logits(teacher, rows, file, origin, precision, narrator, block)
        own: Logits = np.fromfile(file, dtype=np.float32)
        means.append(own.reshape(-1, teacher.classifier.classes) / np.float32(len(teachers)))
    shape = len(teachers[0].tokens.rows(data)), means[0].shape[-1]
    labels = np.full(shape, np.nan, dtype=np.float32)
    labels[needed] = sum(means, start=np.float32(0))
    return labels


def holds_logits(version: Version, teacher: Classifier) -> bool:
    """Whether a version holds the logits of this very teacher."""
    asset = version.manifest.asset("teacher")
    if not version.manifest.teacher_logits or asset is None:
        return False
    return teacher_digest(teacher) == asset.sha256


def teacher_digest(teacher: Classifier) -> str:
    """The digest by which a manifest names the model; empty where augment would refuse it."""
    config = read_model_config(model_folder(teacher.name), ModelInvalid)
    reader: Any = teacher.tokenizer
    if not reader.is_fast:
        return ""
    weights = {name: value.cpu().numpy() for name, value in teacher.model.state_dict().items()}
    return model_digest(config, reader.backend_tokenizer.to_str(), weights)


def stored_logits(version: Version, data: str) -> Logits:
    """The logits that a version keeps of its training rows, shape (rows, classes)."""
    rows = version.table(version.task.splits.train, ["variant", LOGITS])
    if data == "original":
        rows = rows.filter(pc.equal(rows["variant"], 0))
    flat = pc.list_flatten(rows[LOGITS]).to_numpy()
    return np.asarray(flat, dtype=np.float32).reshape(rows.num_rows, -1)


def compute_logits(
    teacher: Teacher,
    rows: datasets.Dataset,
    file: Path,
    origin: Origin,
    precision: str,
    narrator: Narrator,
    block_size: int,
) -> None:
    """Append block after block to a partial file, sealed after each; it gets its name when whole.

    Args:
        teacher: Answers.
        rows: What is asked.
        file: Where the logits go.
        origin: What they are made from.
        precision: Of the forward passes.
        narrator: Where progress is shown.
        block_size: Rows between two writes to the disk.
    """
    partial = file.with_suffix(".partial")
    begun = _resume(partial, origin, teacher.classifier.classes, narrator)
    done, digest = begun.rows, begun.digest

    def answers(some: Sequence[Row]) -> Logits:
        return classifier_logits(teacher.classifier, some)

    gauge = Gauge(narrator, "soft labels", done / len(rows))
    try:
        with disk_errors(nearest(file.parent)):
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("ab") as stream:
                stream.truncate(begun.bytes)
                for start in range(done, len(rows), block_size):
                    block = rows.select(range(start, min(start + block_size, len(rows))))
                    with autocast(teacher.classifier.model.device, precision):
                        logits = batched_logits(answers, block)
                    check_logits(teacher.name, logits, block)
                    added = np.ascontiguousarray(logits, dtype=np.float32).tobytes()
                    digest.update(added)
                    stream.write(added)
                    stream.flush()
                    os.fsync(stream.fileno())
                    seen = start + len(block)
                    _seal(seal_of(partial), _rows(origin, seen), digest)
                    gauge.show(seen / len(rows), f"{teacher.name} · {seen:,} of {len(rows):,} rows")
            _seal(seal_of(file), origin, digest)
            partial.rename(file)
    finally:
        gauge.close()
    discard(partial)


@dataclass(frozen=True, slots=True)
class _Begun:
    """How far an earlier call came: rows, their bytes, and the digest of these."""

    rows: int
    bytes: int
    digest: hashlib._Hash


def _resume(partial: Path, origin: Origin, classes: int, narrator: Narrator) -> _Begun:
    """What a partial file holds that is as it was sealed; the rest is cut off."""
    fresh = _Begun(0, 0, hashlib.sha256())
    if not partial.exists():
        return fresh
    sealed, why = read_seal(partial), ""
    told = re.fullmatch(r"(\d+) rows of (.*)", sealed.origin.part) if sealed else None
    if sealed and told and sealed.origin == _rows(origin, int(told[1])) and partial.is_file():
        rows = int(told[1])
        size = rows * classes * np.dtype(np.float32).itemsize
        digest = hashlib.sha256(partial.read_bytes()[:size])
        if sealed.files == {ITSELF: digest.hexdigest()}:
            return _Begun(rows, size, digest)
        why = "was changed after it was written"
    narrator.say("notice", f"{partial} {why or 'is not of this run'}; it is made again")
    discard(partial)
    return fresh


def _rows(origin: Origin, count: int) -> Origin:
    """What the first rows of soft labels are sealed with."""
    return Origin(made_from=origin.made_from, part=f"{count} rows of {origin.part}")


def _seal(place: Path, origin: Origin, digest: hashlib._Hash) -> None:
    write_seal(place, Seal(origin=origin, files={ITSELF: digest.hexdigest()}))
