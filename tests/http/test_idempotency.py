"""`Idempotency-Key`: a POST of ours that is sent again is done once, and answered alike."""

import itertools
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.cable import Cable
from tests.http.calls import as_, fields_of, history, open_chat, somebody
from tests.http.desk import Desk, a_desk
from tests.http.endpoints import ENDPOINTS, Endpoint
from tests.http.moody import PATIENCE_S, Moody
from tests.http.recording import recording

# a session is given to who shows an API key, and `test_keys.py` has that
POSTS = [endpoint for endpoint in ENDPOINTS if endpoint.method == "POST" and "sessions" not in endpoint.path]
CHATS = "/api/v1/chats/"
_numbers = itertools.count(1)


def a_key() -> str:
    return f"key-{next(_numbers)}"


def with_key(sub: str, key: str, role: str = "user") -> dict[str, str]:
    return {**as_(sub, role), "Idempotency-Key": key}


def exchange(client: httpx.Client, sub: str, chat_id: int, content: str, key: str) -> httpx.Response:
    path = f"/api/v1/messages/{chat_id}/exchange"
    return client.post(path, json={"content": content}, headers=with_key(sub, key))


def was_replayed(answer: httpx.Response) -> bool:
    return "idempotent-replayed" in answer.headers


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, agent: Moody, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, agent.provider()) as url:
        yield url


@pytest.fixture(scope="module")
def desk(gateway_url: str, migrated_dsn: str) -> Desk:
    with httpx.Client(base_url=gateway_url) as caller:
        return a_desk(caller, dsn=migrated_dsn)


@pytest.mark.parametrize("endpoint", POSTS, ids=str)
def test_every_post_that_is_sent_again_is_answered_alike(caller: httpx.Client, desk: Desk, endpoint: Endpoint) -> None:
    """That every endpoint there is stands in the table is held by `test_refusals.py`."""
    headers = with_key(desk.owner, a_key(), endpoint.right_role)

    first, second = (desk.send(caller, endpoint, headers) for _ in range(2))
    other = caller.post(str(first.request.url), json={"something": "else"}, headers=headers)

    assert first.is_success
    assert (was_replayed(first), was_replayed(second)) == (False, True)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers.get("content-type") == first.headers.get("content-type")
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert (other.status_code, other.json()["type"]) == (409, "idempotency-mismatch")


def test_what_is_sent_again_is_done_once(client: httpx.Client) -> None:
    owner, key = somebody(), a_key()

    answers = [client.post(CHATS, json={"title": "Plans"}, headers=with_key(owner, key)) for _ in range(3)]

    assert len({answer.json()["id"] for answer in answers}) == 1
    assert client.get(CHATS, headers=as_(owner)).json()["total"] == 1


def test_a_turn_that_is_sent_again_asks_the_agent_once(client: httpx.Client) -> None:
    owner, key = somebody(), a_key()
    chat_id = open_chat(client, owner)["id"]

    first, second = (exchange(client, owner, chat_id, "hello", key) for _ in range(2))

    assert first.json() == second.json()
    assert [message["id"] for message in history(client, owner, chat_id)] == [one["id"] for one in first.json()]


def test_the_same_key_elsewhere_is_a_mismatch(client: httpx.Client) -> None:
    owner, key = somebody(), a_key()
    chat_id = open_chat(client, owner)["id"]
    client.post(CHATS, json={}, headers=with_key(owner, key))

    elsewhere = client.post(f"/api/v1/chats/{chat_id}/restore", json={}, headers=with_key(owner, key))
    asked_otherwise = client.post(f"{CHATS}?a=1", json={}, headers=with_key(owner, key))

    assert [answer.json()["type"] for answer in (elsewhere, asked_otherwise)] == ["idempotency-mismatch"] * 2


def test_a_key_is_its_callers_own(client: httpx.Client) -> None:
    key, ann, ben = a_key(), somebody(), somebody()

    answers = [client.post(CHATS, json={}, headers=with_key(owner, key)) for owner in (ann, ben)]

    assert [answer.json()["user_id"] for answer in answers] == [ann, ben]
    assert not any(map(was_replayed, answers))


def test_what_was_refused_may_be_mended_under_the_same_key(client: httpx.Client) -> None:
    owner, key = somebody(), a_key()

    refused = client.post(CHATS, json={"title": 5}, headers=with_key(owner, key))
    mended = client.post(CHATS, json={"title": "5"}, headers=with_key(owner, key))

    assert (refused.status_code, mended.status_code) == (400, 201)


def test_a_turn_that_failed_may_be_tried_again_under_the_same_key(client: httpx.Client) -> None:
    owner, key = somebody(), a_key()
    chat_id = open_chat(client, owner)["id"]

    answers = [exchange(client, owner, chat_id, "vanish", key) for _ in range(2)]
    asked = [message for message in history(client, owner, chat_id) if message["role"] == "user"]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert not any(map(was_replayed, answers))
    assert len(asked) == 2


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, "tab\there"], ids=["empty", "blank", "ä", "long", "tab"])
def test_a_key_that_is_none_is_malformed(client: httpx.Client, key: str) -> None:
    headers = [(b"authorization", as_(somebody())["authorization"].encode()), (b"idempotency-key", key.encode())]

    answer = client.post(CHATS, json={}, headers=headers)

    assert answer.status_code == 400
    assert fields_of(answer) == ["Idempotency-Key"]


