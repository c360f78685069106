"""The demo's agent is asked to delete a calendar: it parks, everything is killed, its owner decides in another life.

The model is a server of ours that speaks the providers' language; the fleet, the gateway, its worker and the database
are the demo's own.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from app.surfaces.cli.fleet import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.e2e.program import Program, a_demo, a_home, kill_everything
from tests.model_server import Call, ModelServer, Part, Request, running_model_server

CALENDARS = "/api/v1/agenda/calendars/"
PATIENCE_S = 60
WITHIN_A_SECOND_S = 1.0

type Json = dict[str, Any]  # Any: the endpoints' JSON


def deleting(request: Request) -> list[Part]:
    """Delete the calendar whose number the user names, then tell what came of it."""
    results = [str(message["content"]) for message in request.body["messages"] if message["role"] == "tool"]
    if results:
        return [results[-1]]
    number = next(int(word) for word in request.last_user_text.split() if word.isdigit())
    return [Call("delete_calendar", {"calendar_id": number})]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with running_model_server() as server:
        server.answer_with = deleting
        yield server


def a_model(server: ModelServer) -> dict[str, str]:
    return {
        "DEFAULT_MODEL": "openai-chat:gpt-4o",
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "none",
        "LOG_LEVEL": "20",
        "LOG_JSON": "true",
    }


type Member = Callable[[Program, str], httpx.Client]


@pytest.fixture
def member() -> Iterator[Member]:
    with ExitStack() as clients:

        def member(demo: Program, email: str) -> httpx.Client:
            client = _member(demo, email)
            clients.callback(client.close)
            return client

        yield member


def _member(demo: Program, email: str) -> httpx.Client:
    """Somebody who is logged in, registered the first time."""
    client = httpx.Client(base_url=demo.url, timeout=PATIENCE_S)
    account = {"email": email, "password": ADMIN_PASSWORD if email == ADMIN_EMAIL else "correct horse battery"}
    client.post("/api/v1/auth/users/register", json=account)
    answer = client.post("/api/v1/auth/sessions", json=account)
    assert answer.status_code in {200, 201}, answer.text
    client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
    client.cookies.clear()
    return client


def calendars(client: httpx.Client) -> list[str]:
    return [calendar["name"] for calendar in client.get(CALENDARS).json()["items"]]


def parked(demo: Program, owner: httpx.Client) -> tuple[str, Json]:
    """Have the agent asked to delete a calendar of the owner's; give the run, and what it asks."""
    calendar = owner.post(CALENDARS, json={"name": "Plans"}).json()
    owner.post(CALENDARS, json={"name": "Kept"})
    chat = owner.post("/api/v1/chats/", json={"agent": "agenda"}).json()
    wish = {"content": f"Delete calendar {calendar['id']} please", "run_mode": "background"}

    def begun() -> bool:
        answer = owner.post(f"/api/v1/messages/{chat['id']}/exchange", json=wish)
        found.append(answer.json()["run"]["id"]) if answer.status_code == 202 else None
        return bool(found)

    found: list[str] = []
    demo.awaits(begun)
    run_id = found[0]
    demo.awaits(lambda: owner.get(f"/api/v1/runs/{run_id}").json()["status"] == "waiting")
    (asked,) = owner.get("/api/v1/approvals/", params={"run_id": run_id}).json()["items"]
    return run_id, asked


@pytest.mark.soak
def test_a_calendar_is_deleted_once_when_its_owner_approves_it_after_everything_was_killed(
    server: ModelServer, member: Member
) -> None:
    with a_home() as home:
        folder = home / "data"
        with a_demo(folder, **a_model(server)) as demo:
            owner = member(demo, "ann@example.com")
            run_id, asked = parked(demo, owner)
            before = calendars(owner)
            kill_everything(demo, folder)

        with a_demo(folder, **a_model(server)) as demo:
            owner, stranger = member(demo, "ann@example.com"), member(demo, "ben@example.com")
            path = f"/api/v1/approvals/{asked['id']}"
            seen = stranger.get("/api/v1/approvals/").json()["items"]
            refused = stranger.post(path, json={"decision": "approve"})
            still = calendars(owner)

            approved = owner.post(path, json={"decision": "approve"})
            demo.awaits(lambda: owner.get(f"/api/v1/runs/{run_id}").json()["status"] == "completed")
            again = owner.post(path, json={"decision": "approve"})
            after = calendars(owner)
            events = owner.get(f"/api/v1/runs/{run_id}/events", headers={"accept": "application/json"}).json()["items"]
            deletions = [one["path"] for one in demo.logged("request.answered", method="DELETE")]

    assert sorted(before) == sorted(still) == ["Kept", "Plans"]
    assert (seen, refused.status_code) == ([], 404)
    assert (approved.status_code, again.status_code) == (200, 409)
    assert after == ["Kept"]
    types = [event["type"] for event in events]
    assert [types.count(type_) for type_ in ("tool_approval_request", "tool_call_start", "tool_call_complete")] == [
        1
    ] * 3
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len(deletions) == 1


@pytest.mark.soak
def test_a_revoked_users_runs_that_wait_and_run_are_stopped_within_a_second(
    server: ModelServer, member: Member
) -> None:
    with a_home() as home, a_demo(home / "data", **a_model(server)) as demo:
        owner = member(demo, "cleo@example.com")
        run_id, asked = parked(demo, owner)
        me = owner.get("/api/v1/auth/users/me").json()
        admin = member(demo, ADMIN_EMAIL)

        withdrawn_s = time.monotonic()
        answer = admin.post("/api/v1/revocations", json={"sub": str(me["id"])})
        assert answer.status_code == 201, answer.text
        demo.awaits(lambda: admin.get(f"/api/v1/runs/{run_id}").json()["status"] == "interrupted")
        seconds = time.monotonic() - withdrawn_s
        print(f"a waiting run was stopped {seconds:.2f} s after its owner was revoked")  # noqa: T201 - a figure

        assert admin.get(f"/api/v1/approvals/{asked['id']}").json()["status"] == "expired"
        late = admin.post(f"/api/v1/approvals/{asked['id']}", json={"decision": "approve"})
        assert late.status_code == 409
        assert seconds < 5 * WITHIN_A_SECOND_S  # a wide margin: the machine is shared
        assert owner.get("/api/v1/approvals/").status_code == 401
