"""Calls that the client makes, over HTTP: put to who follows, posted once by the owner, and the run goes on."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dishka import Provider, Scope
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from app.agents.tools.client import ClientTool
from app.features.runs.domain.tool_result import TOOL_ERROR_LIMIT_CHARS, TOOL_RESULT_LIMIT_BYTES
from app.kernel.authority import Authority
from app.kernel.ids import UserId
from tests.builders import some_settings
from tests.conftest import SCHEMA
from tests.e2e.program import becomes_true
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, history, open_chat, say, somebody
from tests.http.running import Workplace
from tests.http.streams import begin, followed, listed, read_run
from tests.model_server import Call, ModelServer, Part, Request, running_model_server
from tests.unit.agents.desk import no_local_model

PATIENCE_S = 20


def looking(request: Request) -> Sequence[Part]:
    """Call the tools the user names, then tell what came of it."""
    messages = request.body["messages"]
    last = max(at for at, message in enumerate(messages) if message["role"] == "user")
    results = [str(message["content"]) for message in messages[last:] if message["role"] == "tool"]
    if results:
        return ["; ".join(results)]
    return [Call(word, {"about": "now"}) for word in request.last_user_text.split() if word in {"look", "blink"}]


def an_agent() -> Agent:
    schema = {"properties": {"about": {"type": "string"}}, "required": ["about"]}
    look = ClientTool(name="look", description="Tell what the user sees.", parameters=schema)
    blink = ClientTool(name="blink", description="The same, quickly.", parameters=schema, timeout_s=0.3)
    return Agent(name="looker", description="Looks", instructions="Look.", tools=[look, blink])


@contextmanager
def a_gateway(server: ModelServer, folder: Path, dsn: str, *, schema: str = SCHEMA) -> Iterator[str]:
    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: AgentFactory(MappingProxyType({"looker": an_agent()})), provides=AgentFactory)
    provider.provide(lambda: Models("m", no_local_model(), make=make), provides=Models)
    with running_gateway(some_settings(folder, dsn=dsn, postgres_schema=schema), provider) as url:
        yield url


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        server.answer_with = looking
        yield server


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_gateway(server, tmp_path_factory.mktemp("gateway"), migrated_dsn) as url:
        yield url


@dataclass(frozen=True, slots=True)
class Put:
    """A run that waits for its client, whose it is, and the call as it was told."""

    owner: str
    chat_id: int
    run_id: str
    call: Json

    @property
    def path(self) -> str:
        return f"/api/v1/runs/{self.run_id}/tool-results/{self.call['tool_call_id']}"


def put(client: httpx.Client, words: str = "look") -> Put:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    run_id = begin(client, owner, chat_id, words)["id"]
    assert becomes_true(lambda: read_run(client, owner, run_id)["status"] == "waiting", within_s=PATIENCE_S)
    return Put(owner, chat_id, run_id, told(client, owner, run_id)[-1])


def told(client: httpx.Client, owner: str, run_id: str) -> list[Json]:
    events = listed(client, owner, run_id)["items"]
    return [event["data"] for event in events if event["type"] == "tool_call_start"]


def post(
    client: httpx.Client, one: Put, sub: str = "", role: str = "user", key: str = "", **body: Any
) -> httpx.Response:
    headers = as_(sub or one.owner, role) | ({"idempotency-key": key} if key else {})
    return client.post(one.path, json={"nonce": one.call["nonce"], **body}, headers=headers)


def test_what_the_client_posts_is_the_tools_result(client: httpx.Client) -> None:
    one = put(client)

    answer = post(client, one, result={"seen": ["a cat"]})
    events = followed(client, one.owner, one.run_id)

    assert (one.call["client"], one.call["tool"], one.call["arguments"]) == (True, "look", {"about": "now"})
    assert (answer.status_code, answer.json()["run"]["id"]) == (202, one.run_id)
    assert answer.headers["location"] == f"/api/v1/runs/{one.run_id}"
    assert history(client, one.owner, one.chat_id)[-1]["content"] == '{"seen":["a cat"]}'
    types = [event["type"] for event in events if event["type"].startswith(("run_", "tool_"))]
    assert [type_ for type_ in types if type_ != "run_progress"] == [
        "run_queued", "run_started", "tool_call_start", "run_waiting", "run_started", "tool_call_complete",
        "run_completed",
    ]  # fmt: skip
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_an_error_is_told_to_the_model_which_goes_on(client: httpx.Client) -> None:
    one = put(client)

    post(client, one, error="The user looked away.")
    followed(client, one.owner, one.run_id)

    assert "The user looked away." in history(client, one.owner, one.chat_id)[-1]["content"]
    assert read_run(client, one.owner, one.run_id)["status"] == "completed"


def test_a_result_is_taken_once(client: httpx.Client) -> None:
    one = put(client)

    first, second = post(client, one, result="a"), post(client, one, result="b")
    followed(client, one.owner, one.run_id)
    third = post(client, one, result="c")

    assert (first.status_code, second.status_code, third.status_code) == (202, 409, 409)
    assert {second.json()["type"], third.json()["type"]} == {"tool-result-taken"}
    assert history(client, one.owner, one.chat_id)[-1]["content"] == "a"


def test_a_keyed_result_may_be_sent_again(client: httpx.Client) -> None:
    one, key = put(client), uuid4().hex

    first, again = post(client, one, key=key, result="a"), post(client, one, key=key, result="a")
    other = post(client, one, key=key, result="b")

    assert (first.status_code, again.status_code) == (202, 202)
    assert (other.status_code, other.json()["type"]) == (409, "idempotency-mismatch")


def test_nobody_but_the_owner_posts_it(client: httpx.Client, migrated_dsn: str) -> None:
    one = put(client)
    place, asker = Workplace(migrated_dsn), Authority(UserId(one.owner), ("user",), issued_at=0.0)
    token = place.token(place.run_for(asker), asker)

    answers = [post(client, one, somebody(), result=1), post(client, one, "root", "admin", result=1)]
    by_a_run = client.post(
        one.path, json={"nonce": one.call["nonce"], "result": 1}, headers={"authorization": f"Bearer {token}"}
    )

    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(404, "run-not-found")] * 2
    assert (by_a_run.status_code, by_a_run.json()["type"]) == (403, "tool-result-by-agent")
    assert read_run(client, one.owner, one.run_id)["status"] == "waiting"


def test_a_call_that_was_not_put_to_the_client_is_not_found(client: httpx.Client) -> None:
    one = put(client)

    answer = client.post(
        f"/api/v1/runs/{one.run_id}/tool-results/other",
        json={"nonce": one.call["nonce"], "result": 1},
        headers=as_(one.owner),
    )

    assert (answer.status_code, answer.json()["type"]) == (404, "tool-call-not-found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"result": 1, "error": "no"}, "", id="both"),
        pytest.param({}, "", id="neither"),
        pytest.param({"nonce": "other", "result": 1}, "nonce", id="another nonce"),
        pytest.param({"nonce": 5, "result": 1}, "nonce", id="no nonce"),
        pytest.param({"result": "x" * TOOL_RESULT_LIMIT_BYTES}, "result", id="too long"),
        pytest.param({"result": "\0"}, "result", id="not to be kept"),
        pytest.param({"error": "x" * (TOOL_ERROR_LIMIT_CHARS + 1)}, "error", id="too many words"),
        pytest.param({"result": 1, "colour": "red"}, "colour", id="unknown"),
    ],
)
def test_a_result_that_says_nothing_clear_is_refused(client: httpx.Client, body: Json, field: str) -> None:
    one = put(client)

    answer = post(client, one, **body)

    assert (answer.status_code, fields_of(answer)) == (400, [field])
    assert read_run(client, one.owner, one.run_id)["status"] == "waiting"


def test_when_time_is_up_the_model_is_told_and_a_late_result_is_refused(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    began_s = time.monotonic()
    run_id = begin(client, owner, chat_id, "blink")["id"]
    events = followed(client, owner, run_id)
    one = Put(owner, chat_id, run_id, told(client, owner, run_id)[-1])

    late = post(client, one, result=1)

    assert (late.status_code, late.json()["type"]) == (409, "tool-call-expired")
    assert "No client did this in time" in history(client, owner, chat_id)[-1]["content"]
    assert events[-1]["type"] == "run_completed"
    assert time.monotonic() - began_s < PATIENCE_S


def test_a_run_that_is_cancelled_takes_no_result(client: httpx.Client) -> None:
    one = put(client)
    client.post(f"/api/v1/runs/{one.run_id}/cancel", headers=as_(one.owner))

    answer = post(client, one, result=1)

    assert (answer.status_code, answer.json()["type"]) == (409, "tool-result-taken")


def test_a_sync_exchange_whose_run_waits_for_its_client_answers_with_the_run(client: httpx.Client) -> None:
    owner = somebody()

    answer = say(client, owner, open_chat(client, owner)["id"], "look")

    assert (answer.status_code, answer.json()["run"]["status"]) == (202, "waiting")


def test_a_call_waits_through_a_restart_of_the_gateway(server: ModelServer, migrated_dsn: str, tmp_path: Path) -> None:
    with ExitStack() as first:
        url = first.enter_context(a_gateway(server, tmp_path, migrated_dsn, schema="tool_results"))
        client = first.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_S))
        one = put(client)

    with (
        a_gateway(server, tmp_path, migrated_dsn, schema="tool_results") as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        before = read_run(client, one.owner, one.run_id)["status"]
        answer = post(client, one, result="a cat")
        followed(client, one.owner, one.run_id)
        said = history(client, one.owner, one.chat_id)[-1]["content"]

        assert (before, answer.status_code, said) == ("waiting", 202, "a cat")
        assert len(told(client, one.owner, one.run_id)) == 1
