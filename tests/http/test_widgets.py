"""Chats that pages embed: anonymous visitors, one agent that changes nothing, and a budget of its own."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

import httpx
import pytest
from dishka import Provider, Scope

from app.agents.contract import Agent, Responder, Turn
from app.agents.factory import AgentFactory
from app.main import check_settings
from app.settings import ConfigurationInvalid
from tests.builders import bearer, some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of
from tests.http.moody import Moody

CHAT = "/api/v1/public/chat/site"
ROW: dict[str, object] = {"name": "site", "agent": "echo"}
SHUT: dict[str, object] = {"name": "limited", "agent": "echo"}
POOR: dict[str, object] = {"name": "poor", "agent": "guide", "budget": "requests=1"}
RICH: dict[str, object] = {"name": "rich", "agent": "guide"}
GUIDE = """from app.agents.contract import Agent

agent = Agent(name="guide", description="Shows visitors around", instructions="Be brief.")
"""


class Witness(Moody):
    """Notes in whose name it is asked."""

    def __init__(self) -> None:
        super().__init__(name="echo")
        self.turns: list[Turn] = []

    async def generate(self, turn: Turn) -> str:
        self.turns.append(turn)
        return await super().generate(turn)


@pytest.fixture(scope="module")
def witness() -> Witness:
    return Witness()


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, witness: Witness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    provider = Provider(scope=Scope.APP)
    guide = Agent(name="guide", description="Shows visitors around", instructions="Be brief.")
    agents: Mapping[str, Agent | Responder] = MappingProxyType({"echo": witness, "guide": guide})
    provider.provide(lambda: AgentFactory(agents), provides=AgentFactory)
    row = {
        "path": "/api/v1/public/chat/site",
        "methods": ["POST"],
        "local": True,
        "access": "PUBLIC",
        "rate_limit": "6000/minute",
    }
    folder: Path = tmp_path_factory.mktemp("gateway")
    (folder / "guide.py").write_text(GUIDE, "utf-8")
    widgets = (ROW, SHUT, POOR, RICH)
    settings = some_settings(folder / "data", dsn=migrated_dsn, routes=(row,), widgets=widgets, agents_dir=folder)
    with running_gateway(settings, provider) as url:
        yield url


def say(caller: httpx.Client, message: object, session_id: str | None = None, **headers: str) -> httpx.Response:
    body: Json = {"message": message} if session_id is None else {"message": message, "session_id": session_id}
    return caller.post(CHAT, json=body, headers=headers)


def test_a_visitor_is_answered_as_nobody_and_the_conversation_goes_on(caller: httpx.Client, witness: Witness) -> None:
    first = say(caller, "hello")
    second = say(caller, "again", first.json()["session_id"])

    assert (first.status_code, first.json()["answer"]) == (200, "hello, after: nothing")
    assert second.json() == {"session_id": first.json()["session_id"], "answer": "again, after: hello"}
    turn = witness.turns[-1]
    assert (turn.caller.user_id, turn.caller.role, turn.caller.groups) == ("portico:widget:site", "guest", frozenset())
    assert (turn.may_write, turn.is_attended) == (False, False)


def test_a_visitor_reads_the_answer_as_it_is_said(caller: httpx.Client) -> None:
    answer = say(caller, "hello", accept="text/event-stream")

    events = [part.split("\n") for part in answer.text.split("\n\n") if part.startswith("event:")]
    told = [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in events]
    assert [word for word, _ in told] == ["session", "text", "done"]
    assert told[-1][1] == {"session_id": told[0][1]["session_id"], "answer": "hello, after: nothing"}


@pytest.mark.parametrize(
    ("body", "flawed"),
    [
        ({"message": ""}, "message"),
        ({"message": "   "}, "message"),
        ({"message": "x" * 2001}, "message"),
        ({"message": 5}, "message"),
        ({}, "message"),
        ({"message": "x", "session_id": "short"}, "session_id"),
        ({"message": "x", "agent": "other"}, "agent"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_visitor_says_is_refused(caller: httpx.Client, body: Json, flawed: str) -> None:
    answer = caller.post(CHAT, json=body)

    assert (answer.status_code, fields_of(answer)) == (400, [flawed])


def test_the_longest_message_is_taken(caller: httpx.Client) -> None:
    assert say(caller, "x" * 2000).status_code == 200


def test_a_conversation_that_is_not_there_or_anothers_is_not_found(caller: httpx.Client) -> None:
    session_id = say(caller, "hello").json()["session_id"]

    unknown = say(caller, "hello", "x" * 32)
    elsewhere = caller.post("/api/v1/public/chat/limited", json={"message": "hello", "session_id": session_id})
    no_widget = caller.post("/api/v1/public/chat/nowhere", json={"message": "hello"})

    assert [one.json()["type"] for one in (unknown, elsewhere, no_widget)] == [
        "widget-session-not-found",
        "widget-session-not-found",
        "widget-not-found",
    ]


def test_a_failure_tells_a_visitor_nothing_of_us(caller: httpx.Client) -> None:
    whole = say(caller, "break")
    streamed = say(caller, "refuse", accept="text/event-stream")
    after = say(caller, "hello")

    assert (whole.status_code, whole.json()["type"]) == (502, "chat-failed")
    assert "event: error" in streamed.text
    assert "refused" not in streamed.text
    assert "hunter2" not in whole.text + streamed.text
    assert after.status_code == 200


def test_what_a_widget_may_spend_is_its_own(caller: httpx.Client) -> None:
    answers = [caller.post("/api/v1/public/chat/poor", json={"message": "hello"}) for _ in range(2)]
    streamed = caller.post(
        "/api/v1/public/chat/poor", json={"message": "hello"}, headers={"accept": "text/event-stream"}
    )
    another = caller.post("/api/v1/public/chat/rich", json={"message": "hello"})

    assert [one.status_code for one in answers] == [200, 429]
    assert answers[1].json()["type"] == "chat-exhausted"
    assert "chat-exhausted" in streamed.text
    assert another.status_code == 200


def test_the_shipped_row_is_for_everybody_and_counts_what_an_address_says() -> None:
    shipped = tomllib.loads((Path(__file__).parents[2] / "gateway.toml").read_text("utf-8"))

    (row,) = [one for one in shipped["routes"] if one.get("prefix") == "/api/v1/public/chat"]
    assert (row["access"], row["methods"], row["local"], row["rate_limit"]) == ("PUBLIC", ["POST"], True, "20/minute")
    assert "widgets" not in shipped


def test_an_address_says_twenty_things_a_minute(caller: httpx.Client) -> None:
    answers = [caller.post("/api/v1/public/chat/nowhere", json={"message": "hello"}) for _ in range(21)]

    assert answers[-1].status_code == 429
    assert "retry-after" in answers[-1].headers


def test_nobody_logs_in_as_a_widget(caller: httpx.Client) -> None:
    answer = caller.get("/api/v1/agents/", headers=bearer(sub="portico:widget:site"))

    assert (answer.status_code, answer.json()["type"]) == (401, "token-invalid")


def test_runs_of_visitors_are_nobody_elses(caller: httpx.Client) -> None:
    answer = caller.get(f"/api/v1/runs/{uuid4()}", headers=as_("1"))

    assert answer.status_code == 404


def test_a_widget_is_off_unless_it_is_set_up(tmp_path: Path) -> None:
    settings = some_settings(tmp_path, dsn="postgresql+asyncpg://nobody@127.0.0.1:9/nothing")

    assert settings.gateway.widgets == ()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "site", "agent": "agenda"}, "create_calendar"),
        ({"name": "site", "agent": "nobody"}, "there is no agent nobody"),
    ],
    ids=["an agent that writes", "no agent"],
)
def test_a_widget_that_could_do_harm_keeps_the_program_from_starting(tmp_path: Path, row: Json, words: str) -> None:
    settings = some_settings(tmp_path, dsn="postgresql+asyncpg://nobody@127.0.0.1:9/nothing", widgets=(row,))

    with pytest.raises(ConfigurationInvalid, match=words):
        check_settings(settings)


@pytest.mark.parametrize(
    "row",
    [
        {"path": "/api/v1/public/chat/any", "local": True, "access": "PUBLIC", "methods": ["POST"]},
        {"path": "/api/v1/public/chat/any", "local": True, "access": "COMMON", "rate_limit": "20/minute"},
    ],
    ids=["nothing is counted", "not for visitors"],
)
def test_a_widget_without_a_row_that_counts_keeps_the_program_from_starting(tmp_path: Path, row: Json) -> None:
    dsn = "postgresql+asyncpg://nobody@127.0.0.1:9/nothing"
    settings = some_settings(tmp_path, dsn=dsn, routes=(row,), widgets=(ROW,))

    with pytest.raises(ConfigurationInvalid, match="no PUBLIC row with a rate_limit"):
        check_settings(settings)
    check_settings(some_settings(tmp_path, dsn=dsn, routes=(row,)))
