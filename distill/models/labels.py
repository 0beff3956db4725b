"""A model's label names against those of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from augment.contract import TaskSpec, match_labels
from distill.errors import LabelMismatch

MOST_NAMES = 8


def label_order(
    name: str, config: PreTrainedConfig, task: TaskSpec
) -> tuple[tuple[int, ...] | None, str]:
    """Match the model's label names with the task's.

    Returns:
        The model's column for each label of the task (nothing where the orders agree), and a
        notice (empty where there is nothing to say).

    Raises:
        LabelMismatch: The names or their number differ.
    """
    theirs, ours = _label_names(config), task.label.names
    order = match_labels(theirs, task)
    if order is None and task.label.kind == "regression":
        raise LabelMismatch(
            f"{name} tells {len(theirs)} classes apart; {task.name} asks for one score.",
            "Fine-tune a model on this version: distill teacher.",
        )
    if order is None:
        raise LabelMismatch(
            f"{name} has the labels {_listed(theirs)}; {task.name} has {_listed(ours)}.",
            "Fine-tune a model on this version (distill teacher), or correct id2label in its "
            "config.",
        )
    if not order.named:
        named = _listed([f"{a} = {b}" for a, b in zip(theirs, ours, strict=True)])
        return None, f"{name} does not name its labels; taken by position: {named}"
    notice = f"{name} orders its labels {_listed(theirs)}" if order.columns else ""
    return order.columns, notice


def _label_names(config: PreTrainedConfig) -> list[str]:
    names: dict[Any, str] = dict(config.id2label or {})
    return [str(names[index]) for index in sorted(names)]


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence shows them: a hundred of them would hide what it says."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_NAMES - 1])} … {names[-1]} ({len(names)} in all)"


def label_settings(task: TaskSpec) -> dict[str, Any]:
    """What a config says about labels, in the task's order."""
    if task.label.kind == "regression":
        return {"num_labels": 1, "problem_type": "regression"}
    names: Sequence[str] = task.label.names
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }
