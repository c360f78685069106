"""Runs one program in a sandbox that begins with our keeper (`keeper.py`): hands it in, follows it, takes what it left.

What a sandbox is made of is the backend's; here it is a command, and the frames it says.
Rule: whatever happens, the command is killed before the call returns; that ends everything in the sandbox.
"""

import asyncio
import codecs
import json
import math
import os
import signal
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import anyio

from app.agents.sandbox.inbox import FRAME_LIMIT_BYTES, Inbox, document
from app.agents.sandbox.ports import BackendAway, Limits, Program, Ran, Show
from app.kernel.values import Json

KEEPER = Path(__file__).with_name("keeper.py").read_text("utf-8")
HANDING_S = 15.0
"""how long files may take into a sandbox and out of it, besides the time of the program"""
GONE_S = 5.0
PIECE_BYTES = 64 * 1024
COMPLAINT_BYTES = 4096
INODES_BESIDES = 64
"""folders and such, besides the files that are kept"""
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/work",
    "TMPDIR": "/tmp",  # noqa: S108 - of the sandbox
    "LANG": "C.UTF-8",
    "PYTHONPATH": "/work",
    "PYTHONSAFEPATH": "1",
    "PYTHONUTF8": "1",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MPLCONFIGDIR": "/tmp",  # noqa: S108 - as above
}
"""Everything a program sees of an environment; the threads of numeric libraries would eat up its address space"""

type Stop = Callable[[], Awaitable[None]]


async def _nothing_more() -> None:
    """For a command with which everything ends."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """`command` begins the sandbox and in it the keeper; `stop` ends what outlives the command.

    `counts_processes` where the kernel counts the sandbox's processes apart from everybody else's.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    descriptors: Sequence[int] = ()
    stop: Stop = _nothing_more
    counts_processes: bool = True


async def enclosed(program: Program, show: Show, enclosure: Enclosure) -> Ran:
    """Run a program. Errors: BackendAway, when the sandbox does not begin or breaks."""
    follower = _Follower(program, show)
    with tempfile.TemporaryFile() as complaint:  # a file, which nobody has to read meanwhile; only we write there
        async with _begun(enclosure, complaint) as process:
            try:
                async with asyncio.timeout(program.limits.wall_s + HANDING_S):
                    await _hand_in(process, program, counts_processes=enclosure.counts_processes)
                    await follower.follow(process)
            except TimeoutError:
                return follower.broken_off()
        if follower.end is None:
            complaint.seek(0)
            raise BackendAway(_last_words(complaint.read(COMPLAINT_BYTES)))
    return follower.ran()


@asynccontextmanager
async def _begun(enclosure: Enclosure, complaint: IO[bytes]) -> AsyncIterator[asyncio.subprocess.Process]:
    try:
        process = await asyncio.create_subprocess_exec(
            *enclosure.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaint,
            env=dict(enclosure.environment),
            cwd="/",
            pass_fds=tuple(enclosure.descriptors),
            start_new_session=True,
        )
    except OSError as error:
        raise BackendAway(f"{enclosure.command[0]} cannot be started: {error.strerror}") from error
    try:
        yield process
    finally:
        _kill(process)
        with anyio.move_on_after(GONE_S, shield=True):
            await process.wait()
        with anyio.move_on_after(GONE_S, shield=True):
            await enclosure.stop()
        # nothing public closes the pipes of a process when nobody reads them to their end
        process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_words(complaint: bytes) -> str:
    lines = [line.strip() for line in complaint.decode("utf-8", "replace").splitlines()]
    told = [line for line in lines if line and not line.startswith("Run 'docker")]
    return told[-1][:300] if told else "the sandbox ended before its program did"


# --- in


async def _hand_in(process: asyncio.subprocess.Process, program: Program, *, counts_processes: bool) -> None:
    assert process.stdin is not None  # noqa: S101 - it was asked for
    frames = _frames(program, plan_of(program.code, program.limits, counts_processes=counts_processes))
    with suppress(ConnectionError):  # it is gone: what it said tells why
        while (frame := await asyncio.to_thread(next, frames, None)) is not None:
            if process.stdin.is_closing():  # uvloop would call it a bug to write
                return
            process.stdin.write(frame)
            await process.stdin.drain()


