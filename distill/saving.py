"""Writing models as plain transformers folders."""

from __future__ import annotations

import copy
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_clean(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int
) -> None:
    """Write a plain transformers folder: config, safetensors, tokenizer.

    safetensors lets only the owner read its file; a server may be someone else.
    """
    model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod((folder / "config.json").stat().st_mode)
    save_tokenizer(tokenizer, folder, max_length)


def save_tokenizer(
    tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int, *, ready: bool = False
) -> None:
    """Write a tokenizer that records how many pieces texts were cut to.

    Args:
        tokenizer: Left as it is.
        folder: Where to.
        max_length: Whoever opens the model later cuts texts at the same place.
        ready: Let ``tokenizer.json`` cut and pad by itself, for readers without transformers.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    if backend is not None and ready:
        backend.enable_truncation(max_length)
        backend.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    tokenizer.save_pretrained(folder)
