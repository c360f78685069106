"""Programs that a benchmark starts: found, waited for, their processor time read, ended by their process id."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from ssl import SSLContext
from urllib.parse import urlsplit

STOP_TIMEOUT_S = 40
QUIET_TIMEOUT_S = 60
QUIET_OVER_S = 1.0
QUIET_SHARE = 0.05
"""of a core"""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProgramMissing(RuntimeError):
    """Something that the benchmark cannot do without is not installed."""


class DidNotStart(RuntimeError):
    """A program ended, or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    child: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        return self.child.pid


def find(program: str) -> str | None:
    """Find `envoy` by ENVOY_BIN, or on PATH."""
    return os.environ.get(f"{program.upper()}_BIN") or shutil.which(program)


def require(program: str, *, package: str) -> str:
    """Errors: ProgramMissing, with the command that mends it."""
    found = find(program)
    if found is None:
        raise ProgramMissing(f"{program} is not installed: apt-get install {package}, or set {program.upper()}_BIN")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


@contextmanager
def running(
    name: str, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """Run a program until the block ends; what it says is appended to its log."""
    with log.open("ab") as said:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environ)
    try:
        yield Program(name, child, log)
    finally:
        _stop(child)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def wait_until_answers(
    program: Program, url: str, *, token: str = "", timeout_s: float = 60, tls: SSLContext | None = None
) -> None:
    """Ask until the answer is 200. Errors: DidNotStart."""
    end = time.monotonic() + timeout_s
    seen = "no answer"
    while time.monotonic() < end and program.child.poll() is None:
        try:
            status = _status(url, token, tls)
        except (OSError, HTTPException) as error:
            seen = repr(error)
        else:
            if status == 200:
                return
            seen = f"status {status}"
        time.sleep(0.05)
    told = program.log.read_text("utf-8", errors="replace")[-2000:]
    raise DidNotStart(f"{program.name} did not start ({seen}); its log ends:\n{told}")


def _status(url: str, token: str, tls: SSLContext | None) -> int:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection = HTTPSConnection(host, port, timeout=5, context=tls) if tls else HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", parts.path, headers={"authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def cpu_s(pid: int) -> float:
    """Read the user and system time that a process, its descendants, and those they have buried have used."""
    stats = {int(entry.name): _stat(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    children: dict[int, list[int]] = defaultdict(list)
    for one, fields in stats.items():
        if fields:
            children[int(fields[1])].append(one)
    ticks, left = 0, [pid]
    while left:
        one = left.pop()
        left += children[one]
        ticks += sum(int(field) for field in stats.get(one, ())[11:15])  # utime, stime, cutime, cstime: proc(5)
    return ticks / TICKS_PER_S


def wait_until_quiet(pid: int) -> None:
    """Wait until a program and its descendants have started up, and do next to nothing; not for ever."""
    end = time.monotonic() + QUIET_TIMEOUT_S
    before = cpu_s(pid)
    while time.monotonic() < end:
        time.sleep(QUIET_OVER_S)
        now = cpu_s(pid)
        if now - before < QUIET_SHARE * QUIET_OVER_S:
            return
        before = now


def _stat(entry: Path) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold spaces; none where the process is gone."""
    try:
        return (entry / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []
