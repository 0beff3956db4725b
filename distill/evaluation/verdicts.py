"""What a result means, in sentences: which model has collapsed, what is simpler and better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from augment.contract.foreign import counted
from distill.evaluation.classes import ClassReport
from distill.evaluation.collapse import listed
from distill.evaluation.intervals import Interval, gap, interval
from distill.evaluation.results import (
    Baseline,
    EvaluationResult,
    Measurement,
    Role,
    Selection,
    Verdict,
)

CALLED = {
    Role.TEACHER: "the teacher",
    Role.PLAIN: "the student on labels only",
    Role.DISTILLED: "the distilled student",
}


def with_verdicts(
    result: EvaluationResult,
    advice: Mapping[str, str] | None = None,
    rare: Mapping[str, str] | None = None,
) -> EvaluationResult:
    """A result with what it means, see ``find_verdicts`` and ``lost_classes``."""
    found = find_verdicts(result.models, result.baselines, result.selection, advice or {})
    found += lost_classes(result, rare or {})
    return result.model_copy(update={"verdicts": found}) if found else result


def find_verdicts(
    models: Sequence[Measurement],
    baselines: Sequence[Baseline],
    selection: Selection,
    advice: Mapping[str, str],
) -> tuple[Verdict, ...]:
    """Name the models that have collapsed, and what the model that was made loses to.

    Which is the distilled student of a run, else the first model.

    Args:
        models: As they were measured.
        baselines: On the same rows.
        selection: The score that counts.
        advice: Name of a model to what would help it.
    """
    by_name = {model.model: model for model in models}
    made = by_name.get(Role.DISTILLED, models[0])
    rivals: dict[str, Measurement | Baseline] = {own.name: own for own in baselines}
    if Role.PLAIN in by_name:
        rivals = {CALLED[Role.PLAIN]: by_name[Role.PLAIN], **rivals}
    said = {model.model: model.collapse.sentence for model in models if model.collapse}
    if loss := _loss(made, rivals, selection, briefly=made.model in said):
        said[made.model] = f"{said[made.model]}: {loss}" if made.model in said else loss
    return tuple(
        Verdict(sentence=f"{_begun(name)} {sentence}.", hint=advice.get(name, ""))
        for name, sentence in said.items()
    )


def lost_classes(result: EvaluationResult, advice: Mapping[str, str]) -> tuple[Verdict, ...]:
    """Name the classes that a teacher, or the model that was made, hardly ever finds.

    A model that has collapsed finds most of them no more; that is said already.

    Args:
        result: Its models.
        advice: Name of a model to what would help it.
    """
    split, found = result.selection.split, []
    for model in result.models:
        report = model.classes.get(split)
        if report and report.lost and not model.collapse and model.model != Role.PLAIN:
            sentence = f"{_begun(model.model)} {_lost(report, split)}."
            found.append(Verdict(sentence=sentence, hint=advice.get(model.model, "")))
    return tuple(found)


def _lost(report: ClassReport, split: str) -> str:
    lost = report.lost
    if len(lost) == 1:
        (one,) = lost
        rare = f"recall {one.recall:.2f} of {counted(one.support, 'row')} of {split}"
        return f"hardly ever finds {one.name!r}: {rare}"
    names = listed([own.name for own in lost])
    return (
        f"hardly ever finds {len(lost)} of "
        f"{counted(len(report.by_recall), 'class')} of {split}: {names}"
    )


def _loss(
    made: Measurement,
    rivals: Mapping[str, Measurement | Baseline],
    selection: Selection,
    *,
    briefly: bool,
) -> str:
    """What a model loses to, as the rest of a sentence; empty if it wins."""
    metric, own = selection.metric, selection.of(made.scores)
    scores = {name: selection.of(rival.scores) for name, rival in rivals.items()}
    leads = {name: lead(rivals[name], made) for name in rivals if scores[name] >= own}
    spans = {name: gap(scores[name] - own, leads[name]) for name in leads}
    ahead = [name for name, span in leads.items() if span.low > 0]
    level = [name for name in leads if name not in ahead]
    if briefly:
        best = max(ahead, key=lambda name: scores[name], default="")
        return f"its {metric} is {own:.3f}, that of {best} {scores[best]:.3f}" if best else ""

    def listed(names: Sequence[str]) -> str:
        return " and ".join(f"{name} ({scores[name]:.3f}, {spans[name]})" for name in names)

    verbs = (("loses to", ahead), ("is no better than", level))
    parts = [f"{verb} {listed(some)}" for verb, some in verbs if some]
    if not parts:
        return ""
    return f"{' and '.join(parts)}: its {metric} on {selection.split} is {own:.3f}"


def lead(rival: Measurement | Baseline, made: Measurement) -> Interval:
    """Where 95% of the differences of two models lie, on the same resampled rows."""
    return interval(np.asarray(rival.resampled) - np.asarray(made.resampled))


def _begun(name: str) -> str:
    """A model as a sentence begins with it."""
    called = CALLED.get(name)  # type: ignore[call-overload]
    return called[0].upper() + called[1:] if called else name
