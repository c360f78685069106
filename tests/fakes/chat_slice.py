"""The use cases of chats over fakes, and people to call them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.chats.domain import title
from app.features.chats.domain.chat import Chat, NewChat
from app.features.chats.domain.message import Message, MessageRole, MessageStatus, NewMessage
from app.features.chats.domain.turn import KIND
from app.features.chats.use_cases.answer_turn import AnswerTurn
from app.features.chats.use_cases.begin_turn import BeginTurn
from app.features.chats.use_cases.end_turn import EndTurn
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.chats.use_cases.give_title import GiveTitle
from app.features.chats.use_cases.make_title import EndTitle, MakeTitle
from app.features.runs.use_cases.ask_agent import AskAgent
from app.features.usage.domain.budget import Budgets
from app.features.usage.use_cases.close_run import CloseRun
from app.features.usage.use_cases.meter_run import MeterRun
from app.infra.durable.ports import Handlers, RunContext
from app.infra.events.batch import EventBatch
from app.infra.events.ports import RunEvent
from app.kernel.clock import SystemClock
from app.kernel.identity import Access, Principal, RoleTable
from app.kernel.ids import ChatId, RunId, UserId
from app.kernel.transaction import Tx
from tests.fakes.agents import ScriptedAgents
from tests.fakes.approvals import FakeApprovalStore
from tests.fakes.attachments import FakeAttachmentStore
from tests.fakes.audit import FakeAuditStore
from tests.fakes.chats import FakeBranchStore, FakeChatStore, FakeMessageStore, RecordingHook, World
from tests.fakes.durable import FakeEngine, FakeEventLog, FakeRunQueue, FakeRuns, FakeWorker
from tests.fakes.keyed_requests import FakeKeyedRequests
from tests.fakes.ledger import FakeLedger
from tests.fakes.runs import FakeRunStore

NEVER_EXPIRES = 4e9
PATIENCE_S = 20
ROLES = RoleTable.build({}, developer_everywhere=False)


def a_principal(user_id: str, role: str = "user", *groups: Access) -> Principal:
    return Principal(UserId(user_id), role, frozenset({Access.COMMON, *groups}), NEVER_EXPIRES)


ANN = a_principal("ann")
BEN = a_principal("ben")
MANAGER = a_principal("mia", "manager", Access.STAFF)
ADMIN = a_principal("root", "admin", Access.STAFF, Access.ADMIN)


async def until(is_so: Callable[[], bool], *, within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.001)


@dataclass
class Slice:
    world: World = field(default_factory=World)
    agents: ScriptedAgents = field(default_factory=ScriptedAgents)
    hook: RecordingHook = field(default_factory=RecordingHook)
    receipts: FakeKeyedRequests = field(default_factory=FakeKeyedRequests)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    budgets: Budgets = field(default_factory=Budgets)
    approvals: FakeApprovalStore = field(default_factory=FakeApprovalStore)
    audit: FakeAuditStore = field(default_factory=FakeAuditStore)
    titles_are_asked_for: bool = False
    attachments: FakeAttachmentStore = field(default_factory=FakeAttachmentStore)

    def __post_init__(self) -> None:
        self.chats = FakeChatStore(self.world)
        self.messages = FakeMessageStore(self.world)
        self.branches = FakeBranchStore(self.world)
        self.kept = FakeRuns(self.begin)
        self.runs = FakeRunStore(self.kept)
        self.log = FakeEventLog(self.kept)
        self.queue = FakeRunQueue(self.kept)
        self.handlers = Handlers({KIND: self.answering(), title.KIND: self.titling()})
        self.engine = FakeEngine(self.kept, self.handlers)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        async with self.world.begin() as tx:
            before = dict(self.kept.runs)
            try:
                yield tx
            except BaseException:
                self.kept.runs = before
                raise

    def answering(self) -> AnswerTurn:
        give = GiveTitle(self.chats, self.queue, is_asked=self.titles_are_asked_for)
        end = EndTurn(self.messages, self.runs, CloseRun(self.ledger), CloseApprovals(self.approvals), give)
        return AnswerTurn(self.begin, self.messages, self.asking(), end, self.attachments)

    def titling(self) -> MakeTitle:
        end = EndTitle(self.chats, self.messages, CloseRun(self.ledger))
        return MakeTitle(self.begin, self.chats, self.messages, self.asking(), end)

    def asking(self) -> AskAgent:
        meter = MeterRun(self.ledger, self.budgets, SystemClock())
        return AskAgent(self.begin, self.runs, self.agents, ROLES, meter, _batch_of)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker for as long as the block."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(FakeWorker(self.kept, self.handlers).work())
            try:
                yield
            finally:
                task.cancel()

    @property
    def exchange(self) -> ExchangeMessage:
        return ExchangeMessage(self.chats, self.begin_turn)

    @property
    def begin_turn(self) -> BeginTurn:
        stores = self.begin, self.messages, self.runs
        return BeginTurn(
            *stores,
            self.queue,
            self.engine,
            self.agents,
            self.hook,
            self.receipts,
            FakeApprovalStore(),
            self.attachments,
        )

    async def ended(self, run_id: RunId) -> list[RunEvent]:
        """Everything a run says, once it is over."""
        async with asyncio.timeout(PATIENCE_S):
            return [event async for event in self.log.follow(run_id)]

    async def a_chat(self, owner: Principal = ANN, *, title: str | None = None, agent: str | None = None) -> Chat:
        async with self.begin() as tx:
            return await self.chats.add(tx, NewChat(owner.user_id, title=title, agent=agent))

    async def a_message(
        self,
        chat: Chat,
        content: str = "hello",
        *,
        role: MessageRole = MessageRole.USER,
        status: MessageStatus = MessageStatus.COMPLETE,
    ) -> Message:
        async with self.begin() as tx:
            message = await self.messages.add(tx, NewMessage(chat.id, role, content, status))
        assert message is not None
        return message

    async def said(self, chat_id: ChatId) -> list[tuple[str, str, str]]:
        """Everything visible in a chat: role, content, status."""
        async with self.begin() as tx:
            found = await self.messages.read_after(tx, chat_id, after=0, limit=1000)
        return [(message.role.value, message.content, message.status.value) for message in found]


def _batch_of(context: RunContext) -> EventBatch:
    return EventBatch(context.progress)
