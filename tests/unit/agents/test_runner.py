"""The desk: what comes back of an agent, and as which failure."""

import asyncio
import re
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelHTTPError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
)
from structlog.testing import capture_logs

from app.agents.contract import (
    AgentBroken,
    AgentFailed,
    AgentNotFound,
    AgentTimedOut,
    ModelMisconfigured,
    ModelNotConfigured,
    ModelUnavailable,
    ToolContext,
    ToolRefused,
    Turn,
    TurnTooLong,
    TurnUnreadable,
)
from app.agents.front_door import FrontDoorUnavailable
from app.agents.llm.models import Models
from app.agents.llm.scripted import Call, ScriptedModel, Seen
from app.agents.turns import BudgetReached, Unwritten
from app.agents.work import ANSWER_LIMIT_CHARS
from app.kernel.errors import Conflict, Fault, NotFound
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_caller, a_desk, a_turn, an_agent, an_exchange, models_of, no_local_model

PROVIDER_WORDS = "acct-4711 ACME sk-secret"


class Spoken:
    """An agent of code: says what it is given to say."""

    name = "spoken"

    def __init__(self, text: str = "spoken", *, trouble: Exception | None = None) -> None:
        self._text = text
        self._trouble = trouble

    async def generate(self, turn: Turn) -> str:
        if self._trouble:
            raise self._trouble
        return self._text


class Streaming:
    name = "streaming"

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces
        self.is_closed = False

    async def generate(self, turn: Turn) -> AsyncIterator[str]:
        try:
            for piece in self._pieces:
                yield piece
        finally:
            self.is_closed = True


class Hanging:
    """Waits for ever, and tells when it starts and when it is cancelled."""

    name = "hanging"

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def generate(self, turn: Turn) -> str:
        return await self.wait()

    async def wait(self, seen: Seen | None = None) -> str:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "never"


async def test_a_model_answers_with_the_earlier_turns_in_its_prompt() -> None:
    model = ScriptedModel()
    async with a_desk(an_agent(), model=model) as desk:
        turn = a_turn("And now?", history=an_exchange("My name is Anna.", "Hello Anna."))

        answer = (await desk.answer("helper", turn, journal=Unwritten(), timeout_s=10)).text

    assert answer == "You said: And now? (turn 2; the first thing you said: My name is Anna.)"
    assert [(message.role, message.content) for message in model.seen[0].messages] == [
        ("user", "My name is Anna."),
        ("assistant", "Hello Anna."),
        ("user", "And now?"),
    ]
    assert model.seen[0].instructions == "Help."


async def test_a_class_with_generate_answers() -> None:
    async with a_desk(Spoken("by code")) as desk:
        assert (await desk.answer("spoken", a_turn(), journal=Unwritten(), timeout_s=10)).text == "by code"


async def test_the_pieces_of_a_generator_are_joined_and_it_is_closed() -> None:
    agent = Streaming("Hel", "lo", "")
    async with a_desk(agent) as desk:
        assert (await desk.answer("streaming", a_turn(), journal=Unwritten(), timeout_s=10)).text == "Hello"

    assert agent.is_closed


async def test_what_no_database_stores_is_taken_out_of_an_answer() -> None:
    async with a_desk(Spoken("a\0b\ud800c")) as desk:
        assert (await desk.answer("spoken", a_turn(), journal=Unwritten(), timeout_s=10)).text == "ab?c"


async def test_an_unknown_agent_is_not_found_and_the_known_are_named() -> None:
    async with a_desk(Spoken()) as desk:
        with pytest.raises(AgentNotFound, match="spoken"):
            await desk.answer("nobody", a_turn(), journal=Unwritten(), timeout_s=10)
        with pytest.raises(AgentNotFound):
            desk.card("nobody")


@pytest.mark.parametrize("text", ["", " \n\t"], ids=["empty", "blank"])
async def test_an_empty_answer_is_a_failure(text: str) -> None:
    async with a_desk(Spoken(text)) as desk:
        with pytest.raises(AgentFailed, match="no answer"):
            await desk.answer("spoken", a_turn(), journal=Unwritten(), timeout_s=10)


async def test_a_model_that_says_nothing_is_a_failure() -> None:
    async with a_desk(an_agent(), model=ScriptedModel(*[""] * 5)) as desk:
        with pytest.raises(AgentFailed):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)


