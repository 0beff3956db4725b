"""A PyTorch model in the place of an exported graph: a run's student, a transformers folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from augment.contract.models import quiet_libraries
from distill.data.versions import token_columns
from distill.errors import DataInvalid
from distill.evaluation.evaluate import finite
from distill.evaluation.target import Logits, Row, classifier_logits
from distill.inference.head import Head, head_of
from distill.inference.texts import Text
from distill.models.loading import Classifier, open_classifier, own_length


@dataclass(frozen=True, slots=True)
class _Tokens:
    """A tokenized row; its ``len`` is its number of tokens."""

    columns: Row

    def __len__(self) -> int:
        return len(self.columns["input_ids"])


@dataclass(frozen=True, slots=True)
class TorchModel:
    """A classifier of transformers that answers texts as ``distill.inference.graph`` does.

    Attributes:
        head: What its logits mean.
        classifier: On the device.
        length: Tokens a text is cut to.
    """

    head: Head
    classifier: Classifier
    length: int

    def encode(self, texts: Sequence[Text]) -> list[_Tokens]:
        """Texts as tokenized rows.

        Raises:
            DataInvalid: A text holds half a surrogate pair, which is no character.
        """
        single = isinstance(texts[0], str)
        parts = [list(texts)] if single else [[text[at] for text in texts] for at in (0, 1)]
        try:
            columns: dict[str, Any] = token_columns(
                parts,  # type: ignore[arg-type]
                self.classifier.tokenizer,
                self.length,
            )
        except (TypeError, UnicodeEncodeError) as error:
            raise DataInvalid(
                "a text is no valid Unicode: it holds half a surrogate pair.",
                "Read the file as UTF-8, or replace such characters.",
            ) from error
        return [
            _Tokens({name: values[at] for name, values in columns.items()})
            for at in range(len(texts))
        ]

    def run(self, rows: Sequence[_Tokens]) -> Logits:
        """Logits of shape (rows, ``head.width``)."""
        return finite(
            self.head.name, classifier_logits(self.classifier, [row.columns for row in rows])
        )


def open_model(name: str) -> TorchModel:
    """Open a run directory, a transformers folder or a hub name.

    Raises:
        ModelInvalid: It is no classifier that can be served.
        ModelNotFound: Nothing is there.
    """
    quiet_libraries()
    classifier = open_classifier(name)
    return torch_backend(classifier, own_length(classifier))


def torch_backend(classifier: Classifier, length: int) -> TorchModel:
    """A classifier that is loaded, as what answers texts; they are cut to ``length`` tokens.

    Raises:
        ModelInvalid: Its config does not say what its logits mean.
    """
    head = head_of(classifier.name, classifier.model.config.to_dict())
    return TorchModel(head, classifier, length)
