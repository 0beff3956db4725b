"""Teachers' logits of the rows to come: computed once, or read from a version that holds them."""

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

from augment.contract import LOGITS, Version, model_digest
from augment.contract.files import disk_errors, nearest
from augment.contract.foreign import counted
from augment.contract.model_folders import read_model_config
from distill.data.row_batches import Places, list_values, row_batches, write_places
from distill.errors import ModelInvalid
from distill.evaluation.evaluate import batched_logits
from distill.evaluation.target import Logits, Row, classifier_logits
from distill.models.bf16 import autocast
from distill.models.folders import model_folder
from distill.models.loading import Classifier
from distill.recipes.mixtures import Data
from distill.runs.progress import Gauge, Narrator
from distill.runs.records import ITSELF, Origin, Seal, discard, read_seal, seal_of, write_seal
from distill.training.finite_checks import check_logits
from distill.training.teachers import Teacher


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


def held_places(version: Version, data: Data) -> Places:
    """The rows, of those that ``data`` names, that a version keeps logits of, increasing."""
    held = [
        batch.rows.column(LOGITS).is_valid().to_numpy(zero_copy_only=False)
        for batch in row_batches(version, data, [LOGITS])
    ]
    return np.flatnonzero(np.concatenate(held))


def write_held(version: Version, data: Data, places: Places, classes: int, file: Path) -> None:
    """Write the logits that a version keeps of some rows; memory does not grow with their number.

    Args:
        version: It keeps them.
        data: The rows, as the recipe names them.
        places: Those of ``held_places`` that are asked for.
        classes: Logits of a row.
        file: Where they go.
    """
    held = row_batches(version, data, [LOGITS])
    write_places(file, places, (list_values(each.rows.column(LOGITS), classes) for each in held))


def compute_logits(
    teacher: Teacher,
    rows: datasets.Dataset,
    precision: str,
    narrator: Narrator,
    block_size: int,
    file: Path,
    origin: Origin,
) -> None:
    """Append block after block to a partial file, sealed after each; it gets its name when whole.

    Args:
        teacher: Answers.
        rows: What is asked.
        precision: Of the forward passes.
        narrator: Where progress is shown.
        block_size: Rows between two writes to the disk.
        file: Where the logits go.
        origin: What they are made from.
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
                    gauge.show(
                        seen / len(rows),
                        f"{teacher.name} · {seen:,} of {counted(len(rows), 'row')}",
                    )
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
