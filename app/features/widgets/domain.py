"""A chat to embed: who may talk to whom, and how much of what was said is kept.

Rule: a visitor is nobody. The agent works as a guest, who opens no door, and without any tool that changes something.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from app.agents.contract import PastMessage
from app.features.runs.domain.agent_work import OrderUnreadable, authority_of
from app.infra.durable.ports import Job
from app.kernel.authority import INPUT_KEY, Authority
from app.kernel.errors import Conflict, NotFound, Unavailable
from app.kernel.identity import Role
from app.kernel.storable import storable_text
from app.kernel.values import Json
from app.kernel.widgets import owner_of

KIND = "widget"
TRIGGER = "exchange"
TEXT_LIMIT_CHARS = 2_000
HISTORY_LIMIT_MESSAGES = 40
HISTORY_LIMIT_CHARS = 40_000
MAX_TURNS = 100
"""of one session"""
MAX_SESSIONS = 10_000
"""of one widget at a time; of those that have expired none is left"""
SESSION_ID_BYTES = 24
SESSION_ID_CHARS = 32


class WidgetNotFound(NotFound):
    type = "widget-not-found"
    title = "There is no such chat"


class WidgetSessionNotFound(NotFound):
    type = "widget-session-not-found"
    title = "There is no such conversation"


class WidgetSessionBusy(Conflict):
    type = "widget-session-busy"
    title = "The last message of this conversation is being answered"


class WidgetSessionFull(Conflict):
    type = "widget-session-full"
    title = "This conversation is too long"


class WidgetFull(Unavailable):
    type = "widget-full"
    title = "Too many people talk here at the moment"


@dataclass(frozen=True, slots=True)
class Widget:
    """`session_life` is counted from the last message."""

    name: str
    agent: str
    session_life: timedelta


@dataclass(frozen=True, slots=True)
class Session:
    """`key` is the digest of its id, which only the visitor has; `is_busy` while a message is being answered."""

    key: bytes
    turns: int
    is_busy: bool


@dataclass(frozen=True, slots=True)
class Order:
    """What the run of a message is told."""

    key: bytes
    text: str
    authority: Authority
    request_id: str

    @classmethod
    def of(cls, job: Job) -> Self:
        """Errors: OrderUnreadable, for what this version has not written."""
        match job.input:
            case {"session": str(key), "text": str(text), "request_id": str(request_id)}:
                return cls(bytes.fromhex(key), text, authority_of(job), request_id)
        raise OrderUnreadable


def input_of(widget: Widget, key: bytes, text: str, *, request_id: str, now_s: float) -> Mapping[str, Json]:
    guest = Authority(owner_of(widget.name), (Role.GUEST.value,), issued_at=now_s)
    return {"session": key.hex(), "text": text, INPUT_KEY: guest.as_json(), "request_id": request_id}


def new_session_id() -> str:
    return secrets.token_urlsafe(SESSION_ID_BYTES)


def key_of(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode("utf-8", "replace")).digest()


def continued(history: Sequence[PastMessage], question: str, answer: str) -> Sequence[PastMessage]:
    """Add a turn, and let go of the oldest where there is too much."""
    said = [*history, PastMessage("user", question), PastMessage("assistant", storable_text(answer))]
    kept = said[-HISTORY_LIMIT_MESSAGES:]
    while len(kept) > 2 and sum(len(one.content) for one in kept) > HISTORY_LIMIT_CHARS:
        kept = kept[2:]
    return kept
