"""The endpoints of chats and messages: read the request, call the use case, show what it gives.

The assembly provides `principal` and `request_id`, turns faults into problems and enforces `opt["access"]`.
"""

from typing import Annotated, Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, delete, get, post, put
from litestar.params import Parameter
from litestar.status_codes import HTTP_200_OK

from app.features.chats.schemas import (
    ChatCreate,
    ChatOut,
    ChatUpdate,
    ExchangeIn,
    MessageCreate,
    MessageOut,
    MessagesOut,
    MessageUpdate,
    PageOut,
)
from app.features.chats.use_cases.add_message import AddMessage
from app.features.chats.use_cases.create_chat import CreateChat
from app.features.chats.use_cases.delete_chat import DeleteChat
from app.features.chats.use_cases.delete_message import DeleteMessage
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.chats.use_cases.list_chats import CHAT_FIELDS, ListChats
from app.features.chats.use_cases.list_messages import MESSAGE_FIELDS, ListMessages
from app.features.chats.use_cases.read_chat import ReadChat
from app.features.chats.use_cases.read_message import ReadMessage
from app.features.chats.use_cases.read_messages import ReadMessages
from app.features.chats.use_cases.restore_chat import RestoreChat
from app.features.chats.use_cases.update_chat import UpdateChat
from app.features.chats.use_cases.update_message import UpdateMessage
from app.kernel.identity import Principal
from app.kernel.ids import ChatId, MessageId, UserId
from app.kernel.paging import MAX_PAGE_SIZE, ListFields, ListQuery, parse_list_query

# Any: the user, auth and state of a Litestar request, none of which we use
type AnyRequest = Request[Any, Any, Any]
type OwnerFilter = Annotated[str | None, Parameter(query="user_id", max_length=255, required=False)]
type ChatFilter = Annotated[int | None, Parameter(query="chat_id", required=False)]
type After = Annotated[int, Parameter(query="after", ge=0, le=2**63 - 1)]
type Limit = Annotated[int, Parameter(query="limit", ge=1, le=MAX_PAGE_SIZE)]


class ChatController(Controller):
    path = "/api/v1/chats"
    tags = ("chats",)

    @get("/", summary="List chats")
    @inject
    async def list_chats(
        self,
        request: AnyRequest,
        principal: Principal,
        use_case: FromDishka[ListChats],
        owner: OwnerFilter = None,
    ) -> PageOut[ChatOut]:
        query = _list_query(request, CHAT_FIELDS)
        page = await use_case(principal, query, owner=None if owner is None else UserId(owner))
        return PageOut.of(page, ChatOut.of)

    @post("/", summary="Open a chat")
    @inject
    async def create_chat(self, data: ChatCreate, principal: Principal, use_case: FromDishka[CreateChat]) -> ChatOut:
        return ChatOut.of(await use_case(principal, data.draft(creator=principal.user_id)))

    @get("/{chat_id:int}", summary="Read a chat")
    @inject
    async def read_chat(self, chat_id: int, principal: Principal, use_case: FromDishka[ReadChat]) -> ChatOut:
        return ChatOut.of(await use_case(principal, ChatId(chat_id)))

    @put("/{chat_id:int}", summary="Change a chat")
    @inject
    async def update_chat(
        self, chat_id: int, data: ChatUpdate, principal: Principal, use_case: FromDishka[UpdateChat]
    ) -> ChatOut:
        return ChatOut.of(await use_case(principal, ChatId(chat_id), data.change()))

    @delete("/{chat_id:int}", summary="Delete a chat")
    @inject
    async def delete_chat(self, chat_id: int, principal: Principal, use_case: FromDishka[DeleteChat]) -> None:
        await use_case(principal, ChatId(chat_id))

    @post("/{chat_id:int}/restore", summary="Bring a deleted chat back", status_code=HTTP_200_OK)
    @inject
    async def restore_chat(self, chat_id: int, principal: Principal, use_case: FromDishka[RestoreChat]) -> ChatOut:
        return ChatOut.of(await use_case(principal, ChatId(chat_id)))

    @get("/{chat_id:int}/messages", summary="Read a chat's messages in order")
    @inject
    async def read_messages(
        self,
        chat_id: int,
        principal: Principal,
        use_case: FromDishka[ReadMessages],
        after: After = 0,
        limit: Limit = 50,
    ) -> MessagesOut:
        return MessagesOut.of(await use_case(principal, ChatId(chat_id), after=after, limit=limit))


class MessageController(Controller):
    path = "/api/v1/messages"
    tags = ("messages",)

    @get("/", summary="List everybody's messages", opt={"access": "STAFF"})
    @inject
    async def list_messages(
        self,
        request: AnyRequest,
        principal: Principal,
        use_case: FromDishka[ListMessages],
        chat: ChatFilter = None,
    ) -> PageOut[MessageOut]:
        query = _list_query(request, MESSAGE_FIELDS)
        page = await use_case(principal, query, chat_id=None if chat is None else ChatId(chat))
        return PageOut.of(page, MessageOut.of)

    @post("/chats/{chat_id:int}/messages", summary="Write a message without asking an agent")
    @inject
    async def add_message(
        self, chat_id: int, data: MessageCreate, principal: Principal, use_case: FromDishka[AddMessage]
    ) -> MessageOut:
        return MessageOut.of(await use_case(principal, data.draft(ChatId(chat_id))))

    @get("/{message_id:int}", summary="Read a message")
    @inject
    async def read_message(
        self, message_id: int, principal: Principal, use_case: FromDishka[ReadMessage]
    ) -> MessageOut:
        return MessageOut.of(await use_case(principal, MessageId(message_id)))

    @put("/{message_id:int}", summary="Change a message")
    @inject
    async def update_message(
        self, message_id: int, data: MessageUpdate, principal: Principal, use_case: FromDishka[UpdateMessage]
    ) -> MessageOut:
        return MessageOut.of(await use_case(principal, MessageId(message_id), data.change()))

    @delete("/{message_id:int}", summary="Delete a message")
    @inject
    async def delete_message(self, message_id: int, principal: Principal, use_case: FromDishka[DeleteMessage]) -> None:
        await use_case(principal, MessageId(message_id))

    @post("/{chat_id:int}/exchange", summary="Say something and get the agent's answer")
    @inject
    async def exchange(
        self,
        chat_id: int,
        data: ExchangeIn,
        principal: Principal,
        request_id: str,
        use_case: FromDishka[ExchangeMessage],
    ) -> list[MessageOut]:
        text = data.text(ChatId(chat_id))
        exchange = await use_case(principal, ChatId(chat_id), text, request_id=request_id)
        return [MessageOut.of(exchange.question), MessageOut.of(exchange.answer)]


CONTROLLERS: tuple[type[Controller], ...] = (ChatController, MessageController)


def _list_query(request: AnyRequest, fields: ListFields) -> ListQuery:
    given = request.query_params
    return parse_list_query({key: given.getall(key) for key in given}, fields)
