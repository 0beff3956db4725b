"""What README and docs show is run: every command and every Python block, with stand-ins.

``tests/documents/`` says what stands in for models and data, and how little is trained.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documents.blocks import PARSED, RUN, SHOWN, blocks, pages
from tests.documents.run import Page, few_steps, run_command
from tests.documents.world import Made, furnish

PAGES = [page for page in pages() if blocks(page)]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("documents") / "made", run_command)


@pytest.fixture(autouse=True)
def _few_steps() -> Iterator[None]:
    with few_steps():
        yield


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_shows_runs(page: Path, made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "user"
    furnish(folder)
    runner = Page(folder, made)

    for block in blocks(page):
        try:
            runner.run(block)
        except Exception as error:
            pytest.fail(f"{block}\n{error}", pytrace=False)
    print(f"{page.name}: {dict(runner.done)}")


def test_each_block_says_what_it_is() -> None:
    """What is to be run cannot hide behind a fence without a language."""
    every = [block for page in PAGES for block in blocks(page)]
    kinds = Counter(block.language for block in every)

    assert set(kinds) <= {*RUN, *PARSED, *SHOWN}, [
        str(block) for block in every if block.language not in {*RUN, *PARSED, *SHOWN}
    ]
    left = [block for block in every if block.reason and block.language in RUN]
    assert len(left) * 5 <= sum(kinds[language] for language in RUN)


def test_the_site_builds_without_a_warning_and_asks_no_server(tmp_path: Path) -> None:
    """Links, anchors and the navigation are looked at; the reference is made from the code."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [*command, "--site-dir", str(tmp_path)],
        **{"cwd": ROOT, "env": environment, "capture_output": True, "text": True},
    )
    reference = (tmp_path / "reference" / "distill.html").read_text(encoding="utf-8")

    assert (built.returncode, built.stderr) == (0, "")
    assert "--student" in reference
    asked = re.compile(r'(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css|woff2?)"')
    assert not [page for page in tmp_path.rglob("*.html") if asked.search(page.read_text("utf-8"))]
