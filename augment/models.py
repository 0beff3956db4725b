"""Loading a masked LM by folder or hub name; ``gate_models`` loads what the gates ask."""

from __future__ import annotations

import logging as python_logging
from pathlib import Path
from typing import Any

import torch

from augment.contract import model_digest
from augment.errors import AssetInvalid, AssetMissing
from augment.linear import known_activation
from augment.masked_lm import MaskedLM
from augment.pieces import PieceTokenizer

_MLM_HINT = (
    "Expected a folder with config.json, tokenizer and weights, or a hub name; without a network, "
    "download it elsewhere and name the folder: --mlm DIR"
)


def load_masked_lm(name: str, *, device: str = "cpu", precision: str = "float32") -> MaskedLM:
    """Load a BERT masked LM by folder or hub name, to compute in ``float32`` or ``bfloat16``.

    Only safetensors or weights-only files are read, and no code of the model is run.

    Raises:
        AssetMissing: No such folder, or the hub is out of reach.
        AssetInvalid: It is no BERT, has no masked-LM head, or its tokenizer does not fit.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, BertForMaskedLM, PretrainedConfig

    quiet_transformers()
    if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise AssetMissing(f"the masked LM folder {name} is not there.", _MLM_HINT)
    try:
        config, _ = PretrainedConfig.get_config_dict(name)
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise AssetMissing(
            f"the masked LM {name} cannot be loaded: {first_line(error)}",
            _MLM_HINT,
        ) from error
    if config.get("model_type") != "bert":
        raise AssetInvalid(f"{name} is a {config.get('model_type')!r} model; BERT is expected.")
    try:
        loaded: Any = BertForMaskedLM.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise AssetInvalid(f"the weights of {name} cannot be read: {first_line(error)}") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise AssetInvalid(
            f"{name} has no masked-LM head: {len(missing)} weights are missing, "
            f"the first is {missing[0]}.",
            "Give a model that was saved with its masked-LM head, such as bert-base-uncased.",
        )
    if not known_activation(model.config.hidden_act):
        raise AssetInvalid(f"{name} has the activation {model.config.hidden_act!r}: not known.")
    if len(tokenizer) != model.config.vocab_size:
        raise AssetInvalid(
            f"the tokenizer of {name} has {len(tokenizer)} pieces, "
            f"the model {model.config.vocab_size}."
        )
    pieces = PieceTokenizer.from_transformers(tokenizer)
    digest = _digest(model, config, pieces)
    return MaskedLM(model, pieces, digest, device=device, precision=precision)


def quiet_transformers() -> None:
    """Its loading report and bars would break into our own progress; we check the report."""
    from transformers.utils import logging

    settings: Any = logging
    settings.set_verbosity_error()
    settings.disable_progress_bar()
    python_logging.getLogger("huggingface_hub").setLevel(python_logging.ERROR)


def _digest(model: Any, config: dict[str, Any], tokenizer: PieceTokenizer) -> str:
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return model_digest(config, tokenizer.canonical_json(), weights)


def first_line(error: Exception) -> str:
    """What an error says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
