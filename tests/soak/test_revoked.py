"""A user is revoked while his agents run: seen at the model server, what they asked for is broken off."""

import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.program import becomes_true
from tests.e2e.test_runs_survive import serving
from tests.http.calls import as_, open_chat, withdraw
from tests.http.streams import begin
from tests.model_server import Call, ModelServer, Pause, Reply, Request, running_model_server

USERS = 8
WITHIN_S = 5.0  # a wide margin: a second is promised, and the machine is shared
PATIENCE_S = 60

pytestmark = pytest.mark.soak


def endlessly(request: Request) -> Reply:
    """Speak for a minute; half of those who ask have called a tool before."""
    asked_before = any(message["role"] == "tool" for message in request.body["messages"])
    if "first" in request.last_user_text and not asked_before:
        return [Call("search_tools", {"query": "calendars"})]
    return [part for number in range(600) for part in (f"word{number} ", Pause(0.1))]


def test_running_agents_of_a_revoked_user_are_stopped(home: Path, migrated_dsn: str) -> None:
    with running_model_server() as server:
        server.answer_with = endlessly
        with serving(home, migrated_dsn, server) as gateway, httpx.Client(base_url=gateway.url, timeout=30) as client:
            waits = sorted(stopped_after(client, server, number) for number in range(USERS))
    shown = ", ".join(f"{wait:.2f}" for wait in waits)
    print(f"the model's request was broken off {shown} s after its user was revoked")  # noqa: T201 - a figure
    assert max(waits) < WITHIN_S


def stopped_after(client: httpx.Client, server: ModelServer, number: int) -> float:
    """Revoke somebody in the midst of an answer; tell after how many seconds the model's server saw its end."""
    sub, words = f"revoked-{number}", "Look first." if number % 2 else "Speak."
    run = begin(client, sub, open_chat(client, sub, agent="assistant")["id"], words)
    assert becomes_true(lambda: bool(server.requests) and speaks(server.requests[-1]), within_s=PATIENCE_S)
    request = server.requests[-1]

    withdrawn_s = time.monotonic()
    withdraw(client, sub=sub)
    assert becomes_true(lambda: request.ended_s is not None, within_s=PATIENCE_S)
    assert request.ended_s is not None
    assert request.is_aborted
    assert becomes_true(lambda: status_of(client, run["id"]) == "interrupted", within_s=PATIENCE_S)
    return request.ended_s - withdrawn_s


def speaks(request: Request) -> bool:
    return request.ended_s is None and "word3 " in "".join(request.sent)


def status_of(client: httpx.Client, run_id: str) -> str:
    answer = client.get(f"/api/v1/runs/{run_id}", headers=as_("root", "admin"))
    return str(answer.json()["status"])
