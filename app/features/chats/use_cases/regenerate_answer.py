"""Have a question answered anew: a branch in which the chat goes on with the other answer."""

from dataclasses import dataclass

from app.features.chats.domain.branch import departure_behind, question_of
from app.features.chats.domain.turn import Begun, Wish
from app.features.chats.ports import BranchStore, ChatStore
from app.features.chats.use_cases.access import begin_branch, own_chat, own_spot
from app.features.chats.use_cases.begin_turn import Asked, BeginTurn, Plan
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal
from app.kernel.ids import MessageId, RunId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.transaction import Tx


@dataclass(frozen=True, slots=True)
class RegenerateAnswer:
    """Begin a turn about the question of an answer, or a question itself; the answers it has stay as they are.

    Nobody but the owner may, as with an exchange.

    Errors: ValidationFailed, MessageNotFound, NothingToRegenerate, TooManyBranches, ChatBusy.
    """

    chats: ChatStore
    branches: BranchStore
    begin_turn: BeginTurn

    async def __call__(
        self, who: Principal, message_id: MessageId, wish: Wish, *, keyed: KeyedRequest | None = None
    ) -> Begun:
        refuse_invalid(wish.problems())

        async def plan(tx: Tx) -> Plan:
            spot = await own_spot(self.branches, tx, who, message_id)
            question = await own_spot(self.branches, tx, who, question_of(spot))
            chat = await own_chat(self.chats, tx, question)

            async def ask_again(tx: Tx, run_id: RunId) -> Asked:
                del run_id  # the question keeps the run that asked it first
                branch = await begin_branch(self.branches, tx, chat.id, departure_behind(question))
                return Asked(question.message, branch)

            return Plan(chat, ask_again)

        return await self.begin_turn(who, wish, plan, keyed=keyed)
