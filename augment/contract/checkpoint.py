"""The one way in which both packages open a model: its config, its tokenizer, its weights.

Only safetensors or weights-only files are read, and no code of a model is run. A model is whole
and computes what its config says, or it is refused: see ``Report`` and ``model_config``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from augment.contract.errors import Fault
from augment.contract.foreign import counted
from augment.contract.model_folders import (
    CONFIG_HINT,
    PROBE,
    TOKENIZER_HINT,
    check_size,
    check_special_tokens,
    check_tokenizer,
    check_weights,
    read_model_config,
)
from augment.contract.models import (
    COUNT_FROM_PADDING,
    PLAIN_OUTPUT,
    WHOLE_WEIGHTS,
    find_unsupported,
    loading,
    model_type,
)

Part = Literal["encoder", "pooler", "head"]
Shape = tuple[int, ...]
_WRAPPED = (
    "Save the model itself, not what wraps it in training (DataParallel, torch.compile, Lightning)"
)
_OBJECTIVES = ("cls.seq_relationship.",)
"""Heads of pre-training that lie inside one that is used; no other head reads them."""
_ADDED = re.compile(r"\b(lora_|adapter|prompt_encoder|prefix_encoder|ia3_)")
_LAYER = re.compile(r"\blayers?\.(\d+)\.")
_KNOWN_ONLY = "Only architectures that come with transformers are loaded; remote code is never run."
_NEEDED = ("num_hidden_layers", "hidden_size")
"""What the config of every encoder says, by whatever key."""
SEQUENCE_HEAD = "ForSequenceClassification"
_MERGE = "Merge it into the model (merge_and_unload), and save that with save_pretrained."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder that is about to be opened.

    Attributes:
        name: What the user called it.
        folder: Where it lies.
        fault: The kind of fault that is raised for whatever is wrong with it.
    """

    name: str
    folder: Path
    fault: type[Fault]

    def raw_config(self) -> dict[str, Any]:
        """``config.json`` as it stands.

        Raises:
            Fault: It cannot be read.
        """
        return read_model_config(self.folder, self.fault)

    def config(self, **changes: Any) -> Any:
        """The configuration, with changes; an old one without a model type is BERT's.

        Raises:
            Fault: transformers does not know the architecture, or the code here does not compute
                what the config says.
        """
        from transformers import CONFIG_MAPPING, AutoConfig

        raw, settings = self.raw_config(), {**PLAIN_OUTPUT, **changes}
        if not (family := model_type(raw)):
            raise self.fault(
                f"the config of {self.name} does not tell what kind of model it is.",
                'Put its model_type into config.json, such as "model_type": "bert".',
            )
        known = family in CONFIG_MAPPING
        if known and (found := find_unsupported(raw, CONFIG_MAPPING[family])):
            raise self.fault(
                f"the config of {self.name} says what is not supported: {found.problem}.",
                found.remedy,
            )
        with loading("config", self.name, self.fault, _KNOWN_ONLY):
            if "model_type" in raw:
                config = AutoConfig.from_pretrained(
                    self.folder, trust_remote_code=False, **settings
                )
            else:
                config = AutoConfig.for_model(family, **{**raw, **settings})
        if absent := [key for key in _NEEDED if type(getattr(config, key, None)) is not int]:
            raise self.fault(
                f"the config of {self.name} has no {absent[0]}: {family} is not supported.",
                CONFIG_HINT,
            )
        return config

    def tokenizer(self, config: Any) -> Any:
        """The tokenizer, which fits the model's embeddings.

        Raises:
            Fault: It cannot be read, or has more tokens than the model has embeddings, or fewer
                than half as many.
        """
        from transformers import AutoTokenizer

        check_tokenizer(self.folder, self.fault)
        with loading("tokenizer", self.name, self.fault, TOKENIZER_HINT):
            tokenizer: Any = AutoTokenizer.from_pretrained(
                self.folder, config=config, trust_remote_code=False
            )
            tokenizer(*PROBE)
        size = getattr(config, "vocab_size", len(tokenizer))
        check_special_tokens(self.name, self.folder, tokenizer, size, self.fault)
        if not size // 2 <= len(tokenizer) <= size:
            raise self.fault(
                f"the tokenizer of {self.name} has "
                f"{counted(len(tokenizer), 'token')}, the model {size:,}.",
                TOKENIZER_HINT,
            )
        from_padding = config.model_type in COUNT_FROM_PADDING
        if from_padding and tokenizer.pad_token_id != config.pad_token_id:
            raise self.fault(
                f"{self.name} counts positions from the padding token: {config.pad_token_id} by "
                f"its config, {tokenizer.pad_token_id} by its tokenizer.",
                "Take both from where the model was published or saved.",
            )
        return tokenizer

    def require_classifier(self, config: Any, remedy: str) -> None:
        """Check that a model was saved as a sequence classifier; an old config may not tell.

        Other heads can have weights of the same names and shapes.

        Raises:
            Fault: It was saved as something else.
        """
        built_as = (config.architectures or [SEQUENCE_HEAD])[0]
        if SEQUENCE_HEAD not in built_as:
            raise self.fault(
                f"{self.name} has no sequence-classification head: it was saved as {built_as}.",
                remedy,
            )

    def weights(
        self,
        config: Any,
        kind: Any,
        *,
        may_start: Collection[Part] = (),
        head: str = "",
        headless: str = "",
    ) -> tuple[Any, Collection[str]]:
        """The model in float32, and the names of tensors that were started at random.

        Args:
            config: Its configuration.
            kind: A class such as ``AutoModel``.
            may_start: Parts that may start at random where the file has nothing of them.
            head: What its head is called in a sentence.
            headless: What to do about a head that is not there.

        Raises:
            Fault: The weights cannot be read, are not whole, belong to another model, or are not
                numbers.
        """
        import torch

        if (self.folder / "adapter_config.json").is_file():
            raise self.fault(f"{self.name} holds an adapter, which is not loaded.", _MERGE)
        stored = check_weights(self.folder, self.fault)
        if not stored.names:
            raise self.fault(f"there are no weights in {self.folder}.", WHOLE_WEIGHTS)
        check_size(self.name, lambda: kind.from_config(config), stored.size, self.fault)
        with loading("weights", self.name, self.fault, WHOLE_WEIGHTS):
            model, told = kind.from_pretrained(
                self.folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are faults by the report, with a sentence
            )
        tied = model.get_expanded_tied_weights_keys(all_submodels=True)
        report = Report.of(model, told, stored.names)
        if flaw := report.judge(may_start, head):
            remedy = headless if flaw.part == "head" and headless else flaw.remedy
            raise self.fault(f"the weights of {self.name} {flaw.problem}.", remedy)
        if apart := sorted(tied.keys() - model.all_tied_weights_keys.keys()):
            raise self.fault(
                f"the config of {self.name} says that {apart[0]} is {tied[apart[0]]}, its weights "
                "hold two different tables.",
                "Save it again with the transformers that it was trained with, or, where both were "
                "trained, set tie_word_embeddings to false in config.json.",
            )
        if broken := not_finite(model):
            raise self.fault(
                f"the weights of {self.name} are not usable: {broken} holds NaN or infinity.",
                "Its training broke down, or it overflowed in float16: give an earlier checkpoint.",
            )
        return model, report.missing


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with weights, as the end of a sentence about them, where, and what to do."""

    problem: str
    remedy: str = WHOLE_WEIGHTS
    part: Part = "encoder"


@dataclass(frozen=True)
class Report:
    """What happened while weights were loaded, and the names that the model has.

    transformers starts what is missing at random and leaves out what it does not know; here both
    are faults wherever they concern a part that is used.

    Attributes:
        names: Of all its parameters, each once where several are tied.
        base: Where its encoder lies, such as ``bert.``; empty for an encoder alone.
        prefix: What the names of its encoder begin with in other files, such as ``bert.``.
        missing: Names that are not in the file.
        unexpected: Names in the file that the model does not have.
        mismatched: Name → shape in the file, shape that the config asks for.
        stored: All names in the file.
    """

    names: Collection[str]
    base: str
    prefix: str
    missing: Collection[str]
    unexpected: Collection[str]
    mismatched: Mapping[str, tuple[Shape, Shape]]
    stored: Collection[str] = ()

    @classmethod
    def of(cls, model: Any, report: Mapping[str, Any], stored: Collection[str]) -> Report:
        """From a model of transformers, its ``output_loading_info``, and all names in the file."""
        prefix = f"{model.base_model_prefix}."
        return cls(
            names=[name for name, _ in model.named_parameters()],
            base="" if model.base_model is model else prefix,
            prefix=prefix,
            missing=sorted(report["missing_keys"]),
            unexpected=sorted(report["unexpected_keys"]),
            mismatched={
                name: (tuple(found), tuple(wanted))
                for name, found, wanted in sorted(report["mismatched_keys"])
            },
            stored=stored,
        )

    def component(self, name: str) -> tuple[Part, str]:
        """The part that a tensor belongs to, and the module of the head or the encoder below it."""
        inner = name.removeprefix(self.prefix)
        first = inner.split(".")[0]
        if inner == name and self.base and first not in self.encoder_modules:
            return "head", first
        return ("pooler" if first == "pooler" else "encoder"), first

    @cached_property
    def encoder_modules(self) -> set[str]:
        """The modules of the encoder; a file may hold them without its prefix."""
        inside = (name.removeprefix(self.base) for name in self.names if name.startswith(self.base))
        return {name.split(".")[0] for name in inside}

    @cached_property
    def started(self) -> set[tuple[Part, str]]:
        """The components of which the file has nothing."""
        lost = {*self.missing}
        return {self.component(name) for name in lost} - {
            self.component(name) for name in self.names if name not in lost
        }

    def judge(self, may_start: Collection[Part] = (), head: str = "") -> Flaw | None:
        """What is wrong with the weights, or None where all that is used is whole.

        Args:
            may_start: Parts that may start at random where the file has nothing of them.
            head: What the head is called in a sentence, such as ``masked-LM``.
        """
        lost = [name for name in self.missing if self._lacking(name, may_start)]
        strange = [name for name in self.unexpected if self._in_use(name)]
        if lost:
            return self._foreign(lost) or self._too_few(lost, head)
        if self.mismatched:
            return self._misfit()
        if twice := self._twice():
            return twice
        return self._too_many(strange) if strange else None

    def _lacking(self, name: str, may_start: Collection[Part]) -> bool:
        part = self.component(name)
        return part[0] not in may_start or part not in self.started  # half a head is a fault

    def _in_use(self, name: str) -> bool:
        if _ADDED.search(name):
            return True
        part = self.component(name)
        if part[0] == "encoder":
            return part[1] in self.encoder_modules or name.startswith(self.prefix)
        ours = {self.component(each) for each in self.names}
        return part in ours and not name.startswith(_OBJECTIVES)

    def _foreign(self, lost: Collection[str]) -> Flaw | None:
        """Names that would fit but for what stands before them."""
        found: dict[str, str] = {}
        for name in lost:
            inner = name.removeprefix(self.base)
            for other in self.unexpected:
                if other.endswith(f".{inner}"):
                    found[name] = other
        if len(found) < len(lost) / 2:
            return None
        name, other = next(iter(found.items()))
        before = other.removesuffix(name.removeprefix(self.base)).removesuffix(self.prefix)
        if other.endswith(f"{self.prefix}{name.removeprefix(self.base)}"):
            return Flaw(
                f"have the names of something around the model: {other}, expected {name}",
                f"{_WRAPPED}, or take {before} off the beginning of every name.",
            )
        return Flaw(
            f"are those of another kind of model: {other}, expected {name}",
            f"{_WRAPPED}; or give the config.json that belongs to the weights.",
        )

    def _too_few(self, lost: list[str], named: str) -> Flaw:
        parts = {self.component(name) for name in lost}
        kinds = {kind for kind, _ in parts}
        if "head" in kinds and "encoder" not in kinds:
            whole = parts <= self.started
            return Flaw(
                f"{'have no' if whole else 'lack a part of their'} {named} head: "
                f"{counted(len(lost), 'weight', 'are')} missing, the first is {lost[0]}",
                part="head",
            )
        asked, held = self._layers(self.names), self._layers({*self.names} - {*self.missing})
        told = f": config.json asks for {counted(len(asked), 'layer')}, they hold {len(held)}"
        where = "encoder" if "encoder" in kinds else "pooler"
        inside = [name for name in lost if self.component(name)[0] == where]
        return Flaw(
            f"lack {counted(len(inside), 'tensor')} of its {where} ({inside[0]} …)"
            + (told if held and asked - held else "")
        )

    def _twice(self) -> Flaw | None:
        """A tensor with and without the prefix, which loading adds or drops, or in two files."""
        first: dict[str, str] = {}
        for name in self.stored:
            inner = name
            while inner.startswith(self.prefix):
                inner = inner.removeprefix(self.prefix)
            if inner in first:
                return Flaw(
                    f"hold one tensor twice, as {first[inner]} and as {name}",
                    "Leave the right one in the file.",
                )
            first[inner] = name
        return None

    def _misfit(self) -> Flaw:
        name, (found, wanted) = next(iter(self.mismatched.items()))
        shapes = f"{name} has the shape {found}, expected {wanted}"
        if {self.component(each)[0] for each in self.mismatched} == {"head"}:
            return Flaw(
                f"have a head of another size: {shapes}",
                "It was trained for other labels. To start anew, save the encoder without it: "
                "AutoModel.from_pretrained(DIR).save_pretrained(NEW)",
            )
        more = f" (and {len(self.mismatched) - 1} more)" if len(self.mismatched) > 1 else ""
        return Flaw(f"do not fit config.json: {shapes}{more}")

    def _too_many(self, strange: list[str]) -> Flaw:
        if added := next((name for name in strange if _ADDED.search(name)), None):
            return Flaw(
                f"hold adapters beside the model's own tensors: {added}",
                "Merge them into the model (merge_and_unload), and save it with save_pretrained.",
            )
        ours, theirs = self._layers(self.names), self._layers(strange)
        if theirs - ours:
            return Flaw(
                f"hold {counted(len(theirs | ours), 'layer')}, config.json asks for {len(ours)}",
                "Set the number of layers in config.json right; or load the smaller model with "
                "transformers and save it with save_pretrained.",
            )
        return Flaw(
            f"hold {counted(len(strange), 'tensor')} that the model does not know ({strange[0]} …)",
            "They belong to another kind of model, or to a number format that is not read. "
            f"{WHOLE_WEIGHTS}",
        )

    def _layers(self, names: Collection[str]) -> set[int]:
        return {int(found[1]) for name in names if (found := _LAYER.search(name))}


def not_finite(model: Any) -> str:
    """The first parameter of a model with NaN or an infinite value, or an empty name."""
    import torch

    for name, values in model.named_parameters():
        if values.numel() and not torch.stack(torch.aminmax(values.detach())).isfinite().all():
            return str(name)
    return ""
