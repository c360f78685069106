"""One turn under way: what its model requests, its tool calls and its own code share, and how they speak.

Knows no model library. Rule: whatever is said goes through a `Speech` or `Work.tell`, within the step that does it, so
that a finished step says nothing again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app.agents.contract import AgentFailed, Tool, Turn
from app.agents.errands import Errand, ErrandEnd, ErrandRefused, Errands, NobodyElse
from app.agents.front_door import FrontDoor
from app.agents.rules import Rule, Verdict
from app.agents.turns import BudgetReached, InDoubt, Journal, Spending, TurnEvent, Usage
from app.kernel.ids import RunId
from app.kernel.values import Json

ANSWER_LIMIT_CHARS = 256 * 1024
GOODBYE_TIMEOUT_S = 2
"""how long what was spent may take to be written down when a request or a call was cut off"""
BETWEEN_REQUESTS = "\n\n"
"""stands between what a model said before it called a tool and what it said after"""


class JournalLost(BaseException):
    """The journal or the ledger raised something of its own; nobody on the way may take it for the agent's failure."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


@dataclass(frozen=True, slots=True)
class WantedCall:
    """A call of a tool as a model asked for it; `arguments` are None where they are no object of JSON."""

    id: str
    tool: str
    arguments: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a call before it was made; `approval` is the request that was put to a person, if any."""

    call: str
    verdict: Verdict
    because: str = ""
    approval: UUID | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """Work that a call of a tool handed to another agent."""

    call: str
    agent: str
    skill: str = ""


@dataclass(slots=True)
class Work:
    """Concurrency: of one task; its steps come one after another. Within a step several tasks may tell.

    `request` counts the model's requests from 1; `text` and `usage` are of those that are finished, `key` is the step
    under way's, `model` the one that answered last. `tools` are what the agent may call in this turn, by name; `hidden`
    names those its model has yet to search for, `outputs` are results that were too long to be shown whole. `calls` are
    those of the model's last response, `judged` what was said of them at `judged_request`; `rules` are the agent's
    about approvals. `ahead` is what calls came to that were made with one before them, by request and id.
    `errands` is who has others work; `handed` is what was handed to whom, `told_ends` of which ends it was told, and
    `outcomes` what became of calls that were put with one before them.
    """

    turn: Turn
    front_door: FrontDoor
    journal: Journal
    spending: Spending
    request: int = 1
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    key: str = ""
    model: str = ""
    tools: Mapping[str, Tool] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    calls: Sequence[WantedCall] = ()
    rules: Sequence[Rule] = ()
    judged: Sequence[Judged] = ()
    judged_request: int = 0
    outputs: dict[str, str] = field(default_factory=dict)
    ahead: dict[tuple[int, str], Json] = field(default_factory=dict)
    errands: Errands = field(default_factory=NobodyElse)
    handed: dict[RunId, Handed] = field(default_factory=dict)
    told_ends: set[RunId] = field(default_factory=set)
    outcomes: dict[tuple[int, str], object] = field(default_factory=dict)
    _is_suspect: bool = False

    def __post_init__(self) -> None:
        self._is_suspect = self.journal.is_resumed

    async def tell(self, type_: str, **data: Json) -> None:
        try:
            await self.journal.tell(TurnEvent(type_, data))
        except Exception as error:
            raise JournalLost(error) from error

    async def wait(self, key: str, *, until: datetime) -> Json:
        try:
            return await self.journal.wait(key, until=until)
        except Exception as error:
            raise JournalLost(error) from error

    async def begin(self, errand: Errand) -> RunId:
        """Errors: ErrandRefused, ErrandsFull."""
        try:
            return await self.errands.begin(errand)
        except ErrandRefused:
            raise
        except Exception as error:
            raise JournalLost(error) from error

    async def join(self, runs: Sequence[RunId], *, at_least: int) -> Mapping[RunId, ErrandEnd]:
        try:
            return await self.errands.join(runs, at_least=at_least)
        except Exception as error:
            raise JournalLost(error) from error

    async def step(
        self,
        name: str,
        body: Callable[[str], Awaitable[Json]],
        *,
        said_under: Mapping[str, Json],
        also_said_under: Sequence[Mapping[str, Json]] = (),
        is_idempotent: bool = True,
        only_reads: bool = False,
    ) -> Json:
        """Do something once. What an earlier process said of the step it was interrupted in is void, unless it was said
        under nothing. Of a step that `only_reads` nothing is said: one behind it was interrupted.

        Errors: what the body raises; InDoubt.
        """
        raised: list[Exception] = []

        async def begin(key: str) -> Json:
            self.key = key
            if self._is_suspect and not only_reads:
                self._is_suspect = False
                for one in filter(None, (said_under, *also_said_under)):
                    await self.tell("stream_retry", **one, reason="resumed")
            try:
                return await body(key)
            except Exception as error:
                raised.append(error)
                raise

        try:
            return await self.journal.step(name, begin, is_idempotent=is_idempotent, only_reads=only_reads)
        except InDoubt:
            raise
        except Exception as error:
            if any(error is one for one in raised):
                raise
            raise JournalLost(error) from error

    async def reserve(self, key: str, estimate: Usage) -> None:
        """Errors: BudgetReached."""
        try:
            await self.spending.reserve(key, estimate)
        except BudgetReached:
            raise
        except Exception as error:
            raise JournalLost(error) from error

    async def settle(self, key: str, spent: Usage, *, model: str = "") -> None:
        try:
            await self.spending.settle(key, spent, model=model)
        except Exception as error:
            raise JournalLost(error) from error

    async def tell_spent(self, spent: Usage, *, model: str, is_estimated: bool) -> None:
        await self.tell(
            "usage",
            request=self.request,
            model=model,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cost=None if spent.cost is None else f"{spent.cost:f}",
            is_estimated=is_estimated,
        )


class Speech:
    """What one request says, told piece by piece."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._begin()

    def _begin(self) -> None:
        self._pieces: list[str] = []
        self._left_chars = ANSWER_LIMIT_CHARS - len(self._work.text)
        self.thoughts_chars = 0

    @property
    def text(self) -> str:
        """What was told so far, and belongs to the answer."""
        return "".join(self._pieces)

    async def say(self, piece: str) -> None:
        """Errors: AgentFailed, when the answer grows longer than one may be."""
        text = sayable(piece)
        if not text:
            return
        if not self._pieces:
            text = opening(self._work.text) + text
        self._left_chars -= len(text)
        if self._left_chars < 0:
            raise AgentFailed(f"The agent's answer is longer than {ANSWER_LIMIT_CHARS} characters.")
        self._pieces.append(text)
        await self._work.tell("text_delta", request=self._work.request, text=text)

    async def think(self, piece: str) -> None:
        text = sayable(piece)
        if text and self.thoughts_chars < ANSWER_LIMIT_CHARS:
            self.thoughts_chars += len(text)
            await self._work.tell("thinking_delta", request=self._work.request, text=text)

    async def take_back(self, why: Mapping[str, Json]) -> None:
        """Make void what this request said so far, and begin afresh; `why` is told, its `reason` among it."""
        await self._work.tell("stream_retry", request=self._work.request, **why)
        self._begin()


def opening(before: str) -> str:
    """Give what stands between what was said before and what comes now."""
    return BETWEEN_REQUESTS if before else ""


def sayable(text: str) -> str:
    """Take out what no database stores: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def storable(value: Any) -> Any:  # Any: JSON in, JSON out
    """Take out of every text what no database stores."""
    match value:
        case str():
            return value if value.isprintable() else sayable(value)
        case Mapping():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value
