"""Teachers and students of ``benchmarks.paper_size`` in all forms: raw text to label, in turns.

    python -m benchmarks.paper_served --encoder ../base/mpnet --folder DIR --json FILE

Of every task and shape whose first student with the arm ``whole`` is trained. The score is that of
the half of validation that chose nothing, calibrated as the other half says. What has ended is kept
in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augment.contract import Fault, Version
from benchmarks.halves import REPORTED
from benchmarks.machine import describe, keep
from benchmarks.paper_campaign import Campaign, Cell
from benchmarks.paper_size import campaign_of, cells_of, parser_of
from benchmarks.student_to_answer import Rival, file_bytes, texts_of, times
from distill.evaluation.metrics import score
from distill.inference.classifier import Classifier
from distill.runs.directory import STUDENT
from distill.serving.export import export_model

FORMS = ("onnx", "onnx-int8", "onnx-small")


def kept(campaign: Campaign, cell: Cell) -> Path:
    """Where the figures of a cell are kept."""
    return campaign.folder / "served" / f"{cell}.json"


def serve(campaign: Campaign, cell: Cell) -> dict[str, Any]:
    """Export what is missing, score and time all forms, and keep the figures."""
    version, refused = campaign.version(cell.task), dict[str, str]()
    places = {
        "teacher": campaign.teacher(cell.task),
        "student": campaign.place(cell) / STUDENT,
    }
    out = kept(campaign, cell)
    rivals = [
        rival
        for who, place in places.items()
        for rival in forms_of(who, place, version, out.with_suffix("") / who, refused)
    ]
    timed = times(version, rivals)
    found = {
        "task": cell.task,
        "shape": cell.shape,
        "metric": version.task.selection_metric,
        "models": {
            rival.name: {
                "score": round(score_of(rival, version), 4),
                "megabytes": round(rival.file_bytes / 1e6, 2),
                **timed[rival.name],
            }
            for rival in rivals
        },
        "refused": refused,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def forms_of(
    who: str, place: Path, version: Version, out: Path, refused: dict[str, str]
) -> Iterator[Rival]:
    """A model as it is, and in each form that there is for its family."""
    yield Rival(f"{who}, PyTorch", (Classifier.load(place),), file_bytes(place))
    for form in FORMS:
        try:
            if not (out / form).is_dir():
                export_model(str(place), version, out=out / form, forms=[form], quiet=True)
        except Fault as fault:
            refused[f"{who}, {form}"] = fault.problem
            continue
        folder = out / form / form
        yield Rival(f"{who}, {form}", (Classifier.load(folder),), file_bytes(folder))


def score_of(rival: Rival, version: Version) -> float:
    """By the selection metric, on the half that chose nothing."""
    names, metric = version.task.label.names, version.task.selection_metric
    own = rival.classifiers[0].predict(texts_of(version, REPORTED), batch_size=32)
    answers = np.array([names.index(answer) for answer in own] if names else own)
    labels = version.to_pandas(REPORTED)["label"].to_numpy()
    return score((metric,), answers, labels, len(names))[metric]


def main(words: Sequence[str] | None = None) -> None:
    """Time what is trained; print and keep the figures."""
    options = parser_of(__doc__).parse_args(words)
    campaign, found = campaign_of(options), []
    for cell in cells_of(options):
        if (cell.arm.name, cell.seed) == ("whole", 0) and campaign.is_done(cell):
            file = kept(campaign, cell)
            known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
            found.append(known or serve(campaign, cell))
            print(cell, found[-1]["models"], flush=True)
    keep({"machine": describe(), "served": found}, options.json)


if __name__ == "__main__":
    main()