@pytest.mark.parametrize(
    "agent",
    [Streaming(*["x" * 1024] * 400), Spoken("x" * (ANSWER_LIMIT_CHARS + 1))],
    ids=["generator", "whole"],
)
async def test_an_endless_answer_is_a_failure(agent: Streaming | Spoken) -> None:
    async with a_desk(agent) as desk:
        with pytest.raises(AgentFailed, match="longer"):
            await desk.answer(agent.name, a_turn(), journal=Unwritten(), timeout_s=10)


@pytest.mark.parametrize(
    ("error", "fact", "words"),
    [
        (ModelHTTPError(401, "m", PROVIDER_WORDS), ModelUnavailable, "refused this gateway's key"),
        (ModelHTTPError(403, "m", PROVIDER_WORDS), ModelUnavailable, "refused this gateway's key"),
        (ModelHTTPError(402, "m", PROVIDER_WORDS), ModelUnavailable, "used up"),
        (ModelHTTPError(404, "m", PROVIDER_WORDS), ModelUnavailable, "does not know"),
        (ModelHTTPError(429, "m", PROVIDER_WORDS), ModelUnavailable, "no more requests"),
        (ModelHTTPError(500, "m", PROVIDER_WORDS), ModelUnavailable, "cannot be reached"),
        (ModelHTTPError(503, "m", PROVIDER_WORDS), ModelUnavailable, "cannot be reached"),
        (ModelHTTPError(504, "m", PROVIDER_WORDS), ModelUnavailable, "in time"),
        (ModelAPIError("m", f"connect: {PROVIDER_WORDS}"), ModelUnavailable, "cannot be reached"),
        (ModelHTTPError(400, "m", PROVIDER_WORDS), AgentFailed, "refused the request"),
        (UsageLimitExceeded("20 requests"), AgentFailed, "more steps"),
        (UnexpectedModelBehavior(PROVIDER_WORDS), AgentFailed, "cannot be used"),
        (RuntimeError(PROVIDER_WORDS), AgentFailed, "error of its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_models_failure_is_told_in_our_words(error: Exception, fact: type[Fault], words: str) -> None:
    async with a_desk(an_agent(), model=ScriptedModel(error)) as desk:
        with pytest.raises(fact, match=re.escape(words)) as caught:
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)

    assert not any(word in caught.value.detail for word in PROVIDER_WORDS.split())
    assert type(caught.value) is fact


async def test_the_provider_says_when_to_come_back() -> None:
    error = ModelHTTPError(429, "m", "busy", retry_after=6.2)
    async with a_desk(an_agent(), model=ScriptedModel(error)) as desk:
        with pytest.raises(ModelUnavailable) as caught:
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)

    assert caught.value.headers == {"Retry-After": "7"}
    assert caught.value.evidence["status"] == 429


async def test_the_turn_after_a_failure_is_answered() -> None:
    async with a_desk(an_agent(), model=ScriptedModel(ModelHTTPError(503, "m"), "better")) as desk:
        with pytest.raises(ModelUnavailable):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)

        assert (await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)).text == "better"


@pytest.mark.parametrize("error", [ValueError("boom"), TimeoutError("its own"), NotFound("not for callers")], ids=repr)
async def test_an_agents_own_error_becomes_a_failure_with_its_trace_in_the_log(error: Exception) -> None:
    with capture_logs() as logs:
        async with a_desk(Spoken(trouble=error)) as desk:
            with pytest.raises(AgentFailed) as caught:
                await desk.answer("spoken", a_turn("my secret"), journal=Unwritten(), timeout_s=10)

    assert caught.value.__cause__ is error
    assert [(entry["event"], entry["exc_info"]) for entry in logs] == [("agent.failed", True)]
    assert "my secret" not in repr(logs)


@pytest.mark.parametrize("fact", [FrontDoorUnavailable, BudgetReached, TurnUnreadable])
async def test_a_known_failure_passes_as_it_is(fact: type[Fault]) -> None:
    async with a_desk(Spoken(trouble=fact("gone"))) as desk:
        with pytest.raises(fact):
            await desk.answer("spoken", a_turn(), journal=Unwritten(), timeout_s=10)


async def test_neither_question_nor_answer_is_logged() -> None:
    with capture_logs() as logs:
        async with a_desk(an_agent(), model=ScriptedModel("the answer")) as desk:
            await desk.answer("helper", a_turn("the question"), journal=Unwritten(), timeout_s=10)

    assert [entry["event"] for entry in logs] == ["model.answered", "agent.answered"]
    assert "the question" not in repr(logs)
    assert "the answer" not in repr(logs)


