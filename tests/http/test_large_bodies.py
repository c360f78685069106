"""Large bodies are taken in a few at once; who waits too long is told to come back, and others do not notice."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from dishka import Provider, Scope

from app.surfaces.api.large_bodies import LargeBodies
from tests.builders import a_token, some_settings
from tests.files import PNG
from tests.gateway import running_gateway
from tests.http.calls import as_, somebody

PATH = "/api/v1/attachments/"
PATIENCE_S = 2
MOST, MOST_OF_ONE = 3, 2


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    few = Provider(scope=Scope.APP)
    bodies = LargeBodies(most=MOST, most_of_one=MOST_OF_ONE, max_waiting=4, patience_s=PATIENCE_S)
    few.provide(lambda: bodies, provides=LargeBodies)
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, few) as url:
        yield url


def begin_upload(url: str, owner: str) -> socket.socket:
    """Send half of a file."""
    parts = urlsplit(url)
    upload = socket.create_connection((parts.hostname or "", parts.port or 0))
    head = f"POST {PATH} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {a_token(sub=owner)}\r\n"
    upload.sendall(f"{head}content-type: image/png\r\ncontent-length: {2 * len(PNG)}\r\n\r\n".encode() + PNG)
    return upload


def end_upload(upload: socket.socket) -> bytes:
    upload.sendall(PNG)
    upload.settimeout(10)
    return upload.recv(4096).split(b"\r\n", 1)[0]


def send(caller: httpx.Client, owner: str, **headers: str) -> httpx.Response:
    fields = {**as_(owner), "content-type": "image/png", **{name.replace("_", "-"): to for name, to in headers.items()}}
    return caller.post(PATH, content=PNG, headers=fields)


def test_what_is_too_many_at_once_is_turned_away_and_taken_later(gateway_url: str, caller: httpx.Client) -> None:
    ann, bob, eve = somebody(), somebody(), somebody()
    with ExitStack() as held:
        uploads = [held.enter_context(begin_upload(gateway_url, owner)) for owner in (ann, ann, bob)]
        time.sleep(0.2)  # they have arrived
        with ThreadPoolExecutor(4) as pool:
            asked = [
                pool.submit(send, caller, owner, **keyed)
                for owner in (ann, eve)
                for keyed in ({}, {"idempotency_key": owner})
            ]
            meanwhile = caller.post("/api/v1/chats/", json={}, headers=as_(eve))
            assert not any(one.done() for one in asked)
        refused = [one.result() for one in asked]
        told = [end_upload(upload) for upload in uploads]

    for answer in refused:
        assert (answer.status_code, answer.json()["type"], answer.headers["retry-after"]) == (503, "uploads-busy", "2")
    assert meanwhile.status_code == 201
    assert told == [b"HTTP/1.1 201 Created"] * 3
    assert [send(caller, owner).status_code for owner in (ann, eve)] == [201, 201]


def test_who_leaves_in_the_midst_of_it_makes_room(gateway_url: str, caller: httpx.Client) -> None:
    for _ in range(3):
        with ExitStack() as held:
            for owner in (somebody() for _ in range(MOST)):
                held.enter_context(begin_upload(gateway_url, owner))
            time.sleep(0.1)

    assert send(caller, somebody()).status_code == 201


def test_who_waits_is_taken_in_when_there_is_room(gateway_url: str, caller: httpx.Client) -> None:
    owner = somebody()
    with (
        ThreadPoolExecutor(1) as pool,
        begin_upload(gateway_url, owner) as one,
        begin_upload(gateway_url, owner) as two,
    ):
        time.sleep(0.1)
        waiting = pool.submit(send, caller, owner)
        time.sleep(0.1)
        is_done = waiting.done()
        told = end_upload(one), end_upload(two)

        assert not is_done
        assert waiting.result(10).status_code == 201
    assert told == (b"HTTP/1.1 201 Created", b"HTTP/1.1 201 Created")


def test_who_is_not_let_in_does_not_wait(gateway_url: str, caller: httpx.Client) -> None:
    with ExitStack() as held:
        for owner in (somebody() for _ in range(MOST)):
            held.enter_context(begin_upload(gateway_url, owner))
        time.sleep(0.1)
        answer = caller.post(PATH, content=PNG, headers={"content-type": "image/png"})

    assert answer.status_code == 401
