"""Which backend runs programs here: the first that proves it isolates; else none does, and every program is refused.

A backend is looked at by running a program in it that tries to get out (`probe.py`), once at the start and again when
it breaks. Rule: there is no way from here to a plain process, whatever fails.
"""

import asyncio
import os
import secrets
import socket
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from app.agents.sandbox.enclosure import ENVIRONMENT
from app.agents.sandbox.ports import Backend, BackendAway, Limits, Program, Ran, Show
from app.agents.sandbox.probe import Bait, flaw_in
from app.infra.observability.health import NotWell

PROBE_S = 20.0
PROBE_PROGRAM_S = 10.0
PLACE_S = 45.0
"""how long a program waits until others end"""
LOOK_AGAIN_S = 300.0

log = structlog.get_logger(__name__)


class SandboxRefused(Exception):
    """Nothing here can run a program; the message says why, for each backend, and how to mend it."""


async def _nobody(text: str) -> None:
    """What a probe prints is for us."""


@dataclass(slots=True)
class Sandbox:
    """`is_wanted` where an agent executes code: where none does, it is no trouble that nothing isolates.

    Concurrency: for one event loop; so many programs at once as it has places, the others wait.
    """

    backends: Sequence[Backend]
    limits: Limits
    places: asyncio.Semaphore
    off_because: str = ""
    is_wanted: bool = True
    _chosen: Backend | None = None
    _flaws: dict[str, str] = field(default_factory=dict)
    _choosing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_looked_at: bool = False

    @property
    def chosen(self) -> Backend | None:
        """The backend that runs programs at present; None before one was found, and where none is."""
        return self._chosen

    @property
    def is_refused(self) -> bool:
        """Whether it is known that nothing runs programs."""
        return bool(self.off_because) or (self._is_looked_at and self._chosen is None)

    @property
    def trouble(self) -> str:
        """Why nothing runs programs; empty where something does."""
        if self._chosen is not None:
            return ""
        if self.off_because:
            return self.off_because
        if not self._is_looked_at:
            return "it has not been looked at yet"
        return "no backend isolates here: " + "; ".join(f"{name}: {flaw}" for name, flaw in self._flaws.items())

    @property
    def words(self) -> str:
        """What health tells of it: the backend, and why not one that comes before it."""
        if self._chosen is None:
            return self.trouble
        passed_over = [f"not {name}: {flaw}" for name, flaw in self._flaws.items()]
        return "; ".join([f"{self._chosen.name}: {self._chosen.words}", *passed_over])

    async def health(self) -> str:
        """Tell how it is. Errors: NotWell."""
        if self.trouble and not self.off_because and self.is_wanted:
            raise NotWell(self.trouble)
        return self.words

    async def run(self, program: Program, show: Show) -> Ran:
        """Run a program. Errors: SandboxRefused; BackendAway, when the backend broke, twice."""
        try:
            async with asyncio.timeout(PLACE_S):
                await self.places.acquire()
        except TimeoutError:
            raise SandboxRefused("all places for programs are taken at present; try again later") from None
        try:
            return await self._run(program, show)
        finally:
            self.places.release()

    async def _run(self, program: Program, show: Show) -> Ran:
        backend = await self.choose()
        try:
            return await backend.run(program, show)
        except BackendAway as away:
            log.warning("sandbox.broke", backend=backend.name, cause=str(away))
            self._is_looked_at = False
        backend = await self.choose()
        return await backend.run(program, show)

    async def choose(self) -> Backend:
        """Give the backend, looked for where it is not known. Errors: SandboxRefused."""
        async with self._choosing:
            if not self._is_looked_at:
                await self._look()
            if self._chosen is None:
                raise SandboxRefused(self.trouble)
            return self._chosen

    async def keep(self) -> None:
        """Look for a backend at the start, and again from time to time where there is none."""
        while self.backends:
            async with self._choosing:
                if self._chosen is None or not self._is_looked_at:
                    await self._look()
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _look(self) -> None:
        chosen, flaws = None, dict[str, str]()
        for backend in self.backends:
            flaw = await flaw_of(backend, self.limits)
            if not flaw:
                chosen = backend
                break
            flaws[backend.name] = flaw
        self._chosen, self._flaws, self._is_looked_at = chosen, flaws, True
        log.info("sandbox.chosen", backend=chosen.name if chosen else None, flaws=flaws)


async def flaw_of(backend: Backend, limits: Limits) -> str:
    """Run a backend's probe, and tell what is wrong with it; empty where it isolates."""
    with tempfile.TemporaryDirectory(prefix="portico-probe-") as name, closing(socket.socket()) as listening:
        home = Path(name)
        bait = _laid_out(home, listening)
        folder, into = home / "in", home / "out"
        program = Program(bait.written_into(backend.probe), folder, into, replace(limits, wall_s=PROBE_PROGRAM_S))
        try:
            async with asyncio.timeout(PROBE_S):
                ran = await backend.run(program, _nobody)
        except BackendAway as away:
            return str(away)
        except TimeoutError:
            return f"it ran nothing within {PROBE_S:g} s"
    if ran.exit_code != 0:
        return f"its probe failed: {ran.output.strip()[-200:] or ran.ended_by or ran.exit_code}"
    return flaw_in(ran.output)


def _laid_out(home: Path, listening: socket.socket) -> Bait:
    """Put out what a program must not reach."""
    (home / "in").mkdir()
    (home / "out").mkdir()
    home.chmod(0o755)  # only the sandbox is to keep it from being read
    secret = home / "secret"
    secret.write_text(secrets.token_hex())
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    ours = next((name for name in os.environ if name not in ENVIRONMENT), "HOST")
    return Bait(str(secret), listening.getsockname()[1], ours)
