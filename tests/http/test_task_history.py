"""The history of tasks and their statistics over HTTP. Who is refused is in `test_refusals.py`."""

import httpx

from tests.http.calls import Json, as_, fields_of, make_task, somebody
from tests.http.streams import followed


def events(client: httpx.Client, sub: str, role: str = "user", **query: str | int) -> Json:
    answer = client.get("/api/v1/tasks/events", params=query, headers=as_(sub, role))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def statistics(client: httpx.Client, sub: str, role: str = "user", **query: str | int) -> Json:
    answer = client.get("/api/v1/tasks/statistics", params=query, headers=as_(sub, role))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def done(client: httpx.Client, owner: str, prompt: str = "hello", **fields: object) -> Json:
    task = make_task(client, owner, task_type="delegation", prompt=prompt, agent="echo", **fields)
    followed(client, owner, task["run_id"])
    return task


def test_a_run_of_a_task_is_told_when_it_began_and_when_it_ended(client: httpx.Client) -> None:
    owner = somebody()
    task = done(client, owner, "hello there")

    found = events(client, owner)

    assert [event["type"] for event in found["items"]] == ["run_completed", "run_started"]
    assert found["next"] is None
    end = found["items"][0]
    assert (end["run_id"], end["chat_id"]) == (task["run_id"], None)
    assert isinstance(end["timestamp"], int)
    data = end["data"]
    assert (data["task_id"], data["task_type"], data["user_id"]) == (task["id"], "delegation", owner)
    assert (data["status"], data["severity"], data["summary"]) == ("completed", "success", "hello there")
    assert data["duration_ms"] >= 0
    assert found["items"][1]["data"]["severity"] is None


def test_a_history_is_read_page_by_page_and_filtered(client: httpx.Client) -> None:
    owner = somebody()
    tasks = [done(client, owner, str(number)) for number in range(3)]

    first = events(client, owner, limit=4)
    rest = events(client, owner, limit=4, after=first["next"])
    of_one = events(client, owner, task_id=tasks[1]["id"], type="run_completed")
    none = events(client, owner, severity="error")
    by_type = events(client, owner, task_type="research")

    everything = [event["cursor"] for page in (first, rest) for event in page["items"]]
    assert len(set(everything)) == 6
    assert rest["next"] is None
    assert [event["data"]["task_id"] for event in of_one["items"]] == [tasks[1]["id"]]
    assert (none["items"], by_type["items"]) == ([], [])


def test_what_others_did_is_for_staff(client: httpx.Client) -> None:
    owner, other = somebody(), somebody()
    task = done(client, owner)

    own = events(client, other)
    refused = client.get("/api/v1/tasks/events", params={"user_id": owner}, headers=as_(other))
    for_staff = events(client, somebody(), "manager", user_id=owner)
    everybodys = events(client, somebody(), "manager", task_id=task["id"])

    assert own["items"] == []
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    assert len(for_staff["items"]) == len(everybodys["items"]) == 2


def test_a_place_nobody_was_told_is_refused(client: httpx.Client) -> None:
    refused = client.get("/api/v1/tasks/events", params={"after": "yesterday"}, headers=as_(somebody()))

    assert (refused.status_code, fields_of(refused)) == (400, ["after"])


def test_the_runs_of_a_task_are_summed_up(client: httpx.Client) -> None:
    owner = somebody()
    task = done(client, owner)
    again = client.post(f"/api/v1/tasks/{task['id']}/execute", headers=as_(owner)).json()["run"]
    followed(client, owner, again["id"])

    (of_task,) = statistics(client, owner)["items"]
    (of_agent,) = statistics(client, owner, by="agent")["items"]
    before = statistics(client, owner, until="2020-01-01T00:00:00Z")

    assert (of_task["task_id"], of_task["runs"], of_task["success_rate"]) == (task["id"], 2, 1.0)
    assert of_task["by_status"]["completed"] == 2
    assert of_task["duration_ms"]["p95"] >= of_task["duration_ms"]["median"] >= 0
    assert (of_task["last_run"]["id"], of_task["last_run"]["status"]) == (again["id"], "completed")
    assert (of_agent["agent"], of_agent["runs"]) == ("echo", 2)
    assert before["items"] == []
    assert before["until"].startswith("2020-01-01T00:00:00")


def test_a_window_that_is_none_is_refused(client: httpx.Client) -> None:
    backwards = {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    long = {"since": "2020-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}

    answers = [
        client.get("/api/v1/tasks/statistics", params=query, headers=as_(somebody())) for query in (backwards, long)
    ]

    assert [(answer.status_code, fields_of(answer)) for answer in answers] == [(400, ["since"])] * 2


def test_what_is_no_time_is_refused(client: httpx.Client) -> None:
    headers = as_(somebody())

    answers = [
        client.get("/api/v1/tasks/events", params={"until": text}, headers=headers)
        for text in ("0.5", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00")
    ]

    assert [(answer.status_code, fields_of(answer)) for answer in answers] == [(400, ["until"])] * 3
