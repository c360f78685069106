"""The endpoints of chats and messages: read the request, call the use case, show what it gives.

The assembly provides `principal` and `request_id`, turns faults into problems, enforces `opt["access"]` and describes
`opt["faults"]`.
"""

from typing import Annotated, Any, Literal

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK

from app.features.chats.domain.chat import ChatNotFound
from app.features.chats.domain.message import MessageNotFound
from app.features.chats.domain.search import MAX_FOUND, MAX_OFFSET, QUERY_LIMIT_CHARS
from app.features.chats.schemas import (
    USER_ID_LIMIT_CHARS,
    ChatCreate,
    ChatOut,
    ChatPageOut,
    ChatUpdate,
    FoundChatsOut,
    InteractionsOut,
    MessageCreate,
    MessageOut,
    MessagePageOut,
    MessagesOut,
    MessageUpdate,
    user_id_of,
)
from app.features.chats.use_cases.add_message import AddMessage
from app.features.chats.use_cases.create_chat import CreateChat
from app.features.chats.use_cases.delete_chat import DeleteChat
from app.features.chats.use_cases.delete_message import DeleteMessage
from app.features.chats.use_cases.list_chats import CHAT_FIELDS, ListChats
from app.features.chats.use_cases.list_messages import MESSAGE_FIELDS, ListMessages
from app.features.chats.use_cases.read_chat import ReadChat
from app.features.chats.use_cases.read_interactions import MAX_INTERACTIONS, ReadInteractions
from app.features.chats.use_cases.read_message import ReadMessage
from app.features.chats.use_cases.read_messages import ReadMessages
from app.features.chats.use_cases.restore_chat import RestoreChat
from app.features.chats.use_cases.search_chats import SearchChats
from app.features.chats.use_cases.update_chat import UpdateChat
from app.features.chats.use_cases.update_message import UpdateMessage
from app.infra.db.errors import StorageUnavailable
from app.kernel.errors import Forbidden
from app.kernel.identity import Principal
from app.kernel.ids import MAX_ID, ChatId, MessageId
from app.kernel.keyed_requests import KeyedRequest
from app.kernel.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, ListFields, ListQuery, parse_list_query

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]
Keyed = NamedDependency[KeyedRequest | None]
# described here, checked by `user_id_of`
A_USER_ID = {"minLength": 1, "maxLength": USER_ID_LIMIT_CHARS, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
OwnerFilter = Annotated[str | None, QueryParameter(name="user_id", required=False, schema_extra=A_USER_ID)]
# Litestar describes a bound as a float, which has not enough digits for an id
AN_ID = {"minimum": 0, "maximum": MAX_ID}
ChatFilter = Annotated[int | None, QueryParameter(required=False, ge=0, le=MAX_ID, schema_extra=AN_ID)]
After = Annotated[
    int, QueryParameter(ge=0, le=MAX_ID, description="The `next` of the stretch before", schema_extra=AN_ID)
]
FILTERS = (
    "Filters: `ids`, `createdBefore`, `createdAfter`, `updatedBefore`, `updatedAfter`, `searchField` with "
    "`searchString` and `searchIgnoreCase`, `orderBy`, `sortOrder`, `currentPage`, `pageSize`."
)
Branches = Annotated[Literal["active", "all"], QueryParameter(description="Of which branches")]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE_SIZE)]
FewAtOnce = Annotated[int, QueryParameter(ge=1, le=MAX_INTERACTIONS)]
Words = Annotated[str, QueryParameter(min_length=1, max_length=QUERY_LIMIT_CHARS)]
FewFound = Annotated[int, QueryParameter(ge=1, le=MAX_FOUND)]
Offset = Annotated[int, QueryParameter(ge=0, le=MAX_OFFSET)]
ABOUT_MANY = (Forbidden, StorageUnavailable)
ABOUT_A_CHAT = (ChatNotFound, StorageUnavailable)
ABOUT_A_MESSAGE = (MessageNotFound, StorageUnavailable)


