"""The demo as a subprocess, on a folder that is thrown away, and what latencies look like."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

START_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Demo:
    url: str
    folder: Path

    def token(self, sub: str, role: str = "user") -> str:
        command = [sys.executable, "-m", "app", "token", "--sub", sub, "--role", role, "--data-dir", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def running_demo() -> Iterator[Demo]:
    """Run the demo with the scripted model and quiet logs, until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="portico-bench-"))
    folder.chmod(0o711)  # the database runs as another account when we are root
    command = [sys.executable, "-m", "app", "demo", "--port", "0", "--data-dir", str(folder)]
    environ = os.environ | {"DEFAULT_MODEL": "scripted", "LOG_LEVEL": "40"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as child:
        try:
            yield Demo(_url_of(child), folder)
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(40)
            shutil.rmtree(folder, ignore_errors=True)


def _url_of(child: "subprocess.Popen[str]") -> str:
    end = time.monotonic() + START_TIMEOUT_S
    for line in child.stdout or ():
        found = re.search(r"Portico is at (\S+)", line)
        if found:
            return found[1]
        if time.monotonic() > end:
            break
    raise RuntimeError("the demo did not start")


@dataclass(frozen=True, slots=True)
class Caller:
    """One kept-alive connection and a token."""

    connection: HTTPConnection
    headers: dict[str, str]

    @classmethod
    def open(cls, url: str, token: str = "") -> "Caller":
        parts = urlsplit(url)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return cls(HTTPConnection(parts.hostname or "", parts.port, timeout=30), headers)

    def call(self, method: str, path: str, body: object = None) -> bytes:
        sent = None if body is None else json.dumps(body).encode()
        self.connection.request(method, path, sent, self.headers | {"content-type": "application/json"})
        answer = self.connection.getresponse()
        read = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {read.decode(errors='replace')}")
        return read


@dataclass(frozen=True, slots=True)
class Latencies:
    """In milliseconds."""

    median: float
    p99: float

    def __str__(self) -> str:
        return f"median {self.median:6.2f} ms, p99 {self.p99:6.2f} ms"


def measure(act: Callable[[], object], *, times: int, warm_up: int = 20) -> Latencies:
    """Time one call after the other."""
    for _ in range(warm_up):
        act()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        taken.append((time.perf_counter() - started) * 1000)
    return Latencies(statistics.median(taken), statistics.quantiles(taken, n=100)[98])
