"""``distill push``: a student, a teacher, an export or a trimmed model as a model of the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from augment.contract.hub import HubFile, Push, check_repo, refuse_link, refuse_places
from augment.contract.models import is_hub_name
from augment.contract.reading import read_json, read_text
from distill.errors import DataInvalid, ModelInvalid, UsageError
from distill.evaluation.results import EvaluationResult, GeneralResult
from distill.inference.classifier import Classifier
from distill.inference.forms import RECORD as EXPORT_RECORD
from distill.inference.forms import is_export, is_graph
from distill.models.folders import SAFETENSORS, model_folder
from distill.runs.card import CARD, general_card, result_card
from distill.runs.directory import RUN, STUDENT
from distill.runs.listing import open_run
from distill.runs.records import TEACHER_RECORD, TEACHER_SEAL, flaw, read_seal
from distill.runs.records import read_json as read_record
from distill.runs.usage import Reader, on_hub
from distill.serving.export import FORMS, ExportResult
from distill.serving.trim import RECORD as TRIM_RECORD

_FILES = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
}
_SUFFIXES = (".safetensors", ".model", ".onnx", ".onnx.data")
"""What a model is read from: nothing else of its folder is pushed, but its card and records."""
_RECORDS = (EXPORT_RECORD, TRIM_RECORD)


def push_model(
    model: str | os.PathLike[str], repo: str, *, public: bool = False, dry_run: bool = False
) -> Push:
    """Push a model to the hub: its weights, config, tokenizer and card, and nothing else.

    What was sealed is compared with its seal, and every classifier answers a text before anything
    is sent. Paths of this machine are left out of records.

    Args:
        model: A run directory (its student is pushed), a model folder, or what export or trim made.
        repo: ``owner/name`` of the model; made where it is not there.
        public: Let everybody read it.
        dry_run: Send nothing, ask nothing: say what would go there.

    Raises:
        UsageError: A name is none, no token is known, or what is there is another's or not as
            private as was asked.
        ModelInvalid: The model was damaged, or cannot answer.
        HubRefused: The hub did not take it, or cannot be reached.

    Examples:
        >>> from distill import push
        >>> assert not push("runs/reviews", "owner/reviews", dry_run=True).url
    """
    check_repo(repo)
    name = os.fspath(model)
    place = Path(name).expanduser()
    if not place.is_dir():
        what = "a name of the hub" if is_hub_name(name) and not place.exists() else "no folder"
        raise UsageError(f"{name} is {what}: what is pushed lies here.", "Name its folder.")
    place = place.resolve()  # "." has no name
    folder = place if is_export(place) and not is_graph(place) else _model_folder(place)
    names = sorted(_names(folder))
    _check(folder)
    files = tuple(sorted((_file(folder, each, repo) for each in names), key=lambda f: f.path))
    if CARD not in names and (card := _made_card(place, folder)):
        files = (*files, HubFile.of(CARD, on_hub(card, repo).encode()))
    texts = [file for file in files if _is_text(file.path)]
    refuse_places(texts, folder)
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    push = Push(repo, "model", public, files, tuple(sorted(here - {*names})))
    return push if dry_run else push.send("distill push", folder.name, _ours)


def _model_folder(place: Path) -> Path:
    if is_graph(place):
        return place
    return model_folder(str(place))


def _names(folder: Path) -> Iterator[str]:
    """What of a folder is the model, by its POSIX path."""
    forms = [form for form in FORMS if (folder / form).is_dir()] if is_export(folder) else []
    for part in ("", *forms):
        for path in sorted((folder / part).iterdir()):
            name = PurePosixPath(part, path.name).as_posix()
            if path.is_file() and (_ours(name) or name == CARD):
                yield name


def _ours(path: str) -> bool:
    """Whether a file is one that a push writes; the card is left to whoever has written more."""
    name = PurePosixPath(path).name
    return not name.startswith(".") and (
        name in _FILES or name.endswith(_SUFFIXES) or path in _RECORDS
    )


def _is_text(path: str) -> bool:
    return not path.endswith(_SUFFIXES) and PurePosixPath(path).name not in (
        "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt",
    )  # fmt: skip


def _file(folder: Path, name: str, repo: str) -> HubFile:
    """A file as it goes there: cards name their model, records no place of this machine."""
    path = folder / name
    refuse_link(path)
    if name == CARD:
        text = read_text(path, DataInvalid, "a card")
        return HubFile.of(name, on_hub(text, repo).encode())
    if name in _RECORDS:
        record = read_json(path, DataInvalid, "a record")
        if isinstance(record, dict) and isinstance(record.get("model"), str):
            record["model"] = Path(record["model"]).name
        return HubFile.of(name, (json.dumps(record, indent=2) + "\n").encode())
    return HubFile.of(name, path)


def _check(folder: Path) -> None:
    """See that the model is the one that was made, and answers.

    Raises:
        ModelInvalid: It is not, or does not.
    """
    if is_export(folder) and not is_graph(folder):
        forms = [form for form in FORMS if (folder / form).is_dir()]
        if not forms:
            raise ModelInvalid(f"{folder} holds no form of a model.", "Export the model again.")
        for form in forms:
            Classifier.load(folder, form=form)
        return
    if (folder / TEACHER_RECORD).is_file():
        sealed = read_seal(folder, place=folder / TEACHER_SEAL)
        why = flaw(folder, sealed.origin, place=folder / TEACHER_SEAL) if sealed else "has no seal"
        if why:
            raise ModelInvalid(f"{folder} {why}.", "Put it back, or make the teacher again.")
    if is_graph(folder) or Reader.of(folder).answers:
        Classifier.load(folder)
    elif not any(folder.glob(f"*{Path(SAFETENSORS).suffix}")):
        raise ModelInvalid(f"{folder} has no weights in safetensors.", "Save it as safetensors.")


def _made_card(place: Path, folder: Path) -> str:
    """The card of a form by itself, or of what was made before models had one; else nothing."""
    export = folder.parent
    if folder.name in FORMS and is_export(export):
        found = read_record(export / EXPORT_RECORD, ExportResult)
        return found.card(export, only=folder.name)
    if not ((place / RUN).is_file() and folder == place / STUDENT) and (
        not (place / TEACHER_RECORD).is_file()
    ):
        return ""
    run = open_run(place)
    if isinstance(run.outcome, EvaluationResult):
        return result_card(folder, run.outcome, run.identity)
    if isinstance(run.outcome, GeneralResult):
        return general_card(folder, run.outcome, run.identity)
    return ""
