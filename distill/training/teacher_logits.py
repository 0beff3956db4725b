"""Teachers' logits of the rows to come: computed once, or read from a version that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from augment.contract import LOGITS, Version, model_digest
from augment.contract.model_folders import read_model_config
from distill.data.row_batches import Places, list_values, row_batches, write_places
from distill.errors import ModelInvalid
from distill.evaluation.evaluate import batched_logits
from distill.evaluation.target import Logits, Row, classifier_logits
from distill.models.bf16 import autocast
from distill.models.folders import model_folder
from distill.models.loading import Classifier
from distill.recipes.mixtures import Data
from distill.runs.progress import Narrator
from distill.runs.records import Origin
from distill.runs.row_files import RowFile
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
    """Write a teacher's logits of rows block by block, see ``RowFile.write``.

    Args:
        teacher: Answers.
        rows: What is asked.
        precision: Of the forward passes.
        narrator: Where progress is shown.
        block_size: Rows between two writes to the disk.
        file: Where the logits go.
        origin: What they are made from.
    """

    def answers(some: Sequence[Row]) -> Logits:
        return classifier_logits(teacher.classifier, some)

    def blocks(done: int) -> Iterator[tuple[int, Logits]]:
        for start in range(done, len(rows), block_size):
            block = rows.select(range(start, min(start + block_size, len(rows))))
            with autocast(teacher.classifier.model.device, precision):
                logits = batched_logits(answers, block)
            check_logits(teacher.name, logits, block)
            yield start + len(block), logits

    bytes_a_row = teacher.classifier.classes * np.dtype(np.float32).itemsize
    made = RowFile(
        file, origin, len(rows), lambda count: count * bytes_a_row,
        title="soft labels", model=teacher.name,
    )  # fmt: skip
    made.write(blocks, narrator)
