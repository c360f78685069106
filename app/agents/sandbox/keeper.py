"""Stands inside a sandbox beside the program: hands it its files, watches it, and hands out what it leaves.

Run as the first process of a sandbox (`python -I -c SOURCE`); speaks frames over stdin and stdout, one letter, four
bytes of length, and the payload:

    in    P {the program and its limits}   F {a file's path}   D (a piece of that file)   G (go)
    out   O (a piece of output)   X {how it ended}   F, D (what it left)   Z (that was all)

Facts
- The first process of a pid namespace is sent no signal from inside that it does not handle, SIGKILL included; when it
  ends, the kernel ends all others. So a program can neither end its keeper nor outlive it.
- /proc/1/mem and /proc/1/fd of a process that is not dumpable open for root alone.
Rule: the standard library only, of any Python from 3.9 on; its source is handed to another interpreter. Nobody trusts
what it says: whoever reads its frames checks them (`inbox.py`).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import selectors
import signal
import stat
import struct
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

WORK = "/work"
TEMPORARY = "/tmp"  # noqa: S108 - of the sandbox, which nobody else is in
SOURCE = "/tmp/program.py"  # noqa: S108 - as above
LOOK_S = 0.03
END_S = 0.003
"""how soon a program is looked after that prints no more: it is about to end"""
PIECE = 64 * 1024
SHOW_BYTES, SHOW_S = 8 * 1024, 0.1
PR_SET_DUMPABLE = 4
PAGE = os.sysconf("SC_PAGE_SIZE")


def read_exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(3)  # nobody is there to run it for
        data += piece
    return data


def write_frame(kind: bytes, payload: bytes) -> None:
    data = kind + struct.pack(">I", len(payload)) + payload
    while data:
        data = data[os.write(1, data) :]


def take_in() -> dict[str, Any]:
    """Read the program, its limits and its files."""
    plan: dict[str, Any] = {}  # Any: as it was written down
    target: Any = None  # Any: a file that is written, or none yet
    while True:
        kind, size = struct.unpack(">cI", read_exactly(5))
        payload = read_exactly(size)
        if kind == b"P":
            plan = json.loads(payload)
        elif kind == b"F":
            if target is not None:
                target.close()
            path = os.path.join(WORK, json.loads(payload)["path"])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            target = open(path, "wb")  # noqa: SIM115 - the frames that come next go into it
        elif kind == b"D":
            target.write(payload)
        else:
            if target is not None:
                target.close()
            return plan


def start(plan: dict[str, Any]) -> tuple[int, int]:
    def confine() -> None:
        for kind, most in plan["rlimits"].items():
            number = getattr(resource, kind)
            hard = resource.getrlimit(number)[1]
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(number, (limit, limit))
        os.nice(5)

    with open(SOURCE, "w", encoding="utf-8") as source:
        source.write(plan["code"])
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-s", "-B", "-u", SOURCE],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        cwd=WORK,
        env=plan["environment"],
        preexec_fn=confine,
        start_new_session=True,
    )
    os.close(writing)
    os.set_blocking(reading, False)
    return child.pid, reading


class Watch:
    """What the program took so far, against what it may."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.until = time.monotonic() + plan["wall_s"]

    def trouble(self, printed_bytes: int) -> str:
        if time.monotonic() > self.until:
            return "time"
        if printed_bytes > self.plan["flood_bytes"]:
            return "output"
        if memory_bytes() > self.plan["memory_bytes"]:
            return "memory"
        for folder in (WORK, TEMPORARY, "/dev/shm"):  # noqa: S108 - of the sandbox
            try:
                room = os.statvfs(folder)
            except OSError:
                continue
            if room.f_files - room.f_ffree > self.plan["inodes"]:
                return "files"
        return ""


def memory_bytes() -> int:
    """Add up what the processes hold to themselves."""
    pages = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                with open("/proc/" + name + "/statm", encoding="ascii") as file:
                    _, resident, shared = file.read().split()[:3]
            except (OSError, ValueError):
                continue
            pages += int(resident) - int(shared)
    return pages * PAGE


