"""The smallest form of a model that keeps its score: what a run ends with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augment.contract import Version
from augment.contract.files import check_output, new_place, sole_writer
from augment.contract.foreign import sized
from distill.errors import ExtraMissing, UsageError
from distill.inference.forms import FINE_DROP, chosen_form
from distill.models.folders import folder_digest
from distill.runs.progress import Narrator
from distill.runs.records import read_json
from distill.serving.export import (
    FORMS,
    RECORD,
    ExportedForm,
    ExportResult,
    Trimming,
    write_export,
)
from distill.serving.onnx import require_onnx
from distill.serving.trim import RECORD as TRIM_RECORD


@dataclass(frozen=True, slots=True)
class Smallest:
    """A form of an export.

    Attributes:
        folder: Of the form.
        form: What was measured of it.
        whole: Likewise of the model that it was made from.
        metric: What the drop is of.
        trimmed: Whether tokens that the version does not hold were left out.
    """

    folder: Path
    form: ExportedForm
    whole: ExportedForm
    metric: str
    trimmed: bool

    def __str__(self) -> str:
        less = f" · {self.metric} {self.form.drop:.3f} lower" if self.form.drop >= 0.0005 else ""
        sizes = f"{sized(self.form.file_bytes)} of {sized(self.whole.file_bytes)}"
        trimmed = " · vocabulary trimmed" * self.trimmed
        return f"{self.folder} · {sizes}{less}{trimmed}"


def export_smallest(
    model: str, version: Version, *, out: str | Path, share: float = 1.0, quiet: bool = False
) -> Smallest:
    """Export a model so that its smallest form answers; the same call again finds it there.

    Tokens are left out of the vocabulary where the score on validation is kept without them, to
    within ``FINE_DROP``. Without the packages of ONNX there is the transformers form alone.

    Args:
        model: Folder or run directory.
        version: Whose rows it is measured on.
        out: The folder of the export.
        share: Of the seconds that forms are usually timed for.
        quiet: Say nothing on stderr.

    Raises:
        UsageError: Something else is there.
        Fault: With a sentence that says what to do.
    """
    out, narrator = new_place(out), Narrator(quiet=quiet)
    if out.exists():
        kept = read_json(out / RECORD, ExportResult)
        if kept.model_sha256 != folder_digest(model):
            raise UsageError(f"{out} is of another model.", f"Remove {out}, then repeat this.")
        return _smallest(out, kept)
    check_output(out)
    trimming = Trimming(most_lost=FINE_DROP)
    with sole_writer(out):
        made = write_export(model, version, out, _forms(narrator), trimming, narrator, share)
    return _smallest(out, made)


def _forms(narrator: Narrator) -> tuple[str, ...]:
    try:
        require_onnx()
    except ExtraMissing as missing:
        narrator.say("notice", f"exported for transformers alone: {missing.problem}")
        for line in missing.hint.split("\n"):
            narrator.say("", line)
        return ("transformers",)
    return FORMS


def _smallest(out: Path, result: ExportResult) -> Smallest:
    folder = chosen_form(out)
    forms = {form.form: form for form in result.forms}
    return Smallest(
        folder,
        forms[folder.name],
        result.forms[0],
        result.selection.metric,
        (out / TRIM_RECORD).exists(),
    )
