"""Read the answers of the branch a chat goes on in, each with the way to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.features.chats.domain.interaction import TOLD, Interaction, Way
from app.features.chats.ports import ChatStore, MessageStore
from app.features.chats.use_cases.access import open_chat
from app.features.runs.ports import RunStore
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from app.kernel.transaction import Begin

MAX_INTERACTIONS = 20


@dataclass(frozen=True, slots=True)
class InteractionStretch:
    """A stretch of a chat's answers, oldest first; `next` is where to go on reading, None at the end."""

    items: Sequence[Interaction]
    next: MessageId | None


@dataclass(frozen=True, slots=True)
class ReadInteractions:
    """Errors: ChatNotFound. Cost: one query, and one for each answer, of which there are at most `MAX_INTERACTIONS`."""

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    runs: RunStore

    async def __call__(self, who: Principal, chat_id: ChatId, *, after: int, limit: int) -> InteractionStretch:
        async with self.begin() as tx:
            chat = await open_chat(self.chats, tx, who, chat_id)
            pairs = await self.messages.read_answers(tx, chat_id, after=after, limit=limit + 1, branch=chat.branch)
            items = []
            for question, answer in pairs[:limit]:
                told = () if answer.run_id is None else await self.runs.events(tx, answer.run_id, TOLD)
                way = Way.of(told)
                items.append(Interaction(question, answer, tuple(way.steps), way.is_whole and bool(told)))
        return InteractionStretch(items, items[-1].answer.id if len(pairs) > limit else None)
