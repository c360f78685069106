"""What balancers and operators ask: alive, ready, and how everything is."""

import httpx

from tests.builders import bearer


def test_ping_needs_no_token(client: httpx.Client) -> None:
    answer = client.get("/api/health/ping")

    assert answer.status_code == 204
    assert answer.content == b""
    assert len(answer.headers["x-request-id"]) == 32


def test_ready_answers_while_everything_required_is_up(client: httpx.Client) -> None:
    answer = client.get("/api/health/ready")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_staff_sees_details_of_every_dependency(client: httpx.Client) -> None:
    answer = client.get("/api/health/service_health", headers=bearer(role="manager"))

    found = {(one["type"], one["name"]): one for one in answer.json()["deps"]}
    assert answer.status_code == 200
    assert found["postgres", "database"]["details"].startswith("PostgreSQL")
    assert found["agent", "assistant"]["status"] == "ok"
    assert "peak memory" in found["system", "resources"]["details"]


def test_nobody_else_sees_details(client: httpx.Client) -> None:
    answers = [
        client.get("/api/health/service_health"),
        client.get("/api/health/service_health", headers=bearer(role="user")),
        client.get("/api/health/service_health", headers={"authorization": "Bearer nonsense"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {one["details"] for answer in answers for one in answer.json()["deps"]} == {None}


def test_another_method_is_not_allowed(client: httpx.Client) -> None:
    answer = client.post("/api/health/ping")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["type"] == "method-not-allowed"
