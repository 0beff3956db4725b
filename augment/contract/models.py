"""What both packages must agree on about a model: which one it is, and the order of its labels.

Neither torch nor transformers is needed: models come as plain values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from augment.contract.task import TaskSpec

_VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype")
_LEFT_BY_A_CALL = ("truncation", "padding")


@dataclass(frozen=True, slots=True)
class LabelOrder:
    """How a model's classes answer a task's labels.

    Attributes:
        columns: The model's column for each label of the task; nothing where both orders agree.
        named: Whether the model names its labels; otherwise they are taken by position.
    """

    columns: tuple[int, ...] | None = None
    named: bool = True


def match_labels(names: Sequence[str], task: TaskSpec) -> LabelOrder | None:
    """Match a model's label names with the task's, whatever their case and order.

    Args:
        names: The model's label names in the order of its logits.
        task: A classification task wants its own names, or names that say nothing
            (``LABEL_0``, …); a regression wants one output.

    Returns:
        The order, or nothing where the labels are not those of the task.
    """
    if task.label.kind == "regression":
        return LabelOrder() if len(names) == 1 else None
    if list(names) == list(task.label.names):
        return LabelOrder()
    if list(names) == [f"LABEL_{index}" for index in range(len(task.label.names))]:
        return LabelOrder(named=False)
    theirs = [name.lower() for name in names]
    ours = [name.lower() for name in task.label.names]
    if sorted(theirs) != sorted(ours) or len(set(theirs)) != len(theirs):
        return None
    columns = tuple(theirs.index(name) for name in ours)
    return LabelOrder(None if columns == tuple(range(len(columns))) else columns)


def model_digest(
    config: Mapping[str, Any], tokenizer: str, weights: Mapping[str, np.ndarray]
) -> str:
    """SHA-256 over all that decides a model's answers, wherever and however it is stored.

    Args:
        config: ``config.json`` as it stands.
        tokenizer: ``tokenizer.json``; what an earlier call set in it does not count.
        weights: Name → values, all that the model was saved with.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    kept = {key: value for key, value in config.items() if key not in _VOLATILE}
    digest.update(json.dumps(kept, sort_keys=True, default=str).encode())
    rules = {k: v for k, v in json.loads(tokenizer).items() if k not in _LEFT_BY_A_CALL}
    digest.update(json.dumps(rules, sort_keys=True, ensure_ascii=False).encode())
    for name, values in sorted(weights.items()):
        digest.update(f"\0{name}\0{values.shape}\0".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
