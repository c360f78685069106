"""Every way to set an agent to work, on the demo, with everything killed twice: one stored result and one word of it.

The model is a server of ours that takes its time, so that the first kill finds every run in the midst of its answer.
"""

import json
import time
from collections import Counter
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.features.tasks.domain.signatures import key_of
from app.infra.wire.standard_webhooks import signature_of
from tests.e2e.program import Program, a_demo, a_home, becomes_true, kill_everything
from tests.model_server import ModelServer, Pause, Reply, Request, running_model_server
from tests.receivers import Receiver, verified

PATIENCE_S = 240
SETTLED_S = 4
DUE_IN = timedelta(seconds=6)
ANSWER_S = 25
TRIGGERS = ("delegation", "schedule", "webhook", "research", "heartbeat", "manual", "exchange")
VERDICT = json.dumps({"severity": "warning", "summary": "The heartbeat found a gap.", "findings": ["a gap"]})

type Json = dict[str, Any]  # Any: the endpoints' JSON

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


def answering(request: Request) -> Reply:
    """Answer every question in the end, and none at once."""
    asked = request.last_user_text
    if "You plan a piece of research" in asked:
        return [json.dumps(["What of one?", "What of two?"])]
    last = VERDICT if "This is a heartbeat" in asked else "It is done."
    return [Pause(ANSWER_S), last]


def settings(server: ModelServer) -> dict[str, str]:
    return {
        "DEFAULT_MODEL": "openai-chat:gpt-4o",
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "none",
        "NOTIFICATION_NETWORKS": "127.0.0.0/8",
    }


class Owner:
    """Somebody of the demo, logged in anew in each of its lives."""

    def __init__(self, demo: Program, receiver: Receiver) -> None:
        self.demo = demo
        self.client = httpx.Client(base_url=demo.url, timeout=30)
        account = {"email": "ann@example.com", "password": "correct horse battery"}
        self.client.post("/api/v1/auth/users/register", json=account)
        answer = self.client.post("/api/v1/auth/sessions", json=account)
        assert answer.status_code in {200, 201}, answer.text
        self.client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        self.client.cookies.clear()
        self.close = self.client.close
        self.told = {"webhook_url": f"{receiver.url}/hook", "on": ["success", "warning", "error"]}

    def post(self, path: str, body: Json) -> Json:
        answer = self.client.post(path, json=body)
        assert answer.status_code in {201, 202}, answer.text
        made: Json = answer.json()
        return made

    def get(self, path: str, **params: str) -> Json:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def task(self, task_type: str, **fields: object) -> Json:
        wish = {"task_type": task_type, "agent": "assistant", "prompt": "Do it.", "notification_config": self.told}
        return self.post("/api/v1/tasks/", wish | fields)

    def set_to_work(self) -> dict[str, str]:
        """Begin one of each; give what makes or made its run, by trigger: a task's id, or the exchange's run."""
        due = f"at {datetime.now(UTC) + DUE_IN:%Y-%m-%dT%H:%M:%S}Z"
        hook = self.task("triggered")
        by_hand = self.task("scheduled", schedule_expression="@yearly")
        chat = self.post("/api/v1/chats/", {"agent": "assistant"})
        wish = {"content": "Do it.", "run_mode": "background"}
        made = {
            "delegation": self.task("delegation")["id"],
            "schedule": self.task("scheduled", schedule_expression=due)["id"],
            "heartbeat": self.task("heartbeat", schedule_expression=due)["id"],
            "research": self.task("research")["id"],
            "webhook": hook["id"],
            "manual": by_hand["id"],
            "exchange": self.post(f"/api/v1/messages/{chat['id']}/exchange", wish)["run"]["id"],
        }
        self.post(f"/api/v1/tasks/{by_hand['id']}/execute", {})
        deliver(self.client, hook)
        return made

    def runs(self, made: dict[str, str]) -> dict[str, list[Json]]:
        """The runs of each, without those that a run of research began."""
        found = {
            trigger: self.get(f"/api/v1/tasks/{id_}/runs")["items"]
            for trigger, id_ in made.items()
            if trigger != "exchange"
        }
        return found | {"exchange": [self.get(f"/api/v1/runs/{made['exchange']}")]}

    def statuses(self, made: dict[str, str]) -> Counter[str]:
        return Counter(run["status"] for runs in self.runs(made).values() for run in runs)

    def under_way(self, made: dict[str, str]) -> int:
        """Count what has begun and is not over; research waits while its parts are asked."""
        statuses = self.statuses(made)
        return statuses["running"] + statuses["waiting"]


