"""Model folders: lookup here or on the hub, digests, writing with a tokenizer."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from augment.contract import sha256_file
from augment.contract.model_folders import CONFIG, SAFETENSORS, find_model
from distill.errors import ModelInvalid, ModelNotFound
from distill.inference.forms import is_export, is_graph
from distill.inference.vocabulary import MARK
from distill.models.labels import store_vocabulary
from distill.runs.directory import RUN, RUNS, STUDENT
from distill.runs.students import check_student

__all__ = [
    "SAFETENSORS",
    "folder_digest",
    "model_folder",
    "save_clean",
    "save_tokenizer",
]

_NAME_IT = "Check the name; without a network, download the model elsewhere and name its folder."
_DESCRIPTIONS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


def model_folder(name: str) -> Path:
    """The folder of a model, here or in the hub's local cache; of a run directory, its student's.

    Raises:
        ModelNotFound: No folder is there, or the hub does not answer and has not before.
        ModelInvalid: The folder holds no config, or is that of a run that has no student yet, or
            another one than it made.
    """
    folder = find_model(name, ModelNotFound, _NAME_IT)
    if (folder / RUN).is_file() and (folder / STUDENT).is_dir():
        check_student(folder)
        folder = folder / STUDENT
    elif (folder / RUN).is_file() and not (folder / CONFIG).is_file():
        arms = " Of an ablation, name one of its arms." * (folder / RUNS).is_dir()
        raise ModelInvalid(
            f"{name} is a run directory that has no student yet.",
            f"Let its run end: the same distill command again goes on with it.{arms}",
        )
    if not Path(name).expanduser().exists() and (is_export(folder) or is_graph(folder)):
        raise ModelInvalid(
            f"{name} on the hub is an export, whose graphs are not fetched by its name.",
            f"hf download {name} --local-dir export: then name that folder.",
        )
    if not (folder / CONFIG).is_file():
        places = [place.parent for place in sorted(folder.glob(f"*/{CONFIG}"))]
        inside = [place.name for place in places if not is_graph(place)]
        raise ModelInvalid(
            f"{name} has no config.json: it is not a transformers model folder.",
            f"Name a folder in it that is one: {', '.join(inside[:3])}."
            if inside
            else "Name the folder that holds config.json and model.safetensors.",
        )
    if is_graph(folder) and not any(folder.glob(f"*{Path(SAFETENSORS).suffix}")):
        raise ModelInvalid(
            f"{name} is an exported graph, which answers texts: distill predict --text or --input. "
            "Here the model itself is wanted.",
            "Name the transformers folder of the export, or the model that was exported.",
        )
    return folder


def folder_digest(name: str) -> str:
    """SHA-256 in hex over a model's config, weights and tokenizer; raises as ``model_folder``."""
    total = hashlib.sha256()
    for file in sorted(model_folder(name).iterdir()):
        if file.suffix in (".safetensors", ".bin", ".model") or file.name in _DESCRIPTIONS:
            total.update(f"{file.name}\0{sha256_file(file)}\0".encode())
    return total.hexdigest()


def save_clean(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int
) -> None:
    """Write a plain transformers folder: config, safetensors, and ``save_tokenizer``'s files.

    What reads with a trimmed tokenizer says so in its config.
    """
    if trimmed := tokenizer.init_kwargs.get(MARK):
        store_vocabulary("the model", model.config, trimmed)
    model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # by itself readable for its owner alone
        weights.chmod((folder / "config.json").stat().st_mode)
    save_tokenizer(tokenizer, folder, max_length)


def save_tokenizer(
    tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int, *, ready: bool = False
) -> None:
    """Write a copy that reads texts as ours do, whoever opens it later.

    It records how many tokens texts were cut to, and that ``[SEP]`` in a text is no separator.
    ``ready`` lets ``tokenizer.json`` cut and pad by itself, for readers without transformers.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    tokenizer.split_special_tokens = True
    tokenizer.init_kwargs["split_special_tokens"] = True
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
        if ready:
            backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
            backend.enable_padding(
                direction=tokenizer.padding_side,
                pad_id=tokenizer.pad_token_id,
                pad_token=tokenizer.pad_token,
                pad_type_id=tokenizer.pad_token_type_id,
            )
    tokenizer.save_pretrained(folder)
    if ready and backend is not None:
        backend.save(str(folder / "tokenizer.json"), pretty=False)  # a third of it would be blanks
