"""What a result means, in sentences: which model has collapsed, what is simpler and better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill.evaluation.classes import ClassReport
from distill.evaluation.collapse import listed
from distill.evaluation.results import (
    Baseline,
    EvaluationResult,
    Measurement,
    Role,
    Selection,
    Verdict,
)
from distill.evaluation.uncertainty import noise

CALLED = {
    Role.TEACHER: "the teacher",
    Role.PLAIN: "the student on labels only",
    Role.DISTILLED: "the distilled student",
}


def with_verdicts(
    result: EvaluationResult, advice: Mapping[str, str] | None = None
) -> EvaluationResult:
    """A result with what it means, see ``find_verdicts``."""
    rows = result.rows[result.selection.split]
    found = find_verdicts(result.models, result.baselines, result.selection, rows, advice or {})
    found += lost_classes(result)
    return result.model_copy(update={"verdicts": found}) if found else result


def find_verdicts(
    models: Sequence[Measurement],
    baselines: Sequence[Baseline],
    selection: Selection,
    rows: int,
    advice: Mapping[str, str],
) -> tuple[Verdict, ...]:
    """Name the models that have collapsed, and what the model that was made loses to.

    Which is the distilled student of a run, else the first model.

    Args:
        models: As they were measured.
        baselines: On the same rows.
        selection: The score that counts.
        rows: Of the split that selects.
        advice: Name of a model to what would help it.
    """
    scores = {model.model: selection.of(model.scores) for model in models}
    made = Role.DISTILLED if Role.DISTILLED in scores else models[0].model
    simpler = {CALLED[Role.PLAIN]: scores[Role.PLAIN]} if Role.PLAIN in scores else {}
    rivals = simpler | {own.name: selection.of(own.scores) for own in baselines}
    said = {model.model: model.collapse.sentence for model in models if model.collapse}
    if loss := _loss(scores[made], rivals, selection, rows, briefly=made in said):
        said[made] = f"{said[made]}: {loss}" if made in said else loss
    return tuple(
        Verdict(sentence=f"{_begun(name)} {sentence}.", hint=advice.get(name, ""))
        for name, sentence in said.items()
    )


def lost_classes(result: EvaluationResult) -> tuple[Verdict, ...]:
    """Name the classes that a teacher, or the model that was made, hardly ever finds.

    A model that has collapsed finds most of them no more; that is said already.
    """
    split, found = result.selection.split, []
    for model in result.models:
        report = model.classes.get(split)
        if report and report.lost and not model.collapse and model.model != Role.PLAIN:
            found.append(Verdict(sentence=f"{_begun(model.model)} {_lost(report, split)}."))
    return tuple(found)


def _lost(report: ClassReport, split: str) -> str:
    lost = report.lost
    if len(lost) == 1:
        (one,) = lost
        rare = f"recall {one.recall:.2f} of {one.support:,} rows of {split}"
        return f"hardly ever finds {one.name!r}: {rare}"
    names = listed([own.name for own in lost])
    return f"hardly ever finds {len(lost)} of {len(report.by_recall)} classes of {split}: {names}"


def _loss(
    own: float, rivals: Mapping[str, float], selection: Selection, rows: int, *, briefly: bool
) -> str:
    """What a score loses to, as the rest of a sentence; empty if it wins."""
    metric, within = selection.metric, noise(selection.metric, own, rows)
    ahead = {name: score for name, score in rivals.items() if score - own > within}
    level = {name: score for name, score in rivals.items() if 0 <= score - own <= within}
    if briefly:
        best = max(ahead, key=lambda name: ahead[name], default="")
        return f"its {metric} is {own:.3f}, that of {best} {ahead[best]:.3f}" if best else ""
    parts = [
        f"{verb} {' and '.join(f'{name} ({score:.3f})' for name, score in some.items())}"
        for verb, some in (("loses to", ahead), ("is no better than", level))
        if some
    ]
    if not parts:
        return ""
    blur = f"; on {rows:,} rows, differences below {within:.2g} are noise" if level else ""
    return f"{' and '.join(parts)}: its {metric} on {selection.split} is {own:.3f}{blur}"


def _begun(name: str) -> str:
    """A model as a sentence begins with it."""
    called = CALLED.get(name)  # type: ignore[call-overload]
    return called[0].upper() + called[1:] if called else name