async def test_a_deadline_cancels_the_call_to_the_model() -> None:
    hanging = Hanging()
    async with a_desk(an_agent(), model=ScriptedModel(hanging.wait)) as desk:
        await desk.prepare()
        with pytest.raises(AgentTimedOut, match=r"0\.2 seconds"):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=0.2)

    assert hanging.cancelled.is_set()


async def test_a_deadline_cancels_an_agent_of_code() -> None:
    hanging = Hanging()
    async with a_desk(hanging) as desk:
        with pytest.raises(AgentTimedOut):
            await desk.answer("hanging", a_turn(), journal=Unwritten(), timeout_s=0.05)

    assert hanging.cancelled.is_set()


async def test_a_cancelled_turn_cancels_the_call_to_the_model() -> None:
    hanging = Hanging()
    async with a_desk(an_agent(), model=ScriptedModel(hanging.wait)) as desk, asyncio.TaskGroup() as group:
        turn = group.create_task(desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=60))
        await hanging.started.wait()

        turn.cancel()
        with suppress(asyncio.CancelledError):
            await turn

    assert hanging.cancelled.is_set()


async def test_many_turns_are_answered_at_once_each_with_its_own_history() -> None:
    gate = asyncio.Barrier(20)

    async def together(seen: Seen) -> str:
        await gate.wait()
        return seen.messages[0].content

    async with a_desk(an_agent(), model=ScriptedModel(*[together] * 20)) as desk, asyncio.TaskGroup() as group:
        turns = [
            group.create_task(
                desk.answer(
                    "helper", a_turn(history=an_exchange(f"I am {who}", "ok")), journal=Unwritten(), timeout_s=30
                )
            )
            for who in range(20)
        ]

    assert [turn.result().text for turn in turns] == [f"I am {who}" for who in range(20)]


async def whoami(ctx: ToolContext, greeting: str, times: int = 1) -> str:
    """Greet the caller.

    Args:
        greeting: the word to say.
    """
    return f"{greeting} {ctx.turn.caller.user_id} " * times


async def test_a_tool_gets_the_callers_identity_and_checked_arguments() -> None:
    model = ScriptedModel(Call("whoami", {"greeting": "Hi", "times": "2"}), "done")
    async with a_desk(an_agent(tools=[whoami]), model=model) as desk:
        answer = (await desk.answer("helper", a_turn(caller=a_caller("42")), journal=Unwritten(), timeout_s=10)).text

    assert answer == "done"
    assert model.seen[0].tools == ("whoami",)
    assert model.seen[1].results == ("Hi 42 Hi 42 ",)


async def broken(ctx: ToolContext) -> str:
    """Break."""
    raise KeyError("inner secret")


async def refusing(ctx: ToolContext) -> str:
    """Refuse."""
    raise ToolRefused("only on Mondays")


async def conflicting(ctx: ToolContext) -> str:
    """Contradict."""
    raise Conflict("there is one already")


async def opaque(ctx: ToolContext) -> object:
    """Give what has no JSON."""
    return object()


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (broken, "The tool broken failed"),
        (refusing, "only on Mondays"),
        (conflicting, "there is one already"),
        (opaque, "The tool opaque failed"),
    ],
)
async def test_a_tools_failure_is_a_result_the_model_acts_on(tool: object, words: str) -> None:
    model = ScriptedModel(Call(getattr(tool, "__name__", ""), {}), "I see")
    async with a_desk(an_agent(tools=[tool]), model=model) as desk:
        answer = (await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)).text

    assert answer == "I see"
    assert words in model.seen[1].results[0]
    assert "inner secret" not in model.seen[1].results[0]


async def test_a_model_without_end_is_stopped_by_the_limits() -> None:
    calls = [Call("whoami", {"greeting": "Hi"})] * 60
    async with a_desk(an_agent(tools=[whoami]), model=ScriptedModel(*calls)) as desk:
        with pytest.raises(AgentFailed, match="more steps"):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=30)


async def canned(ctx: ToolContext) -> str:
    return f"fallback for {ctx.turn.caller.user_id}: {ctx.turn.text}"


