"""Expand text data sets by word replacement into versioned Parquet."""

from __future__ import annotations

TYPE_CHECKING = False  # "typing" would take longer than all of this
if TYPE_CHECKING:
    from typing import Any

    from augment.analysis.plan import plan_task as plan
    from augment.analysis.preview import preview
    from augment.analysis.report import write_report as report
    from augment.analysis.stats import difference as diff
    from augment.analysis.stats import version_stats as stats
    from augment.contract import Version, list_versions, open_version, verify
    from augment.derive.add import add_rows
    from augment.derive.filter import filter_version
    from augment.derive.merge import merge_versions
    from augment.derive.write import write_version
    from augment.pipeline import augment_task
    from augment.recipes.load import load_recipe
    from augment.replacement.candidate_store import candidate_store
    from augment.sources.task_files import draft_task
    from augment.vectors.cache import vector_tables
    from augment.versions.push import push_version as push

    __version__: str

__all__ = [
    "Version",
    "__version__",
    "add_rows",
    "augment_task",
    "candidate_store",
    "diff",
    "draft_task",
    "filter_version",
    "list_versions",
    "load_recipe",
    "merge_versions",
    "open_version",
    "plan",
    "preview",
    "push",
    "report",
    "stats",
    "vector_tables",
    "verify",
    "write_version",
]
_PLACES = {
    "Version": "contract.version",
    "add_rows": "derive.add",
    "augment_task": "pipeline",
    "candidate_store": "replacement.candidate_store",
    "diff": "analysis.stats:difference",
    "draft_task": "sources.task_files",
    "filter_version": "derive.filter",
    "list_versions": "contract.version",
    "load_recipe": "recipes.load",
    "merge_versions": "derive.merge",
    "open_version": "contract.version",
    "plan": "analysis.plan:plan_task",
    "preview": "analysis.preview",
    "push": "versions.push:push_version",
    "report": "analysis.report:write_report",
    "stats": "analysis.stats:version_stats",
    "vector_tables": "vectors.cache",
    "verify": "contract.version",
    "write_version": "derive.write",
}
"""Name → module, and what it is called there where that is another name."""


def __getattr__(name: str) -> Any:
    """Import on first use: a command listens for Ctrl-C before anything else is loaded."""
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("augment-distill")
    if name in _PLACES:
        module, _, other = _PLACES[name].partition(":")
        return getattr(import_module(f"{__name__}.{module}"), other or name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
