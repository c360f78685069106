"""The ports of chats in memory: stores over one `World` whose transactions are serial and roll back, and a hook."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from app.features.chats.domain.branch import Departure, Head, Position, Spot
from app.features.chats.domain.chat import Chat, ChatChange, NewChat
from app.features.chats.domain.message import (
    Message,
    MessageChange,
    MessageRole,
    MessageStatus,
    NewAnswer,
    NewMessage,
    OwnedMessage,
)
from app.features.chats.domain.search import MATCHES_LIMIT, FoundChat, Match, snippet_of
from app.features.chats.ports import Snapshot
from app.kernel.ids import ChatId, MessageId, RunId, UserId
from app.kernel.paging import ListQuery, Page, Search
from app.kernel.transaction import Tx
from app.kernel.values import KEPT


@dataclass
class State:
    chats: dict[int, Chat] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    deleted_messages: frozenset[int] = frozenset()
    questions: dict[int, MessageId] = field(default_factory=dict)
    """what each answer answers"""
    departures: dict[tuple[int, int], Departure] = field(default_factory=dict)
    """where each branch of each chat leaves its parent"""


class World:
    """What is stored. `open_transactions` lets a test see that none is open across a wait on somebody else."""

    def __init__(self) -> None:
        self.state = State()
        self.open_transactions = 0
        self.failures: list[Exception] = []
        self._ids = {"chat": 0, "message": 0}
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        """Raise the next of `failures`, if any, instead of opening a transaction."""
        if self.failures:
            raise self.failures.pop(0)
        async with self._lock:
            state = self.state
            before = State(
                dict(state.chats),
                dict(state.messages),
                state.deleted_messages,
                dict(state.questions),
                dict(state.departures),
            )
            self.open_transactions += 1
            try:
                yield object()
            except BaseException:
                self.state = before
                raise
            finally:
                self.open_transactions -= 1

    def now(self) -> datetime:
        return datetime.now(UTC)

    def next_id(self, noun: str) -> int:
        self._ids[noun] += 1
        return self._ids[noun]

    def live_chat(self, chat_id: int) -> Chat | None:
        chat = self.state.chats.get(chat_id)
        return chat if chat and chat.deleted_at is None else None

    def is_visible(self, message: Message) -> bool:
        return message.id not in self.state.deleted_messages and self.live_chat(message.chat_id) is not None

    def messages(self) -> list[Message]:
        return sorted(self.state.messages.values(), key=lambda message: message.id)

    def position(self, message: Message) -> Position:
        return Position(self.state.questions.get(message.id, message.id), message.id)

    def is_on(self, message: Message, branch: int) -> bool:
        """Whether a message is on the path of a branch of its chat."""
        until = None
        while message.branch != branch:
            departure = self.state.departures.get((message.chat_id, branch))
            if departure is None:
                return False
            branch, until = departure.parent, departure.until
        return until is None or self.position(message) < until


class FakeChatStore:
    def __init__(self, world: World) -> None:
        self.world = world

    async def add(self, tx: Tx, draft: NewChat) -> Chat:
        now = self.world.now()
        chat_id = ChatId(self.world.next_id("chat"))
        chat = Chat(
            chat_id, draft.user_id, draft.title, draft.agent, dict(draft.metadata), now, now, context=draft.context
        )
        self.world.state.chats[chat_id] = chat
        return chat

    async def find(self, tx: Tx, chat_id: ChatId) -> Chat | None:
        return self.world.live_chat(chat_id)

    async def find_kept(self, tx: Tx, chat_id: ChatId) -> Chat | None:
        return self.world.state.chats.get(chat_id)

    async def list(self, tx: Tx, query: ListQuery, *, owner: UserId | None) -> Page[Chat]:
        live = [chat for chat in self.world.state.chats.values() if chat.deleted_at is None]
        return listed([replace(chat, context=None) for chat in live if owner in (None, chat.user_id)], query)

    async def update(self, tx: Tx, chat_id: ChatId, change: ChatChange) -> Chat | None:
        chat = self.world.live_chat(chat_id)
        if chat is None or change == ChatChange():
            return chat
        changed = replace(
            chat,
            title=chat.title if change.title is KEPT else change.title,
            agent=chat.agent if change.agent is KEPT else change.agent,
            metadata=chat.metadata if change.metadata is KEPT else change.metadata,
            context=chat.context if change.context is KEPT else change.context,
            updated_at=self.world.now(),
        )
        self.world.state.chats[chat_id] = changed
        return changed

    async def delete(self, tx: Tx, chat_id: ChatId) -> None:
        if chat := self.world.live_chat(chat_id):
            self.world.state.chats[chat_id] = replace(chat, deleted_at=self.world.now())

    async def restore(self, tx: Tx, chat_id: ChatId) -> Chat | None:
        chat = self.world.state.chats.get(chat_id)
        if chat is None:
            return None
        self.world.state.chats[chat_id] = replace(chat, deleted_at=None)
        return self.world.state.chats[chat_id]

    async def entitle(self, tx: Tx, chat_id: ChatId, title: str) -> None:
        chat = self.world.state.chats.get(chat_id)
        if chat is not None and chat.title is None:
            self.world.state.chats[chat_id] = replace(chat, title=title, updated_at=self.world.now())


class FakeMessageStore:
    def __init__(self, world: World) -> None:
        self.world = world

    async def add(self, tx: Tx, draft: NewMessage) -> Message | None:
        chat = self.world.live_chat(draft.chat_id)
        if chat is None:
            return None
        now = self.world.now()
        message_id = MessageId(self.world.next_id("message"))
        said = (draft.role, draft.content, True, draft.status)
        message = Message(message_id, chat.id, *said, now, now, draft.run_id, draft.attachments, chat.branch)
        self.world.state.messages[message_id] = message
        self.world.state.chats[chat.id] = replace(chat, updated_at=now)
        return message

    async def add_answer(self, tx: Tx, answer: NewAnswer) -> Message | None:
        question = self.world.state.messages.get(answer.question)
        if question is None:
            return None
        now, message_id = self.world.now(), MessageId(self.world.next_id("message"))
        what = MessageRole.ASSISTANT, answer.content, True, answer.status
        said = Message(message_id, question.chat_id, *what, now, now, answer.run_id, (), answer.branch)
        self.world.state.messages[message_id] = said
        self.world.state.questions[message_id] = question.id
        if chat := self.world.live_chat(question.chat_id):
            self.world.state.chats[chat.id] = replace(chat, updated_at=now)
        return said

    async def replace_answers(self, tx: Tx, chat_id: ChatId, question: MessageId, *, branch: int) -> None:
        for answer_id in [answer for answer, of in self.world.state.questions.items() if of == question]:
            answer = self.world.state.messages[answer_id]
            if answer.branch == branch:
                self.world.state.messages[answer_id] = replace(answer, in_prompt=False)

    async def take_all_out(self, tx: Tx, chat_id: ChatId) -> tuple[int, datetime | None]:
        now, messages = self.world.now(), self.world.state.messages
        taken = [one for one in messages.values() if one.chat_id == chat_id and one.in_prompt]
        for one in taken:
            messages[one.id] = replace(one, in_prompt=False, updated_at=now)
        return len(taken), now if taken else None

    async def put_back(self, tx: Tx, chat_id: ChatId, *, taken_out_at: datetime) -> int:
        now, messages = self.world.now(), self.world.state.messages
        found = [one for one in messages.values() if one.chat_id == chat_id and one.updated_at == taken_out_at]
        for one in found:
            messages[one.id] = replace(one, in_prompt=True, updated_at=now)
        return len(found)

    async def read_turn(
        self, tx: Tx, chat_id: ChatId, question: MessageId, run_id: RunId, *, branch: int
    ) -> Sequence[Message]:
        questions = self.world.state.questions
        return [
            message
            for message in self.world.messages()
            if message.id == question
            or (questions.get(message.id), message.run_id, message.branch) == (question, run_id, branch)
        ]

    async def read_answers(
        self, tx: Tx, chat_id: ChatId, *, after: int, limit: int, branch: int
    ) -> Sequence[tuple[Message, Message]]:
        visible = {one.id: one for one in await self.read_after(tx, chat_id, after=0, limit=2**62, branch=branch)}
        questions = self.world.state.questions
        pairs = [
            (visible[questions[one.id]], one)
            for one in sorted(visible.values(), key=lambda one: one.id)
            if one.id > after and questions.get(one.id) in visible
        ]
        return pairs[:limit]

    async def find(self, tx: Tx, message_id: MessageId) -> OwnedMessage | None:
        message = self.world.state.messages.get(message_id)
        if message is None or not self.world.is_visible(message):
            return None
        chat = self.world.state.chats[message.chat_id]
        return OwnedMessage(message, chat.user_id, chat.context)

    async def list(self, tx: Tx, query: ListQuery, *, chat_id: ChatId | None) -> Page[Message]:
        visible = [message for message in self.world.messages() if self.world.is_visible(message)]
        return listed([message for message in visible if chat_id in (None, message.chat_id)], query)

    async def read_after(
        self, tx: Tx, chat_id: ChatId, *, after: int, limit: int, branch: int | None = None
    ) -> Sequence[Message]:
        in_chat = [m for m in self.world.messages() if m.chat_id == chat_id and self.world.is_visible(m)]
        on_path = [m for m in in_chat if branch is None or self.world.is_on(m, branch)]
        return [message for message in on_path if message.id > after][:limit]

    async def read_history(
        self, tx: Tx, chat_id: ChatId, *, before: MessageId, branch: int, limit_messages: int, limit_bytes: int
    ) -> Sequence[Message]:
        earlier = [
            message
            for message in await self.read_after(tx, chat_id, after=0, limit=2**62, branch=branch)
            if self.world.position(message).place < before
            and message.in_prompt
            and message.status is MessageStatus.COMPLETE
        ]
        earlier.sort(key=self.world.position)
        fitting: list[Message] = []
        for message in reversed(earlier[-limit_messages:]):
            limit_bytes -= len(message.content.encode())
            if limit_bytes < 0:
                break
            fitting.insert(0, message)
        return fitting

    async def update(self, tx: Tx, message_id: MessageId, change: MessageChange) -> Message | None:
        owned = await self.find(tx, message_id)
        if owned is None or change == MessageChange():
            return owned.message if owned else None
        message = owned.message
        changed = replace(
            message,
            content=message.content if change.content is None else change.content,
            in_prompt=message.in_prompt if change.in_prompt is None else change.in_prompt,
            updated_at=self.world.now(),
        )
        self.world.state.messages[message_id] = changed
        return changed

    async def settle(self, tx: Tx, message_id: MessageId, status: MessageStatus) -> Message | None:
        message = self.world.state.messages.get(message_id)
        if message is None:
            return None
        status = MessageStatus.COMPLETE if message.status is MessageStatus.COMPLETE else status
        self.world.state.messages[message_id] = replace(message, status=status, updated_at=self.world.now())
        return self.world.state.messages[message_id]

    async def delete(self, tx: Tx, message_id: MessageId) -> None:
        if await self.find(tx, message_id):
            self.world.state.deleted_messages |= {message_id}


class FakeChatSearch:
    def __init__(self, world: World) -> None:
        self.world = world

    async def search(self, tx: Tx, words: str, *, owner: UserId, limit: int, offset: int) -> Page[FoundChat]:
        wanted = words_in(words)
        if not wanted:
            return Page((), 0, limit, offset)
        found: list[tuple[datetime, FoundChat]] = []
        for chat in self.world.state.chats.values():
            if chat.deleted_at is not None or chat.user_id != owner:
                continue
            visible = [one for one in self.world.messages() if one.chat_id == chat.id and self.world.is_visible(one)]
            hits = [one for one in reversed(visible) if has_all(one.content, wanted)]
            if hits or has_all(chat.title or "", wanted):
                matches = [
                    Match(one.id, one.role, snippet_of(one.content, wanted), one.created_at)
                    for one in hits[:MATCHES_LIMIT]
                ]
                shown = FoundChat(replace(chat, context=None), matches)
                found.append((hits[0].created_at if hits else chat.updated_at, shown))
        found.sort(key=lambda one: (one[0], one[1].chat.id), reverse=True)
        return Page([one for _, one in found[offset : offset + limit]], len(found), limit, offset)


def words_in(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def has_all(text: str, wanted: Sequence[str]) -> bool:
    return all(any(word.startswith(one) for word in words_in(text)) for one in wanted)


class FakeBranchStore:
    def __init__(self, world: World) -> None:
        self.world = world

    async def locate(self, tx: Tx, message_id: MessageId) -> Spot | None:
        message = self.world.state.messages.get(message_id)
        if message is None or not self.world.is_visible(message):
            return None
        position = self.world.position(message)
        return Spot(
            message,
            self.world.state.chats[message.chat_id].user_id,
            self.world.state.questions.get(message_id),
            self.world.state.departures.get((message.chat_id, message.branch)),
            is_first=all(self.world.position(one) >= position for one in self._own(message.chat_id, message.branch)),
        )

    async def begin(self, tx: Tx, chat_id: ChatId, departure: Departure) -> int | None:
        chat = self.world.live_chat(chat_id)
        if chat is None:
            return None
        number = chat.branches + 1
        self.world.state.chats[chat_id] = replace(chat, branch=number, branches=number, updated_at=self.world.now())
        self.world.state.departures[chat_id, number] = departure
        return number

    async def select(self, tx: Tx, chat_id: ChatId, branch: int) -> Chat | None:
        if chat := self.world.live_chat(chat_id):
            self.world.state.chats[chat_id] = replace(chat, branch=branch, updated_at=self.world.now())
        return self.world.live_chat(chat_id)

    async def heads(self, tx: Tx, chat_id: ChatId) -> Sequence[Head]:
        left = {number: one for (chat, number), one in self.world.state.departures.items() if chat == chat_id}
        going_on = {(one, number) for number, one in left.items()} | {(one, one.parent) for one in left.values()}
        heads = []
        for departure, branch in sorted(going_on):
            own = [one for one in self._own(chat_id, branch) if self.world.is_visible(one)]
            behind = sorted(self.world.position(one) for one in own if self.world.position(one) >= departure.until)
            if behind:
                place, first = behind[0]
                newest = first if place == first else max(one.id for one in behind if one.place == place)
                heads.append(Head(departure, branch, MessageId(newest)))
        return heads

    async def copy(
        self, tx: Tx, chat_id: ChatId, *, branch: int, until: Position | None, title: str | None
    ) -> Chat | None:
        chat = self.world.live_chat(chat_id)
        if chat is None:
            return None
        now, copy_id = self.world.now(), ChatId(self.world.next_id("chat"))
        copy = replace(
            chat, id=copy_id, title=title or chat.title, created_at=now, updated_at=now, branch=0, branches=0
        )
        state = self.world.state
        state.chats[copy_id] = copy
        said = [one for one in self.world.messages() if one.chat_id == chat_id and self.world.is_visible(one)]
        on_path = [one for one in said if self.world.is_on(one, branch)]
        numbers: dict[int, MessageId] = {}
        for one in sorted(on_path, key=self.world.position):
            if until is None or self.world.position(one) < until:
                numbers[one.id] = MessageId(self.world.next_id("message"))
                is_waiting = one.status is MessageStatus.PENDING
                status = MessageStatus.INTERRUPTED if is_waiting else one.status
                state.messages[numbers[one.id]] = replace(
                    one, id=numbers[one.id], chat_id=copy_id, branch=0, status=status
                )
                if state.questions.get(one.id) in numbers:
                    state.questions[numbers[one.id]] = numbers[state.questions[one.id]]
        return copy

    def _own(self, chat_id: int, branch: int) -> list[Message]:
        return [one for one in self.world.messages() if (one.chat_id, one.branch) == (chat_id, branch)]


@dataclass
class RecordingHook:
    captured: list[Snapshot] = field(default_factory=list)

    def capture(self, snapshot: Snapshot) -> None:
        self.captured.append(snapshot)

    async def run(self) -> None:
        """Nothing to deliver to."""


class Listable(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def updated_at(self) -> datetime: ...


def listed[T: Listable](items: Sequence[T], query: ListQuery) -> Page[T]:
    found = [item for item in items if matches(item, query)]
    if query.order_by is None:
        found.sort(key=lambda item: item.id)
    else:
        found.sort(key=sort_key(query.order_by))
    if query.sort_order == "desc":
        found.reverse()
    return Page(found[query.offset : query.offset + query.limit], len(found), query.limit, query.offset)


def matches(item: Listable, query: ListQuery) -> bool:
    return (
        (query.ids is None or item.id in query.ids)
        and (query.created_before is None or item.created_at < query.created_before)
        and (query.created_after is None or item.created_at > query.created_after)
        and (query.updated_before is None or item.updated_at < query.updated_before)
        and (query.updated_after is None or item.updated_at > query.updated_after)
        and (query.search is None or holds(item, query.search))
    )


def holds(item: Listable, search: Search) -> bool:
    value = getattr(item, search.field)
    if value is None:
        return False
    return search.text.lower() in value.lower() if search.ignore_case else search.text in value


def sort_key(field_name: str) -> Callable[[Listable], tuple[bool, object, int]]:
    """As PostgreSQL sorts: null after everything, ties by id."""

    def key(item: Listable) -> tuple[bool, object, int]:
        value = getattr(item, field_name)
        return value is None, "" if value is None else value, item.id

    return key
