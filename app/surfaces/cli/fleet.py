"""The demo's three services as child processes: started on sockets of ours, ended with us, however we end."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ADMIN_EMAIL = "admin@example.com"
ADMIN_PASSWORD = "demo-admin"  # noqa: S105 - printed by the demo; the fleet listens on loopback only
STOP_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class FleetUrls:
    auth: str
    agenda: str
    analytics: str


@dataclass(frozen=True, slots=True)
class Program:
    child: subprocess.Popen[bytes]
    url: str


@contextmanager
def running(folder: Path, *, front_door_url: str) -> Iterator[FleetUrls]:
    """Run the fleet for as long as the block; each service keeps its files in a folder of its own."""
    seed = ["--admin-email", ADMIN_EMAIL, "--admin-password", ADMIN_PASSWORD]
    started: list[Program] = []
    try:
        for name, extra in (
            ("auth", [*seed, "--front-door-url", front_door_url]),
            ("agenda", []),
            ("analytics", []),
        ):
            started.append(_start(name, folder / name, extra))
        auth, agenda, analytics = (program.url for program in started)
        yield FleetUrls(auth, agenda, analytics)
    finally:
        for program in started:
            program.child.terminate()
        for program in started:
            _reap(program.child)


def _start(name: str, folder: Path, extra: list[str]) -> Program:
    """The socket listens before the child runs: whoever calls early waits instead of being refused."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        command = [sys.executable, "-m", f"portico_fleet.{name}", "--fd", str(bound.fileno()), "--exit-with-parent"]
        child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, "--data-dir", str(folder), *extra],
            pass_fds=[bound.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the gateway, which needs the fleet while it drains
            env=os.environ | {"PORTICO_PARENT_PID": str(os.getpid())},
        )
        return Program(child, f"http://127.0.0.1:{bound.getsockname()[1]}")


def _reap(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
