"""What every run has in common that asks an agent: in whose name, what may end it, what it comes to."""

from app.agents.contract import (
    AgentFailed,
    AgentNotFound,
    AgentTimedOut,
    ModelNotConfigured,
    ModelUnavailable,
    TurnTooLong,
    TurnUnreadable,
)
from app.agents.front_door import FrontDoorUnavailable
from app.agents.messages import AttachmentNotTaken
from app.agents.turns import BudgetReached, Said
from app.infra.durable.ports import Job, RunError
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.errors import Fault
from app.kernel.storable import storable_json
from app.kernel.values import Json

AGENT_FAILURES = (
    AgentFailed,
    AgentNotFound,
    AgentTimedOut,
    AttachmentNotTaken,
    BudgetReached,
    FrontDoorUnavailable,
    ModelNotConfigured,
    ModelUnavailable,
    TurnTooLong,
    TurnUnreadable,
)
"""what the agent's side may end a run with: trying again by ourselves would not help"""
ANSWER_LIMIT_CHARS = 1_000_000


class OrderUnreadable(ValueError):
    """The input of a run is not what its kind writes."""


def authority_of(job: Job) -> Authority:
    """Read in whose name a run works. Errors: OrderUnreadable."""
    try:
        return Authority.from_json(job.input.get(INPUT_KEY))
    except ValueError as error:
        raise OrderUnreadable from error


def error_of(fault: Fault) -> RunError:
    return RunError(fault.type, fault.detail or fault.title)


def answer_of(said: Said) -> dict[str, Json]:
    """Write down the result of a run outside of a chat, so that the database can be asked for its `text`."""
    return {"text": said.text, "model": said.model, "messages": storable_json(said.messages)}
