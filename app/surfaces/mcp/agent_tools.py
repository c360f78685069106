"""Agents: who there is, whether they are well, and work they are set to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from app.agents.contract import AgentCard, AgentDirectory
from app.features.chats.domain.chat import NewChat
from app.features.chats.domain.message import CONTENT_LIMIT_CHARS
from app.features.chats.domain.turn import Wish
from app.features.chats.schemas import ChatOut, MessageOut
from app.features.chats.use_cases.await_turn import AwaitTurn
from app.features.chats.use_cases.create_chat import CreateChat
from app.features.chats.use_cases.exchange_message import ExchangeMessage
from app.features.runs.schemas import RunOut
from app.features.runs.use_cases.read_run import ReadRun
from app.features.tasks.domain.task import PROMPT_LIMIT_CHARS
from app.kernel.identity import Principal
from app.kernel.ids import MAX_ID, ChatId, RunId
from app.surfaces.jobs.controller import JobIn, Jobs
from app.surfaces.mcp.tool import Asking, McpTool, Nothing

LONGEST_WAIT_S = 120
WAIT_S = 50
GOES_ON = "It is not over: ask get_run again, decide what it waits for (list_approvals), or cancel_run."

type AgentName = Annotated[str, Meta(max_length=255, description="An agent's name, as list_agents tells it")]
type AChatId = Annotated[int, Meta(ge=0, le=MAX_ID, description="A chat's id")]
type WaitS = Annotated[float, Meta(gt=0, le=LONGEST_WAIT_S, description="How long to wait, before told of the run")]


class AgentIn(Struct, frozen=True, forbid_unknown_fields=True):
    name: AgentName


class AlonePrompt(Struct, frozen=True, forbid_unknown_fields=True):
    prompt: Annotated[str, Meta(min_length=1, max_length=PROMPT_LIMIT_CHARS)]
    agent: AgentName | None = None
    timeout_s: WaitS = WAIT_S


class ChatPrompt(Struct, frozen=True, forbid_unknown_fields=True):
    chat_id: AChatId
    content: Annotated[str, Meta(min_length=1, max_length=CONTENT_LIMIT_CHARS)]
    timeout_s: WaitS = WAIT_S


class SessionIn(Struct, frozen=True, forbid_unknown_fields=True):
    agent: AgentName | None = None
    title: Annotated[str, Meta(max_length=200)] | None = None


class AgentOut(Struct, frozen=True):
    """`problem` is null where it is well."""

    name: str
    description: str
    health: str
    problem: str | None
    tools: Sequence[str]


class AgentsOut(Struct, frozen=True):
    items: Sequence[AgentOut]
    default: str


class ValidOut(Struct, frozen=True):
    """`valid` is true when every agent can be asked now."""

    valid: bool
    checked: int
    problems: Sequence[AgentOut]


class AnsweredOut(Struct, frozen=True):
    """`answer` is null, with a `hint`, where the run goes on."""

    run: RunOut
    answer: str | None = None
    message: MessageOut | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class AgentTools:
    agents: AgentDirectory
    jobs: Jobs
    create_chat: CreateChat
    exchange: ExchangeMessage
    await_turn: AwaitTurn
    read_run: ReadRun

    def tools(self) -> Sequence[McpTool]:
        return (
            McpTool("list_agents", "List the agents that can be asked.", Nothing, self._list, reads_only=True),
            McpTool("get_agent", "Tell of one agent: what it does, how it is.", AgentIn, self._get, reads_only=True),
            McpTool(
                "validate_agents",
                "Check that every agent can be asked now, and tell what is wrong with those that cannot.",
                Nothing,
                self._validate,
                reads_only=True,
            ),
            McpTool(
                "run_agent_stateless",
                "Have an agent answer a prompt without any history. Waits for the answer; what takes longer goes on as "
                "a run.",
                AlonePrompt,
                self._run_alone,
            ),
            McpTool(
                "run_agent_in_chat",
                "Say something in a chat, and get its agent's answer, which knows what was said there before.",
                ChatPrompt,
                self._run_in_chat,
            ),
            McpTool(
                "start_session",
                "Open a chat with an agent, for run_agent_in_chat.",
                SessionIn,
                self._start_session,
            ),
        )

    async def _list(self, asking: Asking, _: Nothing) -> AgentsOut:
        del asking
        return AgentsOut([_out(card) for card in self.agents.cards()], self.agents.default_name)

    async def _get(self, asking: Asking, given: AgentIn) -> AgentOut:
        del asking
        return _out(self.agents.card(given.name))

    async def _validate(self, asking: Asking, _: Nothing) -> ValidOut:
        del asking
        cards = self.agents.cards()
        problems = [_out(card) for card in cards if not card.is_healthy]
        return ValidOut(not problems, len(cards), problems)

    async def _run_alone(self, asking: Asking, given: AlonePrompt) -> AnsweredOut:
        run_id = await self.jobs.start(asking.who, JobIn(input=given.prompt, agent=given.agent), keyed=None)
        is_done = await asking.wait(self.jobs.await_run(run_id, timeout_s=given.timeout_s))
        if not is_done:
            return await self._going_on(asking.who, run_id)
        return AnsweredOut(await self._run(asking.who, run_id), await self.jobs.answer(run_id))

    async def _run_in_chat(self, asking: Asking, given: ChatPrompt) -> AnsweredOut:
        wish = Wish(given.content, channel="mcp", request_id=asking.who.request_id)
        begun = await self.exchange(asking.who, ChatId(given.chat_id), wish)
        exchange = await asking.wait(self.await_turn(begun, timeout_s=given.timeout_s))
        if exchange is None:
            return await self._going_on(asking.who, begun.run_id)
        answer = MessageOut.of(exchange.answer)
        return AnsweredOut(await self._run(asking.who, begun.run_id), answer.content, answer)

    async def _start_session(self, asking: Asking, given: SessionIn) -> ChatOut:
        draft = NewChat(asking.who.user_id, given.title, given.agent)
        return ChatOut.of(await self.create_chat(asking.who, draft))

    async def _going_on(self, who: Principal, run_id: RunId) -> AnsweredOut:
        return AnsweredOut(await self._run(who, run_id), hint=GOES_ON)

    async def _run(self, who: Principal, run_id: RunId) -> RunOut:
        return RunOut.of(await self.read_run(who, run_id))


def _out(card: AgentCard) -> AgentOut:
    return AgentOut(card.name, card.description, card.health, None if card.is_healthy else card.health, card.tools)
