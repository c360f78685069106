"""A service's operations as tools: offered, called, and as dangerous as their methods say."""

import pytest

from app.agents.contract import Risk
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.tools.fleet import Fleet, tool_of
from app.infra.openapi.calls import Argument, Media, OperationCall
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent


def an_operation(name: str = "agenda_do", method: str = "POST", media: Media = "json") -> OperationCall:
    arguments = {"id": Argument("path", "id"), "deep": Argument("query", "deep"), "body": Argument("body", "body")}
    schema = {"type": "object", "properties": {key: {} for key in arguments}, "required": ["id"]}
    upstream = name.partition("_")[0]
    return OperationCall(name, method, "/api/v1/agenda/{id}", upstream, "Does.", schema, arguments, media)


@pytest.mark.parametrize(
    ("method", "risk", "is_idempotent"),
    [
        ("GET", Risk.READS, True),
        ("PUT", Risk.WRITES_OUTSIDE, True),
        ("PATCH", Risk.WRITES_OUTSIDE, False),
        ("POST", Risk.WRITES_OUTSIDE, False),
        ("DELETE", Risk.DESTROYS, True),
    ],
)
def test_the_method_says_what_a_call_may_do(method: str, risk: Risk, *, is_idempotent: bool) -> None:
    tool = tool_of(an_operation(method=method))

    assert (tool.traits.risk, tool.traits.is_idempotent) == (risk, is_idempotent)
    assert tool.origin == "fleet:agenda"


@pytest.mark.parametrize(("media", "is_form"), [("json", False), ("form", True)])
async def test_arguments_go_where_they_belong(journal: FakeJournal, media: Media, *, is_form: bool) -> None:
    door = FakeFrontDoor(offers=[an_operation(media=media)], body=b'{"a": 1}')
    said: dict[str, object] = {"id": "a/b", "deep": [1, 2], "body": {"name": "x"}}
    model = ScriptedModel(Call("agenda_do", said), "Done.")
    async with a_desk(an_agent(tools=[Fleet()]), model=model, front_door=door) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    (asked,) = door.asked
    assert (asked.method, asked.path, asked.query) == ("POST", "/api/v1/agenda/a%2Fb", {"deep": ["1", "2"]})
    assert (asked.form, asked.json) == (({"name": "x"}, None) if is_form else (None, {"name": "x"}))
    assert asked.idempotency_key == "run/tool.agenda_do#1.1"
    assert model.seen[1].results == ('{"a":1}',)


async def test_an_agent_may_have_some_upstreams_only(journal: FakeJournal) -> None:
    door = FakeFrontDoor(offers=[an_operation("agenda_do"), an_operation("notes_do"), an_operation("auth_do")])
    model = ScriptedModel("Done.")
    async with a_desk(an_agent(tools=[Fleet("notes", "auth")]), model=model, front_door=door) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert model.seen[0].tools == ("notes_do", "auth_do")


async def test_a_fleet_that_is_away_costs_its_tools_and_not_the_turn(journal: FakeJournal) -> None:
    model = ScriptedModel("Done.")
    async with a_desk(an_agent(tools=[Fleet()]), model=model, front_door=FakeFrontDoor(is_gone=True)) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert said.text == "Done."
    assert model.seen[0].tools == ()


async def test_a_model_without_tools_answers_without_the_fleet(journal: FakeJournal) -> None:
    door = FakeFrontDoor(offers=[an_operation()])
    model = ScriptedModel("Done.", calls_tools=False)
    async with a_desk(an_agent(tools=[Fleet()]), model=model, front_door=door) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert said.text == "Done."
    assert journal.kept.keys() == {"run/model#1"}


@pytest.mark.parametrize(
    ("said", "flaw"),
    [
        ({}, "id is missing"),
        ({"id": "x", "host": "evil"}, "host is no argument"),
        ({"id": ".."}, "id: '..' cannot stand in a path"),
        ({"id": "x", "deep": {"a": 1}}, "deep: give a text or a number"),
    ],
    ids=["missing", "unknown", "dots", "object"],
)
async def test_arguments_that_do_not_fit_are_mended_by_the_model(
    journal: FakeJournal, said: dict[str, object], flaw: str
) -> None:
    door = FakeFrontDoor(offers=[an_operation()], body=b"{}")
    model = ScriptedModel(Call("agenda_do", said), Call("agenda_do", {"id": "x"}), "Done.")
    async with a_desk(an_agent(tools=[Fleet()]), model=model, front_door=door) as desk:
        answer = await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert answer.text == "Done."
    assert flaw in model.seen[1].results[0]
    assert len(door.asked) == 1