def deliver(client: httpx.Client, task: Json) -> None:
    body, at = b'{"from": "outside"}', int(time.time())
    signed = {
        "content-type": "application/json",
        "webhook-id": "msg_of_the_test",
        "webhook-timestamp": str(at),
        "webhook-signature": signature_of(key_of(task["webhook_secret"]), "msg_of_the_test", at, body),
    }
    with httpx.Client(base_url=str(client.base_url), timeout=30) as stranger:
        answer = stranger.post(f"/api/v1/tasks/webhooks/{task['id']}", content=body, headers=signed)
    assert answer.status_code == 202, answer.text


def test_every_trigger_ends_in_one_result_and_one_notification_though_everything_is_killed_twice() -> None:
    receiver = Receiver()
    with ExitStack() as stack:
        server = stack.enter_context(running_model_server())
        server.answer_with = answering
        stack.enter_context(receiver.listening())
        folder = stack.enter_context(a_home()) / "data"

        with a_demo(folder, **settings(server)) as demo, closing(Owner(demo, receiver)) as owner:
            secret = owner.post("/api/v1/notifications/test", {"notification_config": owner.told})["webhook_secret"]
            made = owner.set_to_work()
            # the schedules fire by themselves, and every one of them asks the model before anything is killed
            demo.awaits(lambda: owner.under_way(made) == len(TRIGGERS), within_s=PATIENCE_S)
            kill_everything(demo, folder)

        with a_demo(folder, **settings(server)) as demo, closing(Owner(demo, receiver)) as owner:
            demo.awaits(lambda: owner.statuses(made)["completed"] > 0, within_s=PATIENCE_S)
            after_one = owner.statuses(made)
            kill_everything(demo, folder)

        with a_demo(folder, **settings(server)) as demo, closing(Owner(demo, receiver)) as owner:
            demo.awaits(lambda: owner.statuses(made)["completed"] == len(TRIGGERS), within_s=PATIENCE_S)
            runs = owner.runs(made)
            tasks = {run["id"] for trigger, (run,) in runs.items() if trigger != "exchange"}
            assert becomes_true(lambda: tasks <= told_to(receiver).keys(), within_s=PATIENCE_S)
            time.sleep(SETTLED_S)  # a second word of anything would come now
            feed = Counter(one["run_id"] for one in owner.get("/api/v1/notifications/", pageSize="100")["items"])
            events = {run["id"]: ended(owner, run["id"]) for (run,) in runs.values()}
            (chat_run,) = runs["exchange"]
            said = owner.get(f"/api/v1/chats/{chat_run['chat_id']}/messages")["items"]

    told = told_to(receiver)
    print(f"after the second kill's look: {dict(after_one)}; the receiver took {len(receiver.accepted)} messages")  # noqa: T201 - a figure
    assert {trigger: [run["trigger"] for run in found] for trigger, found in runs.items()} == {
        trigger: [trigger] for trigger in TRIGGERS
    }
    assert all(run["result"]["text"].strip() for trigger, (run,) in runs.items() if trigger != "exchange")
    assert [message["content"] for message in said] == ["Do it.", "It is done."]
    assert events == dict.fromkeys(events, 1)
    assert {run_id: feed[run_id] for run_id in tasks} == dict.fromkeys(tasks, 1)
    assert {run_id: len(told[run_id]) for run_id in tasks} == dict.fromkeys(tasks, 1)
    assert all(verified(got, secret, now_s=time.time()) for got in receiver.accepted[-1:])


def told_to(receiver: Receiver) -> dict[str, set[str]]:
    """The ids of the messages about each run: one that was cut off by a kill comes again under its own."""
    found: dict[str, set[str]] = {}
    for got in list(receiver.accepted):
        if run_id := got.json["data"].get("run_id"):
            found.setdefault(run_id, set()).add(got.id)
    return found


def ended(owner: Owner, run_id: str) -> int:
    """How often a run's stream says that it is over."""
    answer = owner.client.get(f"/api/v1/runs/{run_id}/events", headers={"accept": "application/json"})
    last = {"run_completed", "run_failed", "run_interrupted"}
    return sum(event["type"] in last for event in answer.json()["items"])