class Output:
    """What is printed: handed on in pieces that are worth it, up to a limit, and counted beyond."""

    def __init__(self, limit_bytes: int) -> None:
        self.left = limit_bytes
        self.printed = 0
        self.waiting = b""
        self.since = 0.0

    def take(self, piece: bytes) -> None:
        self.printed += len(piece)
        if not self.waiting:
            self.since = time.monotonic()
        self.waiting += piece[: self.left]
        self.left -= min(len(piece), self.left)
        if len(self.waiting) >= SHOW_BYTES:
            self.flush()

    def flush_in_time(self) -> None:
        if self.waiting and time.monotonic() - self.since > SHOW_S:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            write_frame(b"O", self.waiting)
        self.waiting = b""


def watch(plan: dict[str, Any], child: int, reading: int) -> dict[str, Any]:
    """Follow the program to its end, which may be by us; give its code and the limit it reached."""
    output, watched = Output(plan["output_bytes"]), Watch(plan)
    ready = selectors.DefaultSelector()
    ready.register(reading, selectors.EVENT_READ)
    ready.register(0, selectors.EVENT_READ)
    next_look, code, limit, is_open = 0.0, None, "", True
    while code is None and not limit:
        for key, _ in ready.select(LOOK_S if is_open else END_S):
            if key.fd == 0:
                os._exit(3)  # whoever it was for is gone, or has had enough
            is_open = drain(reading, output)
            if not is_open:
                ready.unregister(reading)
        output.flush_in_time()
        if time.monotonic() >= next_look:
            limit = watched.trouble(output.printed)
            next_look = time.monotonic() + LOOK_S
        code = reaped(child)
    killed = end_all(child)
    drain(reading, output)
    output.flush()
    return {
        "code": killed if code is None else code,
        "limit": limit,
        "is_cut": output.printed > plan["output_bytes"],
        "seconds": plan["wall_s"] - (watched.until - time.monotonic()),
    }


def drain(reading: int, output: Output) -> bool:
    """Take what waits in the pipe, as much as a pipe may hold; tell whether anybody still writes."""
    for _ in range(16):
        try:
            piece = os.read(reading, PIECE)
        except BlockingIOError:
            return True
        if not piece:
            return False
        output.take(piece)
    return True


def reaped(child: int) -> int | None:
    """Bury who has ended; give the program's own code if it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def end_all(child: int) -> int:
    """Kill everybody else in the sandbox, and wait until they are gone."""
    code, until = -signal.SIGKILL, time.monotonic() + 2
    while time.monotonic() < until:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == child:
                    code = os.waitstatus_to_exitcode(status)
                if pid == 0:
                    break
        except ChildProcessError:
            return code
        time.sleep(0.002)
    return code


def hand_out(plan: dict[str, Any]) -> None:
    """Give the files of the work folder, as far as they are within the limits; tell which are not."""
    left_out, files, left_bytes = [], 0, plan["files_bytes"]
    for folder, folders, names in os.walk(WORK):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted(names) + links:
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, WORK)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                left_out.append(shown)
                continue
            with open(descriptor, "rb") as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or files >= plan["files"] or found.st_size > left_bytes:
                    left_out.append(shown)
                    continue
                files, left_bytes = files + 1, left_bytes - found.st_size
                write_frame(b"F", said({"path": shown}))
                piece = file.read(PIECE)
                while piece:
                    write_frame(b"D", piece)
                    piece = file.read(PIECE)
    write_frame(b"Z", said({"left_out": left_out[:50]}))


def said(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode("utf-8")


def main() -> None:
    if os.getpid() != 1:
        sys.stderr.write("this is no sandbox: its first process must have the number 1\n")
        os._exit(4)
    os.closerange(3, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would let it in
    if ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        os._exit(5)
    plan = take_in()
    write_frame(b"X", said(watch(plan, *start(plan))))
    hand_out(plan)


if __name__ == "__main__":
    main()
