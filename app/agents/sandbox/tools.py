"""The tools of an agent with `code_execution=True`: run a program, and look after the files it works with."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path, PurePosixPath
from typing import Any

from app.agents.contract import Asked, Risk, Tool, ToolContext, ToolRefused, Traits
from app.agents.sandbox.folders import FolderBusy, FolderFull, WorkFolder, WorkFolders, files_of, whole
from app.agents.sandbox.inbox import PathRefused, checked_path
from app.agents.sandbox.ports import BackendAway, Program, Ran
from app.agents.sandbox.sandbox import Sandbox, SandboxRefused
from app.kernel.values import Json

ORIGIN = "sandbox"
CODE_LIMIT_CHARS = 100_000
READ_LIMIT_CHARS = 64 * 1024
LISTED = 200
WAITING_S = 75.0
"""how long a program may wait for its folder or its place, and its files be carried, besides the time it may run"""


@dataclass(frozen=True, slots=True)
class CodeExecution:
    """Implements `ToolSource`."""

    sandbox: Sandbox
    folders: WorkFolders

    async def tools(self, asked: Asked) -> Sequence[Tool]:
        if not asked.agent.code_execution:
            return ()
        return (self._run_code(), _list_files(self.folders), _read_file(self.folders), _write_file(self.folders))

    def _run_code(self) -> Tool:
        async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:  # Any: as checked below
            return await _Run(self.sandbox, self.folders, ctx).made(arguments["code"])

        limits = self.sandbox.limits
        return Tool(
            name="run_code",
            description=description_of(self.sandbox),
            parameters=_object({"code": {"type": "string", "description": "The whole program, in Python."}}, "code"),
            call=call,
            traits=Traits(risk=Risk.WRITES_INSIDE, timeout_s=limits.wall_s + WAITING_S),
            origin=ORIGIN,
            check=_checked_code,
        )


def description_of(sandbox: Sandbox) -> str:
    """Tell a model what its programs run in."""
    if sandbox.is_refused:
        return f"Run a Python program. It cannot be done here at present, and is refused: {sandbox.trouble}."
    where = sandbox.chosen.words if sandbox.chosen else "an isolated Python"
    return (
        f"Run a Python program, apart from everything else: {where}. It starts afresh each time, in this "
        "conversation's own work folder, whose files stay from call to call; there is no network, and no other file. "
        f"Print what you want to see. Limits: {sandbox.limits.words}."
    )


@dataclass(frozen=True, slots=True)
class _Run:
    sandbox: Sandbox
    folders: WorkFolders
    ctx: ToolContext

    async def made(self, code: str) -> Json:
        """Run a program, unless this very call was made before. Errors: ToolRefused."""
        async with _held(self.folders, self.ctx) as folder:
            kept = await asyncio.to_thread(folder.result_of, self.ctx.idempotency_key)
            return kept if kept is not None else await self._in(folder, code)

    async def _in(self, folder: WorkFolder, code: str) -> Json:
        await self.ctx.show("")  # to have waited for the folder was no sign of death
        into = await whole(folder.prepare)
        try:
            ran = await self.sandbox.run(Program(code, folder.files, into, self.sandbox.limits), self.ctx.show)
        except SandboxRefused as refused:
            raise ToolRefused(f"Code is not executed here: {refused}.") from refused
        except BackendAway as away:
            raise ToolRefused(f"The sandbox broke, and nothing of the program is kept: {away}.") from away
        return await whole(_kept, folder, ran, self.ctx.idempotency_key)


def _kept(folder: WorkFolder, ran: Ran, key: str) -> Json:
    """Keep what a program left, and tell what came of it."""
    result = told(ran)
    if ran.kept_files:
        before, after = _by_path(folder.files), _by_path(folder.next)
        written = [path for path in after if path not in before or not cmp(before[path], after[path], shallow=False)]
        removed = [path for path in before if path not in after]
        result |= _some("files_written", written) | _some("files_removed", removed)
        folder.take(key, result)
    return result


def told(ran: Ran) -> dict[str, Json]:
    """Tell a model how its program ended, in a few words where there is something to say."""
    output = ran.output + ("\n[cut: it printed more than is shown]" if ran.is_cut else "")
    result: dict[str, Json] = {"exit_code": ran.exit_code, "output": output, "seconds": ran.seconds}
    if ran.ended_by:
        result["ended_by"] = f"It was ended for {ran.ended_by}."
    elif ran.exit_code < 0:
        result["ended_by"] = f"It was ended by the signal {_signal(-ran.exit_code)}."
    if not ran.kept_files:
        result["files"] = "What it wrote is not kept; the work folder is as it was before."
    return result | _some("files_left_out", ran.left_out)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _some(name: str, paths: Sequence[str]) -> dict[str, Json]:
    if not paths:
        return {}
    rest = [f"and {len(paths) - LISTED} more"] if len(paths) > LISTED else []
    return {name: [*paths[:LISTED], *rest]}


def _by_path(folder: Path) -> Mapping[str, Path]:
    return {str(path.relative_to(folder)): path for path in files_of(folder)}


@asynccontextmanager
async def _held(folders: WorkFolders, ctx: ToolContext) -> AsyncIterator[WorkFolder]:
    try:
        async with folders.held(ctx.turn) as folder:
            yield folder
    except FolderBusy as busy:
        raise ToolRefused("Another program of this conversation is running in the folder. Try again later.") from busy


# --- files


def _list_files(folders: WorkFolders) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:  # Any: there are none
        del arguments
        async with _held(folders, ctx) as folder:
            found = await asyncio.to_thread(folder.listed)
        return {"files": [f"{one.path} ({one.size} bytes)" for one in found]}

    description = "List the files of this conversation's work folder, in which run_code works."
    return Tool("list_files", description, _object({}), call, Traits(risk=Risk.READS), origin=ORIGIN)


def _read_file(folders: WorkFolders) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:  # Any: as checked below
        path: PurePosixPath = arguments["path"]
        async with _held(folders, ctx) as folder:
            content = await asyncio.to_thread(folder.read, path)
        if content is None:
            raise ToolRefused(f"There is no file {path} in the work folder; list_files tells which there are.")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ToolRefused(f"{path} is no text; look into it with a program.") from None
        if len(text) > READ_LIMIT_CHARS:
            return text[:READ_LIMIT_CHARS] + f"\n[cut: it has {len(text)} characters; read on with a program]"
        return text

    description = "Read a text file of this conversation's work folder."
    parameters = _object({"path": _PATH}, "path")
    traits = Traits(risk=Risk.READS)
    return Tool("read_file", description, parameters, call, traits, origin=ORIGIN, check=_checked_path)


def _write_file(folders: WorkFolders) -> Tool:
    async def call(ctx: ToolContext, arguments: Mapping[str, Any]) -> object:  # Any: as checked below
        path, content = arguments["path"], arguments["text"].encode("utf-8", "replace")
        async with _held(folders, ctx) as folder:
            try:
                await whole(folder.write, path, content)
            except FolderFull as full:
                raise ToolRefused(f"It does not fit: {full}.") from full
            except OSError as error:
                raise ToolRefused(f"{path} cannot be written: {error.strerror}.") from error
        return f"wrote {len(content)} bytes to {path}"

    description = "Write a text file into this conversation's work folder, in place of one of the same path."
    parameters = _object({"path": _PATH, "text": {"type": "string"}}, "path", "text")
    traits = Traits(risk=Risk.WRITES_INSIDE)
    return Tool("write_file", description, parameters, call, traits, origin=ORIGIN, check=_checked_file)


_PATH = {"type": "string", "description": "Relative to the work folder, as in data/a.csv."}


def _object(properties: Mapping[str, Json], *required: str) -> Mapping[str, Json]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _checked_code(said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: as the schema says
    code = said.get("code")
    if not isinstance(code, str) or not code.strip():
        raise ValueError("give the program as the text code")
    if len(code) > CODE_LIMIT_CHARS:
        raise ValueError(f"a program has {CODE_LIMIT_CHARS} characters at most; write data into files")
    return {"code": code.encode("utf-8", "replace").decode()}


def _checked_path(said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: as above
    try:
        return {"path": checked_path(said.get("path"))}
    except PathRefused as refused:
        msg = f"path: {refused}"
        raise ValueError(msg) from refused


def _checked_file(said: Mapping[str, Json]) -> Mapping[str, Any]:  # Any: as above
    text = said.get("text")
    if not isinstance(text, str):
        raise ValueError("give the content as the text text")  # noqa: TRY004 - what a model is told
    return {**_checked_path(said), "text": text}