def test_two_keys_are_malformed(client: httpx.Client) -> None:
    headers = [*as_(somebody()).items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    answer = client.post(CHATS, json={}, headers=headers)

    assert fields_of(answer) == ["Idempotency-Key"]


def test_a_key_may_have_255_characters_of_any_kind_that_is_seen(client: httpx.Client) -> None:
    key = "".join(map(chr, range(0x21, 0x7F))) + "~" * 161

    answers = [client.post(CHATS, json={}, headers=with_key("keen", key)) for _ in range(2)]

    assert len(key) == 255
    assert [was_replayed(answer) for answer in answers] == [False, True]


def test_other_methods_take_no_notice(client: httpx.Client) -> None:
    owner, key = somebody(), a_key()
    chat_id = open_chat(client, owner)["id"]
    path = f"/api/v1/chats/{chat_id}"

    titles = [
        client.put(path, json={"title": title}, headers=with_key(owner, key)).json()["title"] for title in ("a", "b")
    ]

    assert titles == ["a", "b"]


def test_the_wrong_role_gets_no_answer_that_the_right_one_was_given(client: httpx.Client) -> None:
    owner, key = somebody(), a_key()
    body = {"sub": "nobody"}
    given = client.post("/api/v1/revocations", json=body, headers=with_key(owner, key, "admin"))

    refused = client.post("/api/v1/revocations", json=body, headers=with_key(owner, key))

    assert (given.status_code, refused.status_code) == (201, 403)


def test_the_same_while_the_first_is_under_way_waits_for_its_answer(
    client: httpx.Client, gateway_url: str, agent: Moody
) -> None:
    owner, key = somebody(), a_key()
    chat_id = open_chat(client, owner)["id"]
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=gateway_url, timeout=PATIENCE_S) as caller:
            answers.append(exchange(caller, owner, chat_id, "think", key))

    agent.is_asked.clear()
    agent.may_answer.clear()
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert agent.is_asked.wait(PATIENCE_S)
    agent.may_answer.set()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.content for answer in answers}) == 1
    assert len(history(client, owner, chat_id)) == 2


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"], ids=["whole", "streamed"])
def test_a_phone_that_loses_the_answer_at_any_byte_gets_the_same_two_messages(
    client: httpx.Client, gateway_url: str, accept: str
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    phone = Phone(gateway_url, owner, chat_id, accept)
    whole = len(phone.send(a_key(), keep_bytes=10**6))

    for keep_bytes in (*range(0, 60, 13), *range(60, whole, whole // 12), whole - 1):
        key, before = a_key(), len(history(client, owner, chat_id))
        lost = phone.send(key, keep_bytes=keep_bytes)
        again = exchange(client, owner, chat_id, "hello", key)
        said = history(client, owner, chat_id)[before:]

        assert len(lost) <= keep_bytes
        assert again.status_code == 201
        assert [message["id"] for message in said] == [one["id"] for one in again.json()]


def test_a_stream_under_a_key_attaches_to_the_turn_that_the_key_began(client: httpx.Client, gateway_url: str) -> None:
    owner, key = somebody(), a_key()
    chat_id = open_chat(client, owner)["id"]
    phone = Phone(gateway_url, owner, chat_id, "text/event-stream")

    first, second = (phone.send(key, keep_bytes=10**6) for _ in range(2))
    whole = exchange(client, owner, chat_id, "hello", key)

    assert events_of(first) == events_of(second)
    assert b"run_completed" in second
    assert len(history(client, owner, chat_id)) == len(whole.json()) == 2


@dataclass(frozen=True, slots=True)
class Phone:
    """Says hello on a connection of its own, and loses it."""

    url: str
    owner: str
    chat_id: int
    accept: str

    def send(self, key: str, *, keep_bytes: int) -> bytes:
        """Send a turn, and close the connection after so many bytes of the answer, or at its end."""
        body = b'{"content":"hello"}'
        fields = {
            **with_key(self.owner, key),
            "host": "x",
            "accept": self.accept,
            "connection": "close",
            "content-type": "application/json",
            "content-length": str(len(body)),
        }
        head = f"POST /api/v1/messages/{self.chat_id}/exchange HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in fields.items()
        )
        parts = urlsplit(self.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE_S) as line:
            line.sendall(head.encode() + b"\r\n" + body)
            kept = b""
            while len(kept) < keep_bytes and (piece := line.recv(min(65536, keep_bytes - len(kept)))):
                kept += piece
        return kept


def events_of(stream: bytes) -> list[bytes]:
    return [line for line in stream.splitlines() if line.startswith(b"data:")]


def test_what_is_behind_the_door_gets_the_key_and_every_try(migrated_dsn: str, tmp_path: Path) -> None:
    with recording() as kept:
        settings = some_settings(
            tmp_path,
            dsn=migrated_dsn,
            upstreams={"shop": {"url": kept.url}},
            routes=({"prefix": "/shop", "upstream": "shop", "access": "COMMON"},),
        )
        with running_gateway(settings) as url:
            for _ in range(2):
                httpx.post(f"{url}/shop/orders", json={}, headers=with_key("ann", "k"))

    assert [seen.values("idempotency-key") for seen in kept.requests] == [["k"], ["k"]]


def test_without_a_database_nothing_is_done_that_could_not_be_remembered(cable: Cable, tmp_path: Path) -> None:
    owner, key = somebody(), a_key()
    with running_gateway(some_settings(tmp_path, dsn=cable.dsn)) as url, httpx.Client(base_url=url) as client:
        cable.cut()
        refused = client.post(CHATS, json={}, headers=with_key(owner, key))
        cable.mend()
        again = client.post(CHATS, json={}, headers=with_key(owner, key))

    assert (refused.status_code, refused.json()["type"]) == (503, "storage-unavailable")
    assert again.status_code == 201
