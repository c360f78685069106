"""The endpoints of a chat as a tree that begin no turn: to go on in another branch, and to go on in a copy."""

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK

from app.features.chats.domain.chat import ChatNotFound
from app.features.chats.domain.message import MessageNotFound
from app.features.chats.schemas import ChatOut
from app.features.chats.tree_schemas import CopyIn
from app.features.chats.use_cases.copy_chat import CloneChat, ForkChat
from app.features.chats.use_cases.select_branch import SelectBranch
from app.infra.db.errors import StorageUnavailable
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId
from app.kernel.keyed_requests import KeyedRequest

# Litestar does not look into aliases made with `type`.
Who = NamedDependency[Principal]
Keyed = NamedDependency[KeyedRequest | None]
NOTHING = CopyIn()


class TreeController(Controller):
    path = "/api/v1"

    @post(
        "/messages/{message_id:str}/select",
        summary="Go on in the branch of a message",
        status_code=HTTP_200_OK,
        tags=["messages"],
        opt={"faults": (MessageNotFound, ChatNotFound, StorageUnavailable)},
    )
    @inject
    async def select(self, message_id: FromPath[int], principal: Who, use_case: FromDishka[SelectBranch]) -> ChatOut:
        return ChatOut.of(await use_case(principal, MessageId(message_id)))

    @post(
        "/messages/{message_id:str}/fork",
        summary="Copy a chat as far as a message",
        tags=["messages"],
        opt={"faults": (MessageNotFound, ChatNotFound, StorageUnavailable)},
    )
    @inject
    async def fork(
        self,
        message_id: FromPath[int],
        principal: Who,
        keyed: Keyed,
        use_case: FromDishka[ForkChat],
        data: JSONBody[CopyIn] = NOTHING,
    ) -> ChatOut:
        return ChatOut.of(await use_case(principal, MessageId(message_id), title=data.title, keyed=keyed))

    @post(
        "/chats/{chat_id:str}/clone",
        summary="Copy a chat",
        tags=["chats"],
        opt={"faults": (ChatNotFound, StorageUnavailable)},
    )
    @inject
    async def clone(
        self,
        chat_id: FromPath[int],
        principal: Who,
        keyed: Keyed,
        use_case: FromDishka[CloneChat],
        data: JSONBody[CopyIn] = NOTHING,
    ) -> ChatOut:
        return ChatOut.of(await use_case(principal, ChatId(chat_id), title=data.title, keyed=keyed))
