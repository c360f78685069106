"""Say something otherwise: a branch in which the chat goes on from there, beside what was said."""

from dataclasses import dataclass

from app.features.chats.domain.branch import departure_of_edit
from app.features.chats.domain.message import content_problems
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
class EditMessage:
    """Begin a turn about other words in the place of a user's message; nothing of what was said is lost.

    The files that were given with it stay, unless others are named.
    Nobody but the owner may, as with an exchange.

    Errors: ValidationFailed, MessageNotFound, MessageNotEditable, TooManyBranches, ChatBusy.
    """

    chats: ChatStore
    branches: BranchStore
    begin_turn: BeginTurn

    async def __call__(
        self, who: Principal, message_id: MessageId, wish: Wish, *, keyed: KeyedRequest | None = None
    ) -> Begun:
        refuse_invalid([*content_problems(wish.text), *wish.problems()])

        async def plan(tx: Tx) -> Plan:
            spot = await own_spot(self.branches, tx, who, message_id)
            departure = departure_of_edit(spot)
            chat = await own_chat(self.chats, tx, spot)

            async def say_otherwise(tx: Tx, run_id: RunId) -> Asked:
                await begin_branch(self.branches, tx, chat.id, departure)
                return await self.begin_turn.say(tx, chat, wish, run_id, spot.message.attachments)

            return Plan(chat, say_otherwise)

        return await self.begin_turn(who, wish, plan, keyed=keyed)
