"""Loading of masked LMs by folder or hub name, and checks that all models share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from augment.contract.models import (
    WHOLE_WEIGHTS,
    is_hub_name,
    loading,
    model_digest,
    quiet_libraries,
)
from augment.errors import AssetInvalid, AssetMissing
from augment.masked_lm.model import MaskedLM
from augment.masked_lm.registry import FAMILIES, unknown_activations
from augment.tokenization.load import wrap_tokenizer

_OPTION = "--mlm"
_PADDING = 128
"""Vocabularies are rounded up to a multiple of 64 or 128 in the weights: the last have no token."""


def load_masked_lm(name: str, *, device: str = "cpu", precision: str = "float32") -> MaskedLM:
    """Load a masked LM of one of the ``FAMILIES``, to compute in ``float32`` or ``bfloat16``.

    Only safetensors or weights-only files are read, and no code of the model is run.

    Raises:
        AssetMissing: No such folder, or the hub is out of reach.
        AssetInvalid: It is of another family, has no masked-LM head, or its tokenizer does not fit.
    """
    quiet_libraries()
    refuse_absent(name, _OPTION)
    config = _read_config(name)
    tokenizer, model = _read_tokenizer(name), _read_model(name)
    size = int(model.config.vocab_size)
    if not 0 <= size - len(tokenizer) < _PADDING:
        raise AssetInvalid(
            f"the tokenizer of {name} has {len(tokenizer)} tokens, the model {size}."
        )
    if unknown := unknown_activations(model.config):
        raise AssetInvalid(f"{name} has the activation {unknown[0]!r}: not known.")
    wrapped = wrap_tokenizer(tokenizer, size)
    weights = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    digest = model_digest(config, wrapped.canonical_json(), weights)
    return MaskedLM(model, wrapped, digest, device=device, precision=precision)


def _read_config(name: str) -> dict[str, Any]:
    """The content of ``config.json``, of a known family."""
    from transformers import PretrainedConfig

    with loading("config", name, AssetMissing, how_to_name(_OPTION)):
        config: dict[str, Any] = PretrainedConfig.get_config_dict(name)[0]
    kind = f"{config.get('model_type')!r} {'decoder' if config.get('is_decoder') else 'model'}"
    if config.get("model_type") not in FAMILIES or config.get("is_decoder"):
        raise AssetInvalid(f"{name} is a {kind}; an encoder is expected: {', '.join(FAMILIES)}.")
    return config


def _read_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    with loading("tokenizer", name, AssetMissing, how_to_name(_OPTION)):
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def _read_model(name: str) -> Any:
    """The model with its masked-LM head, every weight of which is in the file."""
    from transformers import AutoModelForMaskedLM

    model, unsaved = read_weights(name, AutoModelForMaskedLM)
    if unsaved:
        raise AssetInvalid(
            f"{name} has no masked-LM head: {len(unsaved)} weights are missing, "
            f"the first is {unsaved[0]}.",
            "Give a model that was saved with its masked-LM head, such as bert-base-uncased "
            "(of ELECTRA, the generator).",
        )
    return model


def read_weights(name: str, kind: Any) -> tuple[Any, list[str]]:
    """A model of a class such as ``AutoModel`` in float32, and the names of weights not saved.

    Raises:
        AssetInvalid: They cannot be read.
    """
    with loading("weights", name, AssetInvalid, WHOLE_WEIGHTS):
        model, report = kind.from_pretrained(
            name, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    # they may be mapped: who overwrites the file while a run is at work would change the run
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model, sorted(report["missing_keys"])


def refuse_absent(name: str, option: str) -> None:
    """Check that a name which can only be a folder is one; hub names are left to the hub.

    Raises:
        AssetMissing: No folder is there.
    """
    if not Path(name).is_dir() and not is_hub_name(name):
        raise AssetMissing(f"the model folder {name} is not there.", how_to_name(option))


def how_to_name(option: str) -> str:
    """What an option for a model expects."""
    return (
        "Expected a folder with config.json, tokenizer and weights, or a hub name; without a "
        f"network, download it elsewhere and name the folder: {option} DIR"
    )
