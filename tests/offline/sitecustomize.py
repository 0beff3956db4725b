"""No test reaches beyond this machine: whatever asks a name or an address elsewhere is refused.

A hook on Python's own audit events, which no library can go around or take away. ``conftest.py``
installs it and puts this folder in front of ``PYTHONPATH``, so that every Python that a test starts
installs it too: it imports a module of this name by itself. That comes before anything else, so
nothing more is imported until there is something to look at. What native code does without Python's
sockets is not seen.
"""

from __future__ import annotations

import os
import sys

RECORD = "TESTS_REACHED_OUT"
"""The variable that names the file in which each attempt leaves a line."""

_ASKS = {"getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo"}
_SENDS = {"connect", "sendto", "sendmsg"}
_CLOUDS = {"169.254.169.254", "metadata.google.internal"}
"""Where Ray asks which cloud it runs in, whatever it is told: refused, but no fault of a test."""


class ReachedOut(OSError):
    """Something asked for a place beyond this machine."""


def is_here(host: object) -> bool:
    """Whether a name or an address is this machine's own; nodes of Ray find each other by it."""
    import ipaddress
    import socket

    if host in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or name in _own_addresses()


def _own_addresses() -> set[str]:
    import psutil

    return {each.address for some in psutil.net_if_addrs().values() for each in some}


def _host(name: str, args: tuple[object, ...]) -> object:
    """The place that an event is about; nothing where it is no internet address."""
    import socket

    if name in _SENDS:
        connection, address = args[:2]
        internet = getattr(connection, "family", None) in (socket.AF_INET, socket.AF_INET6)
        return address[0] if internet and isinstance(address, tuple) else None
    return args[0][0] if name == "getnameinfo" and isinstance(args[0], tuple) else args[0]


def refuse(event: str, args: tuple[object, ...]) -> None:
    """Let pass whatever stays on this machine.

    Raises:
        ReachedOut: It does not.
    """
    if not event.startswith("socket."):
        return
    name = event.removeprefix("socket.")
    if name in _ASKS | _SENDS and not is_here(host := _host(name, args)):
        line = f"{event} {host} by {' '.join(sys.orig_argv)[:200]}"
        if host not in _CLOUDS and (record := os.environ.get(RECORD)):
            with open(record, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        raise ReachedOut(f"tests stay on this machine: {line}")


sys.addaudithook(refuse)
