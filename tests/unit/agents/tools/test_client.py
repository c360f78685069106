"""Tools that the client of whoever asked runs: put to it once, waited for without a process, given to the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from app.agents.contract import Offer, Risk, Tool, ToolRefused, Turn
from app.agents.tools.client import ClientTool
from app.agents.tools.interceptors import UNGUARDED, Interceptors, Proceed, ToolCall
from app.agents.tools.performing import perform
from app.agents.tools.policies import RateLimit, Redact
from app.agents.turns import Said, client_wait_key
from app.agents.work import Work
from app.kernel.ids import RunId, new_run_id
from app.kernel.values import Json
from tests.builders import acting_principal
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import Died, FakeJournal, FakeSpending, Waiting
from tests.model_server import Call, ModelServer, Part, Request
from tests.unit.agents.desk import a_desk, a_turn, an_agent, models_of
from tests.unit.agents.served import model_of


class Place(msgspec.Struct):
    """What the client is asked for."""

    accuracy_m: int
    unit: str = "m"


def where(*, timeout_s: float = 60, **fields: Any) -> ClientTool:  # Any: as given
    return ClientTool(
        name="where", description="Tell where the user is.", parameters=Place, timeout_s=timeout_s, **fields
    )


def asking(*accuracies: Json) -> Any:  # Any: what the server takes
    """Ask where the user is, once for each, in one response; then tell what came of it."""

    def answer(request: Request) -> Sequence[Part]:
        results = [message["content"] for message in request.body["messages"] if message["role"] == "tool"]
        if results:
            return [f"Done: {'; '.join(results)}"]
        return [Call("where", {"accuracy_m": accuracy}) for accuracy in accuracies]

    return answer


@dataclass
class Stand:
    server: ModelServer
    tools: Sequence[Offer] = field(default_factory=lambda: [where()])
    interceptors: Interceptors = UNGUARDED
    run_id: RunId = field(default_factory=new_run_id)
    spending: FakeSpending = field(default_factory=FakeSpending)

    @property
    def turn(self) -> Turn:
        return a_turn("Where am I?", caller=acting_principal(self.run_id, user_id="ann", agent="helper"))

    async def answer(self, journal: FakeJournal, *, turn: Turn | None = None) -> Said:
        models = models_of(lambda _: model_of(self.server))
        agent = an_agent(tools=self.tools)
        async with a_desk(agent, models=models, front_door=FakeFrontDoor(), interceptors=self.interceptors) as desk:
            try:
                return await desk.answer(
                    "helper", turn or self.turn, journal=journal, timeout_s=30, spending=self.spending
                )
            except (Waiting, Died) as left:  # raised again when the desk is closed
                stopped = left
        raise stopped

    async def put(self, journal: FakeJournal) -> Mapping[str, Json]:
        """Work until the turn waits for its client; give the call as it was told."""
        with pytest.raises(Waiting) as waiting:
            await self.answer(journal)
        told = journal.of("tool_call_start")[-1].data
        assert waiting.value.key == client_wait_key(str(told["nonce"]))
        return told


def post(journal: FakeJournal, told: Mapping[str, Json], **answer: Json) -> None:
    journal.answers[client_wait_key(str(told["nonce"]))] = answer


async def test_a_call_is_put_to_the_client_and_its_result_is_the_tools(server: ModelServer) -> None:
    server.answer_with = asking(5)
    stand, journal = Stand(server), FakeJournal()

    told = await stand.put(journal)
    post(journal, told, result={"town": "Bern"})
    said = await stand.answer(journal.resumed())

    assert (told["client"], told["tool"], told["arguments"]) == (True, "where", {"accuracy_m": 5, "unit": "m"})
    assert len(str(told["nonce"])) >= 16
    until = datetime.fromisoformat(str(told["expires_at"])) - datetime.now(UTC)
    assert timedelta(seconds=30) < until <= timedelta(seconds=60)
    assert said.text == 'Done: {"town":"Bern"}'
    assert [event.type for event in journal.told if event.type.startswith("tool_")] == [
        "tool_call_start",
        "tool_call_complete",
    ]
    assert journal.of("tool_call_complete")[0].data["result"] == {"town": "Bern"}
    assert [usage.tool_calls for _, usage in stand.spending.settled if usage.tool_calls] == [1]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param({"error": "The user said no."}, "The client could not do it: The user said no.", id="error"),
        pytest.param(None, "No client did this in time", id="time is up"),
    ],
)
async def test_a_client_that_does_not_do_it_is_an_error_the_model_goes_on_with(
    server: ModelServer, answer: Json, words: str
) -> None:
    server.answer_with = asking(5)
    stand, journal = Stand(server), FakeJournal()
    told = await stand.put(journal)

    journal.answers[client_wait_key(str(told["nonce"]))] = answer
    said = await stand.answer(journal.resumed())

    assert said.text.startswith("Done:")
    assert words in said.text
    (complete,) = journal.of("tool_call_complete")
    assert (complete.data["is_error"], words in str(complete.data["result"])) == (True, True)


async def test_two_calls_of_one_response_have_a_nonce_each(server: ModelServer) -> None:
    server.answer_with = asking(5, 50)
    stand, journal = Stand(server), FakeJournal()

    first = await stand.put(journal)
    post(journal, first, result="here")
    journal = journal.resumed()
    second = await stand.put(journal)
    post(journal, second, result="there")
    said = await stand.answer(journal.resumed())

    assert first["nonce"] != second["nonce"]
    assert said.text == "Done: here; there"


async def test_wherever_the_program_dies_the_call_keeps_its_nonce_and_is_taken_once() -> None:
    dies_at, is_through = 0, False

    while not is_through:
        dies_at += 1
        journal = FakeJournal(dies_at=dies_at)
        first = await performed(journal)
        journal = journal.resumed(dies_at=dies_at) if first == "died" else journal
        second = await performed(journal.resumed())
        told = journal.of("tool_call_start")
        post(journal, told[0].data, result="here")
        last = journal.resumed(dies_at=dies_at)
        third = await performed(last)
        is_through = first == second == "waits" and third == "here"

        assert second == "waits"
        assert third == "here" or await performed(last.resumed()) == "here"
        assert len({one.data["nonce"] for one in told}) == 1
        assert len(journal.of("tool_call_complete")) - len(journal.of("stream_retry")) <= 1

    assert dies_at > 5


async def performed(journal: FakeJournal) -> Json:
    """Work on one call, as a turn that goes on does; give what it came to."""
    turn = a_turn(caller=acting_principal(new_run_id(), user_id="ann", agent="helper"))
    work = Work(turn, FakeFrontDoor(), journal, FakeSpending(), request=2)
    try:
        return await perform(ToolCall("call-1", where(), {"accuracy_m": 5}, work), UNGUARDED)
    except Died:
        return "died"
    except Waiting:
        return "waits"


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param({"is_attended": False}, id="headless"),
        pytest.param({"caller": a_turn().caller}, id="no run"),
    ],
)
async def test_it_is_not_offered_where_no_client_follows(server: ModelServer, turn: Mapping[str, Any]) -> None:
    server.answer_with = lambda request: ["Hello"]
    stand = Stand(server)

    await stand.answer(FakeJournal(), turn=replace(stand.turn, **turn))

    assert not server.requests[-1].body.get("tools")


async def never(call: ToolCall, proceed: Proceed) -> object:
    del call, proceed
    raise ToolRefused("This is not allowed here.")


async def test_what_may_not_be_done_is_not_put_to_the_client(server: ModelServer) -> None:
    server.answer_with = asking(5)
    stand, journal = Stand(server, interceptors=Interceptors(inner=(never,))), FakeJournal()

    said = await stand.answer(journal)

    assert "not allowed" in said.text
    assert "client" not in journal.of("tool_call_start")[0].data


async def test_a_call_counts_once_for_a_limit_however_often_the_turn_goes_on(server: ModelServer) -> None:
    server.answer_with = asking(5, 50)
    limit = RateLimit(1, 60)
    stand, journal = Stand(server, interceptors=Interceptors(inner=(limit,))), FakeJournal()
    told = await stand.put(journal)
    post(journal, told, result="here")

    said = await stand.answer(journal.resumed())

    assert said.text.startswith("Done: here; ")
    assert "where was called too often" in said.text


async def test_secrets_are_taken_out_of_what_a_client_says(server: ModelServer) -> None:
    server.answer_with = asking(5)
    redact = Interceptors(results=(Redact(lambda: ["hunter2hunter2"]),))
    stand, journal = Stand(server, interceptors=redact), FakeJournal()
    told = await stand.put(journal)
    post(journal, told, result="it is hunter2hunter2")

    said = await stand.answer(journal.resumed())

    assert said.text == "Done: it is [redacted]"
    assert "hunter2" not in str(journal.kept) + str(journal.told)


async def test_arguments_that_do_not_fit_are_told_to_the_model_and_not_put(server: ModelServer) -> None:
    server.answer_with = asking("near")
    stand, journal = Stand(server), FakeJournal()

    said = await stand.answer(journal)

    assert "accuracy_m" in said.text
    assert not journal.of("tool_call_start")


async def test_arguments_a_client_would_not_see_whole_are_refused(server: ModelServer) -> None:
    def answer(request: Request) -> Sequence[Part]:
        results = [message["content"] for message in request.body["messages"] if message["role"] == "tool"]
        return results or [Call("where", {"accuracy_m": 5, "unit": "m" * 20_000})]

    server.answer_with = answer
    stand, journal = Stand(server), FakeJournal()

    said = await stand.answer(journal)

    assert "too long for the client" in said.text


async def test_an_override_reaches_the_client_and_not_the_model(server: ModelServer) -> None:
    server.answer_with = asking(5)
    stand, journal = Stand(server, [where(overrides={"unit": "km"})]), FakeJournal()

    told = await stand.put(journal)

    assert told["arguments"] == {"accuracy_m": 5, "unit": "km"}
    assert "unit" not in str(server.requests[-1].body["tools"])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 100_000}, "timeout_s"),
        ({"overrides": {"colour": "red"}}, "colour"),
        ({"parameters": {"type": "array"}}, "object"),
    ],
)
def test_what_could_never_be_called_is_refused_at_construction(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ClientTool(**{"name": "where", "description": "Where.", "parameters": Place, **fields})


def test_of_a_schema_the_names_are_checked() -> None:
    schema = {"properties": {"text": {"type": "string"}}, "required": ["text"]}
    tool = ClientTool(name="copy", description="Copy a text.", parameters=schema)

    assert tool.parameters["type"] == "object"
    assert tool.check({"text": "a"}) == {"text": "a"}
    with pytest.raises(ValueError, match="colour is no argument; text is missing"):
        tool.check({"colour": "red"})


async def test_it_asks_nobody_first_unless_its_author_says_so_and_nothing_here_calls_it() -> None:
    tool: Tool = where()

    assert (tool.traits.risk, where(risk=Risk.DESTROYS).traits.risk) == (Risk.WRITES_INSIDE, Risk.DESTROYS)
    with pytest.raises(ToolRefused):
        await tool.call(None, {})  # type: ignore[arg-type] # it looks at nothing
