"""A completion: a conversation its client keeps, answered by an agent in a run of its own; no chat is stored.

Rule: what a run is told has 256 KB at most. Of a longer conversation the newest turns are kept, and all that holds for
the whole of it, as a chat's are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from app.agents.contract import PastMessage, TurnTooLong
from app.features.runs.domain.agent_work import OrderUnreadable, authority_of
from app.infra.durable.ports import Job
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.errors import FieldError
from app.kernel.identity import Principal
from app.kernel.storable import storable_text, text_problem
from app.kernel.values import Json

KIND = "completion"
TRIGGER = "exchange"
TEXT_LIMIT_CHARS = 100_000
TOLD_LIMIT_BYTES = 200 * 1024
"""of the whole conversation, in UTF-8; what it takes besides to write it as JSON has the rest of the room"""
MESSAGE_BYTES = 40
"""of JSON around each"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of which agent, behind `history`, the oldest first."""

    agent: str
    text: str
    history: Sequence[PastMessage] = ()
    is_cancelled_on_leaving: bool = True
    request_id: str = ""

    def problems(self) -> list[FieldError]:
        problem = text_problem(self.text, at_least=1, at_most=TEXT_LIMIT_CHARS)
        return [FieldError("messages", f"the last one {problem}")] if problem else []


@dataclass(frozen=True, slots=True)
class Order:
    """What the run of a completion is told. Never the caller's token."""

    text: str
    history: tuple[PastMessage, ...]
    authority: Authority
    request_id: str

    @classmethod
    def of(cls, job: Job) -> Self:
        """Errors: OrderUnreadable, for what this version has not written."""
        match job.input:
            case {"text": str(text), "history": [*history], "request_id": str(request_id)}:
                return cls(text, tuple(_past(one) for one in history), authority_of(job), request_id)
        raise OrderUnreadable


def input_of(wish: Wish, who: Principal) -> Mapping[str, Json]:
    """Write the same down, of the history what fits. Errors: DelegatedTooDeep, TurnTooLong."""
    history: list[Json] = [[one.role, storable_text(one.content)] for one in fitting(wish.history, wish.text)]
    return {
        "text": wish.text,
        "history": history,
        INPUT_KEY: Authority.of(who).as_json(),
        "request_id": wish.request_id,
    }


def fitting(history: Sequence[PastMessage], text: str) -> Sequence[PastMessage]:
    """Keep what the system says, and the longest end of the rest that fits and begins with a user's message.

    Errors: TurnTooLong, where not even the former and the question do.
    """
    systems = [one for one in history if one.role == "system"]
    room = TOLD_LIMIT_BYTES - _bytes(text) - sum(_bytes(one.content) for one in systems)
    if room < 0:
        raise TurnTooLong(f"The last message and those of the system have more than {TOLD_LIMIT_BYTES} bytes.")
    start = len(history)
    for index in range(len(history) - 1, -1, -1):
        one = history[index]
        if one.role == "system":
            continue
        room -= _bytes(one.content)
        if room < 0:
            break
        if one.role == "user":
            start = index
    return [one for index, one in enumerate(history) if index >= start or one.role == "system"]


def _bytes(text: str) -> int:
    """Tell how much of the run's input a text takes at most, but for what JSON has to escape."""
    escaped = text.count('"') + text.count("\\") + text.count("\n") + text.count("\r") + text.count("\t")
    return len(text.encode("utf-8", "replace")) + escaped + MESSAGE_BYTES


def _past(value: Json) -> PastMessage:
    match value:
        case ["user" | "assistant" | "system" as role, str(content)]:
            return PastMessage(role, content)
    raise OrderUnreadable
