"""What benchmarks use of the product is there: they run for hours, seldom, and not in CI."""

from __future__ import annotations

import importlib

import pytest

from tests.conftest import ROOT

OTHERS = {"nlpaug_side"}  # runs in an environment of its own
NAMES = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py") if path.stem not in OTHERS
)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_imported(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
