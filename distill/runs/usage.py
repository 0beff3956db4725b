"""The blocks of a model card that a reader copies and runs, here or with the name on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.contract.model_folders import CONFIG
from augment.contract.reading import read_json
from distill.errors import ModelInvalid
from distill.inference.settings import Calibration, serving_settings

HERE = 'folder = "."  # where this card lies, or the name of the model on the hub\n'
"""The line of a block that names the model."""
WHOLE = 'folder = "."  # where this card lies\n'
"""The same of a block that opens files no library fetches by the model's name."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What a model's config says of what it reads and answers.

    Attributes:
        labels: In the order of its logits; none of a regression or an encoder.
        answers: Whether it is a classifier or a regression, and no plain encoder.
        texts: How many texts a row has.
        calibration: How its logits become probabilities.
    """

    labels: tuple[str, ...]
    answers: bool
    texts: int
    calibration: Calibration

    @classmethod
    def of(cls, folder: Path) -> Reader:
        """What the config in a model's folder says.

        Raises:
            ModelInvalid: There is none, or it is not as we write it.
        """
        config = read_json(folder / CONFIG, ModelInvalid, "a model's config")
        if not isinstance(config, dict):
            raise ModelInvalid(f"{folder / CONFIG} holds no settings.")
        names = config.get("id2label") or {}
        kinds = config.get("architectures") or [""]
        answers = str(kinds[0]).endswith("ForSequenceClassification")
        scores = config.get("problem_type") == "regression" or len(names) == 1
        settings = serving_settings(str(folder), config, len(names))
        labels = () if scores or not answers else tuple(str(names[key]) for key in names)
        return cls(labels, answers, len(settings.text_columns) or 1, settings.calibration)


def usage(reader: Reader) -> str:
    """Of a folder that transformers opens."""
    if not reader.answers:
        return _fenced(
            "from transformers import AutoModel, AutoTokenizer\n",
            f"{HERE}model = AutoModel.from_pretrained(folder)\n"
            "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
            'print(model(**tokenizer("a text", return_tensors="pt")).last_hidden_state.shape)\n',
        )
    theirs = _fenced(
        "from transformers import pipeline\n",
        f'{HERE}classify = pipeline("text-classification", model=folder{_scores(reader)})\n'
        f"print(classify({_text(reader)}))\n",
    )
    return f"{theirs}\n{_better(reader)}:\n\n{_ours(reader, HERE)}"


def graph_usage(reader: Reader) -> str:
    """Of the folder of a graph."""
    return f"{_ours(reader, WHOLE)}\n{_NO_CONFIG}\n"


def export_usage(reader: Reader, forms: Sequence[str]) -> str:
    """Of an export: the form that answers by itself, and the one that transformers opens.

    Args:
        reader: Of any form.
        forms: That are there.
    """
    parts = [_ours(reader, WHOLE)]
    if len(forms) > 1:
        named = ", ".join(f'`"{form}"`' for form in forms)
        parts.append(
            "The smallest form answers that lost at most half a point; "
            f"`load(folder, form=…)` takes another: {named}.\n"
        )
    if "transformers" not in forms:
        return "\n".join([*parts, f"{_NO_CONFIG}\n"])
    inside = 'from_pretrained(folder, subfolder="transformers")'
    theirs = _fenced(
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline\n",
        f"{HERE}model = AutoModelForSequenceClassification.{inside}\n"
        f"tokenizer = AutoTokenizer.{inside}\n"
        'classify = pipeline("text-classification", model=model, tokenizer=tokenizer'
        f"{_scores(reader)})\nprint(classify({_text(reader)}))\n",
    )
    says = "With transformers alone, from the folder of that form, which has to be named:\n"
    return "\n".join([*parts, says, theirs])


_NO_CONFIG = "`from_pretrained` and `pipeline` do not open graphs."


def on_hub(card: str, name: str) -> str:
    """The card as it stands on the hub: its blocks name the model, or fetch all of it.

    Args:
        card: As it lies here.
        name: Of the model on the hub.
    """
    fetch = (
        f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{name}")\n'
    )
    return card.replace(f"\n{WHOLE}", fetch).replace(HERE, f'folder = "{name}"\n')


def _ours(reader: Reader, line: str) -> str:
    texts = '[("a text", "another")]' if reader.texts > 1 else '["a text", "another"]'
    asks = "predict_proba" if reader.labels else "predict"
    return _fenced(
        "from distill import Classifier\n",
        f"{line}print(Classifier.load(folder).{asks}({texts}))\n",
    )


def _better(reader: Reader) -> str:
    what = "The same with calibrated probabilities" if reader.labels else "The same"
    return f"{what}, many texts at once"


def _text(reader: Reader) -> str:
    return '{"text": "a text", "text_pair": "another"}' if reader.texts > 1 else '"a text"'


def _scores(reader: Reader) -> str:
    return "" if reader.labels else ', function_to_apply="none"'


def _fenced(imports: str, code: str) -> str:
    return f"```python\n{imports}\n{code}```\n"
