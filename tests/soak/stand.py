"""What a soak test stands on: `portico serve` with rows of its own, origins to kill, and what a process holds."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.builders import public_pem
from tests.e2e.program import PORTICO, ROOT, Program, becomes_true, free_port, running

HEALTH = '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
METRICS = '[[routes]]\npath = "/metrics"\nlocal = true\naccess = "PUBLIC"\n'
LOCAL = '[[routes]]\nprefix = "/api/v1"\nlocal = true\naccess = "COMMON"\n'


def say(text: str) -> None:
    """Print figures, to read with -s."""
    print(f"\n  {text}", flush=True)  # noqa: T201 - what a soak is for


@dataclass(slots=True)
class Origin:
    """An upstream process; killed, it can be started again at the same port."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def start_again(self) -> None:
        self.process = _start(self.name, self.port)


def _start(name: str, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.soak.origin", str(port), name]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
    assert becomes_true(lambda: answers(f"http://127.0.0.1:{port}/echo"), within_s=20)
    return process


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code < 500
    except httpx.TransportError:
        return False


@contextmanager
def an_origin(name: str = "origin") -> Iterator[Origin]:
    port = free_port()
    origin = Origin(name, port, _start(name, port))
    try:
        yield origin
    finally:
        origin.kill()


def upstream(name: str, *origins: Origin, **keys: object) -> str:
    urls = ", ".join(f'"{origin.url}"' for origin in origins)
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]  # what JSON and TOML write alike
    return "\n".join([f"[upstreams.{name}]", f"urls = [{urls}]", *lines, ""])


def route(prefix: str, to: str, *, access: str = "COMMON", **keys: object) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(["[[routes]]", f'prefix = "{prefix}"', f'upstream = "{to}"', f'access = "{access}"', *lines, ""])


def proxying(*origins: Origin, access: str = "COMMON", **keys: object) -> str:
    """Write a whole table: everything but health and metrics goes to the origins."""
    return upstream("origin", *origins, **keys) + route("/", "origin", access=access, websocket=True) + HEALTH + METRICS


@contextmanager
def a_gateway(
    home: Path,
    rows: str,
    *flags: str,
    before: Sequence[str] = (),
    workers: int = 1,
    port: int | None = None,
    role: str = "web",
    **env: str,
) -> Iterator[Program]:
    """`portico serve`, once all of it is ready; `before` is a program that runs it. With the role `all`, runs too."""
    with a_young_gateway(home, rows, *flags, before=before, workers=workers, port=port, role=role, **env) as program:
        program.awaits(program.is_ready)
        program.awaits(lambda: len(program.logged("gateway.listening")) >= workers)
        program.awaits(lambda: role == "web" or bool(program.logged("worker.started")))
        yield program


@contextmanager
def a_young_gateway(
    home: Path,
    rows: str,
    *flags: str,
    before: Sequence[str] = (),
    workers: int = 1,
    port: int | None = None,
    role: str = "web",
    **env: str,
) -> Iterator[Program]:
    """`portico serve`, once somebody answers."""
    port = port or free_port()
    config = home / f"gateway-{port}.toml"
    config.write_text(rows, "utf-8")
    environment = {
        "DEFAULT_MODEL": "scripted",
        "LOG_JSON": "true",
        "DATA_DIR": str(home / f"data-{port}"),
        "METRICS_NETWORKS": "127.0.0.0/8",
        **({} if "JWT_JWKS_URL" in env else {"JWT_PUBLIC_KEY": public_pem()}),
        **env,
    }
    command = (
        *before,
        PORTICO,
        "serve",
        "--port",
        str(port),
        "--config",
        str(config),
        "--workers",
        str(workers),
        "--role",
        role,
        *flags,
    )
    with running(home, *command, url=f"http://127.0.0.1:{port}", **environment) as program:
        program.awaits(lambda: answers(f"{program.url}/api/health/ping"))
        yield program


def port_of(gateway: Program) -> int:
    return int(gateway.url.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Held:
    """What processes hold at a moment."""

    rss_bytes: int
    files: int

    @classmethod
    def by(cls, pids: Sequence[int]) -> "Held":
        """Cost: one small file and one folder for each process."""
        return cls(
            sum(_rss_bytes(pid) for pid in pids), sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
        )


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def settled(gateway: Program, condition: Callable[[Held], bool]) -> Held:
    """Wait until what the workers hold is as it should be; tell it in any case."""
    held = Held.by(gateway.workers())
    for _ in range(100):
        if condition(held):
            break
        await asyncio.sleep(0.2)
        held = Held.by(gateway.workers())
    return held


def stay_for(seconds: float) -> None:
    """Let a load run for so long: the test's length, not a way to wait for something."""
    time.sleep(seconds)
