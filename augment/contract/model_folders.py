"""The guarded door to model folders: each file is looked at before a library reads it.

Both packages find, check and read models here. A library that is given a damaged file panics,
reads elsewhere, or makes room for whatever ``config.json`` asks; here it becomes a sentence that
names the file. The folder's owner is trusted in one thing: a link in it may lead anywhere.
"""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.contract.errors import Fault
from augment.contract.foreign import counted
from augment.contract.models import COUNT_FROM_PADDING, WHOLE_WEIGHTS, is_hub_name, loading
from augment.contract.reading import guarded, read_json, read_text, remedy

CONFIG = "config.json"
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
TOKENIZER, WORDS = "tokenizer.json", "vocab.txt"
_SMALL = ["*.json", "*.txt", "*.model", "*.safetensors"]
_OTHER_TOKENIZER_FILES = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
)  # fmt: skip
CONFIG_HINT = "Take the config.json that the model was published or saved with."
TOKENIZER_HINT = "Put the model's own tokenizer.json, or vocab.txt, beside config.json."
SHORTEST_INPUT = 5
"""Tokens: the special ones of a pair, and one more."""
PROBE = ("a word", "and \u2603")
"""A pair of texts that every model reads once when it is loaded; the last is no model's word."""

_WIDTH, _LAYERS, _ROWS = (1, 10**6), (1, 1000), (1, 10**7)
_SIZES = {
    **dict.fromkeys(("hidden_size", "dim", "d_model", "embedding_size"), _WIDTH),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_inner", "ffn_dim"), _WIDTH),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers"), _LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head"), (1, 10**4)),
    **dict.fromkeys(("vocab_size", "max_position_embeddings"), _ROWS),
    "type_vocab_size": (0, 10**4),
    "num_labels": (1, 10**5),
}
"""Keys of ``config.json`` that decide how much is allocated, some before any weight is read."""
_SPARE_NUMBERS = 10**7
"""Numbers of a head that a checkpoint need not have."""


def find_model(name: str, missing: type[Fault], hint: str) -> Path:
    """The folder of a model: here, or of a hub name in the hub's local cache.

    Raises:
        Fault: Of the kind ``missing``: no folder is there, or the hub is out of reach and its
            cache does not have it.
    """
    folder = Path(name).expanduser()
    if os.path.isdir(folder):  # which says no, too, where a name cannot be one
        return folder
    if not is_hub_name(name) or os.path.lexists(folder):
        raise missing(f"there is no model folder {name}.", hint)
    return _from_hub(name, missing, hint)


def _from_hub(name: str, missing: type[Fault], hint: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(name, allow_patterns=_SMALL))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_SMALL, "pytorch_model*.bin"]))
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise missing(f"{name!r} is neither a folder here nor a model on the hub.", hint) from error
    except Exception as error:  # the hub client raises whatever its HTTP library raises
        raise missing(
            f"the model {name} cannot be loaded: it is no folder here, and the hub could not be "
            f"reached ({type(error).__name__}).",
            hint,
        ) from error
    return folder


def read_model_config(folder: Path, fault: type[Fault]) -> dict[str, Any]:
    """``config.json`` as it stands; what is allocated by its numbers alone is within reason.

    Raises:
        Fault: Of the kind ``fault``: it is not there, no JSON object, or has values that no model
            can have.
    """
    file = folder / CONFIG
    if not os.path.lexists(file) and (folder / "student" / CONFIG).is_file():
        raise fault(
            f"{folder} is no model folder but a run directory.", f"Name {folder / 'student'}."
        )
    raw = read_json(file, fault, "the configuration of a model", CONFIG_HINT)
    if not isinstance(raw, dict):
        raise fault(f"{file} holds no object of keys and values.", CONFIG_HINT)
    for key, wrong in _wrong_values(raw):
        raise fault(f"{file}: {key} is {_shown(raw[key])}; {wrong}.", CONFIG_HINT)
    return raw


