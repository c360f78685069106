"""A REST call as a tool: what a model says stays where the author put it."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from app.agents.contract import Risk, Tool, ToolContext, ToolRefused, Turn
from app.agents.front_door import Identity, Outgoing
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.tools.arguments import checked, overridden
from app.agents.tools.front_door import FrontDoorAddress, HttpFrontDoor
from app.agents.tools.rest import RestTool
from app.infra.http_client.client import CallAnswer, CallFailed, HttpClient
from app.infra.http_client.egress import EgressRefused
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_caller, a_desk, a_turn, an_agent

HOST = "https://calculator.example"
PRECISION = 2


class Terms(BaseModel):
    a: Annotated[int, Field(ge=0)]
    b: int = 1
    note: str = ""
    precision: int = 0


class Filter(msgspec.Struct):
    tags: list[str] = []
    account: str = ""


@dataclass
class Form:
    name: str
    kind: Literal["x", "y"] = "x"


def whose(turn: Turn) -> str:
    return str(turn.caller.user_id)


def adding(**fields: Any) -> RestTool:  # Any: whatever a RestTool takes
    given: dict[str, Any] = {
        "name": "add",
        "description": "Add.",
        "method": "POST",
        "path": "/sheets/{sheet}/sums",
        "base_url": HOST,
        "query": Filter,
        "json": Terms,
        "overrides": {"precision": PRECISION, "account": whose},
        "headers": {"authorization": "the author's"},
    }
    return RestTool(**given | fields)


async def sent_by(tool: Tool, said: dict[str, object]) -> tuple[FakeFrontDoor, ScriptedModel]:
    door = FakeFrontDoor()
    model = ScriptedModel(Call(tool.name, said), "Done.", "Done.")
    async with a_desk(an_agent(tools=[tool]), model=model, front_door=door) as desk:
        await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=10)
    return door, model


async def test_arguments_go_where_the_author_put_them() -> None:
    door, model = await sent_by(adding(), {"sheet": "a b", "a": 2, "tags": ["x", "y"]})

    (sent,) = door.sent
    assert (sent.method, sent.url) == ("POST", f"{HOST}/sheets/a%20b/sums")
    assert sent.json == {"a": 2, "b": 1, "note": "", "precision": PRECISION}
    assert sent.query == {"tags": ["x", "y"], "account": "7"}
    assert (sent.headers, sent.identity) == ({"authorization": "the author's"}, "none")
    schema = model.seen[0].parameters["add"]
    assert set(schema["properties"]) == {"sheet", "tags", "a", "b", "note"}
    assert set(schema["required"]) == {"sheet", "a"}


async def test_a_form_is_sent_as_one_and_the_front_door_is_the_default() -> None:
    tool = RestTool(name="add", description="Add.", method="PUT", path="/api/v1/things", form=Form)

    door, _ = await sent_by(tool, {"name": "n"})

    (asked,) = door.asked
    assert (asked.method, asked.path, asked.form) == ("PUT", "/api/v1/things", {"name": "n", "kind": "x"})
    assert asked.idempotency_key == "run/tool.add#1.1"
    assert door.sent == []


@pytest.mark.parametrize("said", [{"sheet": 1}, {"sheet": 1, "a": -1}, {"sheet": 1, "a": 1, "host": "evil"}, {"a": 1}])
def test_what_does_not_fit_the_models_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a|host|sheet"):
        checked(adding(), said, a_turn())


@pytest.mark.parametrize(
    ("fields", "flaw"),
    [
        ({"base_url": "calculator.example"}, "not the address"),
        ({"base_url": "https://user@calculator.example"}, "not the address"),
        ({"base_url": "https://{host}.example"}, "a base URL is fixed"),
        ({"base_url": "https://a.example?x=1"}, "a base URL is fixed"),
        ({"path": "//evil.example/"}, "one slash"),
        ({"path": "sums"}, "one slash"),
        ({"path": "/sums?x={a}"}, "neither query"),
        ({"method": "TRACE"}, "the method is one of"),
        ({"form": Form}, "one body"),
        ({"overrides": {"other": 1}}, "no argument other"),
        ({"path": "/{a}", "overrides": {}}, "a is both in path and in json"),
        ({"networks": ["10.0.0.0/99"]}, "10.0.0.0/99"),
    ],
)
def test_what_could_never_be_called_is_no_tool(fields: dict[str, Any], flaw: str) -> None:
    with pytest.raises(ValueError, match=flaw):
        adding(**fields)


@pytest.mark.parametrize(
    ("method", "risk"), [("GET", Risk.READS), ("POST", Risk.WRITES_OUTSIDE), ("DELETE", Risk.DESTROYS)]
)
def test_the_method_says_the_risk_unless_the_author_does(method: str, risk: Risk) -> None:
    assert adding(method=method).traits.risk is risk
    assert adding(method=method, risk=Risk.READS).traits.risk is Risk.READS


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.sampled_from(
        [
            "//127.0.0.1",
            "@127.0.0.1",
            "http://169.254.169.254/",
            "..",
            "../../admin",
            "a\r\nHost: evil",
            "%2e%2e",
            "\\evil",
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [
        "sheet",
        "a",
        "b",
        "note",
        "tags",
        "precision",
        "account",
        "host",
        "Host",
        "authorization",
        "headers",
        "base_url",
        "url",
    ]
)
INPUTS = st.builds(
    lambda right, wrong: {**right, **wrong},
    st.fixed_dictionaries({"sheet": st.text(min_size=1, max_size=20) | st.integers(), "a": st.integers(min_value=0)}),
    st.dictionaries(NAMES, VALUES, max_size=3),
)


@dataclass
class Recording:
    """The way out, as `HttpClient` gives it; notes what leaves."""

    left: list[tuple[str, str, Mapping[str, str], object, Mapping[str, object]]]

    async def call_outside(
        self,
        method: str,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        query: Mapping[str, object],
        **_: object,
    ) -> CallAnswer:
        self.left.append((method, url, headers, msgspec.json.decode(body), query))
        return CallAnswer(200, b"{}", {})


class NoTokens:
    async def token_for(self, caller: object) -> str:
        raise AssertionError("nobody is to be told who asks")


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(INPUTS)
async def test_no_input_beats_an_override_or_changes_host_or_header(said: dict[str, Any]) -> None:
    """1,000 of them: most of what a model could think of is refused, and what is sent is what the author meant."""
    tool = overridden(adding(), {"precision": 9, "note": "the agent's"})
    recording = Recording([])
    door = HttpFrontDoor(recording, FrontDoorAddress("http://127.0.0.1:1"), NoTokens())  # type: ignore[arg-type] # as much as is used
    context = ToolContext(a_turn(), door)
    try:
        arguments = checked(tool, said, context.turn)
        await tool.call(context, arguments)
    except ValueError:
        assert recording.left == []
        return

    ((method, url, headers, body, query),) = recording.left
    assert method == "POST"
    assert url.startswith(f"{HOST}/sheets/")
    assert url.endswith("/sums")
    assert url.count("/") == 5
    assert not set(url.removeprefix(HOST)) & set("?#\\@: \r\n")
    assert headers == {"authorization": "the author's", "content-type": "application/json"}
    assert isinstance(body, dict)
    assert (body["precision"], body["note"], query["account"]) == (PRECISION, "the agent's", "7")


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        ("none", {}),
        ("id", {"x-user-id": "7", "x-user-role": "user"}),
        ("token", {"authorization": "Bearer token"}),
    ],
)
async def test_a_foreign_host_learns_of_the_caller_what_the_author_says(
    identity: Identity, told: Mapping[str, str]
) -> None:
    recording = Recording([])
    door = HttpFrontDoor(recording, FrontDoorAddress("http://127.0.0.1:1"), NoTokens())  # type: ignore[arg-type] # as above

    await door.call_outside(a_caller(), Outgoing("POST", f"{HOST}/x", json={}, identity=identity))

    assert recording.left[0][2] == {"content-type": "application/json", **told}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://localhost/x", "http://169.254.169.254/latest"])
async def test_a_private_address_is_refused_in_words(url: str) -> None:
    async with aclosing(HttpClient.open()) as http:
        door = HttpFrontDoor(http, FrontDoorAddress("http://127.0.0.1:9"), NoTokens())
        with pytest.raises(ToolRefused, match="at an address that is not public"):
            await door.call_outside(a_caller(), Outgoing("GET", url))


async def test_what_is_addressed_to_the_front_door_goes_through_it_as_the_caller() -> None:
    class Through:
        async def call(self, method: str, url: str, *, headers: Mapping[str, str], **_: object) -> CallAnswer:
            return CallAnswer(
                200, f"{method} {url} {headers['authorization']}".encode(), {"content-type": "text/plain"}
            )

    door = HttpFrontDoor(Through(), FrontDoorAddress("http://127.0.0.1:8000"), NoTokens())  # type: ignore[arg-type] # as above

    answer = await door.call_outside(a_caller(), Outgoing("GET", "http://127.0.0.1:8000/api/v1/things"))

    assert answer.body == b"GET http://127.0.0.1:8000/api/v1/things Bearer token"


@pytest.mark.parametrize("error", [EgressRefused("Not there."), CallFailed("inner 10.0.0.1")])
async def test_a_call_that_fails_names_no_address(error: Exception) -> None:
    class Failing:
        async def call_outside(self, *_: object, **__: object) -> CallAnswer:
            raise error

    door = HttpFrontDoor(Failing(), FrontDoorAddress(), NoTokens())  # type: ignore[arg-type] # as above
    with pytest.raises(ToolRefused) as refused:
        await door.call_outside(a_caller(), Outgoing("GET", HOST))

    assert "10.0.0.1" not in refused.value.reason
