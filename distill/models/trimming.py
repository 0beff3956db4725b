"""A model with a part of its vocabulary: its table, the numbers in its config, its files."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from augment.contract import TaskSpec
from augment.contract.checkpoint import SEQUENCE_HEAD, Checkpoint
from augment.contract.files import write_json
from augment.contract.model_folders import SAFETENSORS, TOKENIZER, read_tensors
from augment.contract.models import COUNT_FROM_PADDING
from distill.errors import ModelInvalid
from distill.inference.vocabulary import MARK, vocabulary_digest
from distill.models.folders import model_folder, save_clean, save_tokenizer
from distill.models.labels import store_vocabulary
from distill.models.loading import (
    UNREAD,
    Classifier,
    load_classifier,
    own_length,
    read_config,
    read_tokenizer,
)
from distill.models.students import PROJECTION
from distill.models.vocabulary import Vocabulary

TOKENIZER_CONFIG = "tokenizer_config.json"


@dataclass(frozen=True, slots=True)
class Source:
    """A model that is about to be trimmed.

    Attributes:
        name: What the user called it.
        model: A classifier, or an encoder alone.
        tokenizer: Its own.
        vocabulary: Of the tokenizer.
        max_length: Tokens that its texts are cut to.
        classifier: The same model, where it is one.
        untrained: Names of weights that its files lack, and the copy's must.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    max_length: int
    classifier: Classifier | None = None
    untrained: frozenset[str] = frozenset()

    @property
    def table(self) -> nn.Embedding:
        """Its embeddings of tokens."""
        table = self.model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        return table


def open_source(name: str, task: TaskSpec) -> Source:
    """Load a classifier of a task, or an encoder that is no classifier; its other heads are left.

    Raises:
        ModelInvalid: It cannot be read, or its vocabulary is none that can be trimmed.
    """
    config = read_config(name)
    if SEQUENCE_HEAD in (config.architectures or [SEQUENCE_HEAD])[0]:
        found = load_classifier(name, task)
        vocabulary = _vocabulary(name, found.model, found.tokenizer)
        length = own_length(found, task)
        return Source(name, found.model, found.tokenizer, vocabulary, length, found)
    checkpoint = Checkpoint(name, model_folder(name), ModelInvalid)
    model, missing = checkpoint.weights(config, AutoModel, may_start=UNREAD)
    tokenizer = read_tokenizer(name)
    vocabulary = _vocabulary(name, model, tokenizer)
    length = tokenizer.model_max_length
    return Source(name, model, tokenizer, vocabulary, length, untrained=frozenset(missing))


def _vocabulary(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Vocabulary:
    backend, table = getattr(tokenizer, "backend_tokenizer", None), model.get_input_embeddings()
    if backend is None:
        raise ModelInvalid(
            f"{name} has a tokenizer without a tokenizer.json, which cannot be trimmed.",
            "Save it as a fast tokenizer first.",
        )
    ids = tokenizer.get_vocab()
    if type(table) is not nn.Embedding or table.num_embeddings <= max(ids.values()):
        raise ModelInvalid(
            f"{name} ({model.config.model_type}) keeps its words in no plain table of embeddings, "
            "so it cannot be trimmed.",
            "Use it as it is.",
        )
    named = [at for _, at in _token_ids(model.config.to_dict())]
    needed = {*tokenizer.all_special_ids, *named, table.padding_idx or 0}
    return Vocabulary.read(name, backend.to_str(), ids, needed)


def _token_ids(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The keys of a config that hold the number of a token, and the number."""
    for key, value in config.items():
        if key.endswith("_token_id") and type(value) is int:
            yield key, value


def write_trimmed(source: Source, kept: Sequence[int], folder: Path) -> None:
    """Write a copy with these tokens alone, numbered in their order.

    Args:
        source: The model; it is as before afterwards.
        kept: Numbers of the tokens that stay, ascending, the required ones among them.
        folder: An empty folder.

    Raises:
        ModelInvalid: Its tokens cannot be numbered anew.
    """
    new = {old: at for at, old in enumerate(kept)}
    ids = {token: new[old] for token, old in source.vocabulary.ids.items() if old in new}
    digest = vocabulary_digest(ids)
    _write_tokenizer(source, kept, folder, digest)
    model = _cut(source, new, digest)
    model.config.save_pretrained(folder)
    tokenizer = read_tokenizer(str(folder))
    if tokenizer.get_vocab() != ids:
        raise ModelInvalid(
            f"the tokenizer of {source.name} numbers its tokens in a way that cannot be trimmed.",
            "Use the model as it is.",
        )
    save_clean(model, tokenizer, folder, source.max_length)
    _mend_weights(source, folder)


def _write_tokenizer(source: Source, kept: Sequence[int], folder: Path, digest: str) -> None:
    save_tokenizer(source.tokenizer, folder, source.max_length)
    write_json(folder / TOKENIZER, source.vocabulary.trimmed(kept))
    settings = json.loads((folder / TOKENIZER_CONFIG).read_text(encoding="utf-8"))
    settings.pop("added_tokens_decoder", None)  # tokenizer.json names them, with their new numbers
    write_json(folder / TOKENIZER_CONFIG, {**settings, MARK: digest})


def _cut(source: Source, new: Mapping[int, int], digest: str) -> PreTrainedModel:
    """A copy of the model on the CPU, with the rows of ``new`` alone."""
    model = nn.Module.to(copy.deepcopy(source.model), "cpu")
    table, config = source.table, model.config
    padding = None if table.padding_idx is None else new.get(table.padding_idx)
    rows = table.weight.detach()[torch.tensor(list(new))].cpu()
    cut = nn.Embedding(len(new), table.embedding_dim, padding, _weight=rows)
    model.set_input_embeddings(cut)
    changed = {key: new.get(at) for key, at in _token_ids(config.to_dict())}
    if config.model_type in COUNT_FROM_PADDING and changed["pad_token_id"] != config.pad_token_id:
        raise ModelInvalid(
            f"{source.name} counts positions from the number of its padding token, which would be "
            "another one.",
            "Use it as it is.",
        )
    config.update({**changed, "vocab_size": len(new)})
    store_vocabulary(source.name, config, digest)
    return model


def _mend_weights(source: Source, folder: Path) -> None:
    """Leave out what started at random here, and add the projections of a general student."""
    extra = read_tensors(model_folder(source.name), PROJECTION, ModelInvalid)
    if extra or source.untrained:
        file = folder / SAFETENSORS
        tensors = {n: t for n, t in load_file(file).items() if n not in source.untrained}
        save_file({**tensors, **extra}, file, metadata={"format": "pt"})
