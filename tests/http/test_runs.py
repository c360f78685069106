"""Runs over HTTP: read, cancelled, begun again; an exchange in its three forms, and one that waits in line."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, history, open_chat, say, somebody
from tests.http.moody import PATIENCE_S, Moody
from tests.http.streams import begin, events_in, followed, listed, read_run, text_of

RUN = {
    "id", "chat_id", "task_id", "agent", "trigger", "status", "usage", "error", "rerun_of", "scheduled_for",
    "created_at", "started_at", "finished_at", "result",
}  # fmt: skip
USAGE = {"input_tokens", "output_tokens", "requests", "tool_calls", "cost"}


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, agent: Moody, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, agent.provider()) as url:
        yield url


def cancel(client: httpx.Client, sub: str, run_id: str) -> dict[str, object]:
    answer = client.post(f"/api/v1/runs/{run_id}/cancel", headers=as_(sub))
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def statuses(client: httpx.Client, sub: str, chat_id: int) -> list[tuple[str, str]]:
    return [(message["content"], message["status"]) for message in history(client, sub, chat_id)]


def test_an_exchange_names_its_run_and_the_run_tells_of_it(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    answer = say(client, owner, chat_id, "hello")

    question, reply = answer.json()
    run = read_run(client, owner, question["run_id"])
    assert question["run_id"] == reply["run_id"]
    assert answer.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert set(run) >= RUN
    assert set(run["usage"]) >= USAGE
    assert (run["chat_id"], run["agent"], run["trigger"], run["status"]) == (chat_id, "moody", "exchange", "completed")
    assert (run["error"], run["rerun_of"], run["task_id"]) == (None, None, None)
    assert run["created_at"] <= run["started_at"] <= run["finished_at"]


def test_an_admin_may_read_and_cancel_what_is_not_theirs(client: httpx.Client) -> None:
    owner, admin = somebody(), somebody()
    run_id = say(client, owner, open_chat(client, owner)["id"], "hello").json()[0]["run_id"]

    read = client.get(f"/api/v1/runs/{run_id}", headers=as_(admin, "admin"))
    cancelled = client.post(f"/api/v1/runs/{run_id}/cancel", headers=as_(admin, "admin"))

    assert (read.status_code, cancelled.status_code) == (200, 200)
    assert cancelled.json()["status"] == "completed"  # what is over stays what it is


def test_in_the_background_a_turn_is_begun_and_answered_later(
    client: httpx.Client, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    run = begin(client, owner, chat_id, "think")
    assert agent.is_asked.wait(PATIENCE_S)
    meanwhile = read_run(client, owner, run["id"])["status"], statuses(client, owner, chat_id)
    thinking.set()
    events = followed(client, owner, run["id"])

    assert meanwhile == ("running", [("think", "pending")])
    assert text_of(events) == "think, after: nothing"
    assert statuses(client, owner, chat_id) == [("think", "complete"), ("think, after: nothing", "complete")]


def test_whoever_accepts_a_stream_gets_the_runs_events_as_they_come(
    client: httpx.Client, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    headers = {**as_(owner), "accept": "text/event-stream"}

    with client.stream("POST", f"/api/v1/messages/{chat_id}/exchange", json={"content": "think"}, headers=headers) as s:
        events = events_in(s)
        first = [next(events)["type"] for _ in range(2)]
        assert agent.is_asked.wait(PATIENCE_S)  # both came before there was an answer
        thinking.set()
        rest = list(events)

    assert s.status_code == 200
    assert s.headers["content-type"].startswith("text/event-stream")
    assert (s.headers["x-accel-buffering"], s.headers["cache-control"]) == ("no", "no-cache")
    assert s.headers["location"] == f"/api/v1/runs/{rest[0]['run_id']}"
    assert first == ["run_queued", "run_started"]
    assert text_of(rest) == "think, after: nothing" == history(client, owner, chat_id)[1]["content"]
    assert rest[-1]["type"] == "run_completed"
    said = next(event["data"] for event in rest if "message_id" in event["data"])
    assert said["message_id"] == history(client, owner, chat_id)[1]["id"]


def test_what_takes_longer_than_the_client_waits_goes_on(client: httpx.Client, thinking: threading.Event) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    body = {"content": "think", "timeout_s": 0.2}

    answer = client.post(f"/api/v1/messages/{chat_id}/exchange", json=body, headers=as_(owner))
    thinking.set()

    run = answer.json()["run"]
    assert (answer.status_code, run["finished_at"]) == (202, None)
    assert answer.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert text_of(followed(client, owner, run["id"])) == "think, after: nothing"


def test_every_event_is_the_same_object_on_every_door(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    run_id = say(client, owner, chat_id, "hello").json()[0]["run_id"]

    streamed = followed(client, owner, run_id)

    assert streamed == listed(client, owner, run_id)["items"]  # a chat's WebSocket adds its cursor: test_chat_socket.py
    assert {name for event in streamed for name in event} == {"seq", "type", "run_id", "chat_id", "at", "data"}
    assert {(event["run_id"], event["chat_id"]) for event in streamed} == {(run_id, chat_id)}


def test_a_turn_that_waits_in_line_is_answered_after_the_one_that_runs(
    client: httpx.Client, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    first = begin(client, owner, chat_id, "think")
    assert agent.is_asked.wait(PATIENCE_S)

    second = begin(client, owner, chat_id, "second", on_busy="queue")
    third = begin(client, owner, chat_id, "third", on_busy="queue")
    while_waiting = [read_run(client, owner, run["id"])["status"] for run in (first, second, third)]
    thinking.set()
    answers = [text_of(followed(client, owner, run["id"])) for run in (first, second, third)]

    assert while_waiting == ["running", "queued", "queued"]
    assert answers == ["think, after: nothing", "second, after: think", "third, after: think second"]
    assert {status for _, status in statuses(client, owner, chat_id)} == {"complete"}


def test_no_more_than_so_many_turns_wait_in_line(client: httpx.Client, agent: Moody, thinking: threading.Event) -> None:
    del thinking
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    begin(client, owner, chat_id, "think")
    assert agent.is_asked.wait(PATIENCE_S)
    for number in range(20):
        begin(client, owner, chat_id, f"turn {number}", on_busy="queue")

    body = {"content": "one too many", "run_mode": "background", "on_busy": "queue"}
    refused = client.post(f"/api/v1/messages/{chat_id}/exchange", json=body, headers=as_(owner))
    client.delete(f"/api/v1/chats/{chat_id}", headers=as_(owner))

    assert (refused.status_code, refused.json()["type"]) == (409, "chat-busy")


def test_a_cancelled_run_keeps_its_question_and_lets_the_next_one_begin(
    client: httpx.Client, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    running = begin(client, owner, chat_id, "think")
    assert agent.is_asked.wait(PATIENCE_S)
    waiting = begin(client, owner, chat_id, "never", on_busy="queue")
    last = begin(client, owner, chat_id, "last", on_busy="queue")

    cancelled = [cancel(client, owner, run["id"])["status"] for run in (waiting, running)]
    ending = followed(client, owner, running["id"])[-1]
    answer = text_of(followed(client, owner, last["id"]))
    thinking.set()

    assert cancelled == ["interrupted", "interrupted"]
    assert (ending["type"], ending["data"]) == ("run_interrupted", {"reason": "cancelled by its owner"})
    assert answer == "last, after: nothing"
    assert statuses(client, owner, chat_id)[:3] == [
        ("think", "interrupted"),
        ("never", "interrupted"),
        ("last", "complete"),
    ]


def test_what_failed_is_begun_again_as_a_new_run(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    say(client, owner, chat_id, "refuse")
    failed = history(client, owner, chat_id)[0]["run_id"]

    again = client.post(f"/api/v1/runs/{failed}/rerun", headers=as_(owner))

    run = again.json()["run"]
    ending = followed(client, owner, run["id"])[-1]
    assert (again.status_code, again.headers["location"]) == (202, f"/api/v1/runs/{run['id']}")
    assert run["rerun_of"] == failed != run["id"]
    assert ending["data"]["error"] == {"type": "agent-failed", "detail": "The agent refused."}
    assert read_run(client, owner, run["id"])["error"] == ending["data"]["error"]


def test_an_answer_that_is_given_again_takes_the_place_of_the_first_in_the_prompt(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    first = say(client, owner, chat_id, "one").json()
    say(client, owner, chat_id, "two")

    again = client.post(f"/api/v1/runs/{first[0]['run_id']}/rerun", headers=as_(owner)).json()["run"]
    answer = text_of(followed(client, owner, again["id"]))

    messages = history(client, owner, chat_id)
    assert answer == "one, after: nothing"  # as it was asked, not as the chat went on
    assert [message["content"] for message in messages] == [
        "one",
        "one, after: nothing",
        "two",
        "two, after: one",
        "one, after: nothing",
    ]
    assert [message["in_prompt"] for message in messages] == [True, False, True, True, True]


def test_what_is_not_over_is_not_begun_again(client: httpx.Client, agent: Moody, thinking: threading.Event) -> None:
    del thinking
    owner = somebody()
    run = begin(client, owner, open_chat(client, owner)["id"], "think")
    assert agent.is_asked.wait(PATIENCE_S)

    refused = client.post(f"/api/v1/runs/{run['id']}/rerun", headers=as_(owner))

    assert (refused.status_code, refused.json()["type"]) == (409, "run-not-over")


def test_a_stream_goes_on_behind_any_event(client: httpx.Client) -> None:
    owner = somebody()
    run_id = say(client, owner, open_chat(client, owner)["id"], "hello").json()[0]["run_id"]

    everything = followed(client, owner, run_id)
    behind = [followed(client, owner, run_id, after=seq) for seq in range(len(everything))]
    resumed = client.get(
        f"/api/v1/runs/{run_id}/events?after=99", headers={**as_(owner), "last-event-id": "2"}
    )  # of the two, what the reader says of itself

    assert [event["seq"] for event in everything] == list(range(1, len(everything) + 1))
    assert behind == [everything[seq:] for seq in range(len(everything))]
    assert [event["seq"] for event in events_in(resumed)] == list(range(3, len(everything) + 1))


def test_whoever_has_read_a_run_to_its_end_is_told_not_to_come_back(client: httpx.Client) -> None:
    owner = somebody()
    run_id = say(client, owner, open_chat(client, owner)["id"], "hello").json()[0]["run_id"]
    last = followed(client, owner, run_id)[-1]["seq"]

    answer = client.get(f"/api/v1/runs/{run_id}/events", headers={**as_(owner), "last-event-id": str(last)})

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30])
def test_an_event_that_cannot_be_is_malformed(client: httpx.Client, given: str) -> None:
    owner = somebody()
    run_id = say(client, owner, open_chat(client, owner)["id"], "hello").json()[0]["run_id"]

    answer = client.get(f"/api/v1/runs/{run_id}/events", headers={**as_(owner), "last-event-id": given})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Last-Event-ID"


def test_whoever_polls_reads_the_same_in_stretches(client: httpx.Client) -> None:
    owner = somebody()
    run_id = say(client, owner, open_chat(client, owner)["id"], "hello").json()[0]["run_id"]
    everything = followed(client, owner, run_id)

    first = listed(client, owner, run_id, limit=2)
    rest = listed(client, owner, run_id, after=first["next"])
    nothing = listed(client, owner, run_id, after=everything[-1]["seq"])

    assert (first["items"], first["next"]) == (everything[:2], 2)
    assert (rest["items"], rest["next"]) == (everything[2:], None)
    assert nothing == {"items": [], "next": None}


def test_what_came_with_the_turn_is_bounded(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    body = {"content": "hello", "context_data": {"page": "x" * 70_000}}

    refused = client.post(f"/api/v1/messages/{chat_id}/exchange", json=body, headers=as_(owner))

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "context_data")
    assert history(client, owner, chat_id) == []
