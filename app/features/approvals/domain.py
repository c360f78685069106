"""A request for leave as whoever decides it sees it: what was asked, who may decide, and that it is decided once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.agents.approvals.desk import Status
from app.agents.rules import Risk
from app.kernel.errors import Conflict, FieldError, Forbidden, NotFound
from app.kernel.identity import Principal
from app.kernel.ids import ApprovalId, ChatId, RunId, UserId
from app.kernel.values import Json

REASON_LIMIT_CHARS = 1000
ARGUMENTS_LIMIT_BYTES = 64 * 1024

type Scope = Literal["once", "chat"]


@dataclass(frozen=True, slots=True)
class Approval:
    """`status` is as of now: what nobody decided until `expires_at` is expired, whether or not its run noticed.

    `arguments` are those that were asked about; `edited` those they were replaced with, by who decided.
    """

    id: ApprovalId
    run_id: RunId
    chat_id: ChatId | None
    owner: UserId
    agent: str
    tool_call_id: str
    tool: str
    risk: Risk
    arguments: Mapping[str, Json]
    digest: str
    question: str
    status: Status
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    reason: str | None = None
    scope: Scope | None = None
    edited: Mapping[str, Json] | None = None
    decided_by: UserId | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What somebody decides. With the scope "chat" the tool is approved for this agent in this chat from now on."""

    is_approved: bool
    reason: str | None = None
    arguments: Mapping[str, Json] | None = None
    scope: Scope = "once"

    def problems(self, approval: Approval) -> list[FieldError]:
        found = []
        if not self.is_approved and self.arguments is not None:
            found.append(FieldError("arguments", "go with an approval"))
        if not self.is_approved and self.scope == "chat":
            found.append(FieldError("scope", "must be once: what is denied is denied once"))
        if self.scope == "chat" and self.arguments is not None:
            found.append(FieldError("scope", "must be once: edited arguments are for this one call"))
        if self.scope == "chat" and approval.chat_id is None:
            found.append(FieldError("scope", "must be once: the run belongs to no chat"))
        return found


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """None lets everything through."""

    owner: UserId | None = None
    status: Status | None = None
    chat_id: ChatId | None = None
    run_id: RunId | None = None
    tool: str | None = None
    ids: tuple[ApprovalId, ...] | None = None


@dataclass(frozen=True, slots=True)
class StandingApproval:
    """A tool that is always approved for an agent in a chat; `approval_id` is the request that was answered so."""

    approval_id: ApprovalId
    chat_id: ChatId
    owner: UserId
    agent: str
    tool: str
    given_by: UserId
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class StandingFilter:
    """None lets everything through."""

    owner: UserId | None = None
    chat_id: ChatId | None = None


def may_decide(who: Principal, approval: Approval) -> bool:
    return who.is_admin or approval.owner == who.user_id


class ApprovalNotFound(NotFound):
    type = "approval-not-found"
    title = "There is no such request for approval"


class StandingApprovalNotFound(NotFound):
    """It was taken back, or the request was never approved for a whole chat."""

    type = "standing-approval-not-found"
    title = "There is no such standing approval"


class ApprovalDecided(Conflict):
    """Somebody was faster, or nobody was in time."""

    type = "approval-decided"
    title = "The request was decided already"

    def __init__(self, approval: Approval) -> None:
        by = f" by {approval.decided_by}" if approval.decided_by else ""
        members = {
            "approval_status": approval.status.value,
            "decided_by": approval.decided_by or "",
            "decided_at": approval.decided_at.isoformat() if approval.decided_at else "",
        }
        super().__init__(f"It is {approval.status}{by}.", members=members)


class ApprovalByAgent(Forbidden):
    """A run called with its own token: no agent gives itself leave, or another one."""

    type = "approval-by-agent"
    title = "An agent cannot approve anything"
