"""What a model's ``config.json`` says to whoever answers texts with it, under one key of ours.

    "distill": {"format": 1, "vocabulary": "9f2c…", "calibration": {"temperature": 1.4}}
    "distill": {"format": 1, "vocabulary": "9f2c…", "calibration": {"temperature": 1.4}}

Who does not know the key, such as transformers, carries it along and gives the same logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.errors import ModelInvalid

KEY, FORMAT = "distill", 1
HOTTEST = 100.0
_LARGEST = 1e30  # of a bias: beyond any logit
_AGAIN = "Make the model again, or take the key out of its config.json."


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities: ``softmax(logits / temperature + bias)``.

    Attributes:
        temperature: Above 1 it makes answers less sure of themselves.
        bias: For each label in the model's own order; empty for none.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """The key's value.

    Attributes:
        calibration: Fitted on validation, where it was.
        vocabulary: SHA-256 in hex of the tokenizer that a trimmed model reads with; empty for a
            model that was not trimmed.
        text_columns: What the task's data calls its text, or the two of a pair; empty where the
            model does not say.
    """

    calibration: Calibration = Calibration()
    vocabulary: str = ""
    text_columns: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What stands in ``config.json``; without what was left as it is."""
        found: dict[str, Any] = {"format": FORMAT}
        if self.vocabulary:
            found["vocabulary"] = self.vocabulary
        if self.calibration != Calibration():
            bias = {"bias": list(self.calibration.bias)} if self.calibration.bias else {}
            found["calibration"] = {"temperature": self.calibration.temperature, **bias}
        if self.text_columns:
            found["text_columns"] = list(self.text_columns)
        return found


def serving_settings(name: str, config: Mapping[str, Any], labels: int) -> ServingSettings:
    """Read the key.

    Args:
        name: What the user called the model.
        config: Of the model, as JSON values.
        labels: Logits of a row.

    Raises:
        ModelInvalid: The key holds something else, or was written by a newer version.
    """
    found = config.get(KEY)
    if found is None:
        return ServingSettings()
    wrong = f"the key {KEY!r} in the config of {name} is not as we write it."
    if not isinstance(found, Mapping) or not _whole(found.get("format")):
        raise ModelInvalid(wrong, _AGAIN)
    if found["format"] > FORMAT:
        raise ModelInvalid(
            f"{name} was written by a newer version: its format is {found['format']}, this one "
            f"reads {FORMAT}.",
            "Install a newer augment-distill, or write the model again with this one.",
        )
    vocabulary = found.get("vocabulary", "")
    calibration = _calibration(found.get("calibration", {}), labels)
    text_columns = _text_columns(found.get("text_columns", []))
    if calibration is None or text_columns is None or not isinstance(vocabulary, str):
        raise ModelInvalid(wrong, _AGAIN)
    return ServingSettings(calibration, vocabulary, text_columns)


def _calibration(found: Any, labels: int) -> Calibration | None:
    if not isinstance(found, Mapping):
        return None
    temperature, bias = found.get("temperature", 1.0), found.get("bias", [])
    if not _number(temperature) or not 1 / HOTTEST <= temperature <= HOTTEST:
        return None
    if not isinstance(bias, Sequence) or isinstance(bias, str) or len(bias) not in (0, labels):
        return None
    if not all(map(_number, bias)):
        return None
    return Calibration(float(temperature), tuple(map(float, bias)))


def _text_columns(found: Any) -> tuple[str, ...] | None:
    if not isinstance(found, list) or len(found) > 2 or len({*map(str, found)}) < len(found):
        return None
    return tuple(found) if all(isinstance(name, str) and name for name in found) else None


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _number(value: Any) -> bool:
    """Whether it is one that is used as it stands: JSON also spells what no float holds."""
    return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST
