"""How long a connection may go on behind the request that opened it: as long as its token, and the run the token is of.

For WebSockets.
"""

import asyncio
from collections.abc import Callable, Sequence

from app.edge.tokens import TokenVerifier
from app.kernel.identity import Principal
from app.kernel.revocation import Revocation

EXPIRED = "token_expired"
WITHDRAWN = "token_withdrawn"
_LONGEST_TIMER_S = 24 * 3600
"""then the clock is looked at again: it may have been set meanwhile"""


class TokenWatch:
    """Call `on_end` once, with the reason, when the token expires or is withdrawn, or its run is over.

    `stop` must be called in any case.
    Cost: one timer, and two look-ups for each withdrawal of whomever.
    """

    __slots__ = ("_leaves", "_on_end", "_timer", "_tokens", "_who")

    def __init__(self, tokens: TokenVerifier, who: Principal, on_end: Callable[[str], None]) -> None:
        self._tokens = tokens
        self._who = who
        self._on_end = on_end
        self._timer: asyncio.TimerHandle | None = None
        self._leaves: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Watch from now on; what has happened since the token was verified counts, so `on_end` may be called here."""
        self._leaves.append(self._tokens.revocations.subscribe(self._on_withdrawn))
        if self._who.acting is not None and self._tokens.runs is not None:
            self._leaves.append(self._tokens.runs.live.watch(self._who.acting, self._end))
        self._on_withdrawn(())
        if self._leaves:
            self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        leaves, self._leaves = self._leaves, []
        for leave in leaves:
            leave()

    def _on_withdrawn(self, made: Sequence[Revocation]) -> None:
        del made
        if self._leaves and self._tokens.revocations.refuses(self._who):
            self._end(WITHDRAWN)

    def _look(self) -> None:
        ends_at_s = self._who.expires_at + self._tokens.rules.leeway_s
        left_s = ends_at_s - self._tokens.clock.time_s()
        if left_s <= 0:
            self._end(EXPIRED)
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(left_s, _LONGEST_TIMER_S), self._look)

    def _end(self, reason: str) -> None:
        self.stop()
        self._on_end(reason)
