"""Loading of classifiers, encoders, configs and tokenizers from folders and hub names."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from augment.contract import TaskSpec
from augment.contract.checkpoint import SEQUENCE_HEAD, Checkpoint, Part
from augment.contract.foreign import counted
from augment.contract.model_folders import PROBE, SHORTEST_INPUT, check_size
from augment.contract.models import WHOLE_WEIGHTS, loading, max_input_length
from distill.errors import ModelInvalid, VocabularyMismatch
from distill.inference.settings import Calibration
from distill.inference.vocabulary import MARK, check_vocabulary
from distill.models.folders import model_folder
from distill.models.labels import (
    MatchedLabels,
    label_settings,
    match_label_names,
    settings_of,
    store_calibration,
    store_text_columns,
)
from distill.models.limits import NO_LIMIT, PAIR_LENGTH, filter_inputs, resolve_length
from distill.models.projections import Pretrained
from distill.models.seeding import seeded
from distill.runs.distributed import device
from distill.runs.progress import short

UNREAD: tuple[Part, ...] = ("pooler",)
"""What an encoder alone may lack: only a head reads the pooler."""
UNTUNED: tuple[Part, ...] = ("pooler", "head")
"""What a pre-trained encoder may lack that is about to be fine-tuned: some have no pooler."""
_FINE_TUNE = "Fine-tune it first: distill teacher … --init MODEL --out DIR"


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder without a head for a task.

    Attributes:
        name: What the user called it.
        model: In evaluation mode, float32, frozen.
        tokenizer: Its own.
        notice: A sentence about where it comes from that the user should see, or empty.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    notice: str = ""


def load_encoder(name: str) -> Encoder:
    """Load an encoder, untuned or tuned, with or without a head: frozen, in evaluation mode.

    Raises:
        ModelInvalid: Its weights or its tokenizer cannot be used.
    """
    config = read_config(name)
    model = read_weights(name, config, head=False, may_start=UNREAD)
    model = eval_mode(model).requires_grad_(False)
    built_as = (config.architectures or [""])[0]
    tuned = f"{name} was fine-tuned ({built_as}): what it learnt there goes into the student, too"
    tokenizer = read_tokenizer(name)
    notice = tuned if SEQUENCE_HEAD in built_as else ""
    return Encoder(name, tried(name, model, tokenizer), tokenizer, notice)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A sequence classifier whose logits come in the order of the data's labels.

    Attributes:
        name: What the user called it.
        model: In evaluation mode, float32.
        tokenizer: Its own.
        order: Column of the model's logits for each label of the data; None if both orders agree.
        notice: A sentence about the labels that the user should see, or empty.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    order: tuple[int, ...] | None = None
    notice: str = ""

    @property
    def classes(self) -> int:
        """Number of logits of a row; 1 for a regression."""
        return len(self.model.config.id2label or {})

    @property
    def calibration(self) -> Calibration:
        """How its logits become probabilities, for labels in the data's order.

        Raises:
            ModelInvalid: Its config says what we never write.
        """
        own = settings_of(self.name, self.model.config).calibration
        if self.order is None or not own.bias:
            return own
        return replace(own, bias=tuple(own.bias[at] for at in self.order))

    def calibrate(self, calibration: Calibration) -> None:
        """Let its config hold a calibration for labels in the data's order, whatever it held."""
        bias = calibration.bias
        if bias and self.order is not None:
            bias = tuple(bias[self.order.index(at)] for at in range(len(bias)))
        store_calibration(self.name, self.model.config, replace(calibration, bias=bias))

    def name_texts(self, columns: tuple[str, ...]) -> None:
        """Let its config hold what the data calls the texts that it reads."""
        store_text_columns(self.name, self.model.config, columns)

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """Logits of shape (batch, classes) in the data's order, (batch, 1) for a regression."""
        logits: Tensor = self.model(**filter_inputs(self.model, inputs)).logits
        return logits if self.order is None else logits[:, list(self.order)]


