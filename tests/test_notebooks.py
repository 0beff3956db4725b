"""The notebooks run from top to bottom, and their outputs are committed, of the cells they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import NOTEBOOKS, RAN, code_cells, digest, kernel, read, run

AGAIN = "make notebooks writes them again"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them work: what one has made, the next one finds."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def manager(place: Path) -> Iterator[Any]:
    with kernel(place) as manager:
        yield manager


def shapes(notebook: Any) -> list[Any]:
    """What each cell shows: kinds of output and heads of tables, without numbers."""
    return [
        [
            (own.output_type, sorted(own.get("data", ())), re.sub(r"<[^>]*>|[\d\s]+", " ", head))
            for own in cell.outputs
            for html in ["".join(own.get("data", {}).get("text/html", ""))]
            for head in [html.partition("<thead>")[2].partition("</thead>")[0]]
        ]
        for cell in code_cells(notebook)
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_is_committed(path: Path, manager: Any, place: Path) -> None:
    notebook = read(path)
    run(notebook, manager, place)

    assert shapes(notebook) == shapes(read(path)), f"outputs are another release's: {AGAIN}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_of_these_cells(path: Path) -> None:
    notebook = read(path)
    cells = code_cells(notebook)
    outputs = [output for cell in cells for output in cell.outputs]

    assert notebook.metadata.get(RAN) == digest(notebook), f"outputs are of other cells: {AGAIN}"
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert not [own for own in outputs if own.output_type == "error" or own.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "# real data: " in str(cells) or "# your own: " in str(cells)
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work)/", str(outputs)), "a place of a machine"
    assert len(NOTEBOOKS) == 4


def test_a_changed_cell_is_noticed() -> None:
    notebook = read(NOTEBOOKS[0])
    before = digest(notebook)
    code_cells(notebook)[-1].source += "\n1"

    assert digest(notebook) != before
