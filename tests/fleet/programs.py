"""The demo fleet's programs as real processes on ephemeral ports."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_START_LIMIT_S = 30
_STOP_LIMIT_S = 15


@dataclass(frozen=True, slots=True)
class Program:
    process: subprocess.Popen[bytes]
    client: httpx.Client
    port: int

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(_STOP_LIMIT_S)


@contextmanager
def running(
    name: str,
    data_dir: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run `python -m portico_fleet.NAME` on a socket that listens already, so that the first request simply waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        command = [sys.executable, "-m", f"portico_fleet.{name}", "--fd", str(fd), "--data-dir", str(data_dir), *flags]
        process = subprocess.Popen(command, pass_fds=[fd], env={**os.environ, **(env or {})})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=_START_LIMIT_S) as client:
            assert client.get("/api/health/ping").status_code == httpx.codes.NO_CONTENT
            yield Program(process, client, port)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(_STOP_LIMIT_S)


def as_user(user_id: str, role: str = "user") -> dict[str, str]:
    return {"X-User-Id": user_id, "X-User-Role": role}


def is_problem(answer: httpx.Response, status: int, kind: str) -> bool:
    problem = answer.json()
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and (problem["status"], problem["type"]) == (status, kind)
    )
