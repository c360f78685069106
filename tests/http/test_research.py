"""Research over HTTP, done by the real worker in the gateway's own process. Who is refused is in `test_refusals.py`."""

from collections.abc import Iterator

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, fields_of, make_task, somebody
from tests.http.moody import Moody
from tests.http.streams import followed, read_run, text_of


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, agent: Moody, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, agent.provider()) as url:
        yield url


def report_of(client: httpx.Client, sub: str, task_id: object) -> httpx.Response:
    return client.get(f"/api/v1/tasks/{task_id}/report", headers=as_(sub))


def test_research_is_done_by_itself_and_its_report_is_read(client: httpx.Client) -> None:
    owner = somebody()

    task = make_task(client, owner, task_type="research", prompt="What of everything?")
    events = followed(client, owner, task["run_id"])
    report = report_of(client, owner, task["id"])

    assert events[-1]["type"] == "run_completed"
    steps = [event["data"]["step"] for event in events if event["type"] == "run_progress"]
    assert steps == ["planned", "answered", "writing"]
    assert (report.status_code, report.headers["content-type"]) == (200, "text/markdown; charset=utf-8")
    assert report.text == text_of(events)
    assert report.text.startswith("# What of everything?\n\n## Summary\n\n")
    run = read_run(client, owner, task["run_id"])
    assert (run["trigger"], run["result"]["text"]) == ("research", report.text)
    runs = client.get(f"/api/v1/tasks/{task['id']}/runs", headers=as_(owner)).json()["items"]
    assert [one["id"] for one in runs] == [task["run_id"]]  # the parts are no runs of the task


def test_before_it_is_done_there_is_no_report(client: httpx.Client) -> None:
    owner = somebody()
    other = make_task(client, owner, task_type="triggered", prompt="hello")
    waiting = make_task(client, owner, task_type="research", prompt="All?", depends_on=[other["id"]])

    answers = [report_of(client, owner, task["id"]) for task in (waiting, other)]

    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(404, "report-not-found")] * 2


def test_options_that_cannot_be_are_refused(client: httpx.Client) -> None:
    body = {"task_type": "research", "prompt": "All?", "settings": {"questions": 99}}

    refused = client.post("/api/v1/tasks/", json=body, headers=as_(somebody()))

    assert (refused.status_code, fields_of(refused)) == (400, ["settings.questions"])
