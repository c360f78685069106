"""Say something in a chat, to be answered by its agent."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.agents.approvals.desk import Status
from app.agents.contract import AgentDirectory
from app.features.approvals.domain import ApprovalFilter
from app.features.approvals.ports import ApprovalStore
from app.features.attachments.ports import AttachmentStore
from app.features.chats.domain.attached import Attached, file_problems
from app.features.chats.domain.chat import Chat, ChatBusy, ChatNotFound, owns
from app.features.chats.domain.message import MessageRole, MessageStatus, NewMessage
from app.features.chats.domain.turn import KIND, MAX_WAITING, Begun, Wish, input_of, lane_of
from app.features.chats.ports import ChatStore, MessageHook, MessageStore, Snapshot
from app.features.runs.domain.run import Run, path_of
from app.features.runs.ports import RunStore
from app.infra.durable.ports import Engine, NewRun, RunQueue, RunState
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId, RunId
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.paging import ListQuery
from app.kernel.transaction import Begin, Tx

TOO_MANY = "Too many turns wait already."
ONE_AT_A_TIME = 'One turn at a time; wait for it, or send "on_busy": "queue".'
FIRST = ListQuery(order_by="id", sort_order="asc", limit=1)


@dataclass(frozen=True, slots=True)
class ExchangeMessage:
    """Store what the owner says, and a run that answers it, in one transaction; then offer the run to the workers.

    From then on the turn is answered, whatever becomes of the caller, of this process, or of the worker that takes it.
    Nobody but the owner may, not even an admin: the answer is made with the caller's rights.
    A chat has one turn at a time; a wish that does not wait is refused at once while another turn runs. A keyed request
    begins one turn, however often it is sent.

    Errors: ValidationFailed, ChatNotFound, ChatBusy.
    """

    begin: Begin
    chats: ChatStore
    messages: MessageStore
    runs: RunStore
    queue: RunQueue
    engine: Engine
    agents: AgentDirectory
    hook: MessageHook
    receipts: Receipts
    approvals: ApprovalStore
    attachments: AttachmentStore

    async def __call__(
        self, who: Principal, chat_id: ChatId, wish: Wish, *, keyed: KeyedRequest | None = None
    ) -> Begun:
        refuse_invalid([*NewMessage(chat_id, MessageRole.USER, wish.text).problems(), *wish.problems()])
        async with self.begin() as tx:
            chat = await self.chats.find(tx, chat_id)
            if chat is None or not owns(who, chat):
                raise ChatNotFound
            made = None if keyed is None else await self.receipts.find(tx, keyed)
            if made is not None:
                return await self._found(tx, chat, made)
            begun = await self._put(tx, chat, wish, who)
            if keyed is not None:
                await self.receipts.note(tx, keyed, f"{begun.question.id} {begun.run_id}")
        await self.engine.dispatch(begun.run_id, chat_id=chat_id)
        self.hook.capture(Snapshot(who.user_id, chat_id, wish.text, wish.request_id))
        return begun

    async def _found(self, tx: Tx, chat: Chat, made: str) -> Begun:
        """Find the turn that an earlier try of the same request has begun."""
        question, _, run = made.partition(" ")
        run_id = RunId(UUID(run))
        found = await self.messages.read_turn(tx, chat.id, MessageId(int(question)), run_id)
        if not found:
            raise ChatNotFound
        return Begun(found[0], run_id)

    async def _put(self, tx: Tx, chat: Chat, wish: Wish, who: Principal) -> Begun:
        lane = lane_of(chat.id)
        place = await self.queue.take_place(tx, lane=lane, chat_id=chat.id)  # before any row is locked: see the port
        if not place.is_free:
            await self._refuse_where_busy(tx, await self.runs.unfinished(tx, chat.id), wish)
        run_id = place.run_id
        files = await self._files(tx, who, wish)
        asked = NewMessage(chat.id, MessageRole.USER, wish.text, MessageStatus.PENDING, run_id, files)
        question = await self.messages.add(tx, asked)
        if question is None:
            raise ChatNotFound
        run = NewRun(
            id=run_id,
            kind=KIND,
            owner=chat.user_id,
            trigger="exchange",
            input=input_of(wish, who, question, is_untitled=chat.title is None),
            lane=lane,
            chat_id=chat.id,
            agent=chat.agent or self.agents.default_name,
            on_disconnect="cancel" if wish.is_cancelled_on_leaving else None,
        )
        return Begun(question, await self.queue.put(tx, run))

    async def _files(self, tx: Tx, who: Principal, wish: Wish) -> tuple[Attached, ...]:
        """Errors: ValidationFailed, for what is not the caller's."""
        if not wish.attachments:
            return ()
        found = await self.attachments.find_all(tx, wish.attachments, owner=who.user_id)
        refuse_invalid(file_problems(wish.attachments, found))
        return tuple(Attached.of(found[one]) for one in wish.attachments)

    async def _refuse_where_busy(self, tx: Tx, unfinished: Sequence[Run], wish: Wish) -> None:
        """Errors: ChatBusy, naming the run that is in the way, and what it waits for where a person has to decide."""
        if not unfinished or (wish.waits and len(unfinished) <= MAX_WAITING):
            return
        run = unfinished[0]
        words = TOO_MANY if wish.waits else ONE_AT_A_TIME
        members = {"run_id": str(run.id)}
        if run.status is RunState.WAITING:
            asked = await self.approvals.list(tx, FIRST, only=ApprovalFilter(run_id=run.id, status=Status.PENDING))
            for one in asked.items:
                words = f"The turn waits for an approval of {one.tool}: decide about it, or cancel the run."
                members |= {"waits_for": "approval", "approval_id": str(one.id)}
        raise ChatBusy(words, headers={"location": path_of(run.id)}, members=members)
