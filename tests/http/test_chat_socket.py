"""The WebSocket of a chat: who is let in, what comes out, what may be asked, and where a client goes on."""

import httpx
import pytest
from websockets.sync.client import connect

from tests.builders import a_token
from tests.http.calls import as_, open_chat, say, somebody
from tests.http.streams import PATIENCE_S, a_socket, begin, followed, text_of


def address(url: str, chat_id: object) -> str:
    return f"{url.replace('http', 'ws')}/api/v1/chats/{chat_id}/events"


HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def refusal(client: httpx.Client, chat_id: object, headers: dict[str, str], query: str = "") -> tuple[int, str]:
    answer = client.get(f"/api/v1/chats/{chat_id}/events{query}", headers=headers | HANDSHAKE)
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"]


def test_who_is_not_let_in_is_refused_with_a_problem(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    assert refusal(client, chat_id, {}) == (401, "token-missing")
    assert refusal(client, chat_id, as_(owner, "guest")) == (403, "role-not-allowed")
    assert refusal(client, chat_id, as_(somebody())) == (404, "chat-not-found")
    assert refusal(client, "abc", as_(owner)) == (400, "validation-failed")
    assert refusal(client, chat_id, as_(owner), "?after=somewhere") == (400, "validation-failed")


def test_a_turn_that_is_sent_comes_back_as_its_events(client: httpx.Client, gateway_url: str) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]

    with a_socket(gateway_url, owner, chat_id) as socket:
        socket.send(type="send", id=1, content="hello there")
        last = socket.until("run_completed")
        sent = next(frame for frame in socket.kept if frame["type"] == "sent")

    events = [frame for frame in socket.kept if frame["type"] != "sent"] + [last]
    assert (sent["id"], sent["message"]["content"], sent["message"]["status"]) == (1, "hello there", "pending")
    assert {event["run_id"] for event in events} == {sent["run_id"]}
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["cursor"] for event in events[-2:]] == [f"{sent['run_id']}:{event['seq']}" for event in events[-2:]]
    assert text_of(events) == "hello there"
    plain = [{name: value for name, value in event.items() if name != "cursor"} for event in events]
    assert plain == followed(client, owner, sent["run_id"])


def test_whoever_comes_back_with_a_cursor_misses_nothing_and_sees_nothing_twice(
    client: httpx.Client, gateway_url: str
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]
    runs = [say(client, owner, chat_id, text).json()[0]["run_id"] for text in ("one", "two", "three")]
    everything = [event for run_id in runs for event in followed(client, owner, run_id)]

    with a_socket(gateway_url, owner, chat_id) as socket:
        seen = [socket.receive() for _ in everything]
    again = []
    for place in range(0, len(everything) - 1, 3):
        with a_socket(gateway_url, owner, chat_id, after=seen[place]["cursor"]) as socket:
            again.append(socket.receive())

    assert [(event["run_id"], event["seq"]) for event in seen] == [(e["run_id"], e["seq"]) for e in everything]
    assert again == [seen[place + 1] for place in range(0, len(everything) - 1, 3)]


def test_whoever_asks_for_now_sees_only_what_comes(client: httpx.Client, gateway_url: str) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]
    say(client, owner, chat_id, "before")

    with a_socket(gateway_url, owner, chat_id, after="now") as socket:
        socket.send(type="ping", id="p")
        pong = socket.receive()
        run = begin(client, owner, chat_id, "after")
        first = socket.receive()

    assert (pong["type"], pong["id"]) == ("pong", "p")
    assert (first["run_id"], first["seq"], first["type"]) == (run["id"], 1, "run_queued")


def test_a_client_may_subscribe_anew(client: httpx.Client, gateway_url: str) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]
    run_id = say(client, owner, chat_id, "hello").json()[0]["run_id"]

    with a_socket(gateway_url, owner, chat_id, after="now") as socket:
        socket.send(type="subscribe", id=7, after=f"{run_id}:1")
        answered = [socket.receive() for _ in range(2)]

    assert {frame["type"] for frame in answered} == {"subscribed", "run_started"}


def test_what_cannot_be_done_is_answered_with_a_problem_and_the_socket_stays(
    client: httpx.Client, gateway_url: str
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]

    with a_socket(gateway_url, owner, chat_id) as socket:
        refused = []
        for frame in (
            '{"type": "send", "id": 1, "content": ""}',
            '{"type": "dance"}',
            "no JSON",
            '{"type": "cancel", "id": 2, "run_id": "019ad0aa-0000-7000-8000-000000000000"}',
            '{"type": "subscribe", "id": 3, "after": "x"}',
            '{"type": "send", "content": "' + "x" * 600_000 + '"}',
        ):
            socket.connection.send(frame)
            refused.append(socket.receive())
        socket.send(type="cancel", id=4)
        nothing = socket.receive()

    assert {frame["type"] for frame in refused} == {"error"}
    assert [frame["problem"]["type"] for frame in refused] == [
        *["validation-failed"] * 3, "run-not-found", *["validation-failed"] * 2
    ]  # fmt: skip
    assert nothing == {"type": "cancelled", "id": 4, "run": None}


def test_an_admin_reads_but_does_not_speak(client: httpx.Client, gateway_url: str) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]
    say(client, owner, chat_id, "hello")

    with a_socket(gateway_url, somebody(), chat_id, role="admin") as socket:
        first = socket.receive()
        socket.send(type="send", content="as you")
        refused = socket.until("error")

    assert first["type"] == "run_queued"
    assert refused["problem"]["type"] == "chat-not-found"


@pytest.mark.parametrize("others", [["portico.events"], [], ["other"]], ids=["ours", "none", "another"])
def test_a_page_sends_its_token_as_a_subprotocol(client: httpx.Client, gateway_url: str, others: list[str]) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]
    token = f"portico.bearer.{a_token(sub=owner)}"
    origin = {"Origin": "https://elsewhere.test"}

    with connect(
        address(gateway_url, chat_id),
        subprotocols=[*others, token],  # type: ignore[list-item] # a type of their own for text
        additional_headers=origin,
        proxy=None,
        open_timeout=PATIENCE_S,
    ) as connection:
        connection.send('{"type": "ping"}')
        answer = connection.recv(timeout=PATIENCE_S)

    assert '"pong"' in str(answer)
    assert connection.subprotocol == (others[0] if others else token)