class ChatController(Controller):
    path = "/api/v1/chats"
    tags = ("chats",)
    opt = {"faults": ABOUT_A_CHAT}  # noqa: RUF012 - Litestar reads it as a mapping

    @get(
        "/",
        summary="List chats",
        description=f"{FILTERS} Search in `title` or `agent`.",
        opt={"faults": ABOUT_MANY},
    )
    @inject
    async def list_chats(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListChats],
        owner: OwnerFilter = None,
    ) -> ChatPageOut:
        query = _list_query(request, CHAT_FIELDS)
        page = await use_case(principal, query, owner=None if owner is None else user_id_of(owner))
        return ChatPageOut.of(page)

    @post("/", summary="Open a chat", opt={"faults": ABOUT_MANY})
    @inject
    async def create_chat(
        self, data: JSONBody[ChatCreate], principal: Who, keyed: Keyed, use_case: FromDishka[CreateChat]
    ) -> ChatOut:
        return ChatOut.of(await use_case(principal, data.draft(creator=principal.user_id), keyed=keyed))

    @get(
        "/search",
        summary="Search one's own chats",
        description="Every word of `q` is to begin a word of one message, or of the title; case does not matter.",
        opt={"faults": (StorageUnavailable,)},
    )
    @inject
    async def search_chats(
        self,
        principal: Who,
        use_case: FromDishka[SearchChats],
        q: Words,
        limit: FewFound = DEFAULT_PAGE_SIZE,
        offset: Offset = 0,
    ) -> FoundChatsOut:
        return FoundChatsOut.of(await use_case(principal, q, limit=limit, offset=offset))

    @get("/{chat_id:str}", summary="Read a chat")
    @inject
    async def read_chat(self, chat_id: FromPath[int], principal: Who, use_case: FromDishka[ReadChat]) -> ChatOut:
        return ChatOut.of(await use_case(principal, ChatId(chat_id)))

    @put("/{chat_id:str}", summary="Change a chat")
    @inject
    async def update_chat(
        self, chat_id: FromPath[int], data: JSONBody[ChatUpdate], principal: Who, use_case: FromDishka[UpdateChat]
    ) -> ChatOut:
        return ChatOut.of(await use_case(principal, ChatId(chat_id), data.change()))

    @delete("/{chat_id:str}", summary="Delete a chat")
    @inject
    async def delete_chat(self, chat_id: FromPath[int], principal: Who, use_case: FromDishka[DeleteChat]) -> None:
        await use_case(principal, ChatId(chat_id))

    @post("/{chat_id:str}/restore", summary="Bring a deleted chat back", status_code=HTTP_200_OK)
    @inject
    async def restore_chat(self, chat_id: FromPath[int], principal: Who, use_case: FromDishka[RestoreChat]) -> ChatOut:
        return ChatOut.of(await use_case(principal, ChatId(chat_id)))

    @get(
        "/{chat_id:str}/messages",
        summary="Read a chat's messages in order",
        description="Those of the branch it goes on in; `branches=all` reads those of every branch.",
    )
    @inject
    async def read_messages(
        self,
        chat_id: FromPath[int],
        principal: Who,
        use_case: FromDishka[ReadMessages],
        after: After = 0,
        limit: Limit = 50,
        branches: Branches = "active",
    ) -> MessagesOut:
        is_whole = branches == "all"
        return MessagesOut.of(await use_case(principal, ChatId(chat_id), after=after, limit=limit, is_whole=is_whole))

    @get("/{chat_id:str}/interactions", summary="Read a chat's answers, each with the way to it")
    @inject
    async def read_interactions(
        self,
        chat_id: FromPath[int],
        principal: Who,
        use_case: FromDishka[ReadInteractions],
        after: After = 0,
        limit: FewAtOnce = MAX_INTERACTIONS,
    ) -> InteractionsOut:
        return InteractionsOut.of(await use_case(principal, ChatId(chat_id), after=after, limit=limit))


class MessageController(Controller):
    path = "/api/v1/messages"
    tags = ("messages",)
    opt = {"faults": ABOUT_A_MESSAGE}  # noqa: RUF012 - as above

    @get(
        "/",
        summary="List everybody's messages",
        description=f"{FILTERS} Search in `content`, `role` or `status`.",
        opt={"access": "STAFF", "faults": ABOUT_MANY},
    )
    @inject
    async def list_messages(
        self,
        request: AnyRequest,
        principal: Who,
        use_case: FromDishka[ListMessages],
        chat_id: ChatFilter = None,
    ) -> MessagePageOut:
        query = _list_query(request, MESSAGE_FIELDS)
        page = await use_case(principal, query, chat_id=None if chat_id is None else ChatId(chat_id))
        return MessagePageOut.of(page)

    @post(
        "/chats/{chat_id:str}/messages",
        summary="Write a message without asking an agent",
        opt={"faults": ABOUT_A_CHAT},
    )
    @inject
    async def add_message(
        self,
        chat_id: FromPath[int],
        data: JSONBody[MessageCreate],
        principal: Who,
        keyed: Keyed,
        use_case: FromDishka[AddMessage],
    ) -> MessageOut:
        return MessageOut.of(await use_case(principal, data.draft(ChatId(chat_id)), keyed=keyed))

    @get("/{message_id:str}", summary="Read a message")
    @inject
    async def read_message(
        self, message_id: FromPath[int], principal: Who, use_case: FromDishka[ReadMessage]
    ) -> MessageOut:
        return MessageOut.of(await use_case(principal, MessageId(message_id)))

    @put("/{message_id:str}", summary="Change a message")
    @inject
    async def update_message(
        self,
        message_id: FromPath[int],
        data: JSONBody[MessageUpdate],
        principal: Who,
        use_case: FromDishka[UpdateMessage],
    ) -> MessageOut:
        return MessageOut.of(await use_case(principal, MessageId(message_id), data.change()))

    @delete("/{message_id:str}", summary="Delete a message")
    @inject
    async def delete_message(
        self, message_id: FromPath[int], principal: Who, use_case: FromDishka[DeleteMessage]
    ) -> None:
        await use_case(principal, MessageId(message_id))


CONTROLLERS: tuple[type[Controller], ...] = (ChatController, MessageController)


def _list_query(request: AnyRequest, fields: ListFields) -> ListQuery:
    given = request.query_params
    return parse_list_query({key: given.getall(key) for key in given}, fields)
