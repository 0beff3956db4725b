"""Fixtures every test may use: the real data beside the checkout, and tiny models made here."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.offline.sitecustomize import RECORD
from tests.quick import be_quick

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or no child would hear Ctrl-C


OFFLINE = ROOT / "tests" / "offline"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])]
)
os.environ["HF_HUB_OFFLINE"] = "1"  # the hub's own switch: it says at once that it is out of reach


def pytest_configure(config: pytest.Config) -> None:
    """Give this process, and those it starts, a file for what reached beyond this machine."""
    descriptor, os.environ[RECORD] = tempfile.mkstemp(prefix="reached-out-")
    os.close(descriptor)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the file away."""
    Path(os.environ[RECORD]).unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Fail a test during which something reached out, even if the refusal was swallowed.

    The threads that it gave torch are taken back: two that wait for each other on a busy machine
    are forty times slower than one.
    """
    yield
    torch.set_num_threads(1)
    record = Path(os.environ[RECORD])
    if attempts := record.read_text(encoding="utf-8"):
        record.write_text("")
        pytest.fail(f"the test reached beyond this machine:\n{attempts}", pytrace=False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models, or a skip that says what is missing."""
    if not (SHARED / "README.md").is_file():
        pytest.skip(f"real data and models are not at {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def sample() -> Path:
    """The embedded sample."""
    return ROOT / "data" / "sample"


@pytest.fixture(scope="session", autouse=True)
def _vectors_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tables of vectors that tests keep are not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUGMENT_VECTORS_CACHE", str(tmp_path_factory.mktemp("vectors-cache")))
        yield


def pytest_collection_finish() -> None:
    """Everything is imported by now."""
    be_quick()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the real data, so that ``-m shared`` selects it."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)
