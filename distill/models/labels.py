"""Label names of a model, matched with those of a task; what its config says of their logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedConfig

from augment.contract import TaskSpec, match_labels
from augment.contract.foreign import counted
from augment.contract.models import refuse_multi_label
from distill.errors import LabelMismatch
from distill.inference.settings import KEY, Calibration, ServingSettings, serving_settings

MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class MatchedLabels:
    """How a model's logits are read as a task's labels.

    Attributes:
        columns: The model's column for each label of the task; None if the orders agree.
        notice: A sentence that the user should see, or empty.
    """

    columns: tuple[int, ...] | None
    notice: str


def match_label_names(name: str, config: PreTrainedConfig, task: TaskSpec) -> MatchedLabels:
    """Match the label names of a model, as the user called it, with a task's.

    Raises:
        LabelMismatch: The names or their number differ, or a row may have several labels.
    """
    refuse_multi_label(name, config, LabelMismatch)
    model_names, task_names = _label_names(config), task.label.names
    order = match_labels(model_names, task)
    if order is None and task.label.kind == "regression":
        raise LabelMismatch(
            f"{name} tells {counted(len(model_names), 'class')} apart; {task.name} "
            f"asks for one score.",
            "Fine-tune a model on this version: distill teacher.",
        )
    if order is None:
        raise LabelMismatch(
            f"{name} has the labels {_listed(model_names)}; {task.name} has {_listed(task_names)}.",
            "Fine-tune a model on this version (distill teacher), or correct id2label in its "
            "config.",
        )
    if not order.named:
        named = _listed([f"{a} = {b}" for a, b in zip(model_names, task_names, strict=True)])
        return MatchedLabels(None, f"{name} does not name its labels; taken by position: {named}")
    notice = f"{name} orders its labels {_listed(model_names)}" if order.columns else ""
    return MatchedLabels(order.columns, notice)


def _label_names(config: PreTrainedConfig) -> list[str]:
    names: dict[Any, str] = dict(config.id2label or {})
    return [str(names[index]) for index in sorted(names)]


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence, shortened: a hundred of them would hide what it says."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_NAMES - 1])} … {names[-1]} ({len(names)} in all)"


def label_settings(task: TaskSpec, order: Sequence[int] | None = None) -> dict[str, Any]:
    """Settings of a model's config that state the task's labels.

    Args:
        task: It.
        order: Column of the model's logits for each label of the task; None for the task's order.
    """
    if task.label.kind == "regression":
        return {"num_labels": 1, "problem_type": "regression"}
    names: Sequence[str] = task.label.names
    if order is not None:
        names = [names[order.index(at)] for at in range(len(names))]
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }


def settings_of(name: str, config: PreTrainedConfig) -> ServingSettings:
    """What a config says to whoever answers texts with its model.

    Raises:
        ModelInvalid: It says what we never write.
    """
    return _settings(name, config, getattr(config, KEY, None))


def _settings(name: str, config: PreTrainedConfig, found: Any) -> ServingSettings:
    return serving_settings(name, {KEY: found}, config.num_labels or 0)


def store_calibration(name: str, config: PreTrainedConfig, calibration: Calibration) -> None:
    """Put a calibration in a config, for labels in its own order, in the place of any other.

    Raises:
        ModelInvalid: The config says what we never write.
    """
    found = getattr(config, KEY, None)
    if isinstance(found, Mapping):  # what is there may be for other labels
        found = {key: value for key, value in found.items() if key != "calibration"}
    after = replace(_settings(name, config, found), calibration=calibration)
    if after != ServingSettings():
        config.update({KEY: after.to_json()})
    elif hasattr(config, KEY):
        delattr(config, KEY)


def store_vocabulary(name: str, config: PreTrainedConfig, vocabulary: str) -> None:
    """Say in a config which trimmed vocabulary its model reads, by its digest.

    Raises:
        ModelInvalid: The config says what we never write.
    """
    config.update({KEY: replace(settings_of(name, config), vocabulary=vocabulary).to_json()})


def store_text_columns(name: str, config: PreTrainedConfig, columns: tuple[str, ...]) -> None:
    """Say in a config what the task's data calls the texts that its model reads.

    Raises:
        ModelInvalid: The config says what we never write.
    """
    config.update({KEY: replace(settings_of(name, config), text_columns=columns).to_json()})
