"""Tasks over HTTP, done by the real worker in the gateway's own process. Who is refused is in `test_refusals.py`."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, make_batch, make_task, somebody, withdraw
from tests.http.moody import Moody
from tests.http.streams import followed, read_run

TASK = {
    "id", "user_id", "task_type", "prompt", "agent", "enabled", "schedule_expression", "timezone", "next_run_at",
    "last_run_at", "last_run_id", "last_status", "trigger_config", "notification_config", "settings", "context_data",
    "depends_on", "blocked_by", "batch_id", "created_at", "updated_at", "deleted_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, agent: Moody, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, agent.provider()) as url:
        yield url


def read(client: httpx.Client, sub: str, task_id: object) -> Json:
    answer = client.get(f"/api/v1/tasks/{task_id}", headers=as_(sub))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def runs_of(client: httpx.Client, sub: str, task_id: object) -> list[Json]:
    answer = client.get(f"/api/v1/tasks/{task_id}/runs", headers=as_(sub))
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found


def execute(client: httpx.Client, sub: str, task_id: object, role: str = "user") -> Json:
    answer = client.post(f"/api/v1/tasks/{task_id}/execute", headers=as_(sub, role))
    assert answer.status_code == 202, answer.text
    run: Json = answer.json()["run"]
    assert answer.headers["location"] == f"/api/v1/runs/{run['id']}"
    return run


def test_a_delegation_is_done_by_itself_and_keeps_its_answer(client: httpx.Client) -> None:
    owner = somebody()

    task = make_task(client, owner, task_type="delegation", prompt="hello")
    events = followed(client, owner, task["run_id"])

    assert events[-1]["type"] == "run_completed"
    assert {event["chat_id"] for event in events} == {None}
    run = read_run(client, owner, task["run_id"])
    assert (run["task_id"], run["chat_id"], run["trigger"]) == (task["id"], None, "delegation")
    assert run["result"]["text"] == "".join(e["data"]["text"] for e in events if e["type"] == "text_delta") != ""
    after = read(client, owner, task["id"])
    assert after.keys() == TASK
    assert (after["last_run_id"], after["last_status"]) == (task["run_id"], "completed")
    assert after["last_run_at"] is not None


def test_a_task_of_another_type_waits_to_be_begun(client: httpx.Client) -> None:
    owner = somebody()

    task = make_task(client, owner, task_type="triggered", prompt="hello")

    assert task["run_id"] is None
    assert runs_of(client, owner, task["id"]) == []


def test_a_task_is_run_now_whether_it_is_enabled_or_not(client: httpx.Client) -> None:
    owner = somebody()
    task = make_task(client, owner, task_type="triggered", prompt="hello")
    client.post(f"/api/v1/tasks/{task['id']}/disable", headers=as_(owner))

    run = execute(client, owner, task["id"])

    assert (run["trigger"], run["task_id"]) == ("manual", task["id"])
    assert followed(client, owner, run["id"])[-1]["type"] == "run_completed"
    assert [one["id"] for one in runs_of(client, owner, task["id"])] == [run["id"]]
    assert not read(client, owner, task["id"])["enabled"]


def test_a_task_shows_what_an_interface_promises_and_its_changes(client: httpx.Client) -> None:
    owner = somebody()
    task = make_task(
        client,
        owner,
        task_type="scheduled",
        prompt="hello",
        agent="moody",
        schedule_expression="0 9 * * *",
        timezone="Europe/Berlin",
        notification_config={"channels": ["in_app"]},
        context_data={"team": "red"},
    )

    answer = client.patch(
        f"/api/v1/tasks/{task['id']}", json={"prompt": "bye", "notification_config": None}, headers=as_(owner)
    )

    assert answer.status_code == 200, answer.text
    changed = {"prompt": "bye", "notification_config": None, "updated_at": answer.json()["updated_at"]}
    assert answer.json() == {name: value for name, value in {**task, **changed}.items() if name in TASK}
    assert read(client, owner, task["id"]) == answer.json()


def test_what_contradicts_the_type_is_refused_on_a_change_too(client: httpx.Client) -> None:
    owner = somebody()
    task = make_task(client, owner, task_type="scheduled", prompt="hello", schedule_expression="0 9 * * *")

    answer = client.patch(f"/api/v1/tasks/{task['id']}", json={"schedule_expression": None}, headers=as_(owner))

    assert (answer.status_code, fields_of(answer)) == (400, ["schedule_expression"])


def test_an_agent_that_does_not_exist_is_refused(client: httpx.Client) -> None:
    body = {"task_type": "delegation", "prompt": "hello", "agent": "nobody"}

    answer = client.post("/api/v1/tasks/", json=body, headers=as_(somebody()))

    assert (answer.status_code, fields_of(answer)) == (400, ["agent"])


def test_a_failed_run_keeps_the_reason_and_the_task_tells(client: httpx.Client) -> None:
    owner = somebody()

    task = make_task(client, owner, task_type="delegation", prompt="refuse")
    followed(client, owner, task["run_id"])

    run = read_run(client, owner, task["run_id"])
    assert (run["status"], run["error"]["type"], run["result"]) == ("failed", "agent-failed", None)
    assert read(client, owner, task["id"])["last_status"] == "failed"


def test_a_deleted_task_stops_and_comes_back_with_its_runs(
    client: httpx.Client, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()
    task = make_task(client, owner, task_type="delegation", prompt="think")
    assert agent.is_asked.wait(20)

    assert client.delete(f"/api/v1/tasks/{task['id']}", headers=as_(owner)).status_code == 204
    thinking.set()

    assert followed(client, owner, task["run_id"])[-1]["type"] == "run_interrupted"
    assert client.get(f"/api/v1/tasks/{task['id']}", headers=as_(owner)).status_code == 404
    back = client.post(f"/api/v1/tasks/{task['id']}/restore", headers=as_(owner))
    assert (back.status_code, back.json()["deleted_at"]) == (200, None)
    assert [run["status"] for run in runs_of(client, owner, task["id"])] == ["interrupted"]


def test_a_task_that_depends_on_others_begins_when_they_are_done(client: httpx.Client) -> None:
    owner = somebody()
    needed = make_task(client, owner, task_type="triggered", prompt="refuse")
    late = make_task(client, owner, task_type="triggered", prompt="hello")
    ids = {"task_type": "delegation", "prompt": "both"}
    refused = client.post("/api/v1/tasks/", json={**ids, "depends_on": [needed["id"]]}, headers=as_(somebody()))
    assert (refused.status_code, fields_of(refused)) == (400, ["depends_on"])
    waiting = make_task(client, owner, **ids, depends_on=[needed["id"], late["id"]])
    assert waiting["run_id"] is None

    followed(client, owner, execute(client, owner, needed["id"])["id"])
    assert read(client, owner, waiting["id"])["blocked_by"] == [needed["id"]]
    client.patch(f"/api/v1/tasks/{needed['id']}", json={"prompt": "hello"}, headers=as_(owner))
    followed(client, owner, execute(client, owner, needed["id"])["id"])
    followed(client, owner, execute(client, owner, late["id"])["id"])

    (run,) = runs_of(client, owner, waiting["id"])
    assert followed(client, owner, run["id"])[-1]["type"] == "run_completed"
    assert read(client, owner, waiting["id"])["blocked_by"] == []


def test_an_admin_may_steer_anothers_task_and_the_audit_has_it(client: httpx.Client) -> None:
    owner, root = somebody(), as_("root", "admin")
    task = make_task(client, owner, task_type="triggered", prompt="hello")
    path = f"/api/v1/tasks/{task['id']}"

    run = execute(client, "root", task["id"], "admin")
    acts = [
        client.patch(path, json={"prompt": "bye"}, headers=root),
        client.post(f"{path}/disable", headers=root),
        client.delete(path, headers=root),
        client.post(f"{path}/restore", headers=root),
    ]

    assert [act.status_code for act in acts] == [200, 200, 204, 200]
    assert read_run(client, owner, run["id"])["task_id"] == task["id"]
    found = client.get("/api/v1/audit/", params={"object_id": task["id"], "sortOrder": "asc"}, headers=root).json()
    assert [entry["action"] for entry in found["items"]] == [
        "task.executed",
        "task.updated",
        "task.updated",
        "task.deleted",
        "task.restored",
    ]


def test_lists_hold_ones_own_and_what_the_filters_say(client: httpx.Client) -> None:
    owner = somebody()
    one = make_task(client, owner, task_type="triggered", prompt="one")
    two = make_task(client, owner, task_type="delegation", prompt="two")
    client.post(f"/api/v1/tasks/{one['id']}/disable", headers=as_(owner))

    def listed(**query: object) -> list[str]:
        answer = client.get("/api/v1/tasks/", params=query, headers=as_(owner))  # type: ignore[arg-type] # texts
        assert answer.status_code == 200, answer.text
        return [task["prompt"] for task in answer.json()["items"]]

    assert listed() == ["two", "one"]
    assert listed(task_type="delegation") == ["two"]
    assert listed(enabled="false") == ["one"]
    assert listed(ids=two["id"]) == ["two"]
    assert listed(searchField="prompt", searchString="ON") == ["one"]
    refused = client.get("/api/v1/tasks/", params={"user_id": "1"}, headers=as_(owner))
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")


def test_a_task_is_made_once_for_a_key_and_run_once_for_another(client: httpx.Client) -> None:
    owner = somebody()
    keyed = {**as_(owner), "idempotency-key": "one"}
    body = {"task_type": "triggered", "prompt": "hello"}

    first, again = (client.post("/api/v1/tasks/", json=body, headers=keyed) for _ in range(2))
    path = f"/api/v1/tasks/{first.json()['id']}/execute"
    runs = [client.post(path, headers={**keyed, "idempotency-key": "two"}).json()["run"]["id"] for _ in range(2)]

    assert first.json() == again.json()
    assert len(client.get("/api/v1/tasks/", headers=as_(owner)).json()["items"]) == 1
    assert [run["id"] for run in runs_of(client, owner, first.json()["id"])] == [runs[0]] == [runs[1]]


def test_a_batch_is_all_or_nothing(client: httpx.Client) -> None:
    owner = somebody()
    good, bad = {"task_type": "triggered", "prompt": "one"}, {"task_type": "delegation", "prompt": "x", "agent": "no"}

    answer = client.post("/api/v1/tasks/batches/", json={"tasks": [good, bad]}, headers=as_(owner))

    assert (answer.status_code, fields_of(answer)) == (400, ["tasks.1.agent"])
    assert client.get("/api/v1/tasks/", headers=as_(owner)).json()["total"] == 0


def test_what_failed_of_a_batch_is_run_again_once(client: httpx.Client) -> None:
    owner = somebody()
    bad, good, later = (
        {"task_type": "delegation", "prompt": "refuse"},
        {"task_type": "delegation", "prompt": "hello"},
        {"task_type": "triggered", "prompt": "hello"},
    )
    batch = make_batch(client, owner, bad, good, later)
    path = f"/api/v1/tasks/batches/{batch['id']}"
    for one in batch["tasks"][:2]:
        followed(client, owner, one["run_id"])
    before = client.get(path, headers=as_(owner)).json()
    assert {name: count for name, count in before["counts"].items() if count} == {
        "failed": 1, "completed": 1, "not_begun": 1,
    }  # fmt: skip

    answers = [client.post(f"{path}/retry-failed", headers=as_(owner)) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    followed(client, owner, answers[0].json()["tasks"][0]["run_id"])
    runs = [len(runs_of(client, owner, one["task_id"])) for one in batch["tasks"]]
    assert runs[1:] == [1, 0]
    assert runs[0] in {2, 3}  # the second may have come when the first one's run had failed, too


def test_a_revoked_owners_task_is_not_done_whoever_asks(client: httpx.Client) -> None:
    owner = somebody()
    task = make_task(client, owner, task_type="triggered", prompt="hello")
    withdraw(client, sub=owner)

    run = execute(client, "root", task["id"], "admin")

    ended = followed(client, "root", run["id"], role="admin")
    assert ended[-1]["type"] in {"run_failed", "run_interrupted"}  # whoever is first: the worker, or who stops its runs
    assert "text_delta" not in {event["type"] for event in ended}
