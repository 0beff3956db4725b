"""No test reaches beyond this machine: whatever asks a name or an address elsewhere is refused.

A hook on Python's own audit events, which no library can go around or take away. ``conftest.py``
installs it and puts this folder in front of ``PYTHONPATH``, so that every Python that a test starts
installs it too: it imports a module of this name by itself. What native code does without Python's
sockets it does not see.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import sys

RECORD = "TESTS_REACHED_OUT"
"""The variable that names the file in which each attempt leaves a line."""

_ASKS = {"getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo"}
_SENDS = {"connect", "sendto", "sendmsg"}
_OWN_NAMES = {"localhost", socket.gethostname()}
_CLOUDS = {"169.254.169.254", "metadata.google.internal"}
"""Where Ray asks which cloud it runs in, whatever it is told: refused, but no fault of a test."""


class ReachedOut(OSError):
    """Something asked for a place beyond this machine."""


def is_here(host: object) -> bool:
    """Whether a name or an address is this machine's own."""
    if host in (None, "", b""):
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name in _OWN_NAMES
    return address.is_loopback or address.is_unspecified or name in _own_addresses()


@functools.cache
def _own_addresses() -> set[str]:
    """Those of this machine's interfaces: nodes of Ray find each other by them."""
    import psutil

    return {each.address for some in psutil.net_if_addrs().values() for each in some}


def _host(event: str, args: tuple[object, ...]) -> object:
    """The place that an event is about; nothing where it is no internet address."""
    if event in _SENDS:
        connection, address = args[:2]
        internet = getattr(connection, "family", None) in (socket.AF_INET, socket.AF_INET6)
        return address[0] if internet and isinstance(address, tuple) else None
    return args[0][0] if event == "getnameinfo" and isinstance(args[0], tuple) else args[0]


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
