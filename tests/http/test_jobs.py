"""Two-step job streaming: a job that is begun, followed, waited for. Who is refused is in `test_refusals.py`."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, history, open_chat, somebody
from tests.http.moody import Moody
from tests.http.streams import read_run

START = "/api/v1/stream-execute"
ENDS = ("result", "error")


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, agent: Moody, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, agent.provider()) as url:
        yield url


def started(client: httpx.Client, owner: str, **body: object) -> Json:
    answer = client.post(START, json=body, headers=as_(owner))
    assert answer.status_code == 202, answer.text
    job: Json = answer.json()
    assert answer.headers["location"] == f"/api/v1/runs/{job['run_id']}"
    return job


def stream(client: httpx.Client, owner: str, job: Json, **headers: str) -> list[tuple[str, Json]]:
    """Read a job's stream to its end: the id and the object of each event."""
    found, id_ = [], ""
    with client.stream("GET", job["stream_url"], headers={**as_(owner), **headers}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                id_ = value
            elif name == "data":
                found.append((id_, json.loads(value)))
                id_ = ""
    return found


def words_of(events: list[tuple[str, Json]]) -> list[str]:
    return [event["event"] for _, event in events]


@pytest.mark.parametrize(
    "body",
    [
        {"textEntries": [{"content": "one", "type": "text"}, {"content": "two"}], "metadata": {"source": "web"}},
        {"input": "one\n\ntwo"},
        {"command": "one\n\ntwo", "agent_id": "moody", "ai_provider": "claude", "cwd": "/tmp", "instance_id": "i-1"},
    ],
    ids=["textEntries", "input", "command"],
)
def test_a_job_is_begun_and_followed_to_its_end(client: httpx.Client, body: Json) -> None:
    owner = somebody()

    job = started(client, owner, **body)
    events = stream(client, owner, job)

    assert job["job_id"] == f"job_{job['run_id']}"
    assert (job["status"], job["stream_url"]) == ("started", f"/api/v1/stream/{job['job_id']}")
    assert words_of(events) == ["job_started", "status_update", "on_llm_new_token", "result", "end_of_stream"]
    assert {event["job_id"] for _, event in events} == {job["job_id"]}
    assert events[-2][1]["data"]["result"] == "one\n\ntwo, after: nothing" == events[2][1]["data"]["token"]
    assert [event["status"] for _, event in events] == ["queued", "running", "running", "completed", "completed"]
    run = read_run(client, owner, job["run_id"])
    assert (run["trigger"], run["status"], run["chat_id"]) == ("delegation", "completed", None)


def test_a_stream_is_read_again_from_any_event(client: httpx.Client) -> None:
    owner = somebody()
    job = started(client, owner, input="hello")
    events = stream(client, owner, job)

    again = stream(client, owner, job)
    rest = stream(client, owner, job, **{"last-event-id": events[1][0]})
    over = client.get(job["stream_url"], headers={**as_(owner), "last-event-id": events[-1][0]})

    assert again == events
    assert rest == events[2:]
    assert events[-2][0] == ""  # whoever was cut off behind it gets it again, with the end of the stream
    assert over.status_code == 204


def test_a_job_that_fails_ends_with_an_error_and_the_end(client: httpx.Client) -> None:
    owner = somebody()

    events = stream(client, owner, started(client, owner, input="refuse"))

    assert words_of(events)[-2:] == ["error", "end_of_stream"]
    assert events[-2][1]["data"]["error"]["type"] == "agent-failed"
    assert {event["status"] for _, event in events[-2:]} == {"failed"}


def test_a_job_that_is_cancelled_ends_with_an_error_and_the_end(
    client: httpx.Client, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()
    job = started(client, owner, input="think")
    assert agent.is_asked.wait(20)

    client.post(f"/api/v1/runs/{job['run_id']}/cancel", headers=as_(owner))

    events = stream(client, owner, job)
    assert words_of(events)[-2:] == ["error", "end_of_stream"]
    assert events[-2][1]["data"]["error"]["type"] == "run-stopped"


def test_a_conversation_goes_on(client: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(client, owner)

    first = stream(client, owner, started(client, owner, input="one", conversation_id=chat["id"]))
    second = stream(client, owner, started(client, owner, input="two", conversation_id=str(chat["id"])))
    alone = stream(
        client, owner, started(client, owner, input="three", conversation_id=chat["id"], context_mode="stateless")
    )

    assert first[-2][1]["data"]["result"] == "one, after: nothing"
    assert second[-2][1]["data"]["result"] == "two, after: one"
    assert alone[-2][1]["data"]["result"] == "three, after: nothing"
    assert [message["content"] for message in history(client, owner, chat["id"])][::2] == ["one", "two"]


def test_an_execution_is_waited_for(client: httpx.Client) -> None:
    owner = somebody()

    answer = client.post("/execute", json={"command": "hello"}, headers=as_(owner))

    assert answer.status_code == 200
    done = answer.json()
    assert (done["status"], done["result"]) == ("completed", "hello, after: nothing")
    assert stream(client, owner, {"stream_url": f"/api/v1/stream/{done['job_id']}"})[-1][1]["event"] == "end_of_stream"


@pytest.mark.parametrize(
    ("words", "status", "type_"),
    [("refuse", 502, "agent-failed"), ("forget", 503, "model-not-configured"), ("vanish", 503, "model-unavailable")],
)
def test_an_execution_that_fails_is_a_problem(client: httpx.Client, words: str, status: int, type_: str) -> None:
    answer = client.post("/execute", json={"command": words}, headers=as_(somebody()))

    assert (answer.status_code, answer.json()["type"]) == (status, type_)
    assert answer.headers["location"] == f"/api/v1/runs/{answer.json()['run_id']}"


def test_an_execution_that_is_stopped_is_a_problem(
    client: httpx.Client, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.post, "/execute", json={"command": "think"}, headers=as_(owner))
        assert agent.is_asked.wait(20)
        [task] = client.get("/api/v1/tasks/", headers=as_(owner)).json()["items"]
        [run] = client.get(f"/api/v1/tasks/{task['id']}/runs", headers=as_(owner)).json()["items"]
        client.post(f"/api/v1/runs/{run['id']}/cancel", headers=as_(owner))
        answer = asked.result(30)

    assert (answer.status_code, answer.json()["type"]) == (409, "run-stopped")
    assert answer.json()["run_id"] == run["id"]


def test_an_execution_that_takes_long_goes_on_as_a_job(client: httpx.Client, thinking: threading.Event) -> None:
    owner = somebody()

    late = client.post("/execute", json={"command": "think", "timeout": 0.1}, headers=as_(owner))
    thinking.set()

    assert late.status_code == 202
    assert late.json()["status"] == "started"
    assert words_of(stream(client, owner, late.json()))[-2:] == ["result", "end_of_stream"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, [""]),
        ({"input": " "}, [""]),
        ({"input": "a", "command": "b"}, [""]),
        ({"textEntries": []}, [""]),
        ({"input": "a", "conversation_id": "conv_1"}, ["conversation_id"]),
        ({"input": "a", "conversation_id": 7, "agent": "moody"}, ["agent"]),
        ({"input": "a", "agent": "nobody"}, ["agent"]),
        ({"input": "a", "timeout": 0}, ["timeout"]),
    ],
)
@pytest.mark.parametrize("path", [START, "/execute"])
def test_what_cannot_be_begun_is_refused_and_nothing_begins(
    client: httpx.Client, path: str, body: Json, fields: list[str]
) -> None:
    owner = somebody()

    answer = client.post(path, json=body, headers=as_(owner))

    assert (answer.status_code, answer.json()["type"]) == (400, "validation-failed")
    assert fields_of(answer) == fields
    assert client.get("/api/v1/tasks/", headers=as_(owner)).json()["total"] == 0


@pytest.mark.parametrize("job_id", ["job_", "job_abc", "abc", "job_00000000-0000-7000-8000-000000000000"])
def test_an_unknown_job_is_not_found(client: httpx.Client, job_id: str) -> None:
    answer = client.get(f"/api/v1/stream/{job_id}", headers=as_(somebody()))

    assert (answer.status_code, answer.json()["type"]) == (404, "job-not-found")


def test_another_persons_job_is_not_found_and_an_admin_may_follow_it(client: httpx.Client) -> None:
    owner = somebody()
    job = started(client, owner, input="hello")

    other = client.get(job["stream_url"], headers=as_(somebody()))
    admin = client.get(job["stream_url"], headers=as_("root", "admin"))

    assert (other.status_code, other.json()["type"]) == (404, "job-not-found")
    assert admin.status_code == 200


def test_another_persons_conversation_is_not_found(client: httpx.Client) -> None:
    chat = open_chat(client, somebody())

    answer = client.post(START, json={"input": "a", "conversation_id": chat["id"]}, headers=as_(somebody()))

    assert (answer.status_code, answer.json()["type"]) == (404, "chat-not-found")
