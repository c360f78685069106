"""Give a chat that has no title one, at the end of a turn."""

from dataclasses import dataclass

from app.agents.titling import TITLER
from app.features.chats.domain.message import Message
from app.features.chats.domain.title import KIND, TRIGGER, TitleOrder, first_words
from app.features.chats.domain.turn import Order
from app.features.chats.ports import ChatStore
from app.infra.durable.ports import Job, NewRun, RunQueue
from app.kernel.ids import new_run_id
from app.kernel.transaction import Tx

LATER = 10
"""the priority of what makes titles: behind whatever somebody waits for"""


@dataclass(frozen=True, slots=True)
class GiveTitle:
    """Take the question's first words; or, where a model makes titles, commit a run that asks it.

    That run stands in no lane and names its chat only in its input, so that the chat is not busy with it. It is found
    by a worker without an offer: the one that ended the turn looks for the next run at once.
    Cost: one statement.
    """

    chats: ChatStore
    queue: RunQueue
    is_asked: bool = False

    async def __call__(self, tx: Tx, turn: Job, order: Order, question: Message) -> None:
        if self.is_asked:
            await self.queue.put(tx, _run_of(turn, order))
            return
        title = first_words(question.content)
        if title is not None:
            await self.chats.entitle(tx, order.chat_id, title)


def _run_of(turn: Job, order: Order) -> NewRun:
    told = TitleOrder(order.chat_id, order.question, turn.id, order.authority, order.request_id, order.branch)
    return NewRun(
        id=new_run_id(),
        kind=KIND,
        owner=turn.owner,
        trigger=TRIGGER,
        input=told.as_input(),
        agent=TITLER,
        priority=LATER,
        dedupe=f"title of {turn.id}",
    )
