"""The local language model as its users see it: an OpenAI-compatible endpoint that is there.

Life cycle::

    program --start--> shares users.lock; nobody owns server.lock? starts a child; waits until one answers
    child              owns server.lock, loads the model, announces port and key in child.json
    program --watch--> server.lock free, or another child announced: starts again at `start`
    last share gone    by `stop` or by the kernel: the child withdraws its announcement and ends

Rule: importing this module is cheap. The library is imported by the child alone.
"""

import asyncio
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog

from app.agents.llm.local_model_child import StartPace, start_child
from app.agents.llm.local_model_errors import (
    ChildSilent,
    FolderUnusable,
    LocalModelImpossible,
    LocalModelUnavailable,
    explain_exit,
)
from app.agents.llm.local_model_home import Announcement, ModelHome, home_of
from app.agents.llm.local_model_host import read_cpu_flags, require_cpu, require_gguf
from app.kernel.shared_use import LockBusy, SharedUse, has_owner

MODEL_NAME = "local"
_POLL_S = 0.05
_WATCH_INTERVAL_S = 0.5
_RETRY_INTERVAL_S = 1.0
_HEALTH_TIMEOUT_S = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, and with which key: both change when the child is restarted, so take them for each request.

    Shapes/units: `context_tokens` is for one conversation, its answer included; a longer prompt is refused with 400.
    """

    base_url: str
    api_key: str
    context_tokens: int
    model_name: str = MODEL_NAME


class Health(NamedTuple):
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class _Use:
    """What stays the same from the first start on."""

    home: ModelHome
    gguf: Path
    share: SharedUse


class LocalModel:
    """A share in the one child that serves a model file to all programs with the same folder.

    Shapes/units: `ready_timeout_s` bounds each wait for the child to answer, the load of the model included.
    Concurrency:  for one event loop; `start` and `watch` must not overlap.
    """

    def __init__(
        self,
        folder: Path,
        *,
        gguf: Path | None = None,
        ready_timeout_s: float = 60.0,
        cpu_flags: Callable[[], frozenset[str] | None] = read_cpu_flags,
    ) -> None:
        self._folder = folder
        self._asked_gguf = gguf
        self._ready_timeout_s = ready_timeout_s
        self._cpu_flags = cpu_flags
        self._pace = StartPace()
        self._use: _Use | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._announced: Announcement | None = None
        self._trouble = "not started"

    @property
    def endpoint(self) -> Endpoint:
        """Errors: LocalModelUnavailable, while there is no child that answers."""
        if self._announced is None:
            raise LocalModelUnavailable(f"the local model is not there: {self._trouble}")
        base_url = f"http://127.0.0.1:{self._announced.port}/v1"
        return Endpoint(base_url, self._announced.api_key, self._announced.context_tokens)

    async def start(self) -> None:
        """Take a share and return when the child answers; start it if nobody did.

        The share stays, even when this fails, until `stop` or the end of the process, however that comes.
        Errors: LocalModelUnavailable.
        Cost:   milliseconds when it runs, one to three seconds when the small model has to be loaded.
        """
        try:
            use = self._use = self._use or self._prepare()
            async with asyncio.timeout(self._ready_timeout_s):
                await _hold(use)
                self._announced = await self._attach(use)
        except TimeoutError as error:
            trouble = ChildSilent(self._log_path(), waited_s=self._ready_timeout_s)
            self._trouble = str(trouble)
            raise trouble from error
        except LocalModelUnavailable as error:
            self._trouble = str(error)
            raise

    async def watch(self) -> None:
        """Replace the child whenever it died, until cancelled; return only when no restart can ever help."""
        while True:
            try:
                await self.start()
                await self._until_gone()
            except LocalModelImpossible as error:
                log.error("local_model.given_up", reason=str(error))  # noqa: TRY400 - the message says it all
                return
            except LocalModelUnavailable as error:
                log.warning("local_model.failed", reason=str(error))
                await asyncio.sleep(_RETRY_INTERVAL_S)

    async def health(self) -> Health:
        """Cost: one request on loopback, bounded by two seconds."""
        if self._announced is None:
            return Health(ok=False, detail=self._trouble)
        if await _answers(self._announced.port):
            return Health(ok=True, detail="answers")
        return Health(ok=False, detail="does not answer")

    async def stop(self) -> None:
        """Drop the share; the child ends by itself when it was the last one."""
        self._announced = None
        self._trouble = "stopped"
        if self._use is not None:
            self._use.share.release()

    def _prepare(self) -> _Use:
        gguf = require_gguf(self._asked_gguf)
        require_cpu(self._cpu_flags())
        home = home_of(self._folder, gguf)
        try:
            home.make()
        except OSError as error:
            raise FolderUnusable(home.folder, error) from error
        return _Use(home, gguf, SharedUse(home.users_lock))

    def _log_path(self) -> Path:
        return self._use.home.log if self._use else self._folder

    async def _attach(self, use: _Use) -> Announcement:
        while True:
            announced = use.home.read()
            if announced and _has_child(use.home) and await _answers(announced.port):
                return announced
            self._start_child_if_none(use)
            await asyncio.sleep(_POLL_S)

    def _start_child_if_none(self, use: _Use) -> None:
        """Start one unless one runs, ours or another's; tell how ours ended when it did not end well."""
        if _has_child(use.home):
            return
        if self._child is not None:
            code = self._child.returncode  # set by the child's reaper
            if code is None:
                return
            self._child = None
            if code != 0:
                raise explain_exit(code, use.home.log)
        now_s = time.monotonic()
        if self._pace.allows(now_s):
            self._pace.note_start(now_s)
            self._child = start_child(use.home, use.gguf)

    async def _until_gone(self) -> None:
        use, known = self._use, self._announced
        while use and known and _has_child(use.home) and use.home.read() == known:  # noqa: ASYNC110 - locks do not call
            await asyncio.sleep(_WATCH_INTERVAL_S)
        self._announced = None
        self._trouble = "its process died and is being replaced"


async def _hold(use: _Use) -> None:
    """Wait for a child that is taking itself down, without blocking the loop."""
    while not use.share.is_held:
        try:
            use.share.hold(timeout_s=0)
        except LockBusy:
            await asyncio.sleep(_POLL_S)
        except OSError as error:
            raise FolderUnusable(use.home.folder, error) from error


def _has_child(home: ModelHome) -> bool:
    try:
        return has_owner(home.server_lock)
    except OSError as error:
        raise FolderUnusable(home.folder, error) from error


async def _answers(port: int) -> bool:
    try:
        async with asyncio.timeout(_HEALTH_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
                return await reader.readexactly(12) == b"HTTP/1.1 200"
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, EOFError):
        return False
