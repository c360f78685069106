"""Sandboxes for tests: the backends of this machine, a program in one of them, and which of its processes are left."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from app.agents.sandbox.bubblewrap import Bubblewrap
from app.agents.sandbox.docker import Docker
from app.agents.sandbox.monty import Monty
from app.agents.sandbox.ports import MEGABYTE, Backend, Limits, Program, Ran
from app.agents.sandbox.sandbox import flaw_of

SMALL = Limits(
    wall_s=10,
    memory_bytes=128 * MEGABYTE,
    processes=8,
    files_bytes=2 * MEGABYTE,
    files=20,
    output_bytes=2048,
    flood_factor=4,
)
IMAGE = os.environ.get("SANDBOX_IMAGE", "python:3.13-slim")
BACKENDS: Mapping[str, Backend] = {one.name: one for one in (Docker(IMAGE), Bubblewrap(), Monty())}
OF_THE_KERNEL = ("bubblewrap", "docker")

_flaws: dict[str, str] = {}


async def usable(name: str) -> Backend:
    """Give a backend, or skip the test where it does not work on this machine, saying why."""
    if name not in _flaws:
        _flaws[name] = await flaw_of(BACKENDS[name], SMALL)
    if _flaws[name]:
        pytest.skip(f"no {name} here: {_flaws[name]}")
    return BACKENDS[name]


class Bench:
    """One backend, and a folder that stays from program to program. `shown` is what was streamed of the last."""

    def __init__(self, backend: Backend, home: Path) -> None:
        self.backend = backend
        self.folder = home / "files"
        self.folder.mkdir()
        self.left: dict[str, bytes] = {}
        self.shown: list[str] = []
        self._home = home
        self._runs = 0

    async def run(self, code: str, **limits: float) -> Ran:
        self._runs += 1
        self.shown = []
        into = self._home / f"left-{self._runs}"
        into.mkdir()
        within = replace(SMALL, **limits)  # type: ignore[arg-type] # numbers, as the limits are
        ran = await self.backend.run(Program(code, self.folder, into, within), self._show)
        files = [path for path in into.rglob("*") if path.is_file()]
        self.left = {str(path.relative_to(into)): path.read_bytes() for path in files}
        return ran

    async def prints(self, code: str, **limits: float) -> str:
        """Give what a program prints that ends well."""
        ran = await self.run(code, **limits)
        assert (ran.exit_code, ran.ended_by) == (0, ""), ran
        return ran.output.strip()

    async def _show(self, text: str) -> None:
        self.shown.append(text)


def descendants(pid: int) -> set[tuple[int, str]]:
    """Give the processes below one, each with when it began, since numbers are used again."""
    parents: dict[int, set[tuple[int, str]]] = {}
    for name in filter(str.isdigit, (one.name for one in Path("/proc").iterdir())):
        found = _stat(int(name))
        if found is not None:
            parents.setdefault(found[0], set()).add((int(name), found[1]))
    below: set[tuple[int, str]] = set()
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), set()) - below
        below |= children
        waiting += [child for child, _ in children]
    return below


def still_there(processes: set[tuple[int, str]]) -> set[tuple[int, str]]:
    return {(pid, began) for pid, began in processes if (found := _stat(pid)) is not None and found[1] == began}


def _stat(pid: int) -> tuple[int, str] | None:
    """Read a process's parent and start; None where it is gone, or is only waiting to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), fields[19])
