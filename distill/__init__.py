"""Distil an encoder into a small one: on raw text, and for a task from a saved version of it."""

from __future__ import annotations

TYPE_CHECKING = False  # "typing" would take longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from distill.ablation import ablate_task
    from distill.data.corpus import Source
    from distill.diagnosis.diagnose import diagnose as doctor
    from distill.evaluation.compare import evaluate_models as evaluate
    from distill.general import distill_general
    from distill.inference.classifier import Classifier
    from distill.recipes.load import load_recipe
    from distill.reports.task import distill_task
    from distill.reports.writing import write_report as report
    from distill.runs.comparison import compare_runs as compare
    from distill.runs.listing import Run, list_runs, open_run
    from distill.serving.answers import predict
    from distill.serving.cascade import find_thresholds
    from distill.serving.export import export_model as export
    from distill.serving.glue_submission import check_submission
    from distill.serving.mistakes import write_mistakes
    from distill.serving.push import push_model as push
    from distill.serving.trim import trim_model as trim
    from distill.teacher import fine_tune_teacher as distill_teacher
    from distill.training.budget import Budget

    __version__: str

__all__ = [
    "Budget",
    "Classifier",
    "Run",
    "Source",
    "__version__",
    "ablate_task",
    "check_submission",
    "compare",
    "distill_general",
    "distill_task",
    "distill_teacher",
    "doctor",
    "evaluate",
    "export",
    "find_thresholds",
    "list_runs",
    "load_recipe",
    "open_run",
    "predict",
    "push",
    "report",
    "trim",
    "write_mistakes",
]
_PLACES = {
    "Budget": "training.budget",
    "Classifier": "inference.classifier",
    "Run": "runs.listing",
    "Source": "data.corpus",
    "ablate_task": "ablation",
    "check_submission": "serving.glue_submission",
    "compare": "runs.comparison:compare_runs",
    "distill_general": "general",
    "distill_task": "reports.task",
    "distill_teacher": "teacher:fine_tune_teacher",
    "doctor": "diagnosis.diagnose:diagnose",
    "evaluate": "evaluation.compare:evaluate_models",
    "export": "serving.export:export_model",
    "find_thresholds": "serving.cascade",
    "list_runs": "runs.listing",
    "load_recipe": "recipes.load",
    "open_run": "runs.listing",
    "predict": "serving.answers",
    "push": "serving.push:push_model",
    "report": "reports.writing:write_report",
    "trim": "serving.trim:trim_model",
    "write_mistakes": "serving.mistakes",
}
"""Name → module, and what it is called there where that is another name."""


def __getattr__(name: str) -> Any:
    """Import on first use: ``import distill`` loads neither torch nor transformers."""
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("augment-distill")
    if name in _PLACES:
        import_module("augment.contract")  # first: it quiets what a notebook need not hear
        module, _, other = _PLACES[name].partition(":")
        return getattr(import_module(f"{__name__}.{module}"), other or name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
