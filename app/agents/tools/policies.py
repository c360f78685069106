"""Interceptors that need nobody: limit, redact. What allows, asks or denies are rules (`approvals/guard.py`).

`ruled.py` says to which calls they are put.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.agents.contract import ToolRefused
from app.agents.tools.interceptors import Proceed, ToolCall
from app.agents.tools.results import as_result
from app.kernel.values import Json

REDACTED = "[redacted]"
SECRET_AT_LEAST_CHARS = 6
"""a shorter one would be found in every other word"""
COUNTED_CALLERS = 10_000


@dataclass(slots=True)
class RateLimit:
    """So many calls in a window, of each tool by each caller, in this process. Concurrency: for one event loop."""

    calls: int
    window_s: float
    now_s: Callable[[], float] = time.monotonic
    _made: OrderedDict[tuple[str, str], deque[float]] = field(default_factory=OrderedDict)

    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        key = (call.work.turn.caller.user_id, call.tool.name)
        made = self._made.setdefault(key, deque())
        self._made.move_to_end(key)
        while len(self._made) > COUNTED_CALLERS:
            self._made.popitem(last=False)
        now_s = self.now_s()
        while made and made[0] <= now_s - self.window_s:
            made.popleft()
        if len(made) >= self.calls:
            wait_s = made[0] + self.window_s - now_s
            raise ToolRefused(f"{call.tool.name} was called too often; it may be called again in {wait_s:.0f} seconds.")
        made.append(now_s)
        return await proceed(call)


@dataclass(frozen=True, slots=True)
class Redact:
    """Take secrets out of what a tool gives back or says no with, before it is kept, told or shown to the model.

    `secrets` is asked for each call, so that what changes while the program runs is known.
    """

    secrets: Callable[[], Sequence[str]] = field(repr=False)

    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        secrets = [secret for secret in self.secrets() if len(secret) >= SECRET_AT_LEAST_CHARS]
        try:
            result = await proceed(call)
        except ToolRefused as refused:
            reason = redacted(refused.reason, secrets)
            if reason == refused.reason:
                raise
            raise ToolRefused(str(reason)) from None  # the cause holds the secret
        return redacted(as_result(result), secrets) if secrets else result


def redacted(value: Json, secrets: Sequence[str]) -> Json:
    """Replace each secret in each text, of keys as of values."""
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, REDACTED)
            return value
        case dict():
            return {str(redacted(key, secrets)): redacted(item, secrets) for key, item in value.items()}
        case list():
            return [redacted(item, secrets) for item in value]
        case _:
            return value
