"""Soft labels that a version already holds: its gates asked the very teacher of this run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from augment.contract import LOGITS, Version, model_digest
from distill.disk import write_file
from distill.guides import Guide
from distill.model_folders import model_folder
from distill.models import Classifier
from distill.progress import Narrator
from distill.soft_labels import Logits, Positions, logits_file


def take_kept_logits(
    version: Version,
    guides: Sequence[Guide],
    data: str,
    needed: Positions,
    *,
    folder: Path,
    narrator: Narrator,
) -> None:
    """Lay the version's logits where ``soft_labels`` looks for those of the same teacher.

    They are those of whole texts in multiples of 1/256, whatever length this run cuts texts to.

    Args:
        version: The version that is distilled on.
        guides: The teachers of the run.
        data: ``augmented`` or ``original``, see ``Tokens.rows``.
        needed: Places of the rows that will be asked for, increasing.
        folder: Where soft labels are kept.
        narrator: Told whose logits are taken.
    """
    for number, guide in enumerate(guides, start=1):
        file = logits_file(folder, number)
        if file.is_file() or not holds_answers(version, guide.classifier):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        write_file(file, _kept(version, data)[needed].tofile)
        narrator.say("soft labels", f"those of the {guide.name} are kept in {version.reference}")


def holds_answers(version: Version, teacher: Classifier) -> bool:
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


def _kept(version: Version, data: str) -> Logits:
    """The training rows' logits, shape (rows, classes)."""
    rows = pa.concat_tables(
        pq.read_table(file, columns=["variant", LOGITS])
        for file in version.files(version.task.splits.train)
    )
    if data == "original":
        rows = rows.filter(pc.equal(rows["variant"], 0))
    flat = pc.list_flatten(rows[LOGITS]).to_numpy()
    return np.asarray(flat, dtype=np.float32).reshape(rows.num_rows, -1)
