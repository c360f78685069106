"""Whom a turn asks for leave, as the agents see it: requests of a person that outlive every process.

What lives here: the values, and the port. What does not: when to ask (`rules.py`), how a call waits (`guard.py`), and
where requests are kept and decided (`features/approvals`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from app.agents.rules import Risk
from app.kernel.ids import ApprovalId, ChatId, RunId, UserId
from app.kernel.values import Json


class Status(StrEnum):
    """What became of a request; one that nobody decided, in time or before its run was over, is EXPIRED."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Asker:
    """The turn that asks, and in whose name."""

    run_id: RunId
    chat_id: ChatId | None
    owner: UserId
    agent: str


@dataclass(frozen=True, slots=True)
class NewRequest:
    """`key` names it within its run, the same when it is made again. `question` says why a person is asked."""

    key: str
    tool_call_id: str
    tool: str
    risk: Risk
    arguments: Mapping[str, Json]
    question: str


@dataclass(frozen=True, slots=True)
class Asked:
    """`id` is None where nobody needs to be asked any more: this tool is always approved in this chat."""

    id: ApprovalId | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """`arguments` are those the call is to be made with where they were edited, None where they are its own.

    `digest` is of the tool and the arguments that were shown to who decided.
    """

    status: Status
    digest: str
    reason: str = ""
    decided_by: UserId | None = None
    arguments: Mapping[str, Json] | None = None


class ApprovalDesk(Protocol):
    """Errors: StorageUnavailable from both."""

    async def ask(self, asker: Asker, requests: Sequence[NewRequest], *, is_attended: bool) -> Sequence[Asked]:
        """Put requests to whoever may decide them; one that was put before, by its key, is given again."""
        ...

    async def take(self, approval_id: ApprovalId) -> Decision:
        """Give what was decided; what was not by now is closed as expired. The answer stays what it is."""
        ...


def wait_key(approval_id: ApprovalId) -> str:
    """Name what a run waits for while a request is pending."""
    return f"approval:{approval_id}"


def digest_of(tool: str, arguments: Mapping[str, Json]) -> str:
    """Digest a call, however its arguments are ordered or spaced."""
    text = json.dumps([tool, arguments], sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(type(value).__name__)
