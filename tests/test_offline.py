"""Tests stay on this machine: each way out is refused, here and in whatever a test starts."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.offline.sitecustomize import RECORD, is_here

ELSEWHERE = "198.51.100.1"  # kept for documentation: nobody has it


@pytest.fixture(autouse=True)
def attempts() -> Iterator[Callable[[], str]]:
    """What the record says, which these tests fill on purpose."""
    record = Path(os.environ[RECORD])
    yield record.read_text
    record.write_text("")


def udp(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"", (host, 9))


async def stream(host: str) -> None:
    await asyncio.open_connection(host, 9)


WAYS = {
    "tcp": lambda: socket.create_connection((ELSEWHERE, 9), timeout=1),
    "tcp6": lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 9)),
    "no-error": lambda: socket.socket().connect_ex((ELSEWHERE, 9)),
    "udp": lambda: udp(ELSEWHERE),
    "name": lambda: socket.getaddrinfo("example.org", 443),
    "old-name": lambda: socket.gethostbyname("example.org"),
    "address": lambda: socket.gethostbyaddr(ELSEWHERE),
    "asyncio": lambda: asyncio.run(stream(ELSEWHERE)),
    "http": lambda: urllib.request.urlopen("http://example.org/", timeout=1),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_is_refused(way: str, attempts: Callable[[], str]) -> None:
    with pytest.raises(OSError, match="tests stay on this machine"):
        WAYS[way]()

    assert attempts().startswith("socket.")


def test_a_started_python_refuses_too(attempts: Callable[[], str]) -> None:
    code = f"import socket; socket.socket().connect(('{ELSEWHERE}', 9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "ReachedOut" in done.stderr
    assert f"socket.connect {ELSEWHERE}" in attempts()


def test_what_stays_here_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
    ours, theirs = socket.socketpair()
    ours.sendall(b"here")

    assert theirs.recv(4) == b"here"
    assert socket.getaddrinfo(None, 80)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("0.0.0.0", True),
        (b"localhost", True),
        ("", True),
        ("fe80::1%eth0", False),
        ("localhost.example.org", False),
        ("198.51.100.1", False),
        ("169.254.169.254", False),
        ("huggingface.co", False),
    ],
)
def test_which_places_are_here(host: str | bytes, here: bool) -> None:
    assert is_here(host) is here


def test_a_swallowed_refusal_fails_its_test(tmp_path: Path) -> None:
    """A library that takes the refusal for a bad line does not hide it."""
    (tmp_path / "test_swallows.py").write_text(
        "import contextlib, socket\n"
        "def test_swallows():\n"
        "    with contextlib.suppress(OSError):\n"
        f"        socket.socket().connect(('{ELSEWHERE}', 9))\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-n", "0", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert "the test reached beyond this machine" in done.stdout
    assert f"socket.connect {ELSEWHERE}" in done.stdout
    assert done.returncode == 1