@dataclass(frozen=True, slots=True)
class Student:
    """A student before training.

    Attributes:
        model: With a classification head for the task, or without one; float32.
        origin: Where its weights come from, in words.
        tokenizer: What it reads with: the teacher's, or its own where that differs.
        pretrained: Projections of a general student's checkpoint, or nothing.
        mapping: Teacher layer for each of its layers; empty where nobody asks for it.
    """

    model: PreTrainedModel
    origin: str
    tokenizer: PreTrainedTokenizerBase
    pretrained: Pretrained = ()
    mapping: tuple[int, ...] = ()

    def copy(self) -> Student:
        """The same with weights of its own."""
        return replace(self, model=copy.deepcopy(self.model))


def _checkpoint(name: str) -> Checkpoint:
    return Checkpoint(name, model_folder(name), ModelInvalid)


def read_config(name: str, **changes: Any) -> PreTrainedConfig:
    """A model's config, with changes; an old TinyBERT config without a model type is BERT's.

    Raises:
        ModelInvalid: transformers does not know the architecture, or a setting is not supported.
    """
    config: PreTrainedConfig = _checkpoint(name).config(**changes)
    return config


def read_weights(
    name: str,
    config: PreTrainedConfig,
    *,
    head: bool = True,
    may_start: Collection[Part] = (),
) -> PreTrainedModel:
    """A whole model from a checkpoint, in float32.

    With ``head`` a sequence classifier; otherwise the encoder alone, whatever heads the checkpoint
    has. ``may_start`` are parts that may start at random where it has nothing of them.

    Raises:
        ModelInvalid: Weights of what is used are missing, belong to another model, do not fit the
            config or are not numbers.
    """
    kind = AutoModelForSequenceClassification if head else AutoModel
    model: PreTrainedModel
    model, _ = _checkpoint(name).weights(
        config, kind, may_start=may_start, head="sequence-classification", headless=_FINE_TUNE
    )
    return model


def read_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A model's tokenizer, checked against its config.

    Raises:
        ModelInvalid: It is missing, or has more tokens than the model has embeddings, or fewer
            than half as many; or one of both was trimmed, and the other was not.
    """
    checkpoint = _checkpoint(name)
    config = checkpoint.config()
    tokenizer: PreTrainedTokenizerBase = checkpoint.tokenizer(config)
    trimmed = settings_of(name, config).vocabulary
    check_vocabulary(name, trimmed, tokenizer.init_kwargs.get(MARK), tokenizer.get_vocab)
    if tokenizer.pad_token_id is None:
        raise ModelInvalid(
            f"the tokenizer of {name} has no padding token.",
            "Name one as pad_token in its tokenizer_config.json.",
        )
    return tokenizer


def tried(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model, once it has read a pair of texts: what cannot compute says so at once.

    Raises:
        ModelInvalid: It cannot.
    """
    training = model.training
    with loading("model", name, ModelInvalid, WHOLE_WEIGHTS), torch.no_grad():
        longest = max_input_length(model.config) or NO_LIMIT
        if longest < SHORTEST_INPUT:
            raise ValueError(f"it reads {counted(longest, 'token')} at most")
        inputs = tokenizer(
            *PROBE, return_tensors="pt", truncation=True, max_length=min(longest, PAIR_LENGTH)
        )
        answer = eval_mode(model)(**filter_inputs(model, dict(inputs)))
        if not all(torch.isfinite(own).all() for own in answer.values()):
            raise ValueError("its answer to a text is no finite number")
    nn.Module.train(model, training)
    return model


def load_classifier(name: str, task: TaskSpec | None = None) -> Classifier:
    """Load a fine-tuned classifier: frozen, in evaluation mode, labels matched with the task's.

    Without a task its labels are its own, in their order.

    Raises:
        ModelInvalid: It has no sequence-classification head, or one for another kind of label.
        LabelMismatch: Its label names are not those of the task.
    """
    config = read_config(name)
    out = f"{name}-{task.name}" if task else "DIR"
    tune = f"Fine-tune it first: distill teacher … --init {name} --out {out}"
    _checkpoint(name).require_classifier(config, tune)
    labels = match_label_names(name, config, task) if task else MatchedLabels(None, "")
    model = eval_mode(read_weights(name, config)).requires_grad_(False)
    tokenizer = read_tokenizer(name)
    model = tried(name, model, tokenizer)
    return Classifier(name, model, tokenizer, labels.columns, labels.notice)


