"""Soft labels: teachers' logits of the rows to come, computed once or read from a version."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch.utils.data import Dataset

from augment.contract import LOGITS, Version, model_digest
from augment.contract.files import disk_errors, write_file
from distill.data.batching import SOFT_LABELS
from distill.evaluation.evaluate import predict
from distill.models.bf16 import autocast
from distill.models.folders import model_folder
from distill.models.loading import Classifier
from distill.progress import Gauge, Narrator
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
    folder: Path,
    narrator: Narrator,
    block: int = BLOCK,
) -> Logits:
    """The mean of the teachers' logits for training rows.

    A teacher's are kept in a file of the folder: float32, row by row, of all needed rows. Where
    the version holds those of the very teacher they come from there: they are those of whole texts
    in multiples of 1/256, whatever length this run cuts texts to.

    Args:
        teachers: Each reads the rows in its own tokenization.
        version: The version that is distilled on.
        data: ``augmented`` or ``original``, see ``TokenizedSplits.rows``.
        needed: Places of the rows that will be asked for, increasing.
        precision: Of the forward passes, see ``precision``.
        folder: Where each teacher's logits are kept.
        narrator: Where progress is shown.
        block: Rows between two writes to the disk.

    Returns:
        Shape (rows, classes), in the order of the data's labels; not a number for the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    means: list[Logits] = []
    for number, teacher in enumerate(teachers, start=1):
        file = folder / f"soft-labels-{number}.f32"
        if not file.is_file() and holds_logits(version, teacher.classifier):
            write_file(file, stored_logits(version, data)[needed].tofile)
            told = f"those of the {teacher.name} are kept in {version.reference}"
            narrator.say("soft labels", told)
        if not file.is_file():
            rows = teacher.tokens.rows(data).select(needed)
            compute_logits(teacher, rows, file, precision, narrator, block)
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
    config = json.loads((model_folder(teacher.name) / "config.json").read_text(encoding="utf-8"))
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
    precision: str,
    narrator: Narrator,
    block_size: int,
) -> None:
    """Append block after block to a partial file, which gets its name when it is whole."""
    width = teacher.classifier.classes * np.dtype(np.float32).itemsize
    partial = file.with_suffix(".partial")
    done = partial.stat().st_size // (width * block_size) * block_size if partial.is_file() else 0
    gauge = Gauge(narrator, "soft labels", done / len(rows))
    try:
        with disk_errors(file.parent), partial.open("ab") as stream:
            stream.truncate(done * width)
            for start in range(done, len(rows), block_size):
                block = rows.select(range(start, min(start + block_size, len(rows))))
                with autocast(teacher.classifier.model.device, precision):
                    logits = predict(teacher.classifier, block)
                check_logits(teacher.name, logits, block)
                stream.write(np.ascontiguousarray(logits, dtype=np.float32).tobytes())
                stream.flush()
                os.fsync(stream.fileno())
                seen = start + len(block)
                gauge.show(seen / len(rows), f"{teacher.name} · {seen:,} of {len(rows):,} rows")
    finally:
        gauge.close()
    partial.rename(file)
