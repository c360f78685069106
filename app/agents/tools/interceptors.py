"""The small wrappers around a call of a tool: each sees the call, and goes on with it, with another, or with none.

    class Deny:
        async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
            if decide(call):                                   # a pure function of values
                raise ToolRefused("This may not be done here.")   # the model reads it
            return await proceed(call)

They stand in one of three places:
- `guards` around the call's step. They run again when the turn goes on in another process, before a call that was done
  as before one that was not; so they come to the same each time, or keep what they came to in a step of their own.
  They may wait for somebody (`Suspended` passes), and hold nothing while they do.
- `inner` within the step, so once for a call that comes to its end: what counts, or refuses by the moment. What they
  are given back may be nothing yet: a call that the client makes is only put to it there.
- `results` within the step too, around those: what changes a result before it is kept and told, whoever gave it.
Rule: nobody calls `proceed` twice, and no argument that an override fixes can be changed on the way.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from app.agents.contract import Tool
from app.agents.work import Work
from app.kernel.values import Json


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model wants to make. `arguments` are its own, as JSON: without those that are overridden."""

    id: str
    tool: Tool
    arguments: Mapping[str, Json]
    work: Work


type Proceed = Callable[[ToolCall], Awaitable[object]]


class Interceptor(Protocol):
    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        """Give what the call came to. Errors: ToolRefused, in words for the model; BudgetReached passes."""
        ...


@dataclass(frozen=True, slots=True)
class Interceptors:
    """The outermost first."""

    guards: Sequence[Interceptor] = ()
    inner: Sequence[Interceptor] = ()
    results: Sequence[Interceptor] = ()


UNGUARDED = Interceptors()


def chained(interceptors: Sequence[Interceptor], last: Proceed) -> Proceed:
    """Put the interceptors around what is done last."""
    proceed = last
    for interceptor in reversed(interceptors):
        proceed = partial(_through, interceptor, proceed)
    return proceed


async def _through(interceptor: Interceptor, proceed: Proceed, call: ToolCall) -> object:
    return await interceptor(call, proceed)
