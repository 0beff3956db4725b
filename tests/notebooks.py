"""The notebooks, run from top to bottom: ``make notebooks`` writes what they show."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RAN = "ran"
"""In the metadata of a notebook: the digest of the cells that its outputs are of."""


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook as it lies on disk."""
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Its cells that are run, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(notebook: nbformat.NotebookNode) -> str:
    """Of the sources of its code cells."""
    sources = "\0".join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(sources.encode()).hexdigest()


@contextmanager
def kernel(folder: Path) -> Iterator[Any]:
    """One process for several notebooks, in a folder that holds nothing but the sample's data."""
    (folder / "notebooks").mkdir()
    (folder / "data").symlink_to(ROOT / "data")
    owner = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3")
    with owner.setup_kernel(cwd=str(folder / "notebooks")):
        yield owner.km


def run(notebook: nbformat.NotebookNode, manager: Any, folder: Path) -> None:
    """Run it in a kernel that knows nothing of an earlier one but what lies in the folder."""
    first = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {folder / 'notebooks'}")
    notebook.cells.insert(0, first)
    try:
        NotebookClient(notebook, timeout=300, km=manager, record_timing=False).execute()
    finally:
        notebook.cells.remove(first)
    for count, cell in enumerate(code_cells(notebook), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    notebook.metadata[RAN] = digest(notebook)


def main() -> None:
    """Run all of them, or those that are named, and write what they show."""
    chosen = [path for path in NOTEBOOKS if not sys.argv[1:] or path.stem[:2] in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as place, kernel(Path(place)) as manager:
        for path in chosen:
            notebook = read(path)
            run(notebook, manager, Path(place))
            nbformat.write(notebook, path)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
