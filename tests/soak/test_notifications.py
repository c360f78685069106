"""The demo is killed between a run's end and its receiver's return: that gets one notification, in another life."""

import time
from contextlib import closing

import httpx
import pytest

from tests.e2e.program import Program, a_demo, a_home, becomes_true, kill_everything
from tests.receivers import Receiver, verified

PATIENCE_S = 90
SETTLED_S = 3

pytestmark = pytest.mark.soak


def member(demo: Program) -> httpx.Client:
    client = httpx.Client(base_url=demo.url, timeout=PATIENCE_S)
    account = {"email": "ann@example.com", "password": "correct horse battery"}
    client.post("/api/v1/auth/users/register", json=account)
    answer = client.post("/api/v1/auth/sessions", json=account)
    assert answer.status_code in {200, 201}, answer.text
    client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
    client.cookies.clear()
    return client


@pytest.mark.timeout(400)
def test_a_run_that_ended_before_everything_was_killed_is_told_once_afterwards() -> None:
    receiver, settings = Receiver(), {"NOTIFICATION_NETWORKS": "127.0.0.0/8"}
    with receiver.listening():
        pass  # from now on nobody is at its port
    config = {"webhook_url": f"{receiver.url}/hook", "on": ["success"]}
    with a_home() as home:
        folder = home / "data"
        with a_demo(folder, **settings) as demo, closing(member(demo)) as owner:
            tested = owner.post("/api/v1/notifications/test", json={"notification_config": config}).json()
            wish = {"task_type": "delegation", "agent": "echo", "prompt": "hello", "notification_config": config}
            task = owner.post("/api/v1/tasks/", json=wish).json()
            run = f"/api/v1/runs/{task['run_id']}"
            demo.awaits(lambda: owner.get(run).json()["status"] == "completed")
            kill_everything(demo, folder)

        with receiver.listening(), a_demo(folder, **settings) as demo, closing(member(demo)) as owner:
            assert becomes_true(lambda: len(receiver.accepted) >= 2, within_s=PATIENCE_S)
            time.sleep(SETTLED_S)
            told = owner.get("/api/v1/notifications/", params={"run_id": task["run_id"]}).json()["items"]

    by_type = {got.json["type"]: got for got in receiver.accepted}
    assert len(receiver.accepted) == 2
    assert by_type.keys() == {"notification.test", "notification.success"}
    got = by_type["notification.success"]
    assert (got.json["data"]["run_id"], got.json["data"]["text"]) == (task["run_id"], told[0]["text"])
    assert verified(got, tested["webhook_secret"], now_s=time.time())
    assert [one["deliveries"][0]["status"] for one in told] == ["delivered"]
