"""How long a connection may go on behind the request that opened it: as long as its token. For WebSockets."""

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
    """Call `on_end` once, with the reason, when the token expires or is withdrawn; `stop` must be called in any case.

    Cost: one timer, and two look-ups for each withdrawal of whomever.
    """

    __slots__ = ("_on_end", "_timer", "_tokens", "_unsubscribe", "_who")

    def __init__(self, tokens: TokenVerifier, who: Principal, on_end: Callable[[str], None]) -> None:
        self._tokens = tokens
        self._who = who
        self._on_end = on_end
        self._timer: asyncio.TimerHandle | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def begin(self) -> None:
        """Watch from now on; what has happened since the token was verified counts, so `on_end` may be called here."""
        self._unsubscribe = self._tokens.revocations.subscribe(self._on_withdrawn)
        self._on_withdrawn(())
        if self._unsubscribe is not None:
            self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _on_withdrawn(self, made: Sequence[Revocation]) -> None:
        del made
        if self._unsubscribe is not None and self._tokens.revocations.refuses(self._who):
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
