"""What a config says to whoever answers texts with its model."""

from __future__ import annotations

import pytest

from distill.errors import ModelInvalid
from distill.inference.settings import Calibration, ServingSettings, serving_settings


@pytest.mark.parametrize(
    "settings",
    [
        ServingSettings(),
        ServingSettings(vocabulary="ab12"),
        ServingSettings(Calibration(1.5, (0.0, -0.25)), "ab12"),
        ServingSettings(Calibration(0.5)),
        ServingSettings(text_columns=("sentence1", "sentence2")),
    ],
)
def test_there_and_back(settings: ServingSettings) -> None:
    assert serving_settings("m", {"distill": settings.to_json()}, 2) == settings


def test_without_the_key() -> None:
    assert serving_settings("m", {}, 2) == ServingSettings()


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"format": "1"},
        {"format": True},
        {"format": 1, "vocabulary": 3},
        {"format": 1, "calibration": []},
        {"format": 1, "calibration": {"temperature": 0}},
        {"format": 1, "calibration": {"temperature": float("nan")}},
        {"format": 1, "calibration": {"temperature": "1"}},
        {"format": 1, "calibration": {"bias": [0.0]}},
        {"format": 1, "calibration": {"bias": "ab"}},
        {"format": 1, "calibration": {"bias": [0.0, float("inf")]}},
        {"format": 1, "text_columns": "ab"},
        {"format": 1, "text_columns": ["a", "a"]},
        {"format": 1, "text_columns": ["a", "b", "c"]},
        {"format": 1, "text_columns": ["a", ""]},
        {"format": 1, "text_columns": [["a"], 1]},
    ],
)
def test_what_we_never_write_is_refused(value: object) -> None:
    with pytest.raises(ModelInvalid, match="not as we write it"):
        serving_settings("m", {"distill": value}, 2)


def test_a_newer_format_is_named() -> None:
    with pytest.raises(ModelInvalid, match="newer version: its format is 2"):
        serving_settings("m", {"distill": {"format": 2}}, 2)
