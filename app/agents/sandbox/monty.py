"""Programs in Monty, an interpreter of a part of Python: where the kernel isolates nobody, the language does.

What it interprets has no system calls: it sees the work folder, and nothing else, because nothing else is given to it.
The package is an extra (`portico-gateway[monty]`).

Facts (pydantic-monty 1.4)
- It has no generators, and of the standard library json, re, math, datetime and little more.
- A mount in the mode `read-write` counts the bytes written through it, not the files made: those are counted here.
"""

import asyncio
import shutil
import signal
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import anyio

from app.agents.sandbox.ports import BackendAway, Program, Ran, Show
from app.agents.sandbox.probe import OF_MONTY

LOOK_S = 0.03
SUSPENSIONS = 100_000
"""how often a program may ask for something of its folder, or for the time"""
GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Monty:
    name: str = "monty"
    words: str = (
        "Monty, an interpreter of a part of Python: no generators, no third-party packages, and of the standard "
        "library json, re, math, datetime, pathlib and little more"
    )
    probe: str = OF_MONTY

    async def run(self, program: Program, show: Show) -> Ran:
        if find_spec("pydantic_monty") is None:
            raise BackendAway("Monty is not installed: install portico-gateway[monty]")
        await asyncio.to_thread(shutil.copytree, program.folder, program.into, dirs_exist_ok=True, ignore=_links)
        feed = _Feed(program, show)
        started_s = time.monotonic()
        try:
            await _watched(feed)
        except BaseExceptionGroup as several:
            first = several.exceptions[0]
        else:
            await feed.show_new()
            return feed.ran(time.monotonic() - started_s)
        raise first  # outside the handler: the group would become the context of one of its own members


def _links(folder: str, names: list[str]) -> list[str]:
    """Name the links in a folder: to copy one would copy what it leads to."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


async def _watched(feed: "_Feed") -> None:
    with anyio.move_on_after(feed.program.limits.wall_s + GRACE_S) as patience:
        async with anyio.create_task_group() as group:
            group.start_soon(feed.watch, group.cancel_scope)
            await feed.interpret()
            group.cancel_scope.cancel()
    if patience.cancelled_caught:
        feed.limit = f"the time limit of {feed.program.limits.wall_s:g} s"


@dataclass(slots=True)
class _Feed:
    """One program that is interpreted. What it prints comes from a thread, and is shown by our task."""

    program: Program
    show: Show
    limit: str = ""
    _code: int = 0
    _printed: list[str] = field(default_factory=list)
    _printed_bytes: int = 0
    _shown: int = 0

    async def interpret(self) -> None:
        import pydantic_monty as monty  # noqa: PLC0415 - an extra

        limits, folder = self.program.limits, self.program.into
        pool = monty.AsyncMonty(max_processes=1, max_checkouts_per_worker=1, request_timeout=limits.wall_s + GRACE_S)
        within = monty.ResourceLimits(
            max_feed_duration_secs=limits.wall_s,
            max_total_sleep_secs=limits.wall_s,
            max_memory=limits.memory_bytes,
            max_suspensions=SUSPENSIONS,
        )
        mount = monty.MountDir(
            host_path=folder,
            virtual_path="/work",
            mode="read-write",
            write_bytes_limit=limits.files_bytes,
            memory_usage_limit=limits.memory_bytes,
        )
        try:
            with mount:
                async with pool, pool.checkout(limits=within, script_name="program.py") as session:
                    await session.feed_run(self.program.code, print_callback=self._print, mount=mount, cwd="/work")
        except monty.MontyRuntimeError as error:
            self._fail(error.display(), error.exception())
        except monty.MontySyntaxError as error:
            self._fail(error.display(), error.exception())
        except monty.MontyCrashedError as error:
            self._code = -signal.SIGKILL
            self.limit = self._time_limit() if error.timed_out else "the interpreter's end: it crashed"
        except (monty.MontyError, RuntimeError, OSError) as error:
            raise BackendAway(f"Monty does not work here: {error}") from error

    def _fail(self, words: str, error: BaseException) -> None:
        self._code = 1
        self._print("stderr", words.rstrip() + "\n")
        if isinstance(error, TimeoutError):
            self.limit = self._time_limit()

    def _time_limit(self) -> str:
        return f"the time limit of {self.program.limits.wall_s:g} s"

    def _print(self, stream: str, text: str) -> None:
        del stream
        left_bytes = self.program.limits.output_bytes - self._printed_bytes
        self._printed_bytes += len(text.encode("utf-8", "replace"))
        if left_bytes > 0:
            self._printed.append(text[:left_bytes])

    async def watch(self, scope: anyio.CancelScope) -> None:
        """Show what is printed, and end what takes too much."""
        while True:
            await anyio.sleep(LOOK_S)
            await self.show_new()
            self.limit = await self._trouble()
            if self.limit:
                self._code = -signal.SIGKILL
                scope.cancel()

    async def show_new(self) -> None:
        pieces = self._printed[self._shown :]
        self._shown += len(pieces)
        if text := "".join(pieces):
            await self.show(text)

    async def _trouble(self) -> str:
        limits = self.program.limits
        if self._printed_bytes > limits.output_bytes * limits.flood_factor:
            return f"the output limit: it printed more than {limits.output_bytes * limits.flood_factor} bytes"
        files, size = await asyncio.to_thread(_measured, self.program.into, limits.files)
        if files > limits.files:
            return f"the limit of {limits.files} files"
        if size > limits.files_bytes:
            return f"the limit of {limits.files_bytes} bytes in its folder"
        return ""

    def ran(self, seconds: float) -> Ran:
        """Tell how it ended. A folder that holds too much is not kept."""
        limits = self.program.limits
        files, size = _measured(self.program.into, limits.files)
        return Ran(
            exit_code=self._code,
            output="".join(self._printed),
            ended_by=self.limit,
            is_cut=self._printed_bytes > limits.output_bytes,
            seconds=round(seconds, 3),
            kept_files=files <= limits.files and size <= limits.files_bytes,
        )


def _measured(folder: Path, most: int) -> tuple[int, int]:
    """Count entries, a little beyond the limit, and their bytes."""
    entries, size = 0, 0
    for path in folder.rglob("*"):
        entries += 1
        if entries > 2 * most:
            break
        size += path.lstat().st_size if path.is_file() else 0
    return entries, size
