"""Chats that are read and cleared, runs that are followed and stopped, approvals that are decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from app.agents.approvals.desk import Status
from app.features.approvals.domain import REASON_LIMIT_CHARS, ApprovalFilter
from app.features.approvals.schemas import ApprovalOut, ApprovalPageOut, DecisionIn
from app.features.approvals.use_cases.decide_approval import DecideApproval
from app.features.approvals.use_cases.list_approvals import ListApprovals
from app.features.chats.schemas import MessagesOut
from app.features.chats.use_cases.clear_chat import ClearChat, UnclearChat
from app.features.chats.use_cases.read_messages import ReadMessages
from app.features.runs.schemas import RunOut
from app.features.runs.use_cases.cancel_run import CancelRun
from app.features.runs.use_cases.list_runs import ListRuns
from app.features.runs.use_cases.read_run import ReadRun
from app.infra.durable.ports import RunState
from app.kernel.ids import MAX_ID, ApprovalId, ChatId, RunId, UserId
from app.kernel.paging import MAX_PAGE_SIZE, ListQuery
from app.surfaces.mcp.agent_tools import AChatId
from app.surfaces.mcp.tool import Asking, McpTool

type PageSize = Annotated[int, Meta(ge=1, le=MAX_PAGE_SIZE)]
type Offset = Annotated[int, Meta(ge=0, le=1_000_000)]


class ChatStretchIn(Struct, frozen=True, forbid_unknown_fields=True):
    chat_id: AChatId
    after: Annotated[int, Meta(ge=0, le=MAX_ID, description="The `next` of the stretch before")] = 0
    limit: PageSize = 50


class ChatIn(Struct, frozen=True, forbid_unknown_fields=True):
    chat_id: AChatId


class UnclearIn(Struct, frozen=True, forbid_unknown_fields=True):
    chat_id: AChatId
    cleared_at: Annotated[datetime, Meta(tz=True, description="What clear_chat told")]


class RunsIn(Struct, frozen=True, forbid_unknown_fields=True):
    """`user_id` is for admins."""

    status: RunState | None = None
    user_id: Annotated[str, Meta(min_length=1, max_length=255, description="Whose; an admin may ask")] | None = None
    limit: PageSize = 20
    offset: Offset = 0


class RunIn(Struct, frozen=True, forbid_unknown_fields=True):
    run_id: UUID


class ApprovalsIn(Struct, frozen=True, forbid_unknown_fields=True):
    status: Status | None = Status.PENDING
    limit: PageSize = 20
    offset: Offset = 0


class DecideIn(Struct, frozen=True, forbid_unknown_fields=True):
    approval_id: UUID
    decision: Literal["approve", "deny"]
    reason: Annotated[str, Meta(max_length=REASON_LIMIT_CHARS)] | None = None
    # Any: what a tool takes, as JSON
    arguments: Annotated[dict[str, Any], Meta(description="Instead of the call's own, whole")] | None = None
    scope: Annotated[Literal["once", "chat"], Meta(description="chat: do not ask about this tool again here")] = "once"


class ClearedOut(Struct, frozen=True):
    messages: int
    cleared_at: datetime | None


class UnclearedOut(Struct, frozen=True):
    messages: int


class RunsOut(Struct, frozen=True):
    items: Sequence[RunOut]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class WorkTools:
    read_messages: ReadMessages
    clear: ClearChat
    unclear: UnclearChat
    list_runs: ListRuns
    read_run: ReadRun
    cancel_run: CancelRun
    list_approvals: ListApprovals
    decide: DecideApproval

    def tools(self) -> Sequence[McpTool]:
        return (
            McpTool("read_chat", "Read a chat's messages in order.", ChatStretchIn, self._read, reads_only=True),
            McpTool(
                "clear_chat",
                "Have the agent of a chat forget what was said there. Nothing is deleted, and unclear_chat undoes it.",
                ChatIn,
                self._clear,
            ),
            McpTool("unclear_chat", "Undo a clear_chat.", UnclearIn, self._unclear),
            McpTool("list_runs", "List your runs, the newest first.", RunsIn, self._list_runs, reads_only=True),
            McpTool("get_run", "Tell how a run is, and what it came to.", RunIn, self._get_run, reads_only=True),
            McpTool("cancel_run", "Stop a run; what it said is kept.", RunIn, self._cancel_run, destroys=True),
            McpTool(
                "list_approvals",
                "List the tool calls that wait for a person's decision.",
                ApprovalsIn,
                self._list_approvals,
                reads_only=True,
            ),
            McpTool(
                "decide_approval",
                "Approve or deny a tool call, once. Ask the person you work for before you do.",
                DecideIn,
                self._decide,
            ),
        )

    async def _read(self, asking: Asking, given: ChatStretchIn) -> MessagesOut:
        found = await self.read_messages(asking.who, ChatId(given.chat_id), after=given.after, limit=given.limit)
        return MessagesOut.of(found)

    async def _clear(self, asking: Asking, given: ChatIn) -> ClearedOut:
        cleared = await self.clear(asking.who, ChatId(given.chat_id))
        return ClearedOut(cleared.messages, cleared.at)

    async def _unclear(self, asking: Asking, given: UnclearIn) -> UnclearedOut:
        return UnclearedOut(await self.unclear(asking.who, ChatId(given.chat_id), cleared_at=given.cleared_at))

    async def _list_runs(self, asking: Asking, given: RunsIn) -> RunsOut:
        query = ListQuery(limit=given.limit, offset=given.offset)
        owner = None if given.user_id is None else UserId(given.user_id)
        page = await self.list_runs(asking.who, query, owner=owner, status=given.status)
        return RunsOut([RunOut.of(run) for run in page.items], page.total, page.limit, page.offset)

    async def _get_run(self, asking: Asking, given: RunIn) -> RunOut:
        return RunOut.of(await self.read_run(asking.who, RunId(given.run_id)))

    async def _cancel_run(self, asking: Asking, given: RunIn) -> RunOut:
        return RunOut.of(await self.cancel_run(asking.who, RunId(given.run_id)))

    async def _list_approvals(self, asking: Asking, given: ApprovalsIn) -> ApprovalPageOut:
        query = ListQuery(limit=given.limit, offset=given.offset)
        page = await self.list_approvals(asking.who, query, only=ApprovalFilter(status=given.status))
        return ApprovalPageOut.of(page)

    async def _decide(self, asking: Asking, given: DecideIn) -> ApprovalOut:
        wanted = DecisionIn(given.decision, given.reason, given.arguments, given.scope)
        return ApprovalOut.of(await self.decide(asking.who, ApprovalId(given.approval_id), wanted.ruling()))
