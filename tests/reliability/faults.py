"""Faults: each strikes a running command, and says how the command may end.

The command runs in a fork of a process that has imported everything, so that a fault costs no
start and falls into the command's own work. Its output goes to a file.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import augment.cli
import augment.vectors.loading
import distill.cli

PAGE = os.sysconf("SC_PAGE_SIZE")
_OVERRIDES = 0b1110
"""CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER."""
ROOM = "2g"
PROGRAMS: dict[str, Callable[[], None]] = {"augment": augment.cli.main, "distill": distill.cli.main}
SLOW = 120
"""Seconds after which a command is taken for hanging."""


@dataclass(slots=True)
class Process:
    """A command that runs.

    Attributes:
        pid: Its process, which leads a group of its own.
        log: Where its output goes.
        began: When it was started, by the clock that cannot be set.
        code: How it ended; negative for a signal that it died of, None while it runs.
    """

    pid: int
    log: Path
    began: float = field(default_factory=time.monotonic)
    code: int | None = None

    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is None

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to it, or to all of its group, as a terminal does."""
        if self.running():
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, until: float = SLOW) -> int:
        """How it ends; one that hangs is killed, and has the code -1000."""
        while self.running():
            if time.monotonic() - self.began > until:
                self.send(signal.SIGKILL, group=True)
                os.waitpid(self.pid, 0)
                self.code = -1000
                break
            time.sleep(0.002)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # workers whose parent was killed
        return int(self.code or 0)

    def said(self) -> str:
        """All its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a command runs in.

    Attributes:
        memory: Bytes of address space that it may take beyond those of the start; 0 for all.
        powers: Whether root may do what permissions forbid.
        clock: Seconds that the clock jumps by, and when.
    """

    memory: int = 0
    powers: bool = True
    clock: tuple[float, float] = (0.0, 0.0)


CALM = Setting()


def start(program: str, arguments: list[str], log: Path, setting: Setting = CALM) -> Process:
    """Run a command in a fork of this process."""
    pid = os.fork()
    if pid:
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        return Process(pid, log)
    code = 97
    try:
        os.setpgid(0, 0)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for stream in (1, 2):
            os.dup2(handle, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
        augment.vectors.loading.KEPT_FROM_BYTES = 0  # the small table, too, goes to the cache
        _apply(setting)
        sys.argv = [program, *arguments]
        PROGRAMS[program]()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _apply(setting: Setting) -> None:
    if setting.memory:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
        resource.setrlimit(resource.RLIMIT_AS, (now + setting.memory, now + setting.memory))
    jump, after = setting.clock
    if jump:
        real, began = time.time, time.monotonic()
        time.time = lambda: real() + jump * (time.monotonic() - began > after)
    if not setting.powers:
        _give_up_powers()


def _give_up_powers() -> None:
    """From here on permissions count for root, too (``capset`` without overriding them)."""
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~_OVERRIDES
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


class Disk:
    """A file system in memory whose size, and whether it may be written, is changed at will."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)],
            check=True,
            capture_output=True,
        )

    def change(self, options: str) -> None:
        """Mount it again with other options."""
        command = ["mount", "-o", f"remount,{options}", str(self.folder)]
        subprocess.run(command, check=False, capture_output=True)

    def heal(self) -> None:
        """All the room that there is, to be written."""
        self.change(f"rw,size={ROOM}")

    def remove(self) -> None:
        """Give it back."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Case:
    """One command about to be struck.

    Attributes:
        disk: Where its output lies.
        out: The output folder on it.
        begin: Starts the command, in a setting.
        calm: Seconds that it takes undisturbed.
        bytes: That it writes undisturbed.
        draw: What chance there is.
    """

    disk: Disk
    out: Path
    begin: Callable[[Setting], Process]
    calm: float
    bytes: int
    draw: random.Random

    def moment(self) -> float:
        """A random time within the command's life."""
        return self.draw.uniform(0, self.calm)

    def started(self, setting: Setting = CALM) -> Process:
        """The command, after a random time."""
        process, after = self.begin(setting), self.moment()
        while process.running() and time.monotonic() - process.began < after:
            time.sleep(0.001)
        return process


def killed(case: Case) -> int:
    process = case.started()
    process.send(signal.SIGKILL)
    return process.wait()


def terminated(case: Case) -> int:
    process = case.started()
    process.send(signal.SIGTERM)
    return process.wait()


def interrupted(case: Case) -> int:
    process = case.started()
    process.send(signal.SIGINT, group=True)
    return process.wait()


def interrupted_twice(case: Case) -> int:
    process = case.started()
    process.send(signal.SIGINT, group=True)
    time.sleep(case.draw.uniform(0.01, 0.3))
    process.send(signal.SIGINT, group=True)
    return process.wait()


def full(case: Case) -> int:
    case.disk.change(f"size={max(1, round(case.draw.random() * case.bytes / PAGE)) * PAGE}")
    try:
        return case.begin(CALM).wait()
    finally:
        case.disk.heal()


def read_only(case: Case) -> int:
    process = case.started()
    case.disk.change("ro")
    try:
        return process.wait()
    finally:
        case.disk.heal()


def forbidden(case: Case) -> int:
    case.out.chmod(0o555)
    try:
        return case.begin(Setting(powers=False)).wait()
    finally:
        case.out.chmod(0o777)


def short_of_memory(case: Case) -> int:
    return case.begin(Setting(memory=round(case.draw.uniform(1, 300) * 2**20))).wait()


def second_writer(case: Case) -> int:
    first = case.started()
    second = case.begin(CALM)
    codes = first.wait(), second.wait()
    return max(codes, key=abs)


def folder_removed(case: Case) -> int:
    process = case.started()
    for path in list(case.out.iterdir()):
        shutil.rmtree(path, ignore_errors=True)
    return process.wait()


def clock_set(case: Case) -> int:
    jump = case.draw.choice([-1, 1]) * case.draw.choice([5, 3600, 400 * 86400])
    process = case.begin(Setting(clock=(jump, case.moment())))
    code = process.wait()
    for path in case.out.rglob("*"):
        with suppress(OSError):
            os.utime(path, (10**9 + case.draw.randint(0, 10**9),) * 2)
    return code


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and the exit codes that are right after it, 0 where it came too late."""

    strike: Callable[[Case], int]
    codes: frozenset[int]


FAULTS = {
    "kill -9": Fault(killed, frozenset({0, -signal.SIGKILL})),
    "SIGTERM": Fault(terminated, frozenset({0, 143})),
    "SIGINT": Fault(interrupted, frozenset({0, 130})),
    "SIGINT twice": Fault(interrupted_twice, frozenset({0, 130})),
    "full disk": Fault(full, frozenset({0, 3})),
    "read-only disk": Fault(read_only, frozenset({0, 3})),
    "no permission": Fault(forbidden, frozenset({3})),
    "little memory": Fault(short_of_memory, frozenset({0, 3, 4})),
    "second writer": Fault(second_writer, frozenset({0, 3})),
    "folder removed": Fault(folder_removed, frozenset({0, 3})),
    "clock set": Fault(clock_set, frozenset({0})),
}
