"""Research over ten sub-questions in the real program, whose worker is killed twice in the midst of it."""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.builders import bearer
from tests.e2e.program import becomes_true
from tests.e2e.test_runs_survive import processes, serving
from tests.http.calls import Json, as_, make_task
from tests.http.streams import LAST, listed, read_run
from tests.model_server import ModelServer, Pause, Reply, Request, running_model_server
from tests.model_server.parts import said

QUESTIONS = [f"What of part {number}?" for number in range(1, 11)]
PATIENCE_S = 240


def part_of(request: Request) -> str:
    prompt = "\n".join(text for message in request.body["messages"] for text in said(message))
    if found := re.search(r"Your part is:\n\n(.*?)\n\n", prompt):
        return found[1]
    return "plan" if "You plan a piece of research" in prompt else "summary"


def answering(request: Request) -> Reply:
    """Give the plan at once, and any other answer in about a second and a half."""
    part = part_of(request)
    if part == "plan":
        return [json.dumps(QUESTIONS)]
    return [f"{part} is known", Pause(1.5), ", see [the book](https://book.test/a)."]


def answered(client: httpx.Client, run_id: str) -> dict[str, str]:
    """Which sub-questions are told to be finished, and by which run."""
    items: list[Json] = listed(client, "ann", run_id)["items"]
    told = [event["data"] for event in items if event["type"] == "run_progress"]
    return {data["text"]: data["run"] for data in told if data.get("step") == "answered"}


@pytest.mark.soak
def test_a_worker_that_is_killed_twice_repeats_nothing_that_was_finished(home: Path, migrated_dsn: str) -> None:
    with running_model_server() as server:
        server.answer_with = answering
        with (
            serving(home, migrated_dsn, server) as gateway,
            httpx.Client(base_url=gateway.url, timeout=30) as client,
        ):
            task = make_task(
                client, "ann", task_type="research", prompt="What of all?", agent="assistant", settings={"at_once": 2}
            )
            run_id, finished = task["run_id"], {}
            for enough in (2, 6):
                assert becomes_true(at_least(client, run_id, enough), within_s=PATIENCE_S)
                finished = answered(client, run_id)
                before = requests_of(server)
                os.kill(processes(gateway, "worker")[0], signal.SIGKILL)
                assert becomes_true(at_least(client, run_id, len(finished) + 1), within_s=PATIENCE_S)
                after = requests_of(server)
                assert {part: after[part] for part in finished} == {part: before[part] for part in finished}
            assert becomes_true(lambda: read_run(client, "ann", run_id)["finished_at"] is not None, within_s=PATIENCE_S)
            run, events = read_run(client, "ann", run_id), listed(client, "ann", run_id)["items"]
            report = client.get(f"/api/v1/tasks/{task['id']}/report", headers=bearer(sub="ann")).text
            finished = answered(client, run_id)
            parts = [client.get(f"/api/v1/runs/{one}", headers=as_("ann")).json() for one in finished.values()]
            asked = requests_of(server)

    print(f"asked {asked.total()} times for 12 answers, with the worker killed twice")  # noqa: T201 - a figure
    assert run["status"] == "completed", run["error"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert sum(event["type"] in LAST for event in events) == 1
    steps = Counter(event["data"]["step"] for event in events if "step" in event["data"])
    assert steps == {"planned": 1, "answered": 10, "writing": 1}
    assert set(finished) == set(QUESTIONS)
    assert len(set(finished.values())) == 10
    assert {part["status"] for part in parts} == {"completed"}
    assert asked["plan"] == asked["summary"] == 1
    assert all(asked[question] >= 1 for question in QUESTIONS)
    assert asked.total() <= 12 + 2 * 2  # each kill may cut off the two that were under way, and these alone
    assert all(f"### {number}. {question}" in report for number, question in enumerate(QUESTIONS, 1))
    assert "## Not answered" not in report


def at_least(client: httpx.Client, run_id: str, count: int) -> Callable[[], bool]:
    return lambda: len(answered(client, run_id)) >= count


def requests_of(server: ModelServer) -> Counter[str]:
    return Counter(part_of(request) for request in server.requests)
