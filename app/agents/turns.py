"""What a turn writes down, says, spends, and comes to: the words between the assistant half and whoever runs its turns.

Facts a reader of a turn's events is written against
- `text_delta {"request", "text"}`: the answer is their texts, joined, less what became void. `request` counts the
  model's requests of the turn from 1; an agent of code has the one.
- `thinking_delta {"request", "text"}`: the same of what the model thinks; no part of the answer.
- `tool_call_start {"request", "tool_call_id", "tool", "arguments"}`, `tool_output_chunk {"tool_call_id", "text"}`,
  `tool_call_complete {"tool_call_id", "tool", "is_error", "result"}`: of one call, in this order, behind the request
  that asked for it; arguments and result are JSON, or the beginning of its text where that is long. With `"client":
  true` the one who follows is to make the call, and to post what it came to with its `nonce` until `expires_at`.
- `tool_approval_request {"tool_call_id", "approval_id", "tool", "arguments", "question", "risk", "expires_at"}`: a
  person is asked; `tool_approval_decided {"tool_call_id", "approval_id", "tool", "status", "decided_by", "reason",
  "arguments"}`: what came of it (`arguments` where they were edited, else null).
- `stream_retry {"request", "reason", ...}`: every delta of this request so far is void, and is said again: by the
  same model ("broken_off", "rewritten", "resumed"), or by the next of its chain ("another_model": "model" names it).
  `stream_retry {"tool_call_id", "reason"}`: what was said of this call is void; it is called again.
- `run_progress {"kind": "history_compacted", "messages", "is_summarised"}`: so many of the oldest are left out.
- `usage {"request", "model", "input_tokens", "output_tokens", "cost", "is_estimated"}`: of each request that reached
  the model, those that failed or were cut off among them; `cost` is text in USD, null where no price is known.

Rule: `Fold` says what these events come to; nobody joins them in another way.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Protocol
from uuid import uuid4

from app.kernel.errors import RateLimited
from app.kernel.values import Json

STEP_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """Something said while a turn works: `type` and `data` are those of the run's events."""

    type: str
    data: Mapping[str, Json]


def client_wait_key(nonce: str) -> str:
    """Name what a turn waits for while its client works on the call of this nonce."""
    return f"tool-result:{nonce}"


