"""What the logits of a model mean, as its ``config.json`` says: label names, settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment.contract.foreign import counted
from augment.contract.reading import read_json, text_flaw
from distill.errors import ModelInvalid
from distill.inference.settings import ServingSettings, serving_settings

CONFIG = "config.json"
Logits = NDArray[np.float32]
_UNNAMED = {"0": "LABEL_0", "1": "LABEL_1"}
"""What transformers means by a config without names."""
_HINT = "Take the config.json that the model was exported or saved with."


@dataclass(frozen=True, slots=True)
class Head:
    """A classifier's answers.

    Attributes:
        name: What the user called the model.
        labels: One for each logit, in their order; empty for a regression, which has one logit.
        settings: Its calibration, and what its texts are.
    """

    name: str
    labels: tuple[str, ...]
    settings: ServingSettings

    @property
    def width(self) -> int:
        """Logits of a row."""
        return len(self.labels) or 1


def read_head(folder: Path, name: str) -> Head:
    """Read the head's description in a model's folder.

    Raises:
        ModelInvalid: It is not there, is no JSON object, or says what no classifier can mean.
    """
    config = read_json(folder / CONFIG, ModelInvalid, "the configuration of a model", _HINT)
    if not isinstance(config, dict):
        raise ModelInvalid(f"{folder / CONFIG} holds no object of keys and values.", _HINT)
    return head_of(name, config)


def head_of(name: str, config: Mapping[str, Any]) -> Head:
    """The head that a config describes; raises as ``read_head``."""
    kind, named = config.get("problem_type"), config.get("id2label") or _UNNAMED
    if kind == "multi_label_classification":
        raise ModelInvalid(
            f"{name} gives a row several labels at once.",
            "Only models with one label a row, or one score, are served.",
        )
    if not isinstance(named, Mapping) or {str(key) for key in named} != {
        str(at) for at in range(len(named))
    }:
        raise ModelInvalid(
            f'the config of {name}: id2label does not name "0", "1", … without a gap.', _HINT
        )
    table = {str(key): str(value) for key, value in named.items()}
    labels = tuple(table[str(at)] for at in range(len(table)))
    twice = [label for label, times in Counter(labels).items() if times > 1]
    if twice:
        raise ModelInvalid(f"the config of {name} names two labels {twice[0]!r}.", _HINT)
    if flaw := next(filter(None, map(text_flaw, labels)), ""):
        raise ModelInvalid(f"the config of {name} names a label that {flaw}.", _HINT)
    if kind == "regression" and len(labels) > 1:
        raise ModelInvalid(
            f"the config of {name}: a regression with {counted(len(labels), 'label')}.", _HINT
        )
    settings = serving_settings(name, config, len(labels))
    return Head(name, labels if len(labels) > 1 else (), settings)
