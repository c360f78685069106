"""What the slice adds to the container. It asks others for `Settings`, `Begin`, agents, the engine and `PostJson`."""

from collections.abc import Mapping
from typing import NewType

from dishka import Provider, Scope, provide, provide_all

from app.features.chats.clients import HttpMessageHook, NoMessageHook, PostJson
from app.features.chats.domain import title
from app.features.chats.domain.turn import KIND
from app.features.chats.ports import BranchStore, ChatSearch, ChatStore, MessageHook, MessageStore
from app.features.chats.repository.branches import PostgresBranchStore
from app.features.chats.repository.chats import PostgresChatStore
from app.features.chats.repository.messages import PostgresMessageStore
from app.features.chats.repository.search import PostgresChatSearch
from app.features.chats.use_cases.add_message import AddMessage
from app.features.chats.use_cases.answer_turn import AnswerTurn
from app.features.chats.use_cases.await_turn import AwaitTurn
from app.features.chats.use_cases.begin_turn import BeginTurn
from app.features.chats.use_cases.clear_chat import ClearChat, UnclearChat
from app.features.chats.use_cases.copy_chat import CloneChat, CopyChat, ForkChat
from app.features.chats.use_cases.create_chat import CreateChat
from app.features.chats.use_cases.delete_chat import DeleteChat
from app.features.chats.use_cases.delete_message import DeleteMessage
from app.features.chats.use_cases.edit_message import EditMessage
from app.features.chats.use_cases.end_turn import EndTurn
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.chats.use_cases.give_title import GiveTitle
from app.features.chats.use_cases.list_chats import ListChats
from app.features.chats.use_cases.list_messages import ListMessages
from app.features.chats.use_cases.make_title import EndTitle, MakeTitle
from app.features.chats.use_cases.read_chat import ReadChat
from app.features.chats.use_cases.read_interactions import ReadInteractions
from app.features.chats.use_cases.read_message import ReadMessage
from app.features.chats.use_cases.read_messages import ReadMessages
from app.features.chats.use_cases.regenerate_answer import RegenerateAnswer
from app.features.chats.use_cases.restore_chat import RestoreChat
from app.features.chats.use_cases.search_chats import SearchChats
from app.features.chats.use_cases.select_branch import SelectBranch
from app.features.chats.use_cases.update_chat import UpdateChat
from app.features.chats.use_cases.update_message import UpdateMessage
from app.infra.durable.ports import Handler, RunQueue
from app.infra.observability.background import Background
from app.settings import Settings

TurnHandlers = NewType("TurnHandlers", Mapping[str, Handler])
"""What the slice does with runs."""


class ChatStores(Provider):
    """Stores by port, so that a provider given after this one replaces them."""

    scope = Scope.APP

    chats = provide(PostgresChatStore, provides=ChatStore)
    messages = provide(PostgresMessageStore, provides=MessageStore)
    branches = provide(PostgresBranchStore, provides=BranchStore)


class ChatsProvider(ChatStores):
    """What is done for requests, and the hook, by its port like the stores."""

    search = provide(PostgresChatSearch, provides=ChatSearch)
    use_cases = provide_all(
        CreateChat,
        ListChats,
        SearchChats,
        ReadChat,
        UpdateChat,
        DeleteChat,
        RestoreChat,
        ClearChat,
        UnclearChat,
        ListMessages,
        ReadMessages,
        ReadInteractions,
        ReadMessage,
        AddMessage,
        UpdateMessage,
        DeleteMessage,
        BeginTurn,
        ExchangeMessage,
        EditMessage,
        RegenerateAnswer,
        AwaitTurn,
        SelectBranch,
        CopyChat,
        ForkChat,
        CloneChat,
    )

    @provide
    def hook(self, settings: Settings, post: PostJson, background: Background) -> MessageHook:
        url = settings.snapshot_service_url
        hook = HttpMessageHook(url, post) if url else NoMessageHook()
        background.add("message hook", hook.run)
        return hook


class _Ends(Provider):
    """How turns, and the making of titles, end."""

    scope = Scope.APP

    end = provide(EndTurn)
    end_title = provide(EndTitle)

    @provide
    def give_title(self, chats: ChatStore, queue: RunQueue, settings: Settings) -> GiveTitle:
        return GiveTitle(chats, queue, is_asked=bool(settings.title_model))


class TurnsProvider(_Ends):
    """Turns where runs are worked on."""

    answer = provide(AnswerTurn)
    make_title = provide(MakeTitle)

    @provide
    def handlers(self, answer: AnswerTurn, make: MakeTitle) -> TurnHandlers:
        return TurnHandlers({KIND: answer, title.KIND: make})


class TurnsElsewhere(_Ends):
    """Turns where requests are answered and other processes work on runs."""

    @provide
    def handlers(self, end: EndTurn, end_title: EndTitle) -> TurnHandlers:
        return TurnHandlers({KIND: end, title.KIND: end_title})
