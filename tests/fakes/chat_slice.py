"""The use cases of chats over fakes, and people to call them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from app.features.chats.domain.chat import Chat, NewChat
from app.features.chats.domain.message import Message, MessageRole, MessageStatus, NewMessage
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.chats.use_cases.turn_lease import TurnLease
from app.kernel.identity import Access, Principal
from app.kernel.ids import ChatId, UserId
from tests.fakes.agents import ScriptedAgents
from tests.fakes.chats import FakeChatStore, FakeMessageStore, FakeTurnStore, RecordingHook, World
from tests.fakes.keyed_requests import FakeKeyedRequests

NEVER_EXPIRES = 4e9


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
    renew_every_s: float = 60

    def __post_init__(self) -> None:
        self.begin = self.world.begin
        self.chats = FakeChatStore(self.world)
        self.messages = FakeMessageStore(self.world)
        self.turns = FakeTurnStore(self.world)

    @property
    def exchange(self) -> ExchangeMessage:
        lease = TurnLease(self.begin, self.turns, renew_every_s=self.renew_every_s)
        return ExchangeMessage(self.begin, self.chats, self.messages, lease, self.agents, self.hook)

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
