"""`portico` as users run it: a process of its own in a bare environment, watched from outside, ended by signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
PORTICO = str(Path(sys.executable).with_name("portico"))
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 45
GONE_WITHIN_S = 20
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@contextmanager
def a_home() -> Iterator[Path]:
    """Make a folder for data, which the account that the embedded database runs as may pass when we are root."""
    home = Path(tempfile.mkdtemp(prefix="portico-e2e-")).resolve()
    home.chmod(0o711)
    yield home
    shutil.rmtree(home, ignore_errors=True)


def bare_environment(home: Path, **values: str) -> dict[str, str]:
    """Nothing of ours but what finds programs, and what measures coverage in children."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("COV")}
    return kept | {"XDG_DATA_HOME": str(home), "PYTHONUNBUFFERED": "1", **values}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def becomes_true(condition: Callable[[], bool], *, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def run(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, program: Sequence[str] = (PORTICO,)
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*program, *arguments],
        cwd=home,
        env=bare_environment(home, **(env or {})),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Program:
    process: subprocess.Popen[bytes]
    home: Path
    out: Path
    err: Path
    url: str

    def said(self) -> str:
        return self.out.read_text("utf-8")

    def complained(self) -> str:
        return self.err.read_text("utf-8")

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:  # Any: a line of the log
        """Find the JSON lines of an event with these fields."""
        lines = [json.loads(line) for line in self.complained().splitlines() if line.startswith("{")]
        return [one for one in lines if one["event"] == event and fields.items() <= one.items()]

    def awaits(self, condition: Callable[[], bool], *, within_s: float = START_TIMEOUT_S) -> None:
        is_met = becomes_true(lambda: self.process.poll() is not None or condition(), within_s=within_s)
        assert is_met, f"waited in vain:\n{self.said()}\n{self.complained()}"
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.complained()}"

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def workers(self) -> list[int]:
        """List the processes that answer requests: children of `portico serve`, but for who works on runs."""
        return [pid for pid, args in self._children() if '"role": "worker"' not in args]

    def children(self) -> list[int]:
        return [pid for pid, _ in self._children()]

    def _children(self) -> list[tuple[int, str]]:
        return [(pid, args) for pid, parent, args in _processes() if parent == self.process.pid]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)


def running(home: Path, *command: str, url: str, **env: str) -> AbstractContextManager[Program]:
    """Start a program in a session of its own, as a terminal does; it is stopped at the end if it still runs."""
    return inheriting((), home, *command, url=url, env=env)


@contextmanager
def inheriting(fds: Sequence[int], home: Path, *command: str, url: str, env: Mapping[str, str]) -> Iterator[Program]:
    """Do the same, with open files handed to it."""
    home.mkdir(exist_ok=True)
    name = f"{Path(command[0]).name}-{free_port()}"
    out, err = home / f"{name}.out", home / f"{name}.err"
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=bare_environment(home, **env),
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            start_new_session=True,
            pass_fds=fds,
        )
    program = Program(process, home, out, err, url)
    try:
        yield program
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def a_demo(folder: Path, *flags: str, **env: str) -> Iterator[Program]:
    """`portico demo` in a folder of its own, once it has said what a newcomer needs."""
    port = free_port()
    command = (PORTICO, "demo", "--port", str(port), "--data-dir", str(folder), *flags)
    with running(folder.parent, *command, url=f"http://127.0.0.1:{port}", **env) as demo:
        demo.awaits(lambda: "Ctrl-C stops everything." in demo.said())
        yield demo


def processes_of(folder: Path) -> dict[int, str]:
    """List who was started for a folder: every process that names it, and all that descend from one that does."""
    alive = _processes()
    found = {pid: args for pid, _, args in alive if str(folder) in args}
    while more := {pid: args for pid, parent, args in alive if parent in found and pid not in found}:
        found |= more
    return found


def kill_everything(demo: Program, folder: Path) -> None:
    """The gateway, its worker, the database and the fleet, at once and without a word."""
    for pid in processes_of(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    demo.process.wait(GONE_WITHIN_S)
    assert becomes_true(lambda: not processes_of(folder), within_s=GONE_WITHIN_S), processes_of(folder)


def _processes() -> list[tuple[int, int, str]]:
    """List id, parent and command of every process that has not ended."""
    listing = subprocess.run(
        ["ps", "axww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in listing.splitlines()]
    return [(int(pid), int(parent), args) for pid, parent, stat, args in rows if not stat.startswith("Z")]
