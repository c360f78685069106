"""What the assistant sees of a request that came by way of a host, and what a client sees of its answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send

from app.edge.asgi_client import Message
from app.surfaces.embedding.entrance import Entrance
from app.surfaces.embedding.mount import EmbeddedApp
from app.surfaces.embedding.plugin import MountPlugin

seen: list[Any] = []  # Any: scopes


def an_app(*answers: tuple[bytes, bytes]) -> EmbeddedApp:
    """An assistant that only notes what it is asked, and answers with these fields."""

    @asgi("/", is_mount=True, copy_scope=True)
    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        """Unused: what stands in its place notes."""

    async def noting(scope: Any, receive: Any, send: Any) -> None:  # Any: ASGI's
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": list(answers)})
        await send({"type": "http.response.body", "body": b""})

    def build(address: object) -> Litestar:
        app = Litestar([note], logging_config=None)
        app.asgi_handler = noting
        return app

    return EmbeddedApp(build, Entrance())


async def asked(app: EmbeddedApp, raw_path: bytes, root_path: str, /, **more: object) -> Message:
    """Send a request as a server or a host does; give the head of the answer."""
    seen.clear()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "headers": [], "path": "/ignored", "raw_path": raw_path, **more}
    async with app.lifespan():
        await app({**scope, "root_path": root_path}, receive, send)
    return sent[0]


@pytest.mark.parametrize(
    ("raw_path", "root_path", "path", "rest"),
    [
        (b"/api/v1/chats/", "", "/api/v1/chats/", b"/api/v1/chats/"),
        (b"/assistant/api/v1/chats/", "/assistant", "/api/v1/chats/", b"/api/v1/chats/"),
        (b"/assistant/api%20x", "/assistant", "/api x", b"/api%20x"),
        (b"/assistant", "/assistant", "/", b"/"),
        (b"/a/b/api", "/a/b", "/api", b"/api"),
        (b"/a%20b/api", "/a b", "/api", b"/api"),
        # spelled otherwise than the host is mounted: no row leads there
        (b"/%61ssistant/api", "/assistant", "/assistant/api", b"/%61ssistant/api"),
        (b"//assistant/api", "/assistant", "//assistant/api", b"//assistant/api"),
        (b"/assistants/api", "/assistant", "/assistants/api", b"/assistants/api"),
        (b"/assistant/assistant/x", "/assistant", "/assistant/x", b"/assistant/x"),
    ],
)
async def test_both_paths_are_what_the_client_sent_below_the_mount(
    raw_path: bytes, root_path: str, path: str, rest: bytes
) -> None:
    await asked(an_app(), raw_path, root_path)

    assert (seen[0]["path"], seen[0]["raw_path"], seen[0]["root_path"]) == (path, rest, "")


async def test_nothing_of_the_hosts_is_handed_on_and_no_verdict_of_anybodys() -> None:
    theirs = {"state": {"edge_record": object(), "principal": object()}, "app": object(), "user": "root", "session": {}}

    await asked(an_app(), b"/m/x", "/m", **theirs)

    assert seen[0]["state"] == {"mounted_at": "/m"}
    assert seen[0].keys().isdisjoint({"user", "session"})
    assert isinstance(seen[0]["app"], Litestar)


async def test_references_in_answers_are_those_from_outside() -> None:
    fields = [
        (b"Location", b"/api/v1/runs/7"),
        (b"content-location", b"/x"),
        (b"location", b"//elsewhere.example/"),
        (b"location", b"https://elsewhere.example/"),
        (b"x-path", b"/x"),
    ]

    mounted = await asked(an_app(*fields), b"/m/x", "/m")
    alone = await asked(an_app(*fields), b"/x", "")

    assert [value for _, value in mounted["headers"]] == [b"/m/api/v1/runs/7", b"/m/x", *[one[1] for one in fields[2:]]]
    assert alone["headers"] == fields


async def test_it_is_open_around_a_hosts_own_lifespan() -> None:
    app = an_app()
    order: list[str] = []

    @asynccontextmanager
    async def own(host: object) -> AsyncIterator[dict[str, int]]:
        order.append(f"own of {host} while open: {app._inner is not None}")
        yield {"kept": 1}
        order.append(f"own ends while open: {app._inner is not None}")

    async with app.around(own)("host") as state:
        assert state == {"kept": 1}

    assert order == ["own of host while open: True", "own ends while open: True"]
    assert app._inner is None


async def test_a_server_is_told_what_failed_at_its_start() -> None:
    def build(address: object) -> Litestar:
        raise OSError("the folder is full")

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(OSError, match="the folder is full"):
        await EmbeddedApp(build, Entrance())({"type": "lifespan"}, receive, send)

    assert sent == [{"type": "lifespan.startup.failed", "message": "OSError: the folder is full"}]


@pytest.mark.parametrize("path", ["", "/", "assistant", "/assistant/", "/{x}"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path to be mounted at"):
        MountPlugin(an_app(), path=path)
