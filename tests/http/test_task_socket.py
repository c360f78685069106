"""The WebSocket of all one's runs: who is let in, what comes out, what may be asked, and where a client goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from websockets.sync.client import connect

from tests.builders import a_token
from tests.http.calls import as_, make_task, open_chat, say, somebody
from tests.http.streams import PATIENCE_S, Socket, followed
from tests.http.test_chat_socket import HANDSHAKE

PATH = "/api/v1/tasks/socket"


@contextmanager
def a_socket(url: str, sub: str, query: str = "") -> Iterator[Socket]:
    headers = {"authorization": f"Bearer {a_token(sub=sub)}"}
    address = f"{url.replace('http', 'ws')}{PATH}{query}"
    with connect(address, additional_headers=headers, proxy=None, open_timeout=PATIENCE_S) as connection:
        socket = Socket(connection)
        assert socket.receive()["type"] == "connected"
        yield socket


def settle(socket: Socket) -> None:
    """Wait until the server follows; what happened before is not told."""
    socket.send(type="ping", id="settled")
    assert socket.until("pong")["id"] == "settled"


def begin(client: httpx.Client, owner: str, prompt: str = "hello") -> str:
    return str(make_task(client, owner, task_type="delegation", prompt=prompt, agent="echo")["run_id"])


def test_who_is_not_let_in_is_refused_with_a_problem(client: httpx.Client) -> None:
    def refusal(headers: dict[str, str], query: str = "") -> tuple[int, str]:
        answer = client.get(PATH + query, headers=headers | HANDSHAKE)
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["type"]

    assert refusal({}) == (401, "token-missing")
    assert refusal(as_(somebody(), "guest")) == (403, "role-not-allowed")
    assert refusal(as_(somebody()), "?after=somewhere") == (400, "validation-failed")
    assert refusal(as_(somebody()), "?topic=weather") == (400, "validation-failed")


def test_runs_of_tasks_and_of_chats_are_told_and_nobody_elses(client: httpx.Client, gateway_url: str) -> None:
    owner, other = somebody(), somebody()

    with a_socket(gateway_url, owner) as socket:
        settle(socket)
        begin(client, other)
        task_run = begin(client, owner)
        chat_run = say(client, owner, open_chat(client, owner, agent="echo")["id"], "hello").json()[0]["run_id"]
        frames = list(socket.kept)
        while len([one for one in frames if one["type"] == "run_completed"]) < 2:
            frames.append(socket.receive())

    assert {frame["run_id"] for frame in frames} == {task_run, chat_run}
    of_task = [frame for frame in frames if frame["run_id"] == task_run]
    assert [frame["type"] for frame in of_task] == ["run_queued", "run_started", "run_completed"]
    assert {frame["agent"] for frame in frames} == {"echo"}
    assert {frame["task_id"] is None for frame in of_task} == {False}
    plain = [event for event in followed(client, owner, task_run) if event["type"].startswith("run_")]
    assert [{name: frame[name] for name in plain[0]} for frame in of_task] == plain


def test_a_client_says_what_it_wants_to_hear_of(client: httpx.Client, gateway_url: str) -> None:
    owner = somebody()
    task = make_task(client, owner, task_type="triggered", prompt="one", agent="echo")

    with a_socket(gateway_url, owner) as socket:
        socket.send(type="subscribe", id=1, topics=["text", f"task:{task['id']}"])
        subscribed = socket.until("subscribed")
        begin(client, owner, "other")
        run_id = client.post(f"/api/v1/tasks/{task['id']}/execute", headers=as_(owner)).json()["run"]["id"]
        told = socket.receive()
        socket.send(type="get_stats", id=2)
        stats = socket.until("stats")

    assert (subscribed["id"], subscribed["topics"]) == (1, ["text", f"task:{task['id']}"])
    assert (told["type"], told["run_id"], told["data"]["text"]) == ("text_delta", run_id, "one")
    assert (stats["id"], stats["subscriptions"], stats["events"]) == (2, subscribed["topics"], 1)
    assert stats["active_connections"] >= 1


def test_whoever_comes_back_with_a_cursor_misses_nothing(client: httpx.Client, gateway_url: str) -> None:
    owner = somebody()

    with a_socket(gateway_url, owner) as socket:
        settle(socket)
        first = begin(client, owner)
        socket.until("run_completed")
        cursor = socket.kept[-1]["cursor"]
    missed = begin(client, owner)
    followed(client, owner, missed)
    with a_socket(gateway_url, owner, f"?after={cursor}") as socket:
        while socket.until("run_completed")["run_id"] != missed:
            pass
        seen = {(frame["run_id"], frame["seq"]) for frame in socket.kept}

    assert {(missed, 1), (missed, 2)} <= seen
    assert first != missed


def test_what_cannot_be_done_is_answered_with_a_problem_and_the_socket_stays(gateway_url: str) -> None:
    with a_socket(gateway_url, somebody()) as socket:
        refused = []
        for frame in (
            '{"type": "dance"}',
            "no JSON",
            '{"type": "subscribe", "id": 3, "topics": ["weather"]}',
            '{"type": "subscribe", "after": "x"}',
            '{"type": "ping", "id": "' + "x" * 20_000 + '"}',
        ):
            socket.connection.send(frame)
            refused.append(socket.receive())
        settle(socket)

    assert [(frame["type"], frame["problem"]["type"]) for frame in refused] == [("error", "validation-failed")] * 5
    assert refused[2]["id"] == 3
    assert refused[2]["problem"]["instance"] == PATH
