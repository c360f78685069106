"""The endpoints in a bare Litestar: paths, parameters, statuses and shapes. Problems and roles are the assembly's."""

from collections.abc import Iterator

import pytest
from dishka import Provider, Scope, make_async_container
from dishka.integrations.litestar import setup_dishka
from litestar import Litestar
from litestar.di import Provide
from litestar.testing import TestClient

from app.agents.contract import AgentDirectory
from app.features.approvals.ports import ApprovalStore
from app.features.attachments.ports import AttachmentStore
from app.features.chats.clients import HttpMessageHook, NoMessageHook, PostJson
from app.features.chats.controller import CONTROLLERS, MessageController
from app.features.chats.ports import BranchStore, ChatStore, MessageHook, MessageStore
from app.features.chats.provider import ChatsProvider
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.await_run import AwaitRun
from app.infra.durable.ports import Engine, RunQueue
from app.infra.events.ports import EventLog
from app.infra.observability.background import Background
from app.kernel.audit import AuditTrail
from app.kernel.identity import Principal
from app.kernel.keyed_requests import Receipts
from app.kernel.transaction import Begin
from app.settings import Settings
from tests.fakes.approvals import FakeApprovalStore
from tests.fakes.chat_slice import ADMIN, Slice


def a_settings(snapshot_service_url: str = "") -> Settings:
    return Settings(jwt_jwks_url="http://127.0.0.1:9/jwks.json", snapshot_service_url=snapshot_service_url)


async def post_nothing(url: str, body: bytes, headers: object) -> int:
    return 201


def surroundings(settings: Settings, desk: Slice) -> Provider:
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: settings, provides=Settings)
    provider.provide(lambda: post_nothing, provides=PostJson)
    provider.provide(lambda: desk.begin, provides=Begin)
    provider.provide(lambda: Background(), provides=Background)  # noqa: PLW0108 - its fields are no dependencies
    provider.provide(lambda: desk.agents, provides=AgentDirectory)
    provider.provide(lambda: desk.runs, provides=RunStore)
    provider.provide(lambda: desk.queue, provides=RunQueue)
    provider.provide(lambda: desk.engine, provides=Engine)
    provider.provide(lambda: desk.log, provides=EventLog)
    provider.provide(AwaitRun)
    provider.provide(lambda: desk.receipts, provides=Receipts)
    provider.provide(lambda: desk.audit, provides=AuditTrail)
    provider.provide(lambda: FakeApprovalStore(), provides=ApprovalStore)  # noqa: PLW0108 - its fields are no dependencies
    provider.provide(lambda: desk.attachments, provides=AttachmentStore)
    return provider


def fake_stores(desk: Slice) -> Provider:
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: desk.chats, provides=ChatStore, override=True)
    provider.provide(lambda: desk.messages, provides=MessageStore, override=True)
    provider.provide(lambda: desk.branches, provides=BranchStore, override=True)
    provider.provide(lambda: desk.hook, provides=MessageHook, override=True)
    return provider


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    desk = Slice()

    def principal() -> Principal:
        return ADMIN

    app = Litestar(
        CONTROLLERS,
        dependencies={
            "principal": Provide(principal, sync_to_thread=False),
            "request_id": Provide(lambda: "r1", sync_to_thread=False),
            "keyed": Provide(lambda: None, sync_to_thread=False),
        },
        openapi_config=None,
    )
    setup_dishka(make_async_container(surroundings(a_settings(), desk), ChatsProvider(), fake_stores(desk)), app)
    with TestClient(app) as test_client:
        yield test_client


def test_a_chat_is_opened_read_changed_deleted_and_restored(client: TestClient[Litestar]) -> None:
    opened = client.post("/api/v1/chats/", json={"title": "Plans", "metadata": {"a": 1}})
    chat = opened.json()
    read = client.get("/api/v1/chats/1")
    changed = client.put("/api/v1/chats/1", json={"agent": "support"})
    deleted = client.delete("/api/v1/chats/1")
    restored = client.post("/api/v1/chats/1/restore")

    assert opened.status_code == 201
    assert set(chat) == {
        *("id", "user_id", "title", "agent", "metadata", "context", "created_at", "updated_at", "deleted_at", "branch")
    }
    assert (chat["id"], chat["user_id"], chat["metadata"]) == (1, "root", {"a": 1})
    assert chat["created_at"].endswith("Z")
    assert (read.status_code, read.json()) == (200, chat)
    assert (changed.status_code, changed.json()["agent"]) == (200, "support")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (restored.status_code, restored.json()["title"]) == (200, "Plans")


def test_chats_are_listed_by_page(client: TestClient[Litestar]) -> None:
    for title in ("one", "two", "three"):
        client.post("/api/v1/chats", json={"title": title, "user_id": 7})

    page = client.get("/api/v1/chats/?user_id=7&pageSize=2&currentPage=2&orderBy=title&sortOrder=asc").json()

    assert [chat["title"] for chat in page["items"]] == ["two"]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 2)


def test_messages_are_added_read_in_order_changed_and_deleted(client: TestClient[Litestar]) -> None:
    client.post("/api/v1/chats/", json={})
    for content in ("one", "two", "three"):
        added = client.post("/api/v1/messages/chats/1/messages", json={"role": "user", "content": content})
        assert added.status_code == 201
    changed = client.put("/api/v1/messages/3", json={"in_prompt": False})
    deleted = client.delete("/api/v1/messages/2")

    first = client.get("/api/v1/chats/1/messages?limit=1").json()
    rest = client.get(f"/api/v1/chats/1/messages?after={first['next']}").json()

    assert (changed.status_code, changed.json()["in_prompt"], deleted.status_code) == (200, False, 204)
    assert [message["content"] for message in first["items"]] == ["one"]
    assert ([message["content"] for message in rest["items"]], rest["next"]) == (["three"], None)
    assert client.get("/api/v1/messages/1").json()["content"] == "one"
    assert client.get("/api/v1/messages/?chat_id=1&searchField=content&searchString=THREE").json()["total"] == 1


@pytest.mark.parametrize(
    "path",
    ["/api/v1/chats/1/messages?limit=0", "/api/v1/chats/1/messages?limit=101", "/api/v1/chats/1/messages?after=-1",
     "/api/v1/chats/1/messages?after=9223372036854775808", "/api/v1/chats/1/messages?after=x",
     "/api/v1/messages/?chat_id=x"],
)  # fmt: skip
def test_a_parameter_out_of_bounds_is_malformed(client: TestClient[Litestar], path: str) -> None:
    client.post("/api/v1/chats/", json={})

    assert client.get(path).status_code == 400


def test_listing_all_messages_is_declared_for_staff() -> None:
    handlers = MessageController(owner=Litestar([])).get_route_handlers()

    [listing] = [handler for handler in handlers if handler.name is None and handler.opt.get("access") == "STAFF"]
    assert listing.paths == {"/"}


@pytest.mark.parametrize(("url", "kind"), [("", NoMessageHook), ("http://analytics", HttpMessageHook)])
async def test_the_hook_is_there_when_a_service_is_named(url: str, kind: type[MessageHook]) -> None:
    container = make_async_container(surroundings(a_settings(url), Slice()), ChatsProvider())

    assert isinstance(await container.get(MessageHook), kind)

    await container.close()
