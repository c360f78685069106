"""The WebSocket of a chat: who is let in, and from which place on; then the conversation (`chat_socket.py`)."""

from dishka.integrations.litestar import FromDishka, inject_websocket
from litestar.handlers import websocket
from litestar.params import FromPath

from app.features.chats.use_cases.read_chat import ReadChat
from app.kernel.errors import Fault
from app.kernel.ids import ChatId
from app.surfaces.connection import principal_of, read_id
from app.surfaces.streams.chat_socket import ChatDesk, ChatDoor, place_of
from app.surfaces.streams.handshake import AnySocket, converse, refuse, request_id_of


@websocket("/api/v1/chats/{chat_id:str}/events")
@inject_websocket
async def chat_events(
    socket: AnySocket, chat_id: FromPath[str], door: FromDishka[ChatDoor], read_chat: FromDishka[ReadChat]
) -> None:
    try:
        who, number = principal_of(socket), ChatId(read_id("chat_id", chat_id))
        await read_chat(who, number)
        after = await place_of(door.log, number, socket.query_params.get("after", ""))
    except Fault as fault:
        await refuse(socket, fault)
        return
    await converse(socket, door.streams, ChatDesk(door, who, number, request_id_of(socket)), after)
