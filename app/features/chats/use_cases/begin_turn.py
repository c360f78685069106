"""Begin a turn: what saying something, saying it otherwise and asking for another answer have in common."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.agents.approvals.desk import Status
from app.agents.contract import AgentDirectory
from app.features.approvals.domain import ApprovalFilter
from app.features.approvals.ports import ApprovalStore
from app.features.attachments.ports import AttachmentStore
from app.features.chats.domain.attached import Attached, file_problems
from app.features.chats.domain.chat import Chat, ChatBusy, ChatNotFound
from app.features.chats.domain.message import Message, MessageRole, MessageStatus, NewMessage
from app.features.chats.domain.turn import KIND, MAX_WAITING, Begun, Wish, input_of, lane_of
from app.features.chats.ports import MessageHook, MessageStore, Snapshot
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
class Asked:
    """A question, and the branch to which its answer will belong."""

    question: Message
    branch: int


type Ask = Callable[[Tx, RunId], Awaitable[Asked]]
"""Writes down what the turn is about; called when its place is taken."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The chat, in which the caller may speak, and what is to be asked there."""

    chat: Chat
    ask: Ask


type MakePlan = Callable[[Tx], Awaitable[Plan]]
"""Looks and decides; locks nothing."""


@dataclass(frozen=True, slots=True)
class BeginTurn:
    """Write down what is asked, and a run that answers it, in one transaction; then offer the run to the workers.

    From then on the turn is answered, whatever becomes of the caller, of this process, or of the worker that takes it.
    A chat has one turn at a time; a wish that does not wait is refused at once while another turn runs. A keyed request
    begins one turn, however often it is sent. The hook is told of what the owner says; a wish without words is about
    what was said before.

    Errors: those of the plan, ValidationFailed, ChatNotFound, ChatBusy.
    """

    begin: Begin
    messages: MessageStore
    runs: RunStore
    queue: RunQueue
    engine: Engine
    agents: AgentDirectory
    hook: MessageHook
    receipts: Receipts
    approvals: ApprovalStore
    attachments: AttachmentStore

    async def __call__(self, who: Principal, wish: Wish, make_plan: MakePlan, *, keyed: KeyedRequest | None) -> Begun:
        async with self.begin() as tx:
            plan = await make_plan(tx)
            made = None if keyed is None else await self.receipts.find(tx, keyed)
            if made is not None:
                return await self._found(tx, plan.chat, made)
            begun = await self._put(tx, plan, wish, who)
            if keyed is not None:
                await self.receipts.note(tx, keyed, f"{begun.question.id} {begun.run_id} {begun.branch}")
        await self.engine.dispatch(begun.run_id, chat_id=plan.chat.id)
        if wish.text:
            self.hook.capture(Snapshot(who.user_id, plan.chat.id, wish.text, wish.request_id))
        return begun

    async def say(self, tx: Tx, chat: Chat, wish: Wish, run_id: RunId, files: Sequence[Attached] = ()) -> Asked:
        """Append what the owner says to the branch the chat goes on in, with `files` where the wish names none.

        Errors: ValidationFailed, for files that are not the owner's; ChatNotFound.
        """
        given = await self._files(tx, chat, wish) if wish.attachments else tuple(files)
        asked = NewMessage(chat.id, MessageRole.USER, wish.text, MessageStatus.PENDING, run_id, given)
        question = await self.messages.add(tx, asked)
        if question is None:
            raise ChatNotFound
        return Asked(question, question.branch)

    async def _files(self, tx: Tx, chat: Chat, wish: Wish) -> tuple[Attached, ...]:
        """Errors: ValidationFailed."""
        found = await self.attachments.find_all(tx, wish.attachments, owner=chat.user_id)
        refuse_invalid(file_problems(wish.attachments, found))
        return tuple(Attached.of(found[one]) for one in wish.attachments)

    async def _found(self, tx: Tx, chat: Chat, made: str) -> Begun:
        """Find the turn that an earlier try of the same request has begun."""
        question, run, *branch = made.split(" ")  # without a branch where it was noted before there were any
        run_id, number = RunId(UUID(run)), int(branch[0]) if branch else 0
        found = await self.messages.read_turn(tx, chat.id, MessageId(int(question)), run_id, branch=number)
        if not found:
            raise ChatNotFound
        return Begun(found[0], run_id, number)

    async def _put(self, tx: Tx, plan: Plan, wish: Wish, who: Principal) -> Begun:
        chat = plan.chat
        lane = lane_of(chat.id)
        place = await self.queue.take_place(tx, lane=lane, chat_id=chat.id)  # before any row is locked: see the port
        if not place.is_free:
            await self._refuse_where_busy(tx, chat.id, wish)
        asked = await plan.ask(tx, place.run_id)
        run = NewRun(
            id=place.run_id,
            kind=KIND,
            owner=chat.user_id,
            trigger="exchange",
            input=input_of(wish, who, asked.question, branch=asked.branch, is_untitled=chat.title is None),
            lane=lane,
            chat_id=chat.id,
            agent=chat.agent or self.agents.default_name,
            on_disconnect="cancel" if wish.is_cancelled_on_leaving else None,
        )
        return Begun(asked.question, await self.queue.put(tx, run), asked.branch)

    async def _refuse_where_busy(self, tx: Tx, chat_id: ChatId, wish: Wish) -> None:
        """Errors: ChatBusy, naming the run that is in the way, and what it waits for where a person has to decide."""
        unfinished: Sequence[Run] = await self.runs.unfinished(tx, chat_id)
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
