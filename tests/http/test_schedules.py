"""Schedules and heartbeats over HTTP, kept by the real worker in the gateway's own process."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import httpx
import pytest
from dishka import Provider, Scope

from app.agents.contract import Turn
from app.agents.factory import AgentFactory
from tests.builders import some_settings
from tests.e2e.program import becomes_true
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, make_task, somebody
from tests.http.streams import followed

PATIENCE_S = 20
REPORT = {
    "run_id", "trigger", "status", "scheduled_for", "started_at", "finished_at", "severity", "summary", "findings",
    "has_something_to_say", "is_structured", "answer",
}  # fmt: skip
VERDICT = '{"severity": "error", "summary": "The disk is full.", "findings": ["/var"]}'


@dataclass
class Watchman:
    """Answers with the first line of what it is told."""

    name: str = "watchman"

    async def generate(self, turn: Turn) -> str:
        return turn.text.partition("\n")[0]

    def provider(self) -> Provider:
        provider = Provider(scope=Scope.APP)
        provider.provide(lambda: AgentFactory(MappingProxyType({self.name: self})), provides=AgentFactory)
        return provider


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, Watchman().provider()) as url:
        yield url


def read(client: httpx.Client, sub: str, path: str) -> Json:
    answer = client.get(f"/api/v1/tasks/{path}", headers=as_(sub))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def seconds_until(moment: object) -> float:
    return (datetime.fromisoformat(str(moment)) - datetime.now(UTC)).total_seconds()


def test_a_task_runs_by_itself_when_its_time_has_come(caller: httpx.Client) -> None:
    owner = somebody()
    at = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)

    task = make_task(
        caller, owner, task_type="scheduled", prompt="hello", schedule_expression=f"at {at:%Y-%m-%dT%H:%M:%S}Z"
    )
    assert datetime.fromisoformat(task["next_run_at"]) == at
    assert becomes_true(lambda: read(caller, owner, task["id"])["last_run_id"] is not None, within_s=PATIENCE_S)

    (run,) = read(caller, owner, f"{task['id']}/runs")["items"]
    assert (run["trigger"], run["status"], run["task_id"]) == ("schedule", "completed", task["id"])
    assert datetime.fromisoformat(run["scheduled_for"]) == at
    after = read(caller, owner, task["id"])
    assert (after["enabled"], after["next_run_at"]) == (False, None)
    assert after["last_run_id"] == run["id"]


def test_the_next_slot_is_told_in_the_tasks_own_timezone(caller: httpx.Client) -> None:
    task = make_task(
        caller,
        somebody(),
        task_type="scheduled",
        prompt="hello",
        schedule_expression="30 2 28 3 *",
        timezone="Europe/Berlin",
    )

    next_run_at = datetime.fromisoformat(task["next_run_at"])
    assert f"{next_run_at.astimezone(UTC):%m-%d %H:%M}" in {"03-28 00:30", "03-28 01:00", "03-28 01:30"}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        pytest.param({}, ["schedule_expression"], id="none"),
        pytest.param({"schedule_expression": "soon"}, ["schedule_expression"], id="no-time"),
        pytest.param({"schedule_expression": "0 0 30 2 *"}, ["schedule_expression"], id="never"),
        pytest.param({"schedule_expression": "at 2020-01-01T09:00"}, ["schedule_expression"], id="past"),
        pytest.param({"schedule_expression": "@daily", "timezone": "Mars/Base"}, ["timezone"], id="no-zone"),
        pytest.param(
            {"schedule_expression": "@daily", "settings": {"active_hours": {"from": "25:00"}}},
            ["settings.active_hours.from"],
            id="no-hour",
        ),
    ],
)
def test_a_schedule_that_is_none_is_refused_field_by_field(
    caller: httpx.Client, fields: Json, wrong: list[str]
) -> None:
    body = {"task_type": "scheduled", "prompt": "hello", **fields}

    answer = caller.post("/api/v1/tasks/", json=body, headers=as_(somebody()))

    assert (answer.status_code, answer.json()["type"]) == (400, "validation-failed")
    assert fields_of(answer) == wrong


def test_a_change_of_the_schedule_plans_it_anew_and_a_pause_drops_it(caller: httpx.Client) -> None:
    owner = somebody()
    task = make_task(caller, owner, task_type="scheduled", prompt="hello", schedule_expression="every 1h")
    path = f"/api/v1/tasks/{task['id']}"
    assert 3500 < seconds_until(task["next_run_at"]) <= 3600

    changed = caller.patch(path, json={"schedule_expression": "every 2h"}, headers=as_(owner)).json()
    assert 7100 < seconds_until(changed["next_run_at"]) <= 7200
    assert caller.post(f"{path}/disable", headers=as_(owner)).json()["next_run_at"] is None
    enabled = caller.post(f"{path}/enable", headers=as_(owner)).json()
    assert 7100 < seconds_until(enabled["next_run_at"]) <= 7200
    refused = caller.patch(path, json={"schedule_expression": None}, headers=as_(owner))
    assert (refused.status_code, fields_of(refused)) == (400, ["schedule_expression"])


def test_a_run_by_hand_takes_no_slot(caller: httpx.Client) -> None:
    owner = somebody()
    task = make_task(caller, owner, task_type="scheduled", prompt="hello", schedule_expression="every 1h")

    run = caller.post(f"/api/v1/tasks/{task['id']}/execute", headers=as_(owner)).json()["run"]
    followed(caller, owner, run["id"])

    assert (run["trigger"], run["scheduled_for"]) == ("manual", None)
    assert read(caller, owner, task["id"])["next_run_at"] == task["next_run_at"]


@pytest.mark.parametrize(
    ("says", "severity", "summary", "findings", "is_told"),
    [
        pytest.param("HEARTBEAT_OK", "success", "", [], False, id="nothing"),
        pytest.param(VERDICT, "error", "The disk is full.", ["/var"], True, id="a-verdict"),
        pytest.param("All good, 0 errors", "warning", "All good, 0 errors", [], True, id="something-else"),
    ],
)
def test_a_heartbeat_is_reported_with_its_verdict(
    caller: httpx.Client, says: str, severity: str, summary: str, findings: list[str], is_told: object
) -> None:
    owner = somebody()
    task = make_task(caller, owner, task_type="heartbeat", prompt=says, schedule_expression="every 30m")
    run = caller.post(f"/api/v1/tasks/{task['id']}/execute", headers=as_(owner)).json()["run"]
    followed(caller, owner, run["id"])

    page = read(caller, owner, f"{task['id']}/reports")

    (report,) = page["items"]
    assert page["total"] == 1
    assert report.keys() == REPORT
    assert (report["run_id"], report["status"], report["answer"]) == (run["id"], "completed", says)
    assert (report["severity"], report["summary"], report["findings"]) == (severity, summary, findings)
    assert report["has_something_to_say"] is is_told
    assert report["is_structured"] is (severity != "warning")


def test_a_heartbeat_that_has_nothing_to_say_notifies_nobody(caller: httpx.Client) -> None:
    owner = somebody()
    config = {"channels": ["in_app"], "on": ["success", "warning", "error"]}
    for says in ("HEARTBEAT_OK", VERDICT):
        fields = {"prompt": says, "schedule_expression": "every 30m", "notification_config": config}
        task = make_task(caller, owner, task_type="heartbeat", **fields)
        run = caller.post(f"/api/v1/tasks/{task['id']}/execute", headers=as_(owner)).json()["run"]
        followed(caller, owner, run["id"])

    told = caller.get("/api/v1/notifications/", headers=as_(owner)).json()["items"]
    assert [one["kind"] for one in told] == ["error"]