async def test_the_fallback_answers_where_the_model_calls_no_tools() -> None:
    model = ScriptedModel(calls_tools=False)
    async with a_desk(an_agent(tools=[whoami], fallback=canned), model=model) as desk:
        assert (
            await desk.answer("helper", a_turn("list"), journal=Unwritten(), timeout_s=10)
        ).text == "fallback for 7: list"

    assert not model.seen


async def test_an_agent_of_tools_without_fallback_does_not_make_things_up() -> None:
    async with a_desk(an_agent(tools=[whoami]), model=ScriptedModel(calls_tools=False)) as desk:
        await desk.prepare()
        with pytest.raises(ModelNotConfigured, match="call tools"):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)

        assert desk.card("helper").health == "the configured model cannot call tools"


@pytest.fixture
def no_default(monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setattr("app.agents.llm.models.is_installed", lambda: False)
    return Models("", no_local_model())


async def test_without_a_model_the_variable_is_named(no_default: Models) -> None:
    async with a_desk(an_agent(), models=no_default) as desk:
        await desk.prepare()
        with pytest.raises(ModelNotConfigured, match="DEFAULT_MODEL"):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=10)

        assert not desk.card("helper").is_healthy
        assert "DEFAULT_MODEL" in desk.card("helper").health


async def test_without_a_model_the_fallback_works_and_is_well(no_default: Models) -> None:
    async with a_desk(an_agent(tools=[whoami], fallback=canned), models=no_default) as desk:
        await desk.prepare()

        assert (await desk.answer("helper", a_turn("x"), journal=Unwritten(), timeout_s=10)).text == "fallback for 7: x"
        assert desk.card("helper").is_healthy


async def test_a_misconfigured_model_stops_the_start() -> None:
    models = Models("scripted", no_local_model(), environ={})
    async with a_desk(an_agent(), an_agent("other", model="openai:gpt-x"), models=models) as desk:
        with pytest.raises(ModelMisconfigured, match="OPENAI_API_KEY"):
            await desk.prepare()


class NoSchema:
    """pydantic cannot describe it."""


async def undescribable(ctx: ToolContext, thing: NoSchema) -> str:
    """Take what no model can give."""
    return "never"


async def test_a_tool_no_model_can_be_told_of_stops_the_start() -> None:
    async with a_desk(an_agent(tools=[undescribable])) as desk:
        with pytest.raises(AgentBroken, match="undescribable") as caught:
            await desk.prepare()

    assert caught.value.where == __file__


async def test_a_history_longer_than_the_window_loses_its_oldest_turns() -> None:
    model = ScriptedModel(window_tokens=1000)
    history = [message for turn in range(100) for message in an_exchange(f"question {turn}", "answer " * 5)]
    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", a_turn(history=history), journal=Unwritten(), timeout_s=10)

    said = model.seen[0].said_by_user
    assert 2 < len(said) < 50
    assert said[-2:] == ("question 99", "Hello")
    assert model.seen[0].messages[0].role == "user"


async def test_a_provider_that_finds_the_prompt_too_long_is_asked_again_with_half() -> None:
    too_long = ModelHTTPError(400, "m", provider_error_type="exceed_context_size_error")
    model = ScriptedModel(too_long, too_long)
    history = [message for turn in range(8) for message in an_exchange(f"question {turn}", "answer")]
    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", a_turn(history=history), journal=Unwritten(), timeout_s=10)

    assert [len(seen.said_by_user) for seen in model.seen] == [9, 5, 3]


async def test_a_prompt_that_never_fits_is_the_callers_to_shorten() -> None:
    too_long = ModelHTTPError(400, "m", provider_error_type="exceed_context_size_error")
    async with a_desk(an_agent(), model=ScriptedModel(*[too_long] * 9)) as desk:
        with pytest.raises(TurnTooLong):
            await desk.answer("helper", a_turn(history=an_exchange("a", "b")), journal=Unwritten(), timeout_s=10)


async def test_a_message_larger_than_the_window_never_reaches_the_model() -> None:
    model = ScriptedModel(window_tokens=1000)
    async with a_desk(an_agent(), model=model) as desk:
        with pytest.raises(TurnTooLong):
            await desk.answer("helper", a_turn("word " * 5000), journal=Unwritten(), timeout_s=10)

    assert not model.seen


