"""The database goes away under a running gateway, and comes back: what callers are told meanwhile."""

import time
from pathlib import Path

import httpx

from tests.builders import bearer, some_settings
from tests.gateway import running_gateway
from tests.http.cable import Cable
from tests.http.calls import as_, open_chat, say, somebody

PATIENCE_S = 25  # health is asked about every ten seconds


def wait_until_ready_is(client: httpx.Client, status: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while client.get("/api/health/ready").status_code != status:
        assert time.monotonic() < end, f"/api/health/ready never answered {status}"
        time.sleep(0.05)


def test_without_a_database_callers_are_told_to_come_back_and_can(cable: Cable, tmp_path: Path) -> None:
    owner = somebody()
    with (
        running_gateway(some_settings(tmp_path, dsn=cable.dsn)) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        chat_id = open_chat(client, owner, agent="echo")["id"]
        cable.cut()

        refused = [
            client.get(f"/api/v1/chats/{chat_id}", headers=as_(owner)),
            client.post("/api/v1/chats/", json={}, headers=as_(owner)),
            say(client, owner, chat_id, "hello"),
        ]
        wait_until_ready_is(client, 503)
        health = client.get("/api/health/service_health", headers=bearer(role="admin"))
        alive = client.get("/api/health/ping")
        agents = client.get("/api/v1/agents/", headers=as_(owner))
        cable.mend()
        wait_until_ready_is(client, 200)
        again = say(client, owner, chat_id, "hello")

    assert [(answer.status_code, answer.json()["type"]) for answer in refused] == [(503, "storage-unavailable")] * 3
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert not [answer for answer in refused if "PGSQL" in answer.text or "asyncpg" in answer.text]
    assert (health.status_code, health.json()["status"]) == (503, "error")
    assert [one["status"] for one in health.json()["deps"] if one["name"] == "database"] == ["error"]
    assert (alive.status_code, agents.status_code) == (204, 200)
    assert again.status_code == 201