class InDoubt(Exception):
    """Raised by `Journal.step`: it must not be done twice, was begun, and never reported; only a person knows."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it is not known whether {name} was done")
        self.name = name


class Journal(Protocol):
    """Where a turn writes down what it has done, so that a later process goes on from there.

    Also what the turn says while it works. A turn outside of a run has one that remembers nothing (`Unwritten`).
    """

    @property
    def is_resumed(self) -> bool:
        """Tell whether an earlier process began this turn, and may have said what no finished step stands behind."""
        ...

    async def step(
        self,
        name: str,
        body: Callable[[str], Awaitable[Json]],
        *,
        is_idempotent: bool = True,
        only_reads: bool = False,
    ) -> Json:
        """Do something once; a finished step gives its kept result. `body` is handed the key for effects outside.

        The same name again is the next step of that name; one that `only_reads` may be done again where nothing was
        done behind it. A result has at most STEP_LIMIT_BYTES of JSON.
        Errors: what the body raises; InDoubt.
        """
        ...

    async def tell(self, event: TurnEvent) -> None:
        """Say something to whoever follows the turn. Bounded by the follower's patience, never by a client's."""
        ...

    async def wait(self, key: str, *, until: datetime) -> Json:
        """Give what somebody answered under `key`, now or in a later process; None when `until` passed before.

        Not within a step. The turn leaves its process while it waits: whatever is on the way lets that pass. Outside of
        a run nobody answers.
        """
        ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent, or may be; `cost` in USD, None where a price is not known."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    tool_calls: int = 0
    cost: Decimal | None = None

    def __add__(self, other: "Usage") -> "Usage":
        known = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
            self.tool_calls + other.tool_calls,
            sum(known, Decimal(0)) if known else None,
        )


class BudgetReached(RateLimited):
    """`detail` names the budget and when there is more of it; the turn ends with it, what was said stays."""

    type = "budget-exhausted"
    title = "A budget is used up"


class Spending(Protocol):
    """Whom a turn asks before it spends, and tells what it spent: the ledger's side of a turn.

    Each model request, each of its retries, and each tool call is one pair of `reserve` and `settle` under one `key`,
    the same in every process that works on the turn; a turn that is begun again may reserve a key that was reserved, or
    settled, before. What neither process settled is the ledger's to let go of when the run ends.
    A finished step is not asked for again, and a turn outside of a run asks nobody (`Unmetered`).
    """

    async def reserve(self, key: str, estimate: Usage) -> None:
        """Set aside what may be spent at most: one request with its tokens and their price, or one tool call.

        The estimate errs upwards for what is asked, and takes a model's own limit, or the share of its window, for what
        it answers. Errors: BudgetReached, after which nothing is spent under this key.
        """
        ...

    async def settle(self, key: str, spent: Usage, *, model: str = "") -> None:
        """Write down what it was, in place of what was set aside; also of a request that failed or was cut off.

        `model` is that of a request, as its provider names it.
        Concurrency: called while the turn is being cancelled, too, so it is bounded by seconds.
        """
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """What a turn came to. `text` is the answer, and what its `text_delta`s come to; `model` is "" where there is none.

    `messages` are the turn's own, as the model library writes them down, without the history: bounded, the
    longest contents cut first.
    """

    text: str
    usage: Usage = Usage()
    model: str = ""
    messages: Json = ()


class Unwritten:
    """The journal of a turn outside of a run: it remembers nothing and tells nobody."""

    def __init__(self) -> None:
        self._turn = uuid4()
        self._steps = count(1)

    @property
    def is_resumed(self) -> bool:
        return False

    async def step(
        self,
        name: str,
        body: Callable[[str], Awaitable[Json]],
        *,
        is_idempotent: bool = True,  # noqa: ARG002 - the port's; nothing is begun twice here
        only_reads: bool = False,  # noqa: ARG002 - the port's; nothing is written down here
    ) -> Json:
        return await body(f"{self._turn}/{name}/{next(self._steps)}")

    async def tell(self, event: TurnEvent) -> None:
        """Keep it to ourselves."""

    async def wait(self, key: str, *, until: datetime) -> Json:
        """Give up at once."""
        del key, until
        return None


class Unmetered:
    """The ledger of a turn nobody pays for."""

    async def reserve(self, key: str, estimate: Usage) -> None:
        """Let it spend."""

    async def settle(self, key: str, spent: Usage, *, model: str = "") -> None:
        """Forget it."""


@dataclass(slots=True)
class Fold:
    """What the events of a turn come to so far, in the order they were told; other events change nothing."""

    usage: Usage = Usage()
    _said: dict[Json, list[str]] = field(default_factory=dict)

    def add(self, type_: str, data: Mapping[str, Json]) -> None:
        match type_:
            case "text_delta":
                self._said.setdefault(data["request"], []).append(str(data["text"]))
            case "stream_retry" if "request" in data:
                self._said.pop(data["request"], None)
            case "usage":
                self.usage += _spent(data)
            case "tool_call_complete":
                self.usage += Usage(tool_calls=1)

    @property
    def text(self) -> str:
        """The answer so far, in the order of the requests; whole when the turn is."""
        return "".join(piece for pieces in self._said.values() for piece in pieces)


def _spent(data: Mapping[str, Json]) -> Usage:
    cost = data.get("cost")
    return Usage(
        input_tokens=_whole(data["input_tokens"]),
        output_tokens=_whole(data["output_tokens"]),
        requests=1,
        cost=None if cost is None else Decimal(str(cost)),
    )


def _whole(value: Json) -> int:
    return value if isinstance(value, int) else 0
