"""What the slice adds to the container. It asks others for `Settings`, `Begin`, `Agents` and `PostJson`."""

from dishka import Provider, Scope, provide, provide_all

from app.agents.contract import Agents
from app.features.chats.clients import HttpMessageHook, NoMessageHook, PostJson
from app.features.chats.ports import ChatStore, MessageHook, MessageStore, TurnStore
from app.features.chats.repository.chats import PostgresChatStore
from app.features.chats.repository.messages import PostgresMessageStore
from app.features.chats.repository.turns import PostgresTurnStore
from app.features.chats.use_cases.add_message import AddMessage
from app.features.chats.use_cases.create_chat import CreateChat
from app.features.chats.use_cases.delete_chat import DeleteChat
from app.features.chats.use_cases.delete_message import DeleteMessage
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.chats.use_cases.list_chats import ListChats
from app.features.chats.use_cases.list_messages import ListMessages
from app.features.chats.use_cases.read_chat import ReadChat
from app.features.chats.use_cases.read_message import ReadMessage
from app.features.chats.use_cases.read_messages import ReadMessages
from app.features.chats.use_cases.restore_chat import RestoreChat
from app.features.chats.use_cases.turn_lease import TurnLease
from app.features.chats.use_cases.update_chat import UpdateChat
from app.features.chats.use_cases.update_message import UpdateMessage
from app.infra.observability.background import Background
from app.kernel.transaction import Begin
from app.settings import Settings


class ChatsProvider(Provider):
    """Stores and hook by port, so that a provider given after this one replaces them."""

    scope = Scope.APP

    chats = provide(PostgresChatStore, provides=ChatStore)
    messages = provide(PostgresMessageStore, provides=MessageStore)
    turns = provide(PostgresTurnStore, provides=TurnStore)
    use_cases = provide_all(
        CreateChat,
        ListChats,
        ReadChat,
        UpdateChat,
        DeleteChat,
        RestoreChat,
        ListMessages,
        ReadMessages,
        ReadMessage,
        AddMessage,
        UpdateMessage,
        DeleteMessage,
    )

    @provide
    def hook(self, settings: Settings, post: PostJson, background: Background) -> MessageHook:
        url = settings.snapshot_service_url
        hook = HttpMessageHook(url, post) if url else NoMessageHook()
        background.add("message hook", hook.run)
        return hook

    @provide
    def lease(self, begin: Begin, turns: TurnStore) -> TurnLease:
        return TurnLease(begin, turns)

    @provide
    def exchange(
        self,
        begin: Begin,
        chats: ChatStore,
        messages: MessageStore,
        lease: TurnLease,
        agents: Agents,
        hook: MessageHook,
    ) -> ExchangeMessage:
        return ExchangeMessage(begin, chats, messages, lease, agents, hook)
