"""What it is to run a program apart from everything else: what is handed in, what comes back, and what may go wrong.

A backend is given the files of a work folder and gives back those it holds afterwards; the folder itself is never seen
by a program, so what runs has no path of this machine.
Rule: a backend that cannot prove that it isolates (`choice.py`) is never asked to run anything of a model's.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CODE_TOOLS = ("run_code", "list_files", "read_file", "write_file")
"""what `code_execution` gives an agent, by the names its model calls"""
MEGABYTE = 1024 * 1024

type Show = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may take.

    `memory_bytes` is of all its processes together, without its files; `files_bytes` and `files` are of the work
    folder, and of its temporary folder once more. `output_bytes` are shown and given back; what prints `flood_factor`
    times as much is ended.
    """

    wall_s: float = 30
    memory_bytes: int = 512 * MEGABYTE
    processes: int = 32
    open_files: int = 64
    files_bytes: int = 64 * MEGABYTE
    files: int = 1000
    output_bytes: int = 64 * 1024
    flood_factor: int = 64

    @property
    def words(self) -> str:
        return (
            f"{self.wall_s:g} s, {self.memory_bytes // MEGABYTE} MB of memory, {self.processes} processes, "
            f"{self.files_bytes // MEGABYTE} MB in {self.files} files, {self.output_bytes // 1024} KB of output"
        )


@dataclass(frozen=True, slots=True)
class Program:
    """Python source, and the folder it works in a copy of; `into` is an empty folder that is given what it leaves."""

    code: str
    folder: Path
    into: Path
    limits: Limits


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended.

    `exit_code` is negative where a signal ended it. `ended_by` names the limit it was ended for, in words, or is empty.
    `left_out` names what it left that is not kept: links, pipes, and what goes beyond the limits. Without `kept_files`
    the program took its sandbox with it, and the work folder stays as it was.
    """

    exit_code: int
    output: str
    ended_by: str = ""
    is_cut: bool = False
    left_out: tuple[str, ...] = ()
    seconds: float = 0
    kept_files: bool = True


class BackendAway(Exception):
    """A backend cannot run anything here; the message says why, and how to mend it."""


class Backend(Protocol):
    """Concurrency: any number of programs at once. A cancelled run leaves no process behind."""

    @property
    def name(self) -> str: ...

    @property
    def words(self) -> str:
        """Tell a model in a sentence what its program runs in."""
        ...

    @property
    def probe(self) -> str:
        """Give a program that tries to get out: it prints a JSON object of what it reached (`probe.py`)."""
        ...

    async def run(self, program: Program, show: Show) -> Ran:
        """Run a program to its end, showing what it prints. Errors: BackendAway."""
        ...
