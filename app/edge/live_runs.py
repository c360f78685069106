"""Which runs live, and with which keys their tokens are signed: read when a run calls, not followed while none does.

A yes is answered out of memory while the reading is younger than half a second; a no needs a reading that began after
the question, since a run may have begun a moment ago. So what is answered is never older than that, whatever was lost
on the way, and a front door that cannot read lets no run in (promise P12).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from app.edge.keys import KeysStale, read_jwk
from app.infra.observability.health import NotWell
from app.kernel.clock import Clock
from app.kernel.errors import Unavailable
from app.kernel.identity import Acting
from app.kernel.pace import Pace
from app.kernel.run_tokens import LiveTokens, PublicKey

FRESH_S = 0.5
PAUSE_S = 0.05
AT_ONCE = 8
"""so many readings at once, then one in a pause, however many ask: the first call of each run needs one"""
ATTEND_S = 0.3
LOST_S = 3
"""then what a run holds open is ended, though nobody says that the run is over"""
OVER = "run_over"
UNKNOWN = "run_unknown"

log = structlog.get_logger()

type OnOver = Callable[[str], None]


class RunsStale(KeysStale):
    """It is not known yet whether this run lives: read again, then ask again with `are_keys_fresh=True`."""


class RunSource(Protocol):
    """Where it is known which runs live, for every process and replica."""

    async def read(self) -> LiveTokens:
        """Read it as it is now, within three seconds. Errors: Unavailable."""
        ...


@dataclass(slots=True)
class LiveRuns:
    """Concurrency: one per process, used on its event loop only; many may ask at once and share a reading.

    Cost: while runs call, at most twenty readings a second and a few more at once, of one row each; else none.
    """

    source: RunSource
    clock: Clock
    is_lost: bool = False
    """the last reading failed"""
    _by_id: Mapping[str, RSAPublicKey] = field(default_factory=dict)
    _tokens: LiveTokens = field(default_factory=LiveTokens)
    _read_at_s: float = float("-inf")
    _pace: Pace = field(default_factory=lambda: Pace(PAUSE_S, AT_ONCE))
    _next_at_s: float = float("-inf")
    _answered_at_s: float = float("-inf")
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _watched: asyncio.Event = field(default_factory=asyncio.Event)
    _watches: dict[object, tuple[Acting, OnOver]] = field(default_factory=dict)

    @property
    def age_s(self) -> float:
        """Tell how long ago the last reading began that was answered."""
        return self.clock.monotonic_s() - self._read_at_s

    @property
    def is_fresh(self) -> bool:
        return self.age_s <= FRESH_S

    @property
    def keys(self) -> frozenset[PublicKey]:
        """Give the published keys, as of the last reading."""
        return self._tokens.keys

    def key(self, id_: str) -> RSAPublicKey | None:
        return self._by_id.get(id_)

    def lives(self, acting: Acting) -> bool:
        return self._tokens.epochs.get(acting.run_id) == acting.epoch

    async def refresh(self) -> None:
        """Come to a reading that began after this call, or to know that there is none (`is_lost`); never raises."""
        asked_at_s = self.clock.monotonic_s()
        async with self._reading:
            if self._answered_at_s >= asked_at_s:
                return  # who asked a moment later was answered, by a reading that is as good
            pause_s = self._next_at_s - self.clock.monotonic_s()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            begun_at_s = self.clock.monotonic_s()
            self._next_at_s = begun_at_s + self._pace.next_s(begun_at_s)
            try:
                tokens = await self.source.read()
            except Unavailable as fault:
                self._note_lost(fault)
            else:
                self._take(tokens, begun_at_s)
            self._answered_at_s = begun_at_s

    def watch(self, acting: Acting, on_over: OnOver) -> Callable[[], None]:
        """Be told once, with the reason, when this run lives no more; what is returned ends that."""
        place = object()
        self._watches[place] = (acting, on_over)
        self._watched.set()

        def leave() -> None:
            self._watches.pop(place, None)

        return leave

    async def attend(self) -> None:
        """Go on reading while something is watched, for ever."""
        while True:
            await self._watched.wait()
            if self._watches:
                await self.refresh()
                if self.age_s > LOST_S:
                    self._dismiss(UNKNOWN, all_=True)
                await asyncio.sleep(ATTEND_S)
            else:
                self._watched.clear()

    async def health(self) -> str:
        """Tell what was read last; nobody may have asked for long. Errors: NotWell when it could not be read."""
        if self.is_lost:
            raise NotWell("it cannot be read which runs live: none is let in")
        return f"{len(self.keys)} keys and {len(self._tokens.epochs)} runs when last asked for"

    def _take(self, tokens: LiveTokens, begun_at_s: float) -> None:
        if self.is_lost:
            log.info("runs.known_again")
        if tokens.keys != self._tokens.keys:
            read = {key.id: read_jwk({"n": key.n, "e": key.e}) for key in tokens.keys}
            self._by_id = {id_: key for id_, key in read.items() if key is not None}
        self.is_lost, self._tokens, self._read_at_s = False, tokens, begun_at_s
        self._dismiss(OVER)

    def _note_lost(self, fault: Unavailable) -> None:
        if not self.is_lost:
            log.warning("runs.unknown", **fault.evidence)
        self.is_lost = True

    def _dismiss(self, reason: str, *, all_: bool = False) -> None:
        over = [
            (place, on_over) for place, (acting, on_over) in self._watches.items() if all_ or not self.lives(acting)
        ]
        for place, on_over in over:
            if self._watches.pop(place, None) is not None:
                on_over(reason)