async def test_a_prompt_too_long_after_a_tool_acted_is_not_tried_again() -> None:
    too_long = ModelHTTPError(400, "m", provider_error_type="exceed_context_size_error")
    model = ScriptedModel(Call("whoami", {"greeting": "Hi"}), too_long, "again")
    async with a_desk(an_agent(tools=[whoami]), model=model) as desk:
        with pytest.raises(TurnTooLong):
            await desk.answer("helper", a_turn(history=an_exchange("a", "b")), journal=Unwritten(), timeout_s=10)

    assert len(model.seen) == 2


class Ill(Spoken):
    def __init__(self, trouble: str | Exception | None) -> None:
        super().__init__()
        self._health = trouble

    async def health(self) -> str | None:
        if isinstance(self._health, Exception):
            raise self._health
        return self._health


@pytest.mark.parametrize(
    ("trouble", "health"),
    [(None, "ok"), ("the back end is down", "the back end is down"), (OSError("x"), "its check failed (OSError)")],
    ids=["well", "ill", "broken"],
)
async def test_a_card_says_how_an_agent_of_code_is(trouble: str | Exception | None, health: str) -> None:
    async with a_desk(Ill(trouble)) as desk:
        assert desk.card("spoken").health == "has not been checked yet"

        await desk.check_health()

        assert desk.card("spoken").health == health
        assert desk.card("spoken").is_healthy is (trouble is None)


async def test_a_health_check_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Spoken):
        async def health(self) -> str | None:
            await asyncio.Event().wait()
            return None

    monkeypatch.setattr("app.agents.runner.HEALTH_TIMEOUT_S", 0.05)
    async with a_desk(Stuck()) as desk:
        await desk.check_health()

        assert not desk.card("spoken").is_healthy


async def test_an_agent_whose_local_model_is_not_there_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models("local", no_local_model())
    async with a_desk(an_agent(), models=models) as desk:
        await desk.check_health()

        assert desk.uses_local_model
        assert "local model" in desk.card("helper").health


async def test_a_turn_while_the_local_model_is_not_there_is_told_to_come_back() -> None:
    async with a_desk(an_agent(), models=Models("local", no_local_model())) as desk:
        with pytest.raises(ModelUnavailable) as caught:
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=20)

    assert caught.value.headers["Retry-After"] == "2"
    assert "/" not in caught.value.detail


async def test_cards_are_in_order_and_name_the_tools() -> None:
    async with a_desk(an_agent(tools=[whoami]), Spoken()) as desk:
        assert [(card.name, card.tools) for card in desk.cards()] == [("helper", ("whoami",)), ("spoken", ())]
        assert desk.default_name == "helper"


async def test_agents_of_one_model_share_it() -> None:
    made: list[str] = []

    def make(name: str) -> ScriptedModel:
        made.append(name)
        return ScriptedModel()

    async with a_desk(an_agent("a"), an_agent("b"), an_agent("c", model="other"), models=models_of(make)) as desk:
        await desk.prepare()

    assert made == ["scripted", "other"]


async def test_the_front_door_is_called_as_the_person_who_asked() -> None:
    async def fetch(ctx: ToolContext) -> int:
        """Fetch."""
        return (await ctx.call("GET", "/api/v1/things", query={"q": "1"})).status

    door = FakeFrontDoor(refuses_with=403)
    caller = a_caller("42")
    async with a_desk(an_agent(tools=[fetch]), model=ScriptedModel(Call("fetch", {})), front_door=door) as desk:
        await desk.answer("helper", a_turn(caller=caller), journal=Unwritten(), timeout_s=10)

    assert [(asked.caller, asked.path, asked.query) for asked in door.asked] == [(caller, "/api/v1/things", {"q": "1"})]


class _Importers:
    """Which threads have looked for a module of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[threading.Thread] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        del path, target
        if name == self.name:
            self.found.append(threading.current_thread())


async def test_what_the_library_lacks_is_not_looked_for_while_a_turn_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes an agent, and asks, with an eye on a module of an extra: half imported in another thread, it breaks."""
    importers = _Importers("pydantic_ai.mcp")
    monkeypatch.setattr(sys, "meta_path", [importers, *sys.meta_path])

    async with a_desk(an_agent("one"), an_agent("two")) as desk:
        await desk.prepare()
        said = await desk.answer("two", a_turn(), journal=FakeJournal(), timeout_s=10)

    assert said.text
    assert importers.found
    assert set(importers.found) == {threading.current_thread()}
