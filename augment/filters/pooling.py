"""How a sentence encoder makes one vector of its hidden states, as its folder says.

sentence-transformers keeps that beside the weights: ``modules.json`` lists the parts, a folder of
each its settings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from augment.contract.reading import read_json
from augment.errors import AssetInvalid

Pooling = Literal["mean", "cls"]
POOLINGS: dict[Pooling, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda states: states.mean(dim=1),
    "cls": lambda states: states[:, 0],
}
"""Hidden states of shape (rows, length, width) to vectors of shape (rows, width)."""
_UNDERSTOOD = ("Transformer", "Pooling", "Normalize")
_PREFIX = "pooling_mode_"
_HINT = "Give an encoder that averages its hidden states, such as all-MiniLM-L6-v2."


def pooling_of(name: str, folder: Path) -> Pooling:
    """How the vectors of an encoder are made; the mean where its folder says nothing.

    Raises:
        AssetInvalid: In a way that is not computed here.
    """
    file = folder / "modules.json"
    if not file.exists():
        return "mean"
    modules = _objects(read_json(file, AssetInvalid, "the parts of a sentence encoder", _HINT))
    kinds = [str(module.get("type")).rsplit(".", 1)[-1] for module in modules]
    if other := [kind for kind in kinds if kind not in _UNDERSTOOD]:
        raise AssetInvalid(
            f"{name} makes its vectors with a part that is not computed here: {other[0]}.", _HINT
        )
    modes = [
        mode
        for module, kind in zip(modules, kinds, strict=True)
        if kind == "Pooling"
        for mode in _modes(folder / str(module.get("path")) / "config.json")
    ]
    for pooling in POOLINGS:
        if modes in ([pooling], [f"{pooling}_token"], [f"{pooling}_tokens"]):
            return pooling
    if not modes:
        return "mean"
    raise AssetInvalid(
        f"{name} pools its hidden states in a way that is not computed here: {' + '.join(modes)}.",
        _HINT,
    )


def _modes(file: Path) -> list[str]:
    """The names of the ways that are switched on, such as ``mean_tokens``."""
    settings = read_json(file, AssetInvalid, "the settings of a pooling", _HINT)
    if not isinstance(settings, dict):
        raise AssetInvalid(f"{file} holds no object of keys.", _HINT)
    if isinstance(only := settings.get("pooling_mode"), str):
        return [only]
    return [
        key.removeprefix(_PREFIX) for key, on in settings.items() if on is True and _PREFIX in key
    ]


def _objects(value: Any) -> list[dict[str, Any]]:
    """The entries of a list of parts; none of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
