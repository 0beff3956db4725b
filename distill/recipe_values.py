"""What stands in a recipe beside plain numbers: "auto", names and lists, each checked in words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator


def _length(value: object) -> object:
    if value == "auto" or (type(value) is int and 8 <= value <= 512):
        return value
    raise ValueError(f'must be "auto" or 8 to 512 pieces, found {value!r}')


def _layers(value: object) -> object:
    if value in ("uniform", "top", "bottom"):
        return value
    if isinstance(value, list | tuple) and value and all(type(layer) is int for layer in value):
        return tuple(value)
    raise ValueError(f'must be "uniform", "top", "bottom" or a list of layers, found {value!r}')


def _dropout(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1:
        return value
    raise ValueError(f'must be "auto" or at least 0 and below 1, found {value!r}')


def _count(value: object) -> object:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(f'must be "auto" or a number of at least 1, found {value!r}')


def _weights(value: object) -> object:
    many = value if isinstance(value, list | tuple) else (value,)
    if many and all(type(weight) in (int, float) and weight >= 0 for weight in many):
        return tuple(many) if isinstance(value, list | tuple) else value
    raise ValueError(f"must be a number of at least 0, or a list of them, found {value!r}")


MaxLength = Annotated[int | Literal["auto"], BeforeValidator(_length)]
Layers = Annotated[Literal["uniform", "top", "bottom"] | tuple[int, ...], BeforeValidator(_layers)]
Count = Annotated[int | Literal["auto"], BeforeValidator(_count)]
Dropout = Annotated[float | Literal["auto"], BeforeValidator(_dropout)]
LayerWeights = Annotated[float | tuple[float, ...], BeforeValidator(_weights)]
