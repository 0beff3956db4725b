"""Loading of masked LMs by folder or hub name, and checks that all models share."""

from __future__ import annotations

from typing import Any

from augment.contract.checkpoint import Checkpoint
from augment.contract.foreign import counted
from augment.contract.model_folders import SHORTEST_INPUT, TOKENIZER_HINT, find_model
from augment.contract.models import (
    WHOLE_WEIGHTS,
    loading,
    model_digest,
    model_type,
    quiet_libraries,
)
from augment.errors import AssetInvalid, AssetMissing
from augment.masked_lm.inputs import build_input
from augment.masked_lm.kernels import ACTIVATIONS
from augment.masked_lm.model import MaskedLM
from augment.masked_lm.registry import FAMILIES, moving_rotations, unknown_activations
from augment.tokenization.load import wrap_tokenizer

_OPTION = "--mlm"
_WITH_HEAD = (
    "Give a model that was saved with its masked-LM head, such as bert-base-uncased "
    "(of ELECTRA, the generator)."
)
_PADDING = 128
"""Vocabularies are rounded up to a multiple of 64 or 128 in the weights: the last have no token."""


def load_masked_lm(name: str, *, device: str = "cpu", precision: str = "float32") -> MaskedLM:
    """Load a masked LM of one of the ``FAMILIES``, to compute in ``float32`` or ``bfloat16``.

    Only safetensors or weights-only files are read, and no code of the model is run.

    Raises:
        AssetMissing: No such folder, or the hub is out of reach.
        AssetInvalid: It is of another family, has no masked-LM head, or its tokenizer does not fit.
    """
    from transformers import AutoModelForMaskedLM

    quiet_libraries()
    checkpoint = open_checkpoint(name, _OPTION)
    raw = checkpoint.raw_config()
    _refuse_family(name, raw)
    config = checkpoint.config()
    tokenizer = checkpoint.tokenizer(config)
    size = int(config.vocab_size)
    if size - len(tokenizer) >= _PADDING:
        raise AssetInvalid(
            f"the tokenizer of {name} has {counted(len(tokenizer), 'token')}, the model {size}.",
            TOKENIZER_HINT,
        )
    if unknown := unknown_activations(config):
        raise AssetInvalid(
            f"{name} has the activation {unknown[0]!r}: not known.",
            f"Known are {', '.join(ACTIVATIONS)}.",
        )
    if moving := moving_rotations(config):
        raise AssetInvalid(
            f"{name} has rotations of the kind {moving[0]!r}: not known.", _WITH_HEAD
        )
    model, _ = checkpoint.weights(
        config, AutoModelForMaskedLM, head="masked-LM", headless=_WITH_HEAD
    )
    own_memory(model)
    with loading("model", name, AssetInvalid, WHOLE_WEIGHTS):
        wrapped = wrap_tokenizer(tokenizer, size)
        weights = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
        digest = model_digest(raw, wrapped.canonical_json(), weights)
        lm = MaskedLM(model, wrapped, digest, device=device, precision=precision)
        _try(lm)
    return lm


def _try(lm: MaskedLM) -> None:
    """Ask the model about a word in both segments: what cannot compute says so at once.

    Raises:
        Exception: Whatever fails.
    """
    masked = build_input([(lm.tokenizer.mask,)], 0, lm.tokenizer, "pair", lm.limit)
    if masked is None or lm.limit < SHORTEST_INPUT:
        raise ValueError(f"it reads {counted(lm.limit, 'token')} at most")
    lm.rank([masked], 1, words_only=False)


def _refuse_family(name: str, raw: dict[str, Any]) -> None:
    """Check that a model is of a family whose forward pass is known here."""
    family = model_type(raw) or None
    kind = f"{family!r} {'decoder' if raw.get('is_decoder') else 'model'}"
    if family not in FAMILIES or raw.get("is_decoder"):
        raise AssetInvalid(
            f"{name} is a {kind}; an encoder is expected: {', '.join(FAMILIES)}.", _WITH_HEAD
        )


def own_memory(model: Any) -> None:
    """Copy a model's weights, which may be mapped from its file.

    Who overwrites the file while a run is at work would change the run.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def open_checkpoint(name: str, option: str) -> Checkpoint:
    """A model that an option names.

    Raises:
        AssetMissing: No such folder, or the hub is out of reach.
    """
    how_to_name = (
        "Expected a folder with config.json, tokenizer and weights, or a hub name; without a "
        f"network, download it elsewhere and name the folder: {option} DIR"
    )
    return Checkpoint(name, find_model(name, AssetMissing, how_to_name), AssetInvalid)