def plan_of(code: str, limits: Limits, *, counts_processes: bool = True) -> Mapping[str, Json]:
    """Write down for the keeper what is to be run, and what it may take."""
    rlimits: dict[str, int] = {
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_CPU": math.ceil(limits.wall_s) + 1,
        "RLIMIT_FSIZE": limits.files_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_MEMLOCK": 0,
    }
    if counts_processes:
        rlimits["RLIMIT_NPROC"] = limits.processes + 1  # the keeper is one
    return {
        "code": code,
        "environment": ENVIRONMENT,
        "wall_s": limits.wall_s,
        "memory_bytes": limits.memory_bytes,
        "output_bytes": limits.output_bytes,
        "flood_bytes": limits.output_bytes * limits.flood_factor,
        "files": limits.files,
        "files_bytes": limits.files_bytes,
        "inodes": limits.files + INODES_BESIDES,
        "rlimits": rlimits,
    }


def _frames(program: Program, plan: Mapping[str, Json]) -> Iterator[bytes]:
    yield _frame(b"P", json.dumps(plan).encode())
    for path in sorted(program.folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield _frame(b"F", json.dumps({"path": str(path.relative_to(program.folder))}).encode())
            with path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield _frame(b"D", piece)
    yield _frame(b"G", b"")


def _frame(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload)) + payload


# --- out


@dataclass(slots=True)
class _Follower:
    """What a sandbox has said so far."""

    program: Program
    show: Show
    end: Mapping[str, Json] | None = None
    _pieces: list[str] = field(default_factory=list)
    _inbox: Inbox = field(init=False)
    _left_bytes: int = field(init=False)
    _is_whole: bool = False

    def __post_init__(self) -> None:
        self._inbox = Inbox(self.program.into, self.program.limits)
        self._left_bytes = self.program.limits.output_bytes

    async def follow(self, process: asyncio.subprocess.Process) -> None:
        """Read frames until the last one, or until there are no more."""
        assert process.stdout is not None  # noqa: S101 - it was asked for
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            while not self._is_whole:
                kind, size = struct.unpack(">cI", await process.stdout.readexactly(5))
                if size > FRAME_LIMIT_BYTES:
                    raise BackendAway("the sandbox said more at once than it may")
                payload = await process.stdout.readexactly(size)
                match kind:
                    case b"O":
                        await self._print(decoder.decode(payload[: self._left_bytes]))
                        self._left_bytes -= min(size, self._left_bytes)
                    case b"X":
                        self.end = document(payload)
                    case _:
                        await asyncio.to_thread(self._take, kind, payload)
        except asyncio.IncompleteReadError:
            return
        finally:
            await asyncio.to_thread(self._inbox.close)

    async def _print(self, text: str) -> None:
        self._pieces.append(text)
        if text:
            await self.show(text)

    def _take(self, kind: bytes, payload: bytes) -> None:
        match kind:
            case b"F":
                self._inbox.begin(document(payload).get("path"))
            case b"D":
                self._inbox.write(payload)
            case b"Z":
                left_out = document(payload).get("left_out")
                self._inbox.left_out += [str(one) for one in left_out] if isinstance(left_out, list) else []
                self._is_whole = True

    def ran(self) -> Ran:
        end = self.end or {}
        code, seconds = end.get("code"), end.get("seconds")
        return Ran(
            exit_code=code if isinstance(code, int) else -signal.SIGKILL,
            output="".join(self._pieces),
            ended_by=_words(end.get("limit"), self.program.limits),
            is_cut=end.get("is_cut") is True,
            left_out=tuple(_clean(one) for one in self._inbox.left_out[:50]),
            seconds=round(seconds, 3) if isinstance(seconds, int | float) else 0,
            kept_files=self._is_whole,
        )

    def broken_off(self) -> Ran:
        """Tell of a program whose sandbox did not end in time: what it left is lost."""
        words = _words("time", self.program.limits)
        seconds = self.program.limits.wall_s
        return Ran(-signal.SIGKILL, "".join(self._pieces), ended_by=words, seconds=seconds, kept_files=False)


def _clean(path: str) -> str:
    return path.encode("utf-8", "replace").decode()[:200]


def _words(limit: Json, limits: Limits) -> str:
    match limit:
        case "time":
            return f"the time limit of {limits.wall_s:g} s"
        case "memory":
            return f"the memory limit of {limits.memory_bytes // (1024 * 1024)} MB"
        case "output":
            return f"the output limit: it printed more than {limits.output_bytes * limits.flood_factor} bytes"
        case "files":
            return f"the limit of {limits.files} files"
        case _:
            return ""