def _wrong_values(raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each key with a value that no model can have, and what is expected."""
    wrong = []
    for key, (least, most) in _SIZES.items():
        value = raw.get(key)
        if value is not None and (type(value) is not int or not least <= value <= most):
            wrong.append((key, f"a whole number from {least} to {most:,} is expected"))
    if not isinstance(raw.get("model_type", ""), str):
        wrong.append(("model_type", "a name is expected"))
    if not _is_texts(raw.get("architectures") or []):
        wrong.append(("architectures", "a list of names is expected"))
    if not _is_label_table(raw.get("id2label") or {}):
        wrong.append(("id2label", 'names for "0", "1", … without a gap are expected'))
    named, count = raw.get("id2label") or {}, raw.get("num_labels")
    if count is not None and isinstance(named, dict) and len(named) not in (0, count):
        wrong.append(("num_labels", f"id2label names {len(named)}"))
    for key in ("label2id", "auto_map"):
        if not isinstance(raw.get(key) or {}, dict):
            wrong.append((key, "an object is expected"))
    padding, size = raw.get("pad_token_id", 0), raw.get("vocab_size")
    if padding is None and raw.get("model_type") in COUNT_FROM_PADDING:
        wrong.append(("pad_token_id", "positions are counted from it: a number is expected"))
    elif type(padding) is type(size) is int and padding >= size:
        wrong.append(("pad_token_id", f"one of {counted(size, 'token')} is expected"))
    for key in ("configuration_files", "transformers_weights"):
        if raw.get(key) is not None:
            wrong.append((key, "it points to other files, which are not read"))
    return wrong


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_label_table(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {str(number) for number in range(len(value))}
        and all(isinstance(name, str | int) for name in value.values())
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


@dataclass(frozen=True, slots=True)
class Stored:
    """The weights of a folder: their size in bytes, and the names of all tensors."""

    size: int
    names: tuple[str, ...]


def check_weights(folder: Path, fault: type[Fault]) -> Stored:
    """Look at the files that the weights would be read from: the headers, not the numbers.

    Raises:
        Fault: Of the kind ``fault``: one is no file of tensors, or the index of several is wrong.
    """
    files, names = weight_files(folder, fault), []
    for file in files:
        with guarded(file, fault, "the weights of a model", WHOLE_WEIGHTS):
            if not (held := _tensor_names(file)):
                raise ValueError("it holds no tensors")
            names += held
    return Stored(sum(file.stat().st_size for file in files), tuple(names))


def weight_files(folder: Path, fault: type[Fault]) -> tuple[Path, ...]:
    """The files of a model's weights, in the order in which transformers looks for them.

    Raises:
        Fault: Of the kind ``fault``: an index does not name files beside it.
    """
    for kind in (SAFETENSORS, PICKLED):
        file, index = folder / kind, folder / f"{kind}.index.json"
        if os.path.lexists(file):
            return (file,)
        if os.path.lexists(index):
            return tuple(folder / name for name in _listed(index, Path(kind).suffix, fault))
    return ()


def _listed(index: Path, suffix: str, fault: type[Fault]) -> list[str]:
    raw = read_json(index, fault, "an index of weights", WHOLE_WEIGHTS)
    places = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(places, dict) or not places or not _is_texts([*places.values()]):
        raise fault(f"{index} has no weight_map that names a file for each tensor.", WHOLE_WEIGHTS)
    for name in sorted(set(places.values())):
        if Path(name).name != name or Path(name).suffix != suffix or "\0" in name:
            raise fault(
                f"{index} names {_shown(name)}; a {suffix} file beside it is expected.",
                WHOLE_WEIGHTS,
            )
    return sorted(set(places.values()))


def read_tensors(folder: Path, wanted: re.Pattern[str], fault: type[Fault]) -> dict[str, Any]:
    """The tensors of a folder's weights whose names hold a pattern, as they are stored.

    Raises:
        Fault: Of the kind ``fault``, as :func:`check_weights`.
    """
    found: dict[str, Any] = {}
    for file in weight_files(folder, fault):
        with guarded(file, fault, "the weights of a model", WHOLE_WEIGHTS):
            names = [name for name in _tensor_names(file) if wanted.search(name)]
            if names and file.suffix == ".safetensors":
                from safetensors import safe_open

                with safe_open(file, "pt") as stored:
                    found |= {name: stored.get_tensor(name) for name in names}
            elif names:
                import torch

                stored = torch.load(file, map_location="cpu", weights_only=True)
                found |= {name: stored[name] for name in names}
    return found


def _tensor_names(file: Path) -> list[str]:
    """The names of the tensors of a file, whose numbers are not read.

    Raises:
        Exception: Whatever a library raises for a file that is none.
    """
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "pt") as stored:
            kinds = {name: stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118
        return _of_numbers({name: kind.startswith(("F", "BF")) for name, kind in kinds.items()})
    import torch

    _refuse_bomb(file)
    try:
        tensors = torch.load(file, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own advice is to run what the file holds
        raise ValueError("it holds something else than tensors") from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in tensors.items()
    ):
        raise ValueError(f"it holds something else than tensors by their names{_wrapped(tensors)}")
    return _of_numbers({name: value.is_floating_point() for name, value in tensors.items()})


def _of_numbers(fractions: Mapping[str, bool]) -> list[str]:
    """The names, where every weight is stored as numbers with fractions: else it is a code."""
    if whole := [name for name, has in fractions.items() if name.endswith("weight") and not has]:
        raise ValueError(f"{whole[0]} is quantized (it holds whole numbers), which is not read")
    return list(fractions)


def _wrapped(content: Any) -> str:
    """Which key of a training script's file holds the tensors, and what to do, as a sentence."""
    tables = content.items() if isinstance(content, Mapping) else ()
    inner = [key for key, value in tables if isinstance(value, Mapping) and len(value) > 1]
    if not inner:
        return ""
    key = next((key for key in inner if "state_dict" in str(key)), inner[0])
    return (
        f": they lie under {key!r}, beside the state of a training. Save them alone: "
        f"torch.save(torch.load(FILE)[{key!r}], FILE)"
    )


def _refuse_bomb(file: Path) -> None:
    """Torch packs nothing: what would be unpacked to more than it takes was packed by another."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
        if unpacked > file.stat().st_size:
            raise ValueError("it was packed once more than torch does")


def check_size(name: str, build: Callable[[], Any], stored: int, fault: type[Fault]) -> None:
    """Refuse a model that is larger than its weights, or than this machine, before it is made.

    Args:
        name: What the user called it.
        build: Makes the model; it is called where nothing is allocated.
        stored: The size of its weights in bytes; 0 where it starts at random.
        fault: The kind of fault.

    Raises:
        Fault: It is, or it cannot be made.
    """
    import torch

    with loading("config", name, fault, CONFIG_HINT), torch.device("meta"):
        numbers = sum(parameter.numel() for parameter in build().parameters())
    if stored and numbers > stored + _SPARE_NUMBERS:
        raise fault(
            f"the config of {name} describes a model of "
            f"{counted(numbers, 'number')}; its weights take "
            f"{counted(stored, 'byte')}.",
            CONFIG_HINT,
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * numbers > memory:
        raise fault(
            f"the config of {name} describes a model of {counted(numbers, 'number')}, "
            f"{4 * numbers / 1e9:,.0f} GB in memory; this machine has {memory / 1e9:,.0f} GB.",
            "Choose a smaller model, or a larger machine.",
        )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the words of a tokenizer, in whatever state."""
    named = (TOKENIZER, WORDS, "vocab.json")
    return any(os.path.lexists(folder / name) for name in named) or any(folder.glob("*.model"))


def check_tokenizer(folder: Path, fault: type[Fault]) -> None:
    """Look at the files that a tokenizer would be read from.

    Raises:
        Fault: Of the kind ``fault``: one is not what its name says.
    """
    if not has_tokenizer(folder):
        raise fault(f"there is no tokenizer in {folder}.", TOKENIZER_HINT)
    for name in (TOKENIZER, *_OTHER_TOKENIZER_FILES):
        if os.path.lexists(folder / name):
            raw = read_json(folder / name, fault, "a part of a tokenizer", TOKENIZER_HINT)
            if not isinstance(raw, dict):
                raise fault(f"{folder / name} holds no object of keys.", TOKENIZER_HINT)
            if name == TOKENIZER and not (raw.get("model") or {}):
                raise fault(f"{folder / name} has no model of words.", TOKENIZER_HINT)
            length = raw.get("model_max_length")
            number = type(length) in (int, float)
            if length is not None and not (number and length >= SHORTEST_INPUT):
                raise fault(
                    f"{folder / name}: model_max_length is {_shown(length)}; a number of tokens "
                    "is expected.",
                    "Correct it: as many tokens as the model reads.",
                )
    if os.path.lexists(folder / WORDS) and not os.path.lexists(folder / TOKENIZER):
        _check_words(folder / WORDS, fault)
    for file in folder.glob("*.model"):
        if known := remedy(file):
            raise fault(f"{file} is no tokenizer.", known)


def _check_words(file: Path, fault: type[Fault]) -> None:
    words = _lines(read_text(file, fault, "a list of tokens", TOKENIZER_HINT))
    if known := remedy(file):
        raise fault(f"{file} is no list of tokens.", known)
    first: dict[str, int] = {}
    for line, word in enumerate(words, start=1):
        if word and first.setdefault(word, line) != line:
            raise fault(
                f"{file}: {word!r} stands twice, in the lines {first[word]} and {line}.",
                TOKENIZER_HINT,
            )


def _lines(text: str) -> list[str]:
    """Lines as a file has them: other separators of Unicode are tokens."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def check_special_tokens(
    name: str, folder: Path, tokenizer: Any, size: int, fault: type[Fault]
) -> None:
    """Check that every token, and each special one, has an embedding of its own.

    Args:
        name: What the user called the model.
        folder: Its folder.
        tokenizer: As transformers reads it.
        size: Embeddings of the model.
        fault: The kind of fault.

    Raises:
        Fault: A token has none, or a special one stands in no file: it would get a spare one.
    """
    ids: dict[str, int] = tokenizer.get_vocab()
    if beyond := next((token for token, at in ids.items() if not 0 <= at < size), None):
        raise fault(
            f"the tokenizer of {name} has the token {beyond!r} with the number {ids[beyond]:,}; "
            f"the model has {counted(size, 'embedding')}.",
            TOKENIZER_HINT,
        )
    for special in tokenizer.all_special_tokens:
        if tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(special)) != special:
            raise fault(
                f"the tokenizer of {name} gives {special} the number of another token.",
                TOKENIZER_HINT,
            )
    if (folder / TOKENIZER).exists() or not (folder / WORDS).exists():
        return
    written = _written(folder, fault)
    if absent := [special for special in tokenizer.all_special_tokens if special not in written]:
        raise fault(f"{folder / WORDS} lacks the token {absent[0]}.", TOKENIZER_HINT)


def _written(folder: Path, fault: type[Fault]) -> Collection[str]:
    """Every token that a folder without ``tokenizer.json`` names."""
    written = set(_lines(read_text(folder / WORDS, fault, "a list of tokens")))
    for name in ("added_tokens.json", "tokenizer_config.json"):
        if (folder / name).exists():
            raw = read_json(folder / name, fault, "a part of a tokenizer")
            added = raw.get("added_tokens_decoder", raw) if name == "tokenizer_config.json" else raw
            written |= {token["content"] for token in added.values() if isinstance(token, dict)}
            written |= set(added) if name == "added_tokens.json" else set()
    return written
