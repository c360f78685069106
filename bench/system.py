"""The demo as a subprocess, on a folder that is thrown away, and what latencies look like."""

import json
import os
import re
import shutil
import signal
import socket
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

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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


ROWS = """
[[routes]]
prefix = "/api/health"
local = true
access = "PUBLIC"

[[routes]]
prefix = "/api/v1"
local = true
"""


@contextmanager
def running_gateway() -> Iterator[tuple[str, str]]:
    """Run the gateway alone, with no fleet and no message hook, until the block ends; yield its URL and a token."""
    folder = Path(tempfile.mkdtemp(prefix="portico-bench-"))
    folder.chmod(0o711)  # the database runs as another account when we are root
    (folder / "gateway.toml").write_text(ROWS)
    key = generate_private_key(public_exponent=65537, key_size=2048)
    port = _free_port()
    environ = os.environ | {
        "DATA_DIR": str(folder),
        "DEFAULT_MODEL": "scripted",
        "LOG_LEVEL": "40",
        "JWT_PUBLIC_KEY": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "SNAPSHOT_SERVICE_URL": "",
        "POSTGRES_DSN": "",
    }
    command = [sys.executable, "-m", "app", "serve", "--port", str(port), "--config", str(folder / "gateway.toml")]
    with subprocess.Popen(command, env=environ) as child:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url)
            yield url, jwt.encode({"sub": "1", "role": "user", "exp": time.time() + 3600}, key, algorithm="RS256")
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(40)
            shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        try:
            Caller.open(url).call("GET", "/api/health/ready")
        except (OSError, RuntimeError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the gateway did not become ready")


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
