"""The one way in which both packages open a model: its config, its tokenizer, its weights.

Only safetensors or weights-only files are read, and no code of a model is run. A model is whole
and computes what its config says, or it is refused: see ``weights`` and ``model_config``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.contract.errors import Fault
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
from augment.contract.weights import Part, Report, not_finite

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
                f"the tokenizer of {self.name} has {len(tokenizer):,} tokens, the model {size:,}.",
                TOKENIZER_HINT,
            )
        counted = config.model_type in COUNT_FROM_PADDING
        if counted and tokenizer.pad_token_id != config.pad_token_id:
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
