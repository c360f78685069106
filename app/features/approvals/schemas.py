"""What clients send and get about approvals; interface contracts, field by field."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, Self, cast

from msgspec import Meta, Struct

from app.agents.approvals.desk import Status
from app.features.approvals.domain import (
    ARGUMENTS_LIMIT_BYTES,
    REASON_LIMIT_CHARS,
    Approval,
    Ruling,
    StandingApproval,
)
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.paging import Page
from app.kernel.storable import json_problem, text_problem
from app.kernel.values import Json

type Reason = Annotated[str, Meta(max_length=REASON_LIMIT_CHARS)]


class ApprovalOut(Struct, frozen=True, kw_only=True):
    """`question` is why a person is asked, `reason` what was said when it was decided.

    `arguments` are those that were asked about; `edited_arguments` those the call is made with instead, or null.
    """

    id: str
    run_id: str
    chat_id: int | None
    user_id: str
    agent: str
    tool_call_id: str
    tool: str
    risk: str
    arguments: Mapping[str, object]
    edited_arguments: Mapping[str, object] | None
    question: str
    reason: str | None
    status: Status
    scope: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None

    @classmethod
    def of(cls, one: Approval) -> Self:
        return cls(
            id=str(one.id),
            run_id=str(one.run_id),
            chat_id=one.chat_id,
            user_id=one.owner,
            agent=one.agent,
            tool_call_id=one.tool_call_id,
            tool=one.tool,
            risk=one.risk.value,
            arguments=one.arguments,
            edited_arguments=one.edited,
            question=one.question,
            reason=one.reason,
            status=one.status,
            scope=one.scope,
            created_at=one.created_at,
            updated_at=one.updated_at,
            expires_at=one.expires_at,
            decided_by=one.decided_by,
            decided_at=one.decided_at,
        )


class ApprovalPageOut(Struct, frozen=True):
    items: Sequence[ApprovalOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[Approval]) -> Self:
        return cls([ApprovalOut.of(one) for one in page.items], page.total, page.limit, page.offset)


class StandingApprovalOut(Struct, frozen=True, kw_only=True):
    """`id` is that of the request that was approved with the scope "chat"."""

    id: str
    chat_id: int
    user_id: str
    agent: str
    tool: str
    given_by: str
    created_at: datetime

    @classmethod
    def of(cls, one: StandingApproval) -> Self:
        return cls(
            id=str(one.approval_id),
            chat_id=one.chat_id,
            user_id=one.owner,
            agent=one.agent,
            tool=one.tool,
            given_by=one.given_by,
            created_at=one.created_at,
        )


class StandingApprovalPageOut(Struct, frozen=True):
    items: Sequence[StandingApprovalOut]
    total: int
    limit: int
    offset: int

    @classmethod
    def of(cls, page: Page[StandingApproval]) -> Self:
        return cls([StandingApprovalOut.of(one) for one in page.items], page.total, page.limit, page.offset)


class DecisionIn(Struct, frozen=True, forbid_unknown_fields=True):
    """`arguments` replace the call's own, whole. With `scope` "chat" the tool is not asked about again in this chat."""

    decision: Literal["approve", "deny"]
    reason: Reason | None = None
    arguments: dict[str, object] | None = None
    scope: Literal["once", "chat"] = "once"

    def ruling(self) -> Ruling:
        """Errors: ValidationFailed, for what cannot be kept."""
        reason = text_problem(self.reason or "", at_least=0, at_most=REASON_LIMIT_CHARS)
        arguments = None if self.arguments is None else json_problem(self.arguments, limit_bytes=ARGUMENTS_LIMIT_BYTES)
        found = {"reason": reason, "arguments": arguments}
        problems = [FieldError(field, problem) for field, problem in found.items() if problem]
        if problems:
            raise ValidationFailed("Some fields are not valid.", errors=problems)
        edited = cast("Mapping[str, Json] | None", self.arguments)
        return Ruling(self.decision == "approve", self.reason, edited, self.scope)