def load_untuned(name: str, task: TaskSpec, seed: int) -> Classifier:
    """Load a pre-trained encoder with a fresh head for a task, as a teacher begins.

    Args:
        name: Folder or hub name; what the head needs may be there already.
        task: Whose labels it will answer with.
        seed: Of the weights that the checkpoint does not have.

    Raises:
        ModelInvalid: Its weights or its tokenizer cannot be used.
    """
    config = read_config(name, **label_settings(task))
    tokenizer = read_tokenizer(name)
    model = seeded(seed, lambda: read_weights(name, config, may_start=UNTUNED))
    return Classifier(name, tried(name, model, tokenizer), tokenizer)


def same_vocabulary(
    name: str, tokenizer: PreTrainedTokenizerBase, other: str, other_tokenizer: Any
) -> None:
    """Refuse two models that split text differently, or put other special tokens around it.

    Raises:
        VocabularyMismatch: The tokenizers' tokens or their ids differ, or the special tokens.
    """
    ids, other_ids = tokenizer.get_vocab(), other_tokenizer.get_vocab()
    if ids != other_ids:
        shared = sum(other_ids.get(token) == index for token, index in ids.items())
        problem = (
            f"{name} has a vocabulary of {counted(len(ids), 'token')}, {other} one of "
            f"{len(other_ids):,}; {shared:,} agree in token and id."
        )
    elif (special := _special(tokenizer)) != (others := _special(other_tokenizer)):
        problem = f"{name} reads a pair of texts as {special}, {other} as {others}."
    else:
        return
    raise VocabularyMismatch(
        problem,
        "Hidden states and attention are compared token by token, so both need one vocabulary "
        "and the same special tokens. With --recipe logits each reads the text in its own way.",
    )


def _special(tokenizer: Any) -> str:
    """The special tokens around the texts of a pair, with what fills and what is unknown."""
    pair = tokenizer(*PROBE, return_special_tokens_mask=True)
    tokens = tokenizer.convert_ids_to_tokens(pair["input_ids"])
    marks = zip(tokens, pair["special_tokens_mask"], strict=True)
    framed = " ".join(token if special else "text" for token, special in marks)
    read = re.sub(r"text( text)+", "text", framed)
    return f"{read} (padding {tokenizer.pad_token}, unknown words {tokenizer.unk_token})"


def eval_mode(model: PreTrainedModel) -> PreTrainedModel:
    """The model in evaluation mode."""
    nn.Module.eval(model)
    return model


def fresh(config: PreTrainedConfig, *, head: bool = True) -> PreTrainedModel:
    """A sequence classifier, or an encoder alone, with random weights, in float32.

    Raises:
        ModelInvalid: No such model can be made, or this machine has no room for it.
    """
    kind: Any = AutoModelForSequenceClassification if head else AutoModel
    check_size("the student", lambda: kind.from_config(config), 0, ModelInvalid)
    model: PreTrainedModel = kind.from_config(config, dtype=torch.float32)
    return model


def describe(model: PreTrainedModel) -> str:
    """A model's size, such as ``4 x 312 · 14.4 M``."""
    count = sum(weight.numel() for weight in model.parameters())
    return f"{model.config.num_hidden_layers} x {model.config.hidden_size} · {short(count)}"


def open_classifier(model: str, task: TaskSpec | None = None) -> Classifier:
    """Load a classifier as ``load_classifier`` does, and move it to the device."""
    classifier = load_classifier(model, task)
    nn.Module.to(classifier.model, device())
    return classifier


def own_length(classifier: Classifier, task: TaskSpec | None = None) -> int:
    """Tokens that a model's texts are cut to.

    As its tokenizer records (that of every model made here does), else the recipe's ``auto`` (that
    of pairs without a task); never more than the model can read.
    """
    recorded = classifier.tokenizer.model_max_length
    auto = resolve_length("auto", task) if task else PAIR_LENGTH
    length = int(recorded) if recorded < NO_LIMIT else auto
    return min(length, max_input_length(classifier.model.config) or length)
